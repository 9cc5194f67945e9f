//! Policy files: errors with positions, includes, lints and cases.

use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::{NAME, expectations::Small, policy};
use crate::policy::{Action, PolicyError, lint, load, load_for_lint, parse};

/// Errors have file, line and column.
#[test]
fn policy_error_has_a_position() {
    for (text, wanted) in [
        ("version = 1\n[[rule]]\naction='allow'\nmodul='x'\n", "policy.toml:4:1: unknown key `modul`"),
        ("version = 1\ndefualt='deny'\n", "policy.toml:2:1: unknown key `defualt`"),
        ("version = 2\n", "policy.toml:1:11: unsupported version 2"),
        ("default='deny'\n", "policy.toml:1:1: missing key `version`"),
        ("version = 1\n[[rule]]\naction='allow'\nresult='fine'\n", "policy.toml:4:8: invalid result \"fine\""),
        ("version = 1\n[[rule]]\naction='allow'\nmodule=[]\n", "policy.toml:4:8: invalid pattern \"\""),
        ("version = 1\n[[rule]]\naction='permit'\n", "policy.toml:3:8: unknown value `permit`"),
        ("version = 1\n[[rule]]\naction='allow'\nuid='root'\n", "policy.toml:4:5: invalid user id root"),
        ("version = 1\n[[rule]]\naction='allow'\nuid=-1\n", "policy.toml:4:5: invalid user id -1"),
        ("version = 1\n[[rule]]\naction='allow'\nexpires='soon'\n", "policy.toml:4:9: invalid date \"soon\""),
        (
            "version = 1\n[[rule]]\naction='allow'\nname='a'\n[[rule]]\naction='deny'\nname='a'\n",
            "policy.toml:7:6: duplicate rule name",
        ),
        ("version = 1\n[[rule]]\naction='allow'\nskip=['missing']\n", "policy.toml:4:6: invalid key `skip`"),
        ("version = 1\n[[case]]\nname='x'\nwant='allow'\n", "policy.toml:2:1: incomplete case"),
        ("version = 1\ninclude=['no.toml']\n", "policy.toml:2:10: cannot include no.toml"),
        ("version = 1\n[[rule]]\naction=\n", "policy.toml:3:8: "),
    ] {
        let error = parse(text, NAME).unwrap_err().to_string();
        assert!(error.starts_with(wanted) && error.lines().count() == 1, "{error}\nwanted {wanted}");
    }
}

