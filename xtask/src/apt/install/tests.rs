//! Tests of the selection with recorded output of apt, and with a real apt on simulated machines.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::anyhow;

use super::super::host::Machine;
use super::super::testing::{Package, Repository, package};
use super::*;

/// Recorded answers by query.
#[derive(Default)]
struct Answers {
    simulations: BTreeMap<&'static str, &'static str>,
    shown: BTreeMap<&'static str, &'static str>,
    madison: BTreeMap<&'static str, &'static str>,
    installed: BTreeMap<&'static str, (&'static str, &'static str)>,
}

impl PackageQueries for Answers {
    fn simulate(&self, arguments: &[String]) -> Result<String> {
        let text = self.simulations.get(arguments.join(" ").as_str());
        text.map(|&text| text.to_owned()).ok_or_else(|| anyhow!("E: Unable to correct problems"))
    }

    fn show(&self, package: &str) -> Result<String> {
        self.shown.get(package).map(|&text| text.to_owned()).ok_or_else(|| anyhow!("E: No packages found"))
    }

    fn madison(&self, package: &str) -> Result<String> {
        Ok(self.madison.get(package).map(|&text| text.to_owned()).unwrap_or_default())
    }

    fn installed(&self, package: &str) -> Result<Offer> {
        let (source, version) = self.installed.get(package).ok_or_else(|| anyhow!("no packages found"))?;
        let (source, version) = ((*source).to_owned(), (*version).to_owned());
        Ok(Offer { version: version.clone(), source, source_version: version, needs: Vec::new() })
    }

    fn all_installed(&self) -> Result<Vec<Offer>> {
        self.installed.keys().map(|package| self.installed(package)).collect()
    }
}

const REMOVES: &str =
    "Inst qemu-system-common (1:7.2)\nRemv qemu-utils [1:8.2~bpo12+1]\nInst qemu-system-x86 (1:7.2)\n";
const GOOD: &str = "Inst qemu-system-common (1:8.2~bpo12+1)\nInst qemu-system-x86 (1:8.2~bpo12+1)\n";
const SYSTEM: &str = "Package: qemu-system-x86\nSource: qemu\nVersion: 1:8.2~bpo12+1\nDepends: qemu-system-common, seabios\n\n\
                      Package: qemu-system-x86\nSource: qemu\nVersion: 1:7.2\nDepends: qemu-system-common, seabios\n\n";
const COMMON: &str = "Package: qemu-system-common\nSource: qemu\nVersion: 1:8.2~bpo12+1\n\n\
                      Package: qemu-system-common\nSource: qemu\nVersion: 1:7.2\n\n";

/// A machine with qemu-utils from backports, which the stable QEMU would replace.
fn conflict() -> Answers {
    Answers {
        simulations: BTreeMap::from([("qemu-system-x86", REMOVES), ("qemu-system-x86 qemu-utils", REMOVES)]),
        shown: BTreeMap::from([("qemu-system-x86", SYSTEM), ("qemu-system-common", COMMON)]),
        madison: BTreeMap::from([(
            "qemu-system-x86",
            "qemu-system-x86 | 1:8.2~bpo12+1 | http://m/debian bookworm-backports/main amd64 Packages\n\
             qemu-system-x86 | 1:7.2 | http://m/debian bookworm/main amd64 Packages\n",
        )]),
        installed: BTreeMap::from([("qemu-utils", ("qemu", "1:8.2~bpo12+1"))]),
    }
}

fn decide(answers: &Answers) -> Result<String> {
    Ok(arguments(answers, &["qemu-system-x86".to_owned()])?.join(" "))
}

const MATCHING: &str = "qemu-system-x86=1:8.2~bpo12+1 qemu-system-common=1:8.2~bpo12+1";
const FROM_RELEASE: &str = "--target-release=bookworm-backports qemu-system-x86=1:8.2~bpo12+1 \
                            qemu-system-common=1:8.2~bpo12+1";

