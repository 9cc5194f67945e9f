//! Tests of the private apt with repositories on disk.

use std::cell::Cell;
use std::fs;
use std::rc::Rc;

use tempfile::TempDir;

use super::super::testing::{Package, Repository, SUITE, Watcher, archive, package, settings};
use super::*;

fn repository(dir: &TempDir, name: &str, packages: &[Package]) -> Repository {
    Repository::create(dir.path().join(name), SUITE, packages)
}

/// Downloads packages, and returns the names of the files afterwards.
fn download(archive: &Archive, packages: &[&str], into: &Path) -> Result<Vec<String>> {
    let packages: Vec<String> = packages.iter().map(|&package| package.to_owned()).collect();
    archive.with(|apt| apt.download(&packages, into))?;
    Ok(files(into))
}

fn closure(archive: &Archive, packages: &[&str], into: &Path) -> Result<Vec<String>> {
    archive.with(|apt| apt.download_closure(packages, into))?;
    Ok(files(into))
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name.ends_with(".deb")).collect();
    names.sort();
    names
}

/// A mirror that is being updated is retried until it is consistent.
#[test]
fn updating_mirror_is_retried() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = repository(&dir, "mirror", &[package("a", "1")]);
    mirror.begin_update(SUITE);
    let mirror = Rc::new(mirror);
    let pauses = Rc::new(Cell::new(0));
    let watcher = Watcher::on_pause({
        let mirror = Rc::clone(&mirror);
        move || {
            pauses.set(pauses.get() + 1);
            if pauses.get() == 2 {
                mirror.end_update(SUITE);
            }
        }
    });
    let into = dir.path().join("into");
    assert_eq!(download(&archive(dir.path(), &[&mirror], &watcher), &["a"], &into).unwrap(), ["a_1_amd64.deb"]);
    assert_eq!(watcher.pauses.borrow().len(), 2);
    assert!(watcher.has_noted("seems to be updating; retrying in 5 s"), "{watcher:?}");
}

/// A package file with a wrong hash is fetched again, and never kept.
#[test]
fn package_with_wrong_hash_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = repository(&dir, "mirror", &[package("a", "1"), package("b", "1")]);
    let path = mirror.deb("a", "1");
    let good = fs::read(&path).unwrap();
    fs::write(&path, "something else").unwrap();
    let watcher = Watcher::on_pause({
        let good = good.clone();
        move || fs::write(&path, &good).unwrap()
    });
    let into = dir.path().join("into");
    assert_eq!(download(&archive(dir.path(), &[&mirror], &watcher), &["a", "b"], &into).unwrap().len(), 2);
    assert_eq!(fs::read(into.join("a_1_amd64.deb")).unwrap(), good);
    assert_eq!(watcher.pauses.borrow().len(), 1);
}

/// If a mirror stays unusable, the next one is used, without files of the first.
#[test]
fn next_mirror_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let bad = repository(&dir, "bad", &[package("a", "2"), package("b", "2")]);
    fs::write(bad.deb("a", "2"), "something else").unwrap();
    let good = repository(&dir, "good", &[package("a", "1"), package("b", "1")]);
    let watcher = Watcher::default();
    let archive = archive(dir.path(), &[&bad, &good], &watcher);
    let into = dir.path().join("into");
    assert_eq!(download(&archive, &["a", "b"], &into).unwrap(), ["a_1_amd64.deb", "b_1_amd64.deb"]);
    assert!(watcher.has_noted("cannot serve testing"), "{watcher:?}");
}

/// If no mirror has usable lists, those of the last successful update are used, and this is reported. Without them, it fails.
#[test]
fn lists_of_last_update_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = repository(&dir, "mirror", &[package("a", "1")]);
    let into = dir.path().join("into");
    let watcher = Watcher::default();
    mirror.begin_update(SUITE);
    let error = download(&archive(dir.path(), &[&mirror], &watcher), &["a"], &into).unwrap_err();
    assert!(format!("{error:#}").contains("cannot fetch from testing: all mirrors failed"), "{error:#}");
    assert!(!watcher.has_noted("ago"), "{watcher:?}");
    mirror.end_update(SUITE);
    download(&archive(dir.path(), &[&mirror], &watcher), &["a"], &into).unwrap();
    assert!(!watcher.has_noted("ago"), "{watcher:?}");
    mirror.begin_update(SUITE);
    assert_eq!(download(&archive(dir.path(), &[&mirror], &watcher), &["a"], &into).unwrap(), ["a_1_amd64.deb"]);
    assert!(watcher.has_noted("using those of copy:"), "{watcher:?}");
    assert!(watcher.has_noted("from 0 min ago"), "{watcher:?}");
    // The same if the mirror is gone.
    fs::rename(dir.path().join("mirror/dists"), dir.path().join("mirror/gone")).unwrap();
    assert_eq!(download(&archive(dir.path(), &[&mirror], &watcher), &["a"], &into).unwrap(), ["a_1_amd64.deb"]);
}

