//! Compares resolutions with those of the installed kmod, on a tree of modules that is created here and indexed by depmod.

mod module_file;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use module_file::ModuleFile;

use super::Resolver;
use crate::modprobe::{Modprobe, Planned, Resolution, Unresolved};

const RELEASE: &str = "6.1.0-test";

/// A prefix that no real module has: `modprobe -n` omits loaded modules.
const MODULES: [ModuleFile; 8] = [
    ModuleFile { name: "kmt-base", modinfo: &["license=GPL"], exports: &["kmt_base"], needs: &[] },
    ModuleFile { name: "kmt_mid", modinfo: &["alias=kmt-pf-30"], exports: &["kmt_mid"], needs: &["kmt_base"] },
    ModuleFile {
        name: "kmt_top",
        modinfo: &["alias=fs-kmt", "alias=kmt:v*d[0-9]*"],
        exports: &[],
        needs: &["kmt_mid", "kmt_base"],
    },
    ModuleFile { name: "kmt_fast", modinfo: &["alias=kmt-crc"], exports: &[], needs: &[] },
    ModuleFile { name: "kmt_slow", modinfo: &["alias=kmt-crc"], exports: &[], needs: &[] },
    ModuleFile {
        name: "kmt_soft",
        modinfo: &["alias=kmt-pf-31", "softdep=pre: kmt-crc", "softdep=post: kmt_mid"],
        exports: &[],
        needs: &["kmt_base"],
    },
    ModuleFile { name: "kmt_ring_a", modinfo: &["softdep=pre: kmt_ring_b"], exports: &[], needs: &[] },
    ModuleFile { name: "kmt_ring_b", modinfo: &["softdep=pre: kmt_ring_a"], exports: &[], needs: &[] },
];

const NAMES: [&str; 19] = [
    "kmt_base",
    "kmt-base",
    "kmt_top",
    "kmt-top",
    "fs-kmt",
    "fs_kmt",
    "kmt:v12d3x",
    "kmt:v12dx",
    "kmt-pf-30",
    "kmt-pf-31",
    "kmt-pf-99",
    "kmt-crc",
    "kmt_soft",
    "kmt_ring_a",
    "kmt_builtin",
    "symbol:kmt_mid",
    "mine",
    "broken]",
    "kmt_nothing",
];

const CONFIGS: [&str; 14] = [
    "",
    "blacklist kmt_mid\nblacklist kmt-fast\n",
    "alias kmt-pf-30 off\nalias kmt-pf-9? kmt-base\nalias mine kmt_top\n",
    "alias kmt_* kmt_slow\n",
    "install kmt_mid /bin/false\n",
    "install kmt-base /bin/true\ninstall mine /bin/echo mine\n",
    "install kmt_* /bin/false\n",
    "softdep kmt_base pre: kmt-crc post: kmt_slow\ninstall kmt_base /bin/false\n",
    "softdep kmt_top pre: kmt_soft\nblacklist kmt_soft\n",
    "softdep kmt_top post: kmt_nothing kmt-pf-31\ninstall kmt_soft /bin/true; /bin/false\n",
    // Carriage returns belong to names and commands.
    "blacklist kmt_mid\r\nalias kmt-pf-31 off\r\ninstall kmt_top /bin/false\r\ninstall kmt_slow\r /bin/false\r\n",
    // Words end at blanks and tabs.
    "install\tkmt_mid \t /bin/false\t\nblacklist\t  kmt-fast\t# x\nalias \tkmt-pf-30\t kmt_slow\tx\n\tblacklist kmt_slow\n",
    // The text of the end mark within a line, continued lines, and lines that kmod ignores.
    "install kmt_base echo # End of configuration files. Dumping indexes now:\ninstall kmt_fast \\\n/bin/false\nnonsense x\n\
     install kmt_slow\n# End of configuration files. Dumping indexes now:\nblacklist kmt_soft\n",
    "install kmt-crc /bin/false\ninstall kmt_fast /bin/sh -c 'exit 1'\nalias kmt-pf-9[0-9] kmt_top\n",
];

/// The modprobe that results are compared with.
fn program() -> PathBuf {
    let program = std::env::var_os("KMODTRACE_TEST_MODPROBE").unwrap_or_else(|| "/sbin/modprobe".into());
    let program = PathBuf::from(program);
    assert!(
        program.exists(),
        "{} does not exist: install the package kmod (`apt-get install kmod`), or set KMODTRACE_TEST_MODPROBE",
        program.display()
    );
    program
}

