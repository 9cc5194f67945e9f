//! Layout of reports: time zones, widths, locales. The contents of a name never shift the columns next to it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use common::{captures, stderr};

/// Runs it with `text` as standard input and environment variables.
fn report(text: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kmodtrace"))
        .args([&["report", "-"], arguments].concat())
        .env_remove("LC_ALL")
        .env_remove("LC_CTYPE")
        .env("LANG", "C.UTF-8")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // With invalid options it does not read its input.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn outage() -> String {
    std::fs::read_to_string(captures().join("outage-6.1.jsonl")).unwrap()
}

/// A zone from the time zone database is used in every format, and each format names it.
#[test]
fn time_zone_is_used_and_named() {
    for (zone, shown, name) in [
        ("Europe/Berlin", "07:30:49", "Europe/Berlin"),
        (":Europe/Berlin", "07:30:49", "Europe/Berlin"),
        ("Asia/Kolkata", "12:00:49", "Asia/Kolkata"),
        ("America/New_York", "01:30:49", "America/New_York"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "07:30:49", "CET (UTC+01:00)"),
        ("/usr/share/zoneinfo/Asia/Tokyo", "15:30:49", "Asia/Tokyo"),
        ("UTC", "06:30:49", "UTC"),
        ("", "06:30:49", "UTC"),
    ] {
        for form in [&[][..], &["--by", "exe"], &["--tree"], &["--lines"]] {
            let text = stdout(&report(&outage(), &[("TZ", zone)], form));
            assert!(text.contains(shown), "{zone} {form:?}: {text}");
            assert!(text.contains(&format!("in {name}")), "{zone} {form:?}: {text}");
        }
    }
}

/// `--since` and `--until` use the local time zone.
#[test]
fn time_range_uses_local_zone() {
    let range = ["--since", "2026-11-23 07:00", "--until", "2026-11-23 08:00"];
    assert!(stdout(&report(&outage(), &[("TZ", "Europe/Berlin")], &range)).contains("iptable_nat"));
    let text = stdout(&report(&outage(), &[("TZ", "UTC")], &range));
    assert!(text.contains("nothing matches --since \"2026-11-23 07:00:00 UTC\""), "{text}");
    let same = ["--since", "2026-11-23 06:00:00 UTC", "--until", "2026-11-23 08:00 Europe/Berlin"];
    assert!(stdout(&report(&outage(), &[("TZ", "Asia/Tokyo")], &same)).contains("iptable_nat"));
}

/// An unknown time zone is a one-line error, and `--utc` needs no zone.
#[test]
fn unknown_time_zone_is_error() {
    for zone in ["Europe/Atlantis", "nonsense", "/etc/passwd", "../../etc/passwd", "\u{1b}[2J"] {
        for form in [&[][..], &["--tree"], &["--json"]] {
            let output = report(&outage(), &[("TZ", zone)], form);
            assert_eq!(output.status.code(), Some(125), "{zone}");
            let error = stderr(&output);
            assert!(error.contains("is not a known time zone") && error.lines().count() == 1, "{error}");
            assert!(output.stdout.is_empty() && !error.contains('\u{1b}'), "{zone}");
        }
        stdout(&report(&outage(), &[("TZ", zone)], &["--utc"]));
    }
}

/// The two instants of a repeated hour are distinguished in every format.
#[test]
fn repeated_hour_is_distinguished() {
    let texts = ["2026-10-25T00:30", "2026-10-25T01:30"].map(|time| outage().replace("2026-11-23T06:30", time));
    for form in [&[][..], &["--tree"], &["--lines"]] {
        let [summer, winter] = texts.each_ref().map(|text| stdout(&report(text, &[("TZ", "Europe/Berlin")], form)));
        assert!(summer.contains("02:30:49") && summer.contains("+02:00"), "{summer}");
        assert!(winter.contains("02:30:49") && winter.contains("+01:00"), "{winter}");
    }
}

/// The stored capture with `name` as alias, executable, module, unit and user.
fn with_name(name: &str) -> String {
    let name = serde_json::to_string(name).unwrap();
    let name = name.trim_matches('"');
    ["fs-nosuchfs", "/usr/bin/busybox", "nf_conntrack", "multi-user.target", "session-1.scope"]
        .iter()
        .fold(outage(), |text, place| text.replace(&format!("\"{place}\""), &format!("\"{name}\"")))
}

/// A name of any length is accepted in every format, and tables do not grow with it.
#[test]
fn long_name_is_accepted_in_every_format() {
    for length in [256, 65_534, 65_535, 65_536, 300_000] {
        let text = with_name(&"N".repeat(length));
        for form in [&[][..], &["--by", "module"], &["--by", "exe"], &["--by", "unit"]] {
            let table = stdout(&report(&text, &[], &[form, &["--utc"]].concat()));
            assert!(table.lines().all(|line| line.len() < 1000), "{length} {form:?}");
            assert!(table.contains("NNN..."), "{length} {form:?}");
        }
        for form in ["--tree", "--lines", "--csv", "--json"] {
            let shown = stdout(&report(&text, &[], &[form, "--utc"]));
            assert!(shown.len() < 2 * text.len() + 100_000, "{length} {form}: {}", shown.len());
        }
        for form in ["--html", "--perfetto"] {
            stdout(&report(&text, &[], &[form, "-"]));
        }
    }
}

/// Names of modules and aliases are escaped to ASCII, wide characters do not shift columns, and an ASCII locale gets
/// only ASCII.
#[test]
fn wide_characters_do_not_shift_columns() {
    for name in ["漢字漢字", "nf_с\u{43e}nntrack", "e\u{301}\u{301}x", "👩🏽‍🚀", "\u{202e}txt"] {
        let text = with_name(name);
        for form in [&[][..], &["--by", "module"], &["--tree"], &["--lines"], &["--by", "exe"]] {
            let shown = stdout(&report(&text, &[], &[form, &["--utc"]].concat()));
            assert!(shown.contains("\\u{") || form.contains(&"exe"), "{name} {form:?}: {shown}");
            for locale in ["C", "POSIX", "de_DE.ISO-8859-1", ""] {
                let ascii = stdout(&report(&text, &[("LANG", locale)], &[form, &["--utc"]].concat()));
                assert!(ascii.is_ascii(), "{name} {locale} {form:?}: {ascii}");
            }
        }
    }
}
