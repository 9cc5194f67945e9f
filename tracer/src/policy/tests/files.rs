//! Policy files: mistakes with their place, includes, lints and cases.

use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::{NAME, Small, policy};
use crate::policy::{Action, lint, load, parse};

/// Check that mistakes are told with file, line and column.
#[test]
fn mistakes_have_a_place() {
    for (text, wanted) in [
        ("version = 1\n[[rule]]\naction='allow'\nmodul='x'\n", "policy.toml:4:1: unknown field `modul`"),
        ("version = 1\ndefualt='deny'\n", "policy.toml:2:1: unknown field `defualt`"),
        ("version = 2\n", "policy.toml:1:11: version 2 is not known"),
        ("default='deny'\n", "policy.toml:1:1: missing field `version`"),
        ("version = 1\n[[rule]]\naction='allow'\nresult='fine'\n", "policy.toml:4:8: \"fine\" is no result"),
        ("version = 1\n[[rule]]\naction='allow'\nmodule=[]\n", "policy.toml:4:8: an empty pattern"),
        ("version = 1\n[[rule]]\naction='permit'\n", "policy.toml:3:8: unknown variant `permit`"),
        ("version = 1\n[[rule]]\naction='allow'\nuid='root'\n", "policy.toml:4:5: root is no user id"),
        ("version = 1\n[[rule]]\naction='allow'\nuid=-1\n", "policy.toml:4:5: -1 is no user id"),
        ("version = 1\n[[rule]]\naction='allow'\nexpires='soon'\n", "policy.toml:4:9: \"soon\" is not a date"),
        (
            "version = 1\n[[rule]]\naction='allow'\nname='a'\n[[rule]]\naction='deny'\nname='a'\n",
            "policy.toml:7:6: a second",
        ),
        ("version = 1\n[[rule]]\naction='allow'\nskip=['missing']\n", "policy.toml:4:6: only an `expect`"),
        ("version = 1\n[[case]]\nname='x'\nwant='allow'\n", "policy.toml:2:1: a case is about"),
        ("version = 1\ninclude=['no.toml']\n", "policy.toml:2:10: cannot include no.toml"),
        ("version = 1\n[[rule]]\naction=\n", "policy.toml:3:8: "),
    ] {
        let error = parse(text, NAME).unwrap_err().to_string();
        assert!(error.starts_with(wanted) && error.lines().count() == 1, "{error}\nwanted {wanted}");
    }
}

/// Check that included rules come after those of the including file, and that a circle ends.
#[test]
fn includes_follow() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("a.toml", "version=1\ninclude=['b.toml']\n[[rule]]\nname='a'\naction='allow'\nmodule='x'\n");
    write("b.toml", "version=1\ninclude=['a.toml']\ndefault='allow'\n[[rule]]\nname='b'\naction='deny'\nmodule='x'\n");
    let policy = load(&directory.path().join("a.toml")).unwrap();
    let names: Vec<&str> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!((names, policy.default), (vec!["a", "b"], Action::Allow));
    write("b.toml", "version=1\n[[rule]]\naction='deny'\nmodul='x'\n");
    let error = load(&directory.path().join("a.toml")).unwrap_err().to_string();
    assert!(error.contains("b.toml:4:1: unknown field"), "{error}");
}

/// Check that what is no policy is refused before it fills memory, included or not, and that a byte that is no text has a
/// place.
#[test]
fn what_is_no_policy_is_refused() {
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
        ("bytes.toml", "bytes.toml:2:7: this byte is not UTF-8"),
        ("zero.toml", "zero.toml:2:12: cannot include /dev/zero: it is neither"),
    ] {
        let error = format!("{:#}", anyhow::Error::from(load(&path(name)).unwrap_err()));
        assert!(error.contains(wanted), "{name}: {error}");
    }
}

const TODAY: Date = date(2026, 3, 1);

/// Check what the lints find, and that they find nothing in a plain policy.
#[test]
fn lints() {
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

/// Check cases: the action, the rule that decides, and days.
#[test]
fn cases() {
    let rules = "[[rule]]\nname='diag'\naction='allow'\nmodule='*_diag'\nexe='/usr/bin/ss'\nexpires=2026-06-30\n";
    for (case, failure) in [
        ("want='allow'\nmodule='tcp_diag'\nexe='/usr/bin/ss'", None),
        ("want='allow'\nrule='diag'\nmodule='tcp_diag'\nexe='/usr/bin/ss'", None),
        ("want='deny'\nmodule='tcp_diag'\nexe='/usr/bin/nc'", None),
        ("want='deny'\nrule='default'\nmodule='tcp_diag'\nexe='/usr/bin/ss'\ndate=2026-07-01", None),
        ("want='allow'\nalias='net-pf-30'", None),
        ("want='deny'\nmodule='tcp_diag'\nexe='/usr/bin/ss'", Some("wanted deny, but rule \"diag\" says allow")),
        (
            "want='allow'\nrule='default'\nmodule='tcp_diag'\nexe='/usr/bin/ss'",
            Some("rule \"default\" should decide, but rule \"diag\" does"),
        ),
    ] {
        let policy = policy(&format!("{rules}[[case]]\nname='it'\n{case}\n"));
        assert_eq!(policy.run_cases(TODAY)[0].failure.as_deref(), failure, "{case}");
    }
}

proptest! {
    /// Check that any text is either a policy or a mistake with a place.
    #[test]
    fn any_text_is_safe(text in "(version=1\n)?(\\[\\[rule\\]\\]\n)?[a-z]{0,6}[=\\[\\]'\"\n{},. 0-9a-z*!-]{0,40}") {
        if let Err(error) = parse(&text, NAME) {
            prop_assert!(error.to_string().starts_with("policy.toml:"), "{}", error);
        }
    }
}
