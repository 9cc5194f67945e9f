//! `vm run --policy`: runs the command under kmodtrace, with the policy and the policies it may include in the guest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kmodtrace_tests::protocol::KMODTRACE_PATH;

use super::guest::Guest;

/// The directory of policies in the guest.
const POLICIES: &str = "/etc/kmodtrace";

/// Adds the policy to the guest, and prefixes the command with kmodtrace.
pub(super) fn under_policy(guest: Guest, policy: &Path, command: &[String]) -> Result<(Guest, Vec<String>)> {
    if !guest.has_kmodtrace() {
        bail!("cannot find target/dist/kmodtrace: it was not built; run cargo xtask build");
    }
    let name = policy.file_name().and_then(|name| name.to_str()).context("the name of the policy is not UTF-8")?;
    let files = policies_in_directory(policy)?;
    let guest = files.into_iter().try_fold(guest, |guest, file| -> Result<Guest> {
        let name =
            file.file_name().and_then(|name| name.to_str()).context("the name of a policy is not UTF-8")?.to_owned();
        Ok(guest.with_file(file, format!("{POLICIES}/{name}")))
    })?;
    let place = format!("{POLICIES}/{name}");
    let prefix = [KMODTRACE_PATH, "run", "--policy", &place, "--"].map(str::to_owned);
    Ok((guest, prefix.into_iter().chain(command.iter().cloned()).collect()))
}

/// The policy and the other policies in its directory, which it may include.
fn policies_in_directory(policy: &Path) -> Result<Vec<PathBuf>> {
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
        bail!("cannot find the policy {}", policy.display());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy comes first, then the other policies in its directory, but no other files. A missing policy is an error.
    #[test]
    fn policies_of_the_directory_are_added() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        for name in ["a.toml", "b.toml", "c.txt"] {
            fs::write(file(name), "version = 1\n").unwrap();
        }
        let mut files = policies_in_directory(&file("a.toml")).unwrap();
        assert_eq!(files.remove(0), file("a.toml"));
        assert_eq!(files, [file("b.toml")]);
        assert!(policies_in_directory(&file("d.toml")).is_err());
    }
}
