use proptest::prelude::*;

use super::{Command, Place, Planned, Resolution, resolve};
use crate::{
    event::Reason::{Alias, Asked, Dependency, Softdep},
    modprobe::{Config, ModuleIndex},
};

const DEP: &str = "\
kernel/fat.ko:
kernel/vfat.ko: kernel/fat.ko
kernel/nf_defrag_ipv4.ko:
kernel/nf_conntrack.ko: kernel/nf_defrag_ipv4.ko
kernel/nf_nat.ko: kernel/nf_conntrack.ko kernel/nf_defrag_ipv4.ko
kernel/iptable_nat.ko: kernel/nf_nat.ko kernel/nf_conntrack.ko kernel/nf_defrag_ipv4.ko
kernel/can.ko:
kernel/crc32c_intel.ko:
kernel/crc32c_generic.ko:
kernel/xor.ko:
kernel/btrfs.ko: kernel/xor.ko
kernel/ring_a.ko:
kernel/ring_b.ko:
";

const INDEX: &str = "
# End of configuration files. Dumping indexes now:

alias fs_vfat vfat
alias net_pf_29 can
alias crc32c crc32c_generic
alias crc32c crc32c_intel
alias symbol:nf_nat_setup nf_nat
";

fn plan(config: &str, name: &str) -> Resolution {
    let config = Config::parse(format!("{config}{INDEX}")).unwrap();
    let index = ModuleIndex::parse(DEP, "kernel/ext4.ko\n", "ext4.alias=fs-ext3\0");
    resolve(&config, &index, name.as_bytes())
}

fn loads(config: &str, name: &str) -> Vec<(String, crate::event::Reason)> {
    match plan(config, name) {
        Resolution::Modules(modules) => modules.into_iter().map(|it| (it.module, it.reason)).collect(),
        other => panic!("{name}: {other:?}"),
    }
}

fn names(list: &[(&str, crate::event::Reason)]) -> Vec<(String, crate::event::Reason)> {
    list.iter().map(|(module, reason)| ((*module).to_owned(), *reason)).collect()
}

/// Dependencies are loaded before the module, the farthest first, and are marked as dependencies.
#[test]
fn module_with_dependencies_loads_these_first() {
    let expected =
        [("nf_defrag_ipv4", Dependency), ("nf_conntrack", Dependency), ("nf_nat", Dependency), ("iptable_nat", Asked)];
    assert_eq!(loads("", "iptable_nat"), names(&expected));
    assert_eq!(loads("", "iptable-nat"), names(&expected));
    assert_eq!(loads("", "fs-vfat"), names(&[("fat", Dependency), ("vfat", Alias)]));
    assert_eq!(loads("", "symbol:nf_nat_setup").last().unwrap().1, Alias);
}

/// All modules with a matching alias are loaded, in the order of `modules.dep`.
#[test]
fn alias_of_several_modules_loads_all() {
    assert_eq!(loads("", "crc32c"), names(&[("crc32c_intel", Alias), ("crc32c_generic", Alias)]));
}

/// The command of one of several modules with an alias runs, and the others are loaded, in their order.
#[test]
fn command_of_one_of_several_modules_runs_with_the_others() {
    let Resolution::Modules(modules) = plan("install crc32c_intel /bin/false\n", "crc32c") else { panic!("one loads") };
    let steps: Vec<_> = modules
        .iter()
        .map(|step| (step.module.as_str(), step.command.as_ref().map(|command| command.text.as_str())))
        .collect();
    assert_eq!(steps, [("crc32c_intel", Some("/bin/false")), ("crc32c_generic", None)]);
}

/// A blacklist with a carriage return, and one with a byte that is not UTF-8, are about other modules.
#[test]
fn name_with_another_byte_is_another_module() {
    assert_eq!(loads("blacklist can\r\n", "net-pf-29").len(), 1);
    assert_eq!(loads("install vfat\r /bin/false\n", "fs-vfat").len(), 2);
    let text = [&b"alias x\xff can\nalias x\xfe vfat\n"[..], INDEX.as_bytes()].concat();
    let (config, index) = (Config::parse(text).unwrap(), ModuleIndex::parse(DEP, "", ""));
    let module = |name: &[u8]| match resolve(&config, &index, name) {
        Resolution::Modules(modules) => modules.last().map(|planned| planned.module.clone()),
        _ => None,
    };
    assert_eq!((module(b"x\xff").as_deref(), module(b"x\xfe").as_deref()), (Some("can"), Some("vfat")));
    assert_eq!(module(b"x\xfd"), None);
}