/// If nothing would be removed, apt selects the versions.
#[test]
fn installation_without_conflict_is_unchanged() {
    let simulations = BTreeMap::from([("qemu-system-x86", GOOD)]);
    assert_eq!(decide(&Answers { simulations, ..conflict() }).unwrap(), "qemu-system-x86");
}

/// An outdated package that would be removed is upgraded instead.
#[test]
fn outdated_package_is_upgraded_together() {
    let mut answers = conflict();
    answers.simulations.insert("qemu-system-x86 qemu-utils", GOOD);
    assert_eq!(decide(&answers).unwrap(), "qemu-system-x86 qemu-utils");
}

/// The installed version is selected for all parts of the same software, if necessary with dependencies from its release.
#[test]
fn matching_version_is_installed() {
    let mut answers = conflict();
    answers.simulations.insert(FROM_RELEASE, GOOD);
    assert_eq!(decide(&answers).unwrap(), FROM_RELEASE);
    answers.simulations.insert(MATCHING, GOOD);
    assert_eq!(decide(&answers).unwrap(), MATCHING);
}

/// If every solution removes a package, nothing is installed, and the error names the package and the command.
#[test]
fn removal_is_left_to_the_user() {
    let mut answers = conflict();
    answers.simulations.insert(MATCHING, REMOVES);
    let error = decide(&answers).unwrap_err().to_string();
    assert!(error.starts_with("apt would remove qemu-utils 1:8.2~bpo12+1 to install qemu-system-x86"), "{error}");
    assert!(error.contains("offers packages built from qemu 1:8.2~bpo12+1, and run this again"), "{error}");
    assert!(error.contains("\n  apt-get install --no-install-recommends qemu-system-x86\n"), "{error}");
}

/// A package of other software is not removed either, and no other versions are tried.
#[test]
fn packages_of_other_software_are_kept() {
    let answers = Answers {
        simulations: BTreeMap::from([("qemu-system-x86", "Remv virtualbox [7.0]\n")]),
        installed: BTreeMap::from([("virtualbox", ("virtualbox", "7.0"))]),
        ..conflict()
    };
    assert!(decide(&answers).unwrap_err().to_string().starts_with("apt would remove virtualbox 7.0"));
}

/// If apt finds no solution because an installed part of the same software is newer, the version of that part is selected, even
/// if the requested package does not depend on that part.
#[test]
fn version_of_installed_part_is_selected() {
    for part in ["qemu-system-common", "qemu-utils"] {
        let mut answers = conflict();
        answers.simulations.clear();
        answers.installed.clear();
        let error = decide(&answers).unwrap_err();
        assert!(format!("{error:#}").contains("see why with: apt-get install --no-install-recommends qemu-system-x86"));
        answers.installed.insert(part, ("qemu", "1:8.2~bpo12+1"));
        answers.simulations.insert(MATCHING, GOOD);
        assert_eq!(decide(&answers).unwrap(), MATCHING);
    }
}

/// Each release that has a selected version is tried, because the first package may be from another release.
#[test]
fn release_of_every_selected_package_is_tried() {
    let mut answers = conflict();
    answers.simulations.clear();
    answers.shown.insert("kmod", "Package: kmod\nVersion: 30\n\n");
    answers.madison.insert("kmod", "kmod | 30 | http://m/debian bookworm/main amd64 Packages\n");
    answers.installed.insert("libkmod2", ("kmod", "30"));
    let wanted = "--target-release=bookworm-backports kmod=30 qemu-system-x86=1:8.2~bpo12+1 \
                  qemu-system-common=1:8.2~bpo12+1";
    answers.simulations.insert(wanted, GOOD);
    let packages = ["kmod", "qemu-system-x86"].map(str::to_owned);
    assert_eq!(arguments(&answers, &packages).unwrap().join(" "), wanted);
}

