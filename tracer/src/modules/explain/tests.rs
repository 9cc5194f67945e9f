//! Explanations of names on sample systems.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{Answer, Config, Machine, ModuleIndex, Verdict, answer};
use crate::{
    event::{Reason, Text},
    kernel::modules::State,
    modules::{samples::CONFIG, surface},
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
        ("net-pf-29", "blacklist can in the configuration of modprobe"),
        ("net-pf-31", "alias net_pf_31 off in the configuration of modprobe"),
        ("net-pf-2-proto-132-type-1", "install sctp /bin/false in the configuration of modprobe"),
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
    let line = "install udp_tunnel /bin/false in the configuration of modprobe, until the next boot: udp_tunnel is loaded already";
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

/// Lines before the samples, which then count first.
fn with_lines(lines: &str, name: &str, machine: &Machine) -> Answer {
    let text = format!("{lines}\n# End of configuration files. Dumping indexes now:\n\n{ALIASES}");
    let (config, index) = (Config::parse(text).unwrap(), ModuleIndex::parse(CRYPTO, "", ""));
    answer(&Text::from(name), Ok((&config, &index)), machine)
}

const ALIASES: &str = "\
alias net_pf_38 af_alg
alias rtnl_link_dummy dummy
alias net_pf_2_proto_132_type_1 sctp
alias serio:ty01pr*id*ex* psmouse
alias serio:ty05pr*id*ex* psmouse
alias crypto_x one
alias crypto_x two
";

const CRYPTO: &str = "\
kernel/af_alg.ko:
kernel/algif_aead.ko: kernel/af_alg.ko
kernel/dummy.ko:
kernel/tcp_bbr.ko:
kernel/udp_tunnel.ko:
kernel/sctp.ko: kernel/udp_tunnel.ko
kernel/psmouse.ko:
kernel/one.ko:
kernel/two.ko:
";

/// A blacklist is void for a module that the kernel requests by its own name, and the answer reports it.
#[test]
fn void_blacklist_is_explained() {
    for module in ["algif_aead", "tcp_bbr"] {
        let answer = with_lines(&format!("blacklist {module}"), module, &machine(&[]));
        assert_eq!((answer.verdict, answer.blocks.len()), (Verdict::Loads, 0), "{module}");
        assert!(answer.ineffective[0].contains("requests this module by its own name"), "{:?}", answer.ineffective);
    }
    let udp_tunnel = with_lines("blacklist udp_tunnel", "udp_tunnel", &machine(&[]));
    assert_eq!(udp_tunnel.verdict, Verdict::Loads);
    assert!(udp_tunnel.ineffective[0].ends_with("this module has none"), "{:?}", udp_tunnel.ineffective);
}

/// Seen from the module, a blacklist hides its aliases, and the other ways to load it are named.
#[test]
fn blacklist_is_explained_from_the_module() {
    let dummy = with_lines("blacklist dummy", "dummy", &machine(&[]));
    assert_eq!(
        (dummy.verdict, dummy.blocks.as_slice()),
        (Verdict::Blocked, &["blacklist dummy in the configuration of modprobe".to_owned()][..])
    );
    assert_eq!(dummy.blocked_aliases[0].alias, "rtnl_link_dummy");
    assert_eq!(dummy.still_loaded, ["by `modprobe dummy`"]);
    let psmouse = with_lines("blacklist psmouse", "psmouse", &machine(&[]));
    assert_eq!(
        (psmouse.verdict, psmouse.blocked_aliases.len()),
        (Verdict::Blocked, 1),
        "aliases of hardware count too"
    );
}

/// A module whose only alias leads nowhere is blocked, as on the surface; the ways that remain are named.
#[test]
fn module_without_an_open_alias_is_blocked() {
    for line in ["alias net-pf-38 off", "blacklist af_alg"] {
        let line = line.replace("net-pf-38", "net_pf_38");
        let af_alg = with_lines(&line, "af_alg", &machine(&[]));
        assert_eq!((af_alg.verdict, af_alg.blocked_aliases.len()), (Verdict::Blocked, 1), "{line}");
        assert_eq!(af_alg.still_loaded, ["as a dependency of algif_aead", "by `modprobe af_alg`"], "{line}");
        let text = format!("{line}\n# End of configuration files. Dumping indexes now:\n\n{ALIASES}");
        let (config, index) = (Config::parse(text).unwrap(), ModuleIndex::parse(CRYPTO, "", ""));
        let found = surface(&config, &index, &machine(&[]));
        let on_surface = found.iter().find(|entry| entry.module == "af_alg").map(|entry| entry.state);
        assert_eq!(on_surface, Some(crate::modules::State::Blocked), "{line}");
    }
}

/// A name that leads nowhere does not keep its module from being a dependency.
#[test]
fn name_that_is_off_is_still_a_dependency() {
    let udp_tunnel = with_lines("alias udp_tunnel off", "udp_tunnel", &machine(&[]));
    assert_eq!(
        (udp_tunnel.verdict, udp_tunnel.still_loaded.as_slice()),
        (Verdict::AsDependency, &["as a dependency of sctp".to_owned()][..])
    );
    let both = with_lines("alias udp_tunnel off\ninstall udp_tunnel /bin/false", "udp_tunnel", &machine(&[]));
    assert_eq!((both.verdict, both.still_loaded.len()), (Verdict::Blocked, 0));
    let dummy = with_lines("alias dummy off", "dummy", &machine(&[]));
    assert_eq!(dummy.verdict, Verdict::Loads, "the kernel requests rtnl-link-dummy");
    assert!(dummy.ineffective[0].ends_with("it affects this name only"), "{:?}", dummy.ineffective);
}

/// Several modules with one alias are named, and a line that keeps out one of them does not block the alias.
#[test]
fn several_modules_with_one_alias_are_named() {
    let plain = with_lines("", "crypto-x", &machine(&[]));
    assert_eq!((plain.verdict, plain.carriers.as_slice()), (Verdict::Loads, &["one".to_owned(), "two".to_owned()][..]));
    let half = with_lines("blacklist one", "crypto-x", &machine(&[]));
    assert_eq!((half.verdict, half.modules.len(), half.ineffective.len()), (Verdict::Loads, 1, 1));
    assert_eq!(with_lines("blacklist one", "one", &machine(&[])).verdict, Verdict::Blocked);
}

/// A module that the kernel refuses is blocked, with a reason that is not in modprobe.d.
#[test]
fn module_that_the_kernel_refuses_is_blocked() {
    let machine = Machine { refused: vec!["dummy".to_owned()], ..machine(&[]) };
    for name in ["dummy", "rtnl-link-dummy"] {
        let answer = with_lines("", name, &machine);
        assert_eq!(answer.verdict, Verdict::Blocked, "{name}");
        assert!(
            answer.blocks[0].starts_with("module_blacklist=dummy on the kernel command line"),
            "{:?}",
            answer.blocks
        );
        assert!(answer.still_loaded.is_empty());
    }
}

proptest! {
    /// The surface and the explanation of each of its modules agree, whatever the lines say.
    #[test]
    fn surface_and_explanation_agree(lines in proptest::collection::vec(
        "(blacklist|install|alias) (af_alg|algif_aead|dummy|sctp|udp_tunnel|one|two|net_pf_38|rtnl_link_dummy|crypto_x)", 0..5,
    ), live in proptest::sample::subsequence(vec!["af_alg", "dummy", "udp_tunnel", "one"], 0..3)) {
        let ends = [("blacklist", ""), ("install", " /bin/false"), ("alias", " off")];
        let end = |line: &String| ends.iter().find(|(word, _)| line.starts_with(word)).map_or("", |(_, end)| *end);
        let lines: String = lines.iter().map(|line| format!("{line}{}\n", end(line))).collect();
        let text = format!("{lines}\n# End of configuration files. Dumping indexes now:\n\n{ALIASES}");
        let (config, index) = (Config::parse(text).unwrap(), ModuleIndex::parse(CRYPTO, "", ""));
        let machine = machine(&live);
        for entry in surface(&config, &index, &machine) {
            let explained = answer(&Text::from(entry.module.as_str()), Ok((&config, &index)), &machine);
            let expected = match entry.state {
                crate::modules::State::Open => Verdict::Loads,
                crate::modules::State::Loaded => Verdict::AlreadyLoaded,
                crate::modules::State::Blocked => Verdict::Blocked,
            };
            prop_assert_eq!(explained.verdict, expected, "{} with {}", entry.module, lines);
        }
    }

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
