//! Explanations of names on sample systems.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{Answer, Config, Machine, ModuleIndex, State, Verdict, answer};
use crate::{
    event::{Reason, Text},
    modules::samples::CONFIG,
};

const DEP: &str = "\
kernel/net/tipc/tipc.ko: kernel/net/ipv6/ip6_udp_tunnel.ko kernel/net/ipv4/udp_tunnel.ko
kernel/net/ipv6/ip6_udp_tunnel.ko:
kernel/net/ipv4/udp_tunnel.ko:
kernel/net/can/can.ko:
kernel/net/bluetooth/bluetooth.ko:
kernel/net/sctp/sctp.ko: kernel/net/ipv4/udp_tunnel.ko
kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko
kernel/fs/fat/fat.ko:
kernel/drivers/net/e1000.ko:
";

fn machine(loaded: &[&str]) -> Machine {
    let loaded: HashMap<_, _> = loaded.iter().map(|name| ((*name).to_owned(), State::Live)).collect();
    Machine { loaded: Some(loaded), user_namespaces: Some(true), ..Machine::default() }
}

fn ask_on(name: &str, machine: &Machine) -> Answer {
    let config = Config::parse(CONFIG).unwrap();
    let index = ModuleIndex::parse(DEP, "kernel/fs/ext4/ext4.ko\n", "ext4.alias=fs-ext3\0");
    answer(&Text::from(name), Ok((&config, &index)), machine)
}

fn ask(name: &str) -> Answer {
    ask_on(name, &machine(&[]))
}

/// An alias is explained with its cause and all modules in load order, with reasons and current state.
#[test]
fn alias_is_explained_with_cause_and_modules() {
    let tipc = ask_on("net-pf-30", &machine(&["udp_tunnel"]));
    assert_eq!((tipc.verdict, tipc.known), (Verdict::Loads, true));
    assert_eq!(tipc.detail, "modprobe loads 2 modules, 1 more loaded already");
    assert!(tipc.causes[0].action.contains("AF_TIPC"), "{:?}", tipc.causes);
    let steps: Vec<_> = tipc.modules.iter().map(|step| (step.module.as_str(), step.reason, step.loaded)).collect();
    let expected = [
        ("udp_tunnel", Reason::Dependency, Some(true)),
        ("ip6_udp_tunnel", Reason::Dependency, Some(false)),
        ("tipc", Reason::Alias, Some(false)),
    ];
    assert_eq!(steps, expected);
    let there = ask_on("net-pf-30", &machine(&["udp_tunnel", "ip6_udp_tunnel", "tipc"]));
    assert_eq!(there.verdict, Verdict::AlreadyLoaded);
}

/// Each way of blocking is reported with its configuration line.
#[test]
fn blocked_alias_is_explained_with_its_line() {
    for (name, line) in [
        ("net-pf-29", "blacklist can in modprobe.d"),
        ("net-pf-31", "alias net_pf_31 off in modprobe.d"),
        ("net-pf-2-proto-132-type-1", "install sctp /bin/false in modprobe.d"),
    ] {
        let answer = ask(name);
        assert_eq!((answer.verdict, answer.blocks.as_slice()), (Verdict::Blocked, &[line.to_owned()][..]), "{name}");
    }
    let stopped = Machine { stops: vec!["kernel.modprobe is empty".to_owned()], ..machine(&[]) };
    let tipc = ask_on("net-pf-30", &stopped);
    assert_eq!((tipc.verdict, tipc.blocks.len(), tipc.modules.len()), (Verdict::Blocked, 1, 3));
    assert_eq!(ask_on("ext4", &stopped).verdict, Verdict::BuiltIn, "nothing needs to be loaded");
}