/// A pattern that can never match is rejected with its position, for every field; a valid one is not; and `load_for_lint`
/// reports all of them.
#[test]
fn pattern_that_never_matches_is_rejected() {
    let impossible = [
        ("uid", "\"00\""),
        ("uid", "\"0 \""),
        ("uid", "\"+1\""),
        ("uid", "4294967296"),
        ("uid", "-1"),
        ("uid", "\"1.0\""),
        ("uid", "\"root\""),
        ("uid", "\"!01\""),
        ("uid", "[0, \"0x1\"]"),
        ("user", "0"),
        ("login", "4294967295"),
        ("login", "\"00\""),
        ("login", "\"a:b\""),
        ("user", "\"a:b\""),
        ("module", "\"xfs \""),
        ("module", "\" xfs\""),
        ("module", "\"xfs\\t\""),
        ("module", "\"nf_*, xfs\""),
        ("module", "\"xfs.ko\""),
        ("module", "\"xfs.ko.zst\""),
        ("module", "\"kernel/fs/xfs\""),
        ("module", "\"!xfs \""),
        ("module", "[\"tipc\", \"x y\"]"),
        ("module", "\"a234567890123456789012345678901234567890123456789012345x\""),
        ("module", "[\"tipc\", \"!tip*\"]"),
        ("alias", "\"fs-\\u0000\""),
        ("comm", "\"NetworkManager-dispatcher\""),
        ("comm", "\"a\\u0000\""),
        ("exe", "\"bin/dash\""),
        ("exe", "\"/usr//bin/dash\""),
        ("exe", "\"/usr/bin/\""),
        ("cgroup", "\"system.slice/*\""),
        ("cgroup", "\"/system.slice/\""),
        ("unit", "\"ssh\""),
        ("unit", "\"ssh.service \""),
        ("unit", "\"system.slice\""),
        ("container", "\"docker 0123\""),
        ("container", "\"docker:*/x\""),
    ];
    let possible = [
        ("uid", "[0, 1000, \"10??\", \"!4*\"]"),
        ("user", "[\"domain users\", \"www-data\", \"user1\"]"),
        ("login", "[0, \"alice\", \"none\", \"!root\"]"),
        ("module", "[\"nf-*\", \"BusLogic\", \"xt_CT\", \"8021q\", \"snd_[a-z ]*\", \"*\", \"!*_diag\"]"),
        ("alias", "[\"fs-a b\", \"crypto-ccm(aes)\", \"net-pf-30\", \"*\", \"symbol:x\"]"),
        ("comm", "[\"(udev-worker)\", \"kworker/*\", \"NetworkManager-*\", \"tmux: server\"]"),
        ("exe", "[\"/usr/bin/dash\", \"dash\", \"*/dash\", \"/opt/My App/*\", \"/memfd:x (deleted)\"]"),
        ("cgroup", "[\"/\", \"/system.slice/*\", \"*docker*\"]"),
        ("unit", "[\"ssh.service\", \"ssh*\", \"session-?.scope\", \"user@1000.service\", \"*.mount\"]"),
        ("container", "[\"docker:*\", \"0123456789ab\", \"lxc:web_1.x\"]"),
        ("result", "[\"loaded\", \"!failed\"]"),
        ("user_namespace", "\"o*\""),
    ];
    let text = |key: &str, value: &str| format!("version = 1\n[[rule]]\naction='allow'\n{key}={value}\n");
    for (key, value) in impossible {
        let error = parse(&text(key, value), NAME).unwrap_err();
        assert!(matches!(error, PolicyError::NeverMatches { .. }), "{key}={value}: {error}");
        let place = format!("policy.toml:4:{}: ", key.len() + 2);
        assert!(error.to_string().starts_with(&place), "{error}\nwanted {place}");
    }
    for (key, value) in possible {
        assert!(parse(&text(key, value), NAME).is_ok(), "{key}={value}: {:?}", parse(&text(key, value), NAME).err());
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.toml");
    let rules = impossible.map(|(key, value)| format!("[[rule]]\naction='allow'\n{key}={value}\n")).concat();
    std::fs::write(&path, format!("version = 1\n{rules}[[rule]]\naction='allow'\nmodule='xfs'\n")).unwrap();
    let (policy, never) = load_for_lint(&path).unwrap();
    assert_eq!((policy.rules.len(), never.len()), (1, impossible.len()));
    assert_eq!((never[1].kind, never[1].place.line), ("never-matches", 7));
}

/// A rule with keys that exclude each other is linted.
#[test]
fn rule_with_contradicting_keys_is_linted() {
    for (rule, is_never) in [
        ("module='xfs'\nresult='not-found'", true),
        ("module='xfs'\nresult=['not-found', 'failed']", false),
        ("module='xfs'\nresult='!loaded'", false),
        ("module='!xfs'\nresult='not-found'", false),
        ("alias='fs-xfs'\norigin='explicit'", true),
        ("family='socket family'\norigin=['udev', 'explicit']", true),
        ("alias='fs-xfs'\norigin='!udev'", false),
        ("alias='!fs-xfs'\norigin='udev'", false),
    ] {
        let lints = lint(&policy(&format!("[[rule]]\naction='deny'\n{rule}\n")), TODAY, &Small);
        assert_eq!(lints.iter().any(|lint| lint.kind == "never-matches"), is_never, "{rule}: {lints:?}");
    }
}

/// Included rules follow those of the including file, and cyclic includes terminate.
#[test]
fn included_rules_follow_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("a.toml", "version=1\ninclude=['b.toml']\n[[rule]]\nname='a'\naction='allow'\nmodule='x'\n");
    write("b.toml", "version=1\ninclude=['a.toml']\ndefault='allow'\n[[rule]]\nname='b'\naction='deny'\nmodule='x'\n");
    let policy = load(&directory.path().join("a.toml")).unwrap();
    let names: Vec<&str> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!((names, policy.default), (vec!["a", "b"], Action::Allow));
    write("b.toml", "version=1\n[[rule]]\naction='deny'\nmodul='x'\n");
    let error = load(&directory.path().join("a.toml")).unwrap_err().to_string();
    assert!(error.contains("b.toml:4:1: unknown key"), "{error}");
}