/// A version that is in the index but not in the pool is replaced by the previous one, even repeatedly.
#[test]
fn missing_version_falls_back() {
    let dir = tempfile::tempdir().unwrap();
    let packages = [package("a", "1:3"), package("a", "1:2"), package("a", "1:1"), package("b", "1")];
    let mirror = repository(&dir, "mirror", &packages);
    for version in ["1:3", "1:2"] {
        fs::remove_file(mirror.deb("a", version)).unwrap();
    }
    let watcher = Watcher::default();
    let archive = archive(dir.path(), &[&mirror], &watcher);
    let into = dir.path().join("into");
    assert_eq!(download(&archive, &["a", "b"], &into).unwrap(), ["a_1%3a1_amd64.deb", "b_1_amd64.deb"]);
    assert!(watcher.has_noted("lacks a 1:3, which is in its lists: using the previous version"), "{watcher:?}");
    assert!(watcher.has_noted("lacks a 1:2"), "{watcher:?}");
    assert!(watcher.pauses.borrow().is_empty(), "{watcher:?}");
    fs::remove_file(mirror.deb("a", "1:1")).unwrap();
    let error = format!("{:#}", download(&archive, &["a", "b"], &into).unwrap_err());
    assert!(error.contains("no other version can replace those that the pool lacks (a 1:1, a 1:2, a 1:3)"), "{error}");
}

/// A program and its exact dependency fall back together.
#[test]
fn exact_dependency_falls_back_with_program() {
    let dir = tempfile::tempdir().unwrap();
    let part = |name, version, depends| Package { depends, source: "software", ..package(name, version) };
    let packages = [
        part("library", "2", ""),
        part("program", "2", "library (= 2), other"),
        part("library", "1", ""),
        part("program", "1", "library (= 1), other"),
        package("other", "1"),
    ];
    let mirror = repository(&dir, "mirror", &packages);
    fs::remove_file(mirror.deb("library", "2")).unwrap();
    let watcher = Watcher::default();
    let archive = archive(dir.path(), &[&mirror], &watcher);
    let into = dir.path().join("into");
    let found = closure(&archive, &["program"], &into).unwrap();
    assert_eq!(found, ["library_1_amd64.deb", "other_1_amd64.deb", "program_1_amd64.deb"]);
    // The version may be available again later.
    fs::write(mirror.deb("library", "2"), "library 2\n").unwrap();
    let found = closure(&archive, &["program"], &into).unwrap();
    assert_eq!(found, ["library_2_amd64.deb", "other_1_amd64.deb", "program_2_amd64.deb"]);
}

/// If only the security archive fails, it is skipped, and this is reported.
#[test]
fn security_archive_is_optional() {
    let dir = tempfile::tempdir().unwrap();
    let main = Repository::create(dir.path().join("main"), "stable", &[package("a", "1")]);
    let security = Repository::create(dir.path().join("security"), "stable-security", &[package("a", "2")]);
    let mirror = Mirror { debian: main.uri(), security: security.uri(), frozen: false };
    let watcher = Watcher::default();
    let root = dir.path().join("apt");
    let archive = Archive::new(&root, "stable", settings(vec![mirror]), watcher.clone());
    let into = dir.path().join("into");
    security.begin_update("stable-security");
    assert_eq!(download(&archive, &["a"], &into).unwrap(), ["a_1_amd64.deb"]);
    assert!(watcher.has_noted("the security archive of stable is not usable"), "{watcher:?}");
    security.end_update("stable-security");
    assert_eq!(download(&archive, &["a"], &into).unwrap(), ["a_2_amd64.deb"]);
}

/// An `/etc/apt` whose settings would break a fetch.
struct Hostile {
    dir: PathBuf,
}