/// A root directory with indexed modules and a configuration directory.
fn tree(config: &str) -> (tempfile::TempDir, Modprobe) {
    let program = program();
    let root = tempfile::tempdir().unwrap();
    let modprobe = Modprobe {
        program: program.clone(),
        root: root.path().to_owned(),
        release: RELEASE.to_owned(),
        config: Some(vec![root.path().join("modprobe.d")]),
    };
    std::fs::create_dir(root.path().join("modprobe.d")).unwrap();
    std::fs::write(root.path().join("modprobe.d/test.conf"), config).unwrap();
    let directory = modprobe.module_directory();
    std::fs::create_dir_all(directory.join("kernel")).unwrap();
    let mut order = String::new();
    for module in &MODULES {
        std::fs::write(directory.join(format!("kernel/{}.ko", module.name)), module.bytes()).unwrap();
        order += &format!("kernel/{}.ko\n", module.name);
    }
    std::fs::write(directory.join("modules.order"), order).unwrap();
    std::fs::write(directory.join("modules.builtin"), "kernel/kmt_builtin.ko\n").unwrap();
    std::fs::write(directory.join("modules.builtin.modinfo"), "kmt_builtin.license=GPL\0").unwrap();
    run_depmod(&program, root.path());
    (root, modprobe)
}

fn run_depmod(modprobe: &Path, root: &Path) {
    let output = Command::new(modprobe.with_file_name("depmod")).arg("-b").arg(root).arg(RELEASE).output().unwrap();
    assert!(output.status.success(), "depmod: {}", String::from_utf8_lossy(&output.stderr));
}

/// Parses a step of modprobe: a module or a command.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Step {
    Load(String),
    Run(String),
}