/// Soft dependencies are resolved as aliases, loaded before and after, and marked.
#[test]
fn softdeps_are_loaded_around_the_module() {
    let config = "softdep btrfs pre: crc32c post: fs-vfat\n";
    let expected = [
        ("xor", Dependency),
        ("crc32c_intel", Softdep),
        ("crc32c_generic", Softdep),
        ("btrfs", Asked),
        ("fat", Dependency),
        ("vfat", Softdep),
    ];
    assert_eq!(loads(config, "btrfs"), names(&expected));
}

/// Soft dependencies of a dependency are loaded, and a module that is both is a dependency.
#[test]
fn module_that_is_dependency_and_softdep_is_a_dependency() {
    let config = "softdep nf_defrag_ipv4 pre: nf_conntrack\n";
    let modules = loads(config, "nf_nat");
    assert!(modules.contains(&("nf_conntrack".to_owned(), Dependency)), "{modules:?}");
}

/// Cyclic soft dependencies terminate.
#[test]
fn cyclic_softdeps_terminate() {
    let config = "softdep ring_a pre: ring_b\nsoftdep ring_b pre: ring_a\n";
    assert_eq!(loads(config, "ring_a").len(), 2);
}

/// The blacklist affects requests by alias, not by name, and not dependencies.
#[test]
fn blacklist_affects_aliases_only() {
    assert_eq!(
        plan("blacklist can\n", "net-pf-29"),
        Resolution::Blacklisted { module: "can".to_owned(), place: Place::Elsewhere }
    );
    assert_eq!(loads("blacklist can\n", "can"), names(&[("can", Asked)]));
    assert_eq!(loads("blacklist fat\n", "fs-vfat").len(), 2);
    let half = plan("blacklist crc32c_intel\n", "crc32c");
    assert!(matches!(&half, Resolution::Modules(modules) if modules.len() == 1), "{half:?}");
}

/// A configured alias takes precedence, and may resolve to no module.
#[test]
fn configured_alias_takes_precedence() {
    let off = plan("alias net_pf_29 off\n", "net-pf-29");
    assert_eq!(off, Resolution::Off { line: "alias net_pf_29 off".to_owned(), place: Place::Elsewhere });
    assert_eq!(off.detail(), "alias net_pf_29 off in the configuration of modprobe");
    assert_eq!(loads("alias net_pf_* fat\n", "net-pf-29"), names(&[("fat", Alias)]));
    assert_eq!(
        plan("alias can off\n", "can"),
        Resolution::Off { line: "alias can off".to_owned(), place: Place::Elsewhere }
    );
}

/// A command replaces the module, after its dependencies are loaded.
#[test]
fn install_command_replaces_the_module() {
    let resolution = plan("install vfat /bin/false\n", "fs-vfat");
    let fat = Planned { module: "fat".to_owned(), reason: Dependency, command: None };
    let expected =
        Resolution::Install { module: "vfat".to_owned(), command: Command::new("/bin/false"), before: vec![fat] };
    assert_eq!(resolution, expected);
    assert_eq!(resolution.detail(), "install vfat /bin/false in the configuration of modprobe");
    assert!(resolution.is_blocked());
    let unknown = plan("install mine /bin/true\n", "mine");
    assert!(matches!(unknown, Resolution::Install { .. }), "{unknown:?}");
}

/// A command that replaces a dependency blocks the module; one that replaces a soft dependency does not.
#[test]
fn install_command_of_dependency_blocks_the_module() {
    let needed = plan("install nf_conntrack /bin/true\n", "iptable_nat");
    assert!(needed.is_blocked());
    assert!(needed.detail().contains("install nf_conntrack /bin/true"), "{}", needed.detail());
    let wanted = plan("softdep btrfs pre: can\ninstall can /bin/true\n", "btrfs");
    assert!(!wanted.is_blocked(), "{wanted:?}");
}

/// The command of a module with soft dependencies is ignored, as in libkmod.
#[test]
fn install_command_of_module_with_softdeps_is_ignored() {
    assert_eq!(loads("softdep can pre: fat\ninstall can /bin/false\n", "can").len(), 2);
}

/// Built-in modules are found by name and alias; unknown names are not found.
#[test]
fn builtin_module_is_found_by_name_and_alias() {
    assert_eq!(plan("", "ext4"), Resolution::BuiltIn { module: "ext4".to_owned() });
    assert_eq!(plan("", "fs-ext3"), Resolution::BuiltIn { module: "ext4".to_owned() });
    for name in ["net-pf-99", "", "broken]", "\u{fffd}"] {
        assert_eq!(plan("", name), Resolution::NotFound, "{name}");
    }
}

proptest! {
    /// Any configuration and name can be resolved.
    #[test]
    fn any_configuration_and_name_resolve(
        config in "((alias|install|softdep|blacklist|options) [a-z*_]{1,6} (pre: |post: |)[a-z_ ]{0,12}\n){0,8}",
        name in "[a-z_*-]{0,8}",
    ) {
        let _ = plan(&config, &name).detail();
    }
}
