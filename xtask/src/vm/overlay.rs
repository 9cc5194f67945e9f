//! What a single run adds to a base image: our own programs, the orders, and files from the command line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kmodtrace_tests::protocol::{GUEST_PATH, KMODTRACE_PATH, ORDERS_PATH, Orders};

use super::tree::Tree;

/// A host file and where it goes in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    /// On the host.
    pub(crate) host: PathBuf,
    /// In the guest.
    pub(crate) guest: String,
}

impl std::str::FromStr for Added {
    type Err = anyhow::Error;

    /// Reads `HOST:GUEST`.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((host, guest)) if !host.is_empty() && guest.starts_with('/') => {
                Ok(Self { host: host.into(), guest: guest.to_owned() })
            }
            _ => bail!("{text:?} is not HOSTPATH:/GUESTPATH"),
        }
    }
}

/// The programs of ours that a guest may hold.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The guest's agent, static.
    pub(crate) agent: PathBuf,
    /// The program under test, where it has been built.
    pub(crate) kmodtrace: Option<PathBuf>,
}

/// Writes the initial root of one run: the archives, base image first, then the overlay.
pub(crate) fn write(
    archives: &[&Path],
    programs: &Programs,
    added: &[Added],
    orders: &Orders,
    out: &Path,
) -> Result<u64> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(out);
    let file = file.as_mut().map_err(|error| anyhow::anyhow!("cannot create {}: {error}", out.display()))?;
    for archive in archives {
        let mut from = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
        io::copy(&mut from, file).with_context(|| format!("cannot write {}", out.display()))?;
    }
    let tree = plan(programs, added, orders)?;
    tree.pack(BufWriter::new(&mut *file))?;
    Ok(file.metadata().context("cannot size the initial root")?.len())
}

fn plan(programs: &Programs, added: &[Added], orders: &Orders) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.host_file(GUEST_PATH, &programs.agent)?;
    tree.symlink("/init", GUEST_PATH)?;
    if let Some(kmodtrace) = &programs.kmodtrace {
        tree.host_file(KMODTRACE_PATH, kmodtrace)?;
    }
    tree.bytes(ORDERS_PATH, 0o600, serde_json::to_vec(orders).context("cannot write the orders")?)?;
    for Added { host, guest } in added {
        tree.host_file(guest, host)?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kmodtrace_tests::protocol::Job;

    /// Only an absolute guest path is accepted, so that a mistyped pair is not packed somewhere odd.
    #[test]
    fn reads_added_files() {
        let added: Added = "a/b:/c".parse().unwrap();
        assert_eq!(added, Added { host: "a/b".into(), guest: "/c".into() });
        for text in ["a", "a:b", ":/c"] {
            assert!(text.parse::<Added>().is_err(), "{text}");
        }
    }

    /// A run holds its agent as pid 1, its orders, and the added files.
    #[test]
    fn plans_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let agent = dir.path().join("agent");
        std::fs::write(&agent, "x").unwrap();
        let programs = Programs { agent: agent.clone(), kmodtrace: None };
        let orders = Orders { job: Job::Command { argv: vec!["true".into()] } };
        let added = [Added { host: agent, guest: "/opt/tool".into() }];
        let tree = plan(&programs, &added, &orders).unwrap();
        for path in ["init", "usr/bin/kmodtrace-guest", "kmodtrace-orders.json", "opt/tool"] {
            assert!(tree.contains(path), "{path}");
        }
        assert!(!tree.contains("usr/bin/kmodtrace"));
    }
}