/// The steps that modprobe prints.
fn printed(modprobe: &Modprobe, name: &str) -> Vec<Step> {
    let mut command = Command::new(&modprobe.program);
    command.arg("-d").arg(&modprobe.root).arg("-S").arg(RELEASE);
    command.arg("-C").arg(&modprobe.config.as_ref().unwrap()[0]);
    let output = command.args(["-n", "-v", "--", name]).output().unwrap();
    let mut steps = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().split_terminator('\n') {
        let (verb, rest) = line.split_once(' ').unwrap();
        let step = match verb {
            "insmod" => {
                let path = Path::new(rest.split(' ').next().unwrap());
                Step::Load(path.file_stem().unwrap().to_str().unwrap().replace('-', "_"))
            }
            "install" => Step::Run(rest.trim_matches([' ', '\t']).to_owned()),
            other => panic!("modprobe printed {other}: {line}"),
        };
        // Since a dry run loads nothing, modprobe prints a module twice if two others need it.
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

/// The steps of a resolution.
fn resolved(resolution: &Resolution) -> Vec<Step> {
    let step = |planned: &Planned| match &planned.command {
        Some(command) => Step::Run(command.text.clone()),
        None => Step::Load(planned.module.clone()),
    };
    let mut steps: Vec<Step> = Vec::new();
    let all = match resolution {
        Resolution::Modules(modules) => modules.iter().map(step).collect(),
        Resolution::Install { command, before, .. } => {
            let mut steps: Vec<Step> = before.iter().map(step).collect();
            steps.push(Step::Run(command.text.clone()));
            steps
        }
        _ => Vec::new(),
    };
    for step in all {
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

/// For every configuration and name, the resolution has the same steps as the installed modprobe, in the same order.
#[test]
fn resolution_equals_that_of_the_installed_modprobe() {
    let mut loads = 0;
    for config in CONFIGS {
        let (_root, modprobe) = tree(config);
        let resolver = Resolver::new(modprobe.clone()).unwrap();
        for name in NAMES {
            let resolution = resolver.resolve(name.as_bytes());
            let printed = printed(&modprobe, name);
            assert_eq!(resolved(&resolution), printed, "{name} with {config:?}: {resolution:?}");
            loads += printed.len();
        }
    }
    assert!(loads > 100, "only {loads} steps were compared");
}

/// A changed, new or removed file is detected, and nothing is read again without a change.
#[test]
fn resolver_after_file_change_reads_again() {
    let (root, modprobe) = tree("");
    let mut resolver = Resolver::new(modprobe).unwrap();
    assert!(!resolver.refresh().unwrap());
    assert!(matches!(resolver.resolve(b"fs-kmt"), Resolution::Modules(_)));

    let file = root.path().join("modprobe.d/test.conf");
    std::fs::write(&file, "install kmt_top /bin/false\n").unwrap();
    assert!(resolver.refresh().unwrap());
    let expected = format!("install kmt_top /bin/false in {}:1", file.display());
    assert_eq!(resolver.resolve(b"fs-kmt").detail(), expected);

    std::fs::write(root.path().join("modprobe.d/more.conf"), "alias fs-kmt off\n").unwrap();
    assert!(resolver.refresh().unwrap());
    assert!(matches!(resolver.resolve(b"fs-kmt"), Resolution::Off { .. }));

    std::fs::remove_file(&file).unwrap();
    assert!(resolver.refresh().unwrap());
    assert!(!resolver.refresh().unwrap());
}

/// Bytes that are not UTF-8 do not merge names: the resolution is that of the installed modprobe.
#[test]
fn bytes_that_are_not_utf8_distinguish_names() {
    let (root, modprobe) = tree("");
    let lines = b"alias kmt-x\xff kmt_base\nalias kmt-x\xfe kmt_top\nblacklist kmt_base\xff\n";
    std::fs::write(root.path().join("modprobe.d/odd.conf"), lines).unwrap();
    let resolver = Resolver::new(modprobe).unwrap();
    let module = |name: &[u8]| match resolver.resolve(name) {
        Resolution::Modules(modules) => modules.last().map(|planned| planned.module.clone()),
        _ => None,
    };
    assert_eq!(module(b"kmt-x\xff").as_deref(), Some("kmt_base"));
    assert_eq!(module(b"kmt-x\xfe").as_deref(), Some("kmt_top"));
    assert_eq!((module(b"kmt-x\xfd"), module("kmt-x\u{fffd}".as_bytes())), (None, None));
}

/// modprobe's messages about lines that it ignores are kept.
#[test]
fn messages_about_ignored_lines_are_kept() {
    let (_root, modprobe) = tree("nonsense kmt_base\n");
    let warnings = Resolver::new(modprobe).unwrap().config().warnings.clone();
    let is_about = |line: &String| line.contains("test.conf") && line.contains("nonsense");
    assert!(warnings.iter().any(is_about), "{warnings:?}");
}

/// Facts about modules do not depend on the configuration.
#[test]
fn modules_carry_their_names_and_aliases() {
    let (_root, modprobe) = tree("alias fs-kmt off\nblacklist kmt_fast\n");
    let resolver = Resolver::new(modprobe).unwrap();
    for (name, module) in
        [("fs-kmt", "kmt_top"), ("kmt-crc", "kmt_fast"), ("kmt-crc", "kmt_slow"), ("kmt-base", "kmt_base")]
    {
        assert!(resolver.carries(name.as_bytes(), module), "{name}, {module}");
    }
    assert!(!resolver.carries(b"fs-kmt", "kmt_base") && !resolver.carries(b"x]", "x]"));
}

/// Modules that are moved away are noticed, and are found again when they are back.
#[test]
fn modules_that_are_moved_away_are_noticed() {
    let (root, modprobe) = tree("");
    let directory = modprobe.module_directory();
    let mut resolver = Resolver::new(modprobe.clone()).unwrap();
    let other = root.path().join("lib/modules/6.1.1");
    std::fs::rename(&directory, &other).unwrap();
    let error = resolver.refresh().unwrap_err();
    let expected = format!("{} does not exist: the kernel was upgraded; reboot", directory.display());
    assert_eq!(Unresolved::from(&error), Unresolved::NoModules(expected));
    assert!(Resolver::new(modprobe).is_err());
    std::fs::rename(&other, &directory).unwrap();
    assert!(resolver.refresh().unwrap());
    std::fs::write(directory.join("modules.alias.bin"), "").unwrap();
    let error = Unresolved::from(&resolver.refresh().unwrap_err());
    assert!(matches!(&error, Unresolved::Index(why) if why.contains("modules.alias.bin is empty")), "{error:?}");
}

/// A change while a request runs is noticed by the time of the change.
#[test]
fn change_after_a_time_is_noticed() {
    let now_ns = || jiff::Timestamp::now().as_nanosecond().try_into().unwrap();
    let (root, modprobe) = tree("");
    // The kernel's times of changes are those of its last tick.
    std::thread::sleep(std::time::Duration::from_millis(30));
    let before_ns: i64 = now_ns();
    let mut resolver = Resolver::new(modprobe).unwrap();
    assert_eq!(resolver.changed_since(before_ns), None);
    std::thread::sleep(std::time::Duration::from_millis(30));
    std::fs::write(root.path().join("modprobe.d/test.conf"), "blacklist kmt_mid\n").unwrap();
    assert!(resolver.refresh().unwrap());
    let changed = resolver.changed_since(before_ns).map(Path::to_owned);
    assert_eq!(changed, Some(root.path().join("modprobe.d/test.conf")));
}