impl Hostile {
    fn create(dir: &Path) -> Self {
        let etc = dir.join("etc-apt");
        let part = |name: &str, text: &str| {
            let path = etc.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        part(
            "apt.conf.d/50apt-file.conf",
            "Acquire::IndexTargets::deb::Contents-deb { MetaKey \"$(COMPONENT)/Contents-$(ARCHITECTURE)\"; \
             Description \"Contents\"; Optional \"false\"; };\n",
        );
        let touch = format!("touch {}", dir.join("hook-ran").display());
        let hooks = [
            "APT::Update::Pre-Invoke",
            "APT::Update::Post-Invoke",
            "APT::Update::Post-Invoke-Success",
            "DPkg::Pre-Invoke",
            "DPkg::Pre-Install-Pkgs",
            "DPkg::Post-Invoke",
        ];
        part("apt.conf.d/60hooks", &hooks.map(|hook| format!("{hook} {{ \"{touch}\"; }};\n")).concat());
        part(
            "apt.conf.d/70machine",
            "APT::Architecture \"riscv64\";\nAPT::Architectures { \"riscv64\"; \"i386\"; };\n\
             Acquire::Languages { \"de\"; };\nAcquire::GzipIndexes \"true\";\nAPT::Install-Recommends \"true\";\n\
             Dir::State::lists \"/nonexistent\";\nDir::Bin::methods \"/nonexistent\";\n\
             APT::Sandbox::User \"nosuchuser\";\n",
        );
        part("apt.conf.d/80network", "Acquire::http::Proxy::mirror.example \"http://proxy.example:3128\";\n");
        part("apt.conf", "APT::Default-Release \"nosuchrelease\";\nAPT::Get::AllowUnauthenticated \"false\";\n");
        part("preferences", "Package: *\nPin: release *\nPin-Priority: -1\n");
        part("preferences.d/all", "Package: *\nPin: version *\nPin-Priority: -1\n");
        part("sources.list", "deb copy:/nonexistent nosuchsuite main\n");
        part("sources.list.d/other.list", "deb copy:/nonexistent nosuchsuite main\n");
        fs::write(dir.join("hostile.conf"), format!("Dir::Etc \"{}/\";\n", etc.display())).unwrap();
        Self { dir: dir.to_owned() }
    }

    fn break_a_line(&self) {
        fs::write(self.dir.join("etc-apt/apt.conf.d/99broken"), "APT::Get { \"\n}}; ::;\n").unwrap();
    }

    /// The environment of a machine with this `/etc/apt`.
    fn environment(&self) -> Vec<(String, String)> {
        let config = self.dir.join("hostile.conf").display().to_string();
        vec![("APT_CONFIG".to_owned(), config), ("LC_ALL".to_owned(), "de_DE.UTF-8".to_owned())]
    }
}

/// The configuration of the machine has no effect on the private apt, except for the proxies.
#[test]
fn hostile_configuration_has_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let recommended = Package { depends: "b", ..package("a", "1") };
    let mirror = repository(&dir, "mirror", &[recommended, package("b", "1")]);
    let hostile = Hostile::create(dir.path());
    for is_broken in [false, true] {
        if is_broken {
            hostile.break_a_line();
        }
        let network = config::network_of(&hostile.environment());
        assert_eq!(network.is_err(), is_broken);
        let mut settings = settings(vec![mirror.mirror()]);
        settings.environment = hostile.environment();
        settings.network = network.unwrap_or_default();
        let root = dir.path().join(format!("apt-{is_broken}"));
        let watcher = Watcher::default();
        let archive = Archive::new(&root, SUITE, settings, watcher.clone());
        let into = dir.path().join(format!("into-{is_broken}"));
        assert_eq!(closure(&archive, &["a"], &into).unwrap(), ["a_1_amd64.deb", "b_1_amd64.deb"]);
        assert!(watcher.notes.borrow().is_empty(), "{watcher:?}");
        assert!(!dir.path().join("hook-ran").exists());

        let dump = archive.with(|apt| apt.run("apt-config", &["dump"], None)).unwrap();
        for foreign in ["Contents", "Invoke", "Pre-Install", "riscv64", "nosuch", "/nonexistent", "etc-apt", "/etc/apt"]
        {
            assert!(!dump.contains(foreign), "{foreign} is in\n{dump}");
        }
        assert_eq!(dump.contains("Acquire::http::Proxy::mirror.example \"http://proxy.example:3128\";"), !is_broken);
    }
}

/// The private apt reads no file of the machine's apt: every path in its configuration is private, except for programs.
#[test]
fn every_path_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = repository(&dir, "mirror", &[package("a", "1")]);
    let archive = archive(dir.path(), &[&mirror], &Watcher::default());
    let dump = archive.with(|apt| apt.run("apt-config", &["dump"], None)).unwrap();
    let names = dump.lines().filter_map(|line| line.split(' ').next()).filter(|name| name.starts_with("Dir::"));
    let names = names.filter(|name| {
        !name.ends_with("::") && !["Dir::Bin", "Dir::Media", "Dir::Ignore"].iter().any(|other| name.starts_with(other))
    });
    let names: Vec<&str> = names.collect();
    assert!(names.contains(&"Dir::Etc::parts") && names.contains(&"Dir::State::status"), "{names:?}");
    let own = dir.path().join("apt").display().to_string();
    for name in names {
        let shell = archive.with(|apt| apt.run("apt-config", &["shell", "found", &format!("{name}/f")], None)).unwrap();
        assert!(shell.starts_with(&format!("found='{own}/")), "{name}: {shell}");
    }
}
