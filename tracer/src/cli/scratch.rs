//! A directory of our own for the time of a command.

use std::{fs, os::unix::fs::DirBuilderExt, path::PathBuf};

use anyhow::Context;

/// A directory that nobody else can write, removed at the end.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one.
    pub(super) fn new() -> anyhow::Result<Self> {
        let base = std::env::temp_dir();
        let mut number = 0_u32;
        loop {
            let path = base.join(format!("kmodtrace-{}-{number}", std::process::id()));
            // Made by us, so that nobody can have put anything in it.
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cannot make a directory in {} (set TMPDIR to another)", base.display())
                    });
                }
            }
        }
    }

    /// A directory in it.
    pub(super) fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let name = name.replace('/', "-");
        let path = self.path.join(format!("d-{name}"));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            log::warn!("{} stays: {error}", self.path.display());
        }
    }
}