/// A file that is not a policy is rejected before it fills memory, also if included, and an invalid byte has a position.
#[test]
fn oversized_or_binary_file_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let write = |name: &str, text: &[u8]| std::fs::write(path(name), text).unwrap();
    write("large.toml", &b"# long\n".repeat(200_000));
    write("bytes.toml", b"version = 1\nx = 'a\xffb'\n");
    write("zero.toml", b"version = 1\ninclude = ['/dev/zero']\n");
    for (name, wanted) in [
        ("/dev/zero", "it is neither a file nor a pipe"),
        (".", "it is neither a file nor a pipe"),
        ("large.toml", "it is larger than 1 MiB"),
        ("bytes.toml", "bytes.toml:2:7: invalid byte: expected UTF-8"),
        ("zero.toml", "zero.toml:2:12: cannot include /dev/zero: it is neither"),
    ] {
        let error = format!("{:#}", anyhow::Error::from(load(&path(name)).unwrap_err()));
        assert!(error.contains(wanted), "{name}: {error}");
    }
}

pub(super) const TODAY: Date = date(2026, 3, 1);

/// Each lint is reported, and a plain policy has none.
#[test]
fn policy_lints_are_reported() {
    let kinds = |rules: &str| -> Vec<&'static str> {
        lint(&policy(rules), TODAY, &Small).into_iter().map(|lint| lint.kind).collect()
    };
    let wide = "[[rule]]\naction='allow'\nmodule='t*'\n";
    assert_eq!(kinds(&format!("{wide}[[rule]]\naction='deny'\nmodule='tipc'\n")), ["unreachable"]);
    assert_eq!(kinds(&format!("{wide}[[rule]]\naction='deny'\nmodule='sctp'\n")), Vec::<&str>::new());
    assert_eq!(kinds(&format!("{wide}[[rule]]\naction='expect'\nmodule='tipc'\n")), Vec::<&str>::new());
    assert_eq!(kinds("[[rule]]\naction='allow'\nmodule='tipc'\nexpires=2026-02-28\n"), ["expired"]);
    assert_eq!(kinds("[[rule]]\naction='allow'\nmodule='tipcc'\n"), ["unknown-module"]);
    assert_eq!(kinds("[[rule]]\naction='expect'\nalias='net-pf-99'\n"), ["unknown-alias"]);
    assert_eq!(kinds("default='allow'\n"), ["never-fails"]);
    let temporary =
        "[[rule]]\naction='allow'\nmodule='tipc'\nexpires=2027-01-01\n[[rule]]\naction='deny'\nmodule='tipc'\n";
    assert_eq!(kinds(temporary), Vec::<&str>::new());
}

/// Cases check the action, the deciding rule and the day.
#[test]
fn policy_cases_check_action_and_rule() {
    let rules = "[[rule]]\nname='diag'\naction='allow'\nmodule='*_diag'\nexe='/usr/bin/ss'\nexpires=2026-06-30\n";
    for (case, failure) in [
        ("want='allow'\nmodule='tcp_diag'\nexe='/usr/bin/ss'", None),
        ("want='allow'\nrule='diag'\nmodule='tcp_diag'\nexe='/usr/bin/ss'", None),
        ("want='deny'\nmodule='tcp_diag'\nexe='/usr/bin/nc'", None),
        ("want='deny'\nrule='default'\nmodule='tcp_diag'\nexe='/usr/bin/ss'\ndate=2026-07-01", None),
        ("want='allow'\nalias='net-pf-30'", None),
        ("want='deny'\nmodule='tcp_diag'\nexe='/usr/bin/ss'", Some("expected deny, but rule \"diag\" decides allow")),
        (
            "want='allow'\nrule='default'\nmodule='tcp_diag'\nexe='/usr/bin/ss'",
            Some("expected rule \"default\" to decide, but rule \"diag\" does"),
        ),
    ] {
        let policy = policy(&format!("{rules}[[case]]\nname='it'\n{case}\n"));
        assert_eq!(policy.run_cases(TODAY)[0].failure.as_deref(), failure, "{case}");
    }
}

proptest! {
    /// Any text is either a policy or an error with a position.
    #[test]
    fn any_text_is_a_policy_or_a_located_error(text in "(version=1\n)?(\\[\\[rule\\]\\]\n)?[a-z]{0,6}[=\\[\\]'\"\n{},. 0-9a-z*!-]{0,40}") {
        if let Err(error) = parse(&text, NAME) {
            prop_assert!(error.to_string().starts_with("policy.toml:"), "{}", error);
        }
    }
}