/// A command for a dependency that is loaded already has no effect before the next boot, and is reported as such.
#[test]
fn block_of_a_loaded_dependency_is_ineffective() {
    let config = Config::parse(format!("install udp_tunnel /bin/false\n{CONFIG}")).unwrap();
    let index = ModuleIndex::parse(DEP, "", "");
    let tipc = |loaded: &[&str]| answer(&Text::from("net-pf-30"), Ok((&config, &index)), &machine(loaded));
    let blocked = tipc(&[]);
    assert_eq!((blocked.verdict, blocked.blocks.len(), blocked.ineffective.len()), (Verdict::Blocked, 1, 0));
    let open = tipc(&["udp_tunnel"]);
    assert_eq!((open.verdict, open.blocks.len()), (Verdict::Loads, 0));
    let line = "install udp_tunnel /bin/false in modprobe.d, until the next boot: udp_tunnel is loaded already";
    assert_eq!(open.ineffective, [line]);
}

/// Where a part of the configuration cannot be read, no result is claimed.
#[test]
fn answer_with_a_doubt_is_unknown() {
    let doubt = "/etc/modprobe.d/x.conf cannot be read; root can".to_owned();
    let doubtful = Machine { doubts: vec![doubt.clone()], ..machine(&[]) };
    for name in ["net-pf-30", "net-pf-29", "ext4", "fs-xfs"] {
        let answer = ask_on(name, &doubtful);
        assert_eq!((answer.verdict, &answer.doubts), (Verdict::Unknown, &vec![doubt.clone()]), "{name}");
        assert!(answer.detail.starts_with("not certain: "), "{}", answer.detail);
    }
    assert!(ask("net-pf-30").doubts.is_empty());
}

/// A module name is explained by its aliases, each cause once, and by the modules that depend on it.
#[test]
fn module_name_is_explained_by_its_aliases() {
    let vfat = ask("vfat");
    let aliases: Vec<&str> = vfat.causes.iter().map(|cause| cause.alias.as_str()).collect();
    assert_eq!(aliases, ["fs_vfat", "fs_msdos"]);
    let e1000 = ask("e1000");
    assert_eq!((e1000.causes.len(), e1000.causes[0].more_aliases), (1, 1), "{:?}", e1000.causes);
    assert_eq!(ask("udp_tunnel").needed_by, ["sctp", "tipc"]);
    let ext4 = ask("ext4");
    assert_eq!((ext4.verdict, ext4.causes[0].alias.as_str()), (Verdict::BuiltIn, "fs_ext3"));
}

/// An alias without a module differs from an unknown name, and an invalid name is rejected with a reason.
#[test]
fn unknown_and_invalid_names_are_distinguished() {
    let absent = ask("fs-xfs");
    assert_eq!((absent.verdict, absent.known), (Verdict::NotFound, true));
    let unknown = ask("no_such_module");
    assert!(!unknown.known && unknown.detail.starts_with("unknown name"), "{}", unknown.detail);
    for bad in ["", "x]", "kernel/fs/fat/vfat.ko.xz"] {
        assert!(!ask(bad).known && ask(bad).causes.is_empty(), "{bad}");
    }
    assert!(ask("vfat.ko").detail.contains("is a file name"));
}

/// Without the configuration of modprobe, the cause is known and the result unknown.
#[test]
fn name_without_modprobe_still_has_a_cause() {
    let tipc = answer(&Text::from("net-pf-30"), Err("no modprobe"), &machine(&[]));
    assert_eq!((tipc.verdict, tipc.known, tipc.causes.len()), (Verdict::Unknown, true, 1));
    let json = serde_json::to_value(&tipc).unwrap();
    assert_eq!((&json["verdict"], &json["causes"][0]["access"]), (&"unknown".into(), &"anyone".into()));
}

proptest! {
    /// Any name is accepted, and only `name` and `name_hex` contain its bytes.
    #[test]
    fn explanation_of_any_name_contains_it_once(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
        let name = Text::from(bytes.as_slice());
        let config = Config::parse(CONFIG).unwrap();
        let index = ModuleIndex::parse(DEP, "", "");
        let answer = answer(&name, Ok((&config, &index)), &machine(&[]));
        prop_assert!(answer.detail.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        let back = Text::from_fields(answer.name, answer.name_hex).unwrap();
        prop_assert_eq!(back, name);
    }
}
