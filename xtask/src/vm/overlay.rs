//! The overlay of a run: our own programs, the orders, and files from the command line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kmodtrace_tests::protocol::{GUEST_PATH, KMODTRACE_PATH, ORDERS_PATH, Orders};

use super::tree::Tree;

/// A host file and its path in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    /// Path on the host.
    pub(crate) host: PathBuf,
    /// Path in the guest.
    pub(crate) guest: String,
}

impl std::str::FromStr for Added {
    type Err = anyhow::Error;

    /// Parses `HOST:GUEST`.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((host, guest)) if !host.is_empty() && guest.starts_with('/') => {
                Ok(Self { host: host.into(), guest: guest.to_owned() })
            }
            _ => bail!("invalid value {text:?}: expected HOSTPATH:/GUESTPATH"),
        }
    }
}

/// Our programs in a guest.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The static agent.
    pub(crate) agent: PathBuf,
    /// The program under test, if it was built.
    pub(crate) kmodtrace: Option<PathBuf>,
}

/// Writes the initramfs of one run: the archives, base image first, then the overlay. Without orders, the agent waits for them.
pub(crate) fn write(
    archives: &[&Path],
    programs: &Programs,
    added: &[Added],
    orders: Option<&Orders>,
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
    Ok(file.metadata().context("cannot get the size of the initramfs")?.len())
}

fn plan(programs: &Programs, added: &[Added], orders: Option<&Orders>) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.host_file(GUEST_PATH, &programs.agent)?;
    tree.symlink("/init", GUEST_PATH)?;
    if let Some(kmodtrace) = &programs.kmodtrace {
        tree.host_file(KMODTRACE_PATH, kmodtrace)?;
    }
    if let Some(orders) = orders {
        tree.bytes(ORDERS_PATH, 0o600, serde_json::to_vec(orders).context("cannot write the orders")?)?;
    }
    for Added { host, guest } in added {
        tree.host_file(guest, host)?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kmodtrace_tests::protocol::Job;

    /// Only absolute guest paths are accepted, so that a typing error does not go unnoticed.
    #[test]
    fn added_files_are_parsed() {
        let added: Added = "a/b:/c".parse().unwrap();
        assert_eq!(added, Added { host: "a/b".into(), guest: "/c".into() });
        for text in ["a", "a:b", ":/c"] {
            assert!(text.parse::<Added>().is_err(), "{text}");
        }
    }

    /// An overlay contains the agent as init, the orders, and the added files.
    #[test]
    fn overlay_has_all_files() {
        let dir = tempfile::tempdir().unwrap();
        let agent = dir.path().join("agent");
        std::fs::write(&agent, "x").unwrap();
        let programs = Programs { agent: agent.clone(), kmodtrace: None };
        let orders = Orders { job: Job::Command { argv: vec!["true".into()] } };
        let added = [Added { host: agent, guest: "/opt/tool".into() }];
        let tree = plan(&programs, &added, Some(&orders)).unwrap();
        for path in ["init", "usr/bin/kmodtrace-guest", "kmodtrace-orders.json", "opt/tool"] {
            assert!(tree.contains(path), "{path}");
        }
        assert!(!tree.contains("usr/bin/kmodtrace"));
        assert!(!plan(&programs, &added, None).unwrap().contains("kmodtrace-orders.json"));
    }
}
