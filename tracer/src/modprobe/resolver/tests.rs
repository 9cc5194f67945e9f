//! Compares resolutions with those of the installed kmod, on a tree of modules that is created here and indexed by depmod.

mod module_file;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use module_file::ModuleFile;

use super::Resolver;
use crate::modprobe::{Modprobe, Planned, Resolution};

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

const CONFIGS: [&str; 10] = [
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
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (verb, rest) = line.trim_end().split_once(' ').unwrap();
        let step = match verb {
            "insmod" => {
                let path = Path::new(rest.split(' ').next().unwrap());
                Step::Load(path.file_stem().unwrap().to_str().unwrap().replace('-', "_"))
            }
            "install" => Step::Run(rest.trim_end().to_owned()),
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
        Some(command) => Step::Run(command.clone()),
        None => Step::Load(planned.module.clone()),
    };
    let mut steps: Vec<Step> = Vec::new();
    let all = match resolution {
        Resolution::Modules(modules) => modules.iter().map(step).collect(),
        Resolution::Install { command, before, .. } => {
            let mut steps: Vec<Step> = before.iter().map(step).collect();
            steps.push(Step::Run(command.clone()));
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
    assert_eq!(resolver.resolve(b"fs-kmt").detail(), "install kmt_top /bin/false in modprobe.d");

    std::fs::write(root.path().join("modprobe.d/more.conf"), "alias fs-kmt off\n").unwrap();
    assert!(resolver.refresh().unwrap());
    assert!(matches!(resolver.resolve(b"fs-kmt"), Resolution::Off { .. }));

    std::fs::remove_file(&file).unwrap();
    assert!(resolver.refresh().unwrap());
    assert!(!resolver.refresh().unwrap());
}