const fn part(name: &'static str, version: &'static str, depends: &'static str, breaks: &'static str) -> Package {
    Package { depends, breaks, source: "qemu", ..package(name, version) }
}

const STABLE: [Package; 4] = [
    part("qemu-system-x86", "1:7.2", "qemu-system-common (>= 1:7.2), seabios (>= 1)", ""),
    part("qemu-system-common", "1:7.2", "", "qemu-utils (>> 1:7.2)"),
    part("qemu-utils", "1:7.2", "", ""),
    package("seabios", "1"),
];

const BACKPORTS: [Package; 4] = [
    part("qemu-system-x86", "1:8.2~bpo12+1", "qemu-system-common (>= 1:8.2~), seabios (>= 2)", ""),
    part("qemu-system-common", "1:8.2~bpo12+1", "", "qemu-utils (<< 1:8.2~)"),
    part("qemu-utils", "1:8.2~bpo12+1", "", ""),
    package("seabios", "2"),
];

/// A simulated machine: two releases, and one installed package.
fn machine(dir: &Path, backports: &[Package], installed: &str) -> Machine {
    let stable = Repository::create(dir.join("stable"), "bookworm", &STABLE);
    let backports = Repository::create(dir.join("backports"), "bookworm-backports", backports);
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    for part in super::super::config::DIRECTORIES.iter().chain(&["dpkg/info", "dpkg/updates"]) {
        fs::create_dir_all(dir.join(part)).unwrap();
    }
    write("dpkg/status", installed);
    let sources = [(stable.uri(), "bookworm"), (backports.uri(), "bookworm-backports")];
    let sources = sources.map(|(uri, suite)| format!("deb [arch=amd64 trusted=yes] {uri} {suite} main\n"));
    write("etc/sources.list", &sources.concat());
    let here = dir.display();
    write(
        "apt.conf",
        &format!(
            "Dir \"{here}/\";\nDir::Etc \"etc\";\nDir::State \"state\";\nDir::State::status \"{here}/dpkg/status\";\n\
             Dir::Cache \"cache\";\nAPT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
             Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n"
        ),
    );
    let variable = |name: &str, path: &str| (name.to_owned(), dir.join(path).display().to_string());
    let environment = vec![variable("APT_CONFIG", "apt.conf"), variable("DPKG_ADMINDIR", "dpkg")];
    let machine = Machine { environment, options: Vec::new() };
    machine.query("apt-get", &["update"]).unwrap();
    machine
}

fn status(name: &str, version: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nMaintainer: Test\nArchitecture: amd64\nSource: qemu\n\
         Version: {version}\nDescription: none\n\n"
    )
}

/// A real apt would remove qemu-utils of backports for the stable QEMU; with the selected versions it does not.
#[test]
fn real_apt_keeps_installed_package() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(dir.path(), &BACKPORTS, &status("qemu-utils", "1:8.2~bpo12+1"));
    let wanted = ["qemu-system-x86".to_owned()];
    assert_eq!(parse::removals(&machine.simulate(&wanted).unwrap()), ["qemu-utils"]);
    let arguments = arguments(&machine, &wanted).unwrap();
    assert_eq!(arguments.join(" "), FROM_RELEASE);
    let simulation = machine.simulate(&arguments).unwrap();
    assert!(parse::removals(&simulation).is_empty(), "{simulation}");
    assert!(simulation.contains("Inst qemu-system-x86 (1:8.2~bpo12+1 "), "{simulation}");
}

/// If no archive has the installed version any more, it is an error, and nothing is removed.
#[test]
fn real_apt_never_removes_packages() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(dir.path(), &[package("other", "1")], &status("qemu-utils", "1:8.2~bpo12+1"));
    let error = arguments(&machine, &["qemu-system-x86".to_owned()]).unwrap_err().to_string();
    assert!(error.starts_with("apt would remove qemu-utils 1:8.2~bpo12+1 to install qemu-system-x86"), "{error}");
}
