//! Debian's backports as an additional source of the machine's own apt, for one installation.
//!
//! A package that was installed from backports can conflict with the stable release's packages of the same software, for
//! example qemu-utils with qemu-system-x86. If the machine's sources no longer contain backports, apt has no compatible version.
//! The machine's configuration is not changed: sources and lists are stored in a separate directory.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::system;

use super::archive::KEYRING;
use super::mirrors;

/// Options for the programs of apt that add backports to the machine's sources. `None` if the machine is not a stable Debian.
pub(super) fn options(tools: &Path) -> Result<Option<Vec<String>>> {
    let Some(codename) = system::debian_codename() else { return Ok(None) };
    if !Path::new(KEYRING).exists() {
        return Ok(None);
    }
    let mirror = mirrors::mirrors().into_iter().next().map(|mirror| mirror.debian);
    let Some(mirror) = mirror else { return Ok(None) };
    let source = format!("deb [signed-by={KEYRING}] {mirror} {codename}-backports main\n");
    prepare(&tools.join("backports"), Path::new("/etc/apt"), &source).map(Some)
}

/// Copies the machine's sources and adds one. Returns the options that make apt use the copy and separate lists.
fn prepare(dir: &Path, etc: &Path, source: &str) -> Result<Vec<String>> {
    let Some(text) = dir.to_str().filter(|text| !text.contains(['"', '\n'])) else {
        bail!("cannot use {} for apt: its name has quotes, line ends or bytes that are not UTF-8", dir.display());
    };
    let parts = dir.join("sources.list.d");
    match fs::remove_dir_all(&parts) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", parts.display()));
        }
        _ => {}
    }
    for directory in [&parts, &dir.join("lists/partial")] {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let mut sources = vec![etc.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc.join("sources.list.d")) {
        sources.extend(entries.flatten().map(|entry| entry.path()));
    }
    for from in sources.iter().filter(|path| path.is_file()) {
        let to = parts.join(from.file_name().unwrap_or_default());
        fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    let own = parts.join("kmodtrace-backports.list");
    fs::write(&own, source).with_context(|| format!("cannot write {}", own.display()))?;
    let settings = [
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        format!("Dir::Etc::sourceparts={text}/sources.list.d"),
        format!("Dir::State::lists={text}/lists"),
        format!("Dir::Cache::pkgcache={text}/pkgcache.bin"),
        "Dir::Cache::srcpkgcache=".to_owned(),
        // apt's own user may have no access to the directory.
        "APT::Sandbox::User=root".to_owned(),
    ];
    Ok(settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect())
}

#[cfg(test)]
mod tests {
    use super::super::host::Machine;
    use super::super::install::{self, PackageQueries as _};
    use super::super::parse;
    use super::super::testing::{Package, Repository, package};
    use super::*;

    /// A real apt whose sources lack backports keeps an installed package of backports once these are added, and the
    /// machine's own sources stay as they are.
    #[test]
    fn conflict_with_added_backports_is_resolved() {
        let part =
            |name, version, depends, breaks| Package { depends, breaks, source: "qemu", ..package(name, version) };
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let stable = Repository::create(
            at("stable"),
            "bookworm",
            &[part("qemu-system-x86", "1:7.2", "", "qemu-utils (>> 1:7.2)"), part("qemu-utils", "1:7.2", "", "")],
        );
        let newer = [part("qemu-system-x86", "1:8.2", "", ""), part("qemu-utils", "1:8.2", "", "")];
        let backports = Repository::create(at("backports"), "bookworm-backports", &newer);
        for part in super::super::config::DIRECTORIES.iter().chain(&["dpkg/info", "dpkg/updates"]) {
            fs::create_dir_all(at(part)).unwrap();
        }
        let status = "Package: qemu-utils\nStatus: install ok installed\nMaintainer: Test\nArchitecture: amd64\n\
                      Source: qemu\nVersion: 1:8.2\nDescription: none\n\n";
        fs::write(at("dpkg/status"), status).unwrap();
        let sources = format!("deb [arch=amd64 trusted=yes] {} bookworm main\n", stable.uri());
        fs::write(at("etc/sources.list"), &sources).unwrap();
        let here = dir.path().display();
        fs::write(
            at("apt.conf"),
            format!(
                "Dir \"{here}/\";\nDir::Etc \"etc\";\nDir::State \"state\";\nDir::State::status \"{here}/dpkg/status\";\n\
                 Dir::Cache \"cache\";\nAPT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
                 Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n"
            ),
        )
        .unwrap();
        let variable = |name: &str, path: &str| (name.to_owned(), at(path).display().to_string());
        let environment = vec![variable("APT_CONFIG", "apt.conf"), variable("DPKG_ADMINDIR", "dpkg")];
        let mut machine = Machine { environment, options: Vec::new() };
        machine.query("apt-get", &["update"]).unwrap();
        let wanted = ["qemu-system-x86".to_owned()];
        install::arguments(&machine, &wanted).unwrap_err();

        let added = format!("deb [arch=amd64 trusted=yes] {} bookworm-backports main\n", backports.uri());
        machine.options = prepare(&at("own"), &at("etc"), &added).unwrap();
        machine.query("apt-get", &["update"]).unwrap();
        let arguments = install::arguments(&machine, &wanted).unwrap();
        let simulation = machine.simulate(&arguments).unwrap();
        assert!(parse::removals(&simulation).is_empty(), "{simulation}");
        assert!(simulation.contains("Inst qemu-system-x86 (1:8.2 "), "{simulation}");
        assert_eq!(fs::read_to_string(at("etc/sources.list")).unwrap(), sources);
        assert!(!at("etc/sources.list.d/kmodtrace-backports.list").exists());
    }
}
