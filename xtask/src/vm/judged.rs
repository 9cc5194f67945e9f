//! `vm run --policy`: the command under kmodtrace, with the policy and its neighbours in the guest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kmodtrace_tests::protocol::KMODTRACE_PATH;

use super::guest::Guest;

/// Where policies lie in the guest.
const POLICIES: &str = "/etc/kmodtrace";

/// Adds the policy to the guest, and puts kmodtrace in front of the command.
pub(super) fn under_policy(guest: Guest, policy: &Path, command: &[String]) -> Result<(Guest, Vec<String>)> {
    if !guest.has_kmodtrace() {
        bail!("there is no kmodtrace to put into the guest: run cargo xtask build");
    }
    let name = policy.file_name().and_then(|name| name.to_str()).context("the policy has an odd name")?;
    let files = with_neighbours(policy)?;
    let guest = files.into_iter().try_fold(guest, |guest, file| -> Result<Guest> {
        let name = file.file_name().and_then(|name| name.to_str()).context("a policy has an odd name")?.to_owned();
        Ok(guest.with_file(file, format!("{POLICIES}/{name}")))
    })?;
    let place = format!("{POLICIES}/{name}");
    let front = [KMODTRACE_PATH, "run", "--policy", &place, "--"].map(str::to_owned);
    Ok((guest, front.into_iter().chain(command.iter().cloned()).collect()))
}

/// The policy and the policies beside it, which it may include.
fn with_neighbours(policy: &Path) -> Result<Vec<PathBuf>> {
    let directory = policy.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let mut files = vec![policy.to_owned()];
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", directory.display()))?.path();
        let is_policy = path.extension().is_some_and(|extension| extension == "toml") && path.is_file();
        if is_policy && path.file_name() != policy.file_name() {
            files.push(path);
        }
    }
    if !policy.is_file() {
        bail!("there is no policy {}", policy.display());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy comes first, its neighbours come along, anything else stays, and one that is not there is told.
    #[test]
    fn neighbours_come_along() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        for name in ["a.toml", "b.toml", "c.txt"] {
            fs::write(file(name), "version = 1\n").unwrap();
        }
        let mut files = with_neighbours(&file("a.toml")).unwrap();
        assert_eq!(files.remove(0), file("a.toml"));
        assert_eq!(files, [file("b.toml")]);
        assert!(with_neighbours(&file("d.toml")).is_err());
    }
}
