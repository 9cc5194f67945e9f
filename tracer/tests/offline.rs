//! Verbs that read captures, with unusual inputs: duplicates, damage, hostile names.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, process::Output};

use common::{captures, fed, kmodtrace, stderr};

/// A directory with captures and a policy.
fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    for (name, from) in
        [("g.zst", "generated.jsonl.zst"), ("o.jsonl", "outage-6.1.jsonl"), ("p.toml", "../verdict/autoload.toml")]
    {
        fs::copy(captures().join(from), scratch.path().join(name)).unwrap();
    }
    scratch
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Names and messages never write control characters or additional lines.
#[test]
fn errors_hostile_names_are_escaped() {
    let scratch = scratch();
    let write = |name: &str, text: &str| fs::write(scratch.path().join(name), text).unwrap();
    let header = fs::read_to_string(scratch.path().join("o.jsonl")).unwrap().lines().next().unwrap().to_owned();
    write("t\u{1b}[2J\nk", "no capture");
    write("field.jsonl", &header.replace("\"fexit\"", "{\"\\u001b[31m\\nok\":1}"));
    write("kind.jsonl", "{\"seq\":0,\"time\":\"\\u001b[2J\\nmore\",\"boot_ns\":1,\"type\":\"loss\"}\n");
    write("key.toml", "version = 1\n\"\\u001b[2J\\nkmodtrace: fine\" = 1\n");
    write("snap.json", "{\n\"version\": 1, \"\\u001b[2J\\nx\": 2}\n");
    write("torn\u{1b}[2J\n.jsonl", &header);
    fs::copy(scratch.path().join("p.toml"), scratch.path().join("p\u{1b}[2J\n.toml")).unwrap();
    for arguments in [
        &["report", "t\u{1b}[2J\nk"][..],
        &["report", "torn\u{1b}[2J\n.jsonl"],
        &["report", "none\u{1b}[2J\n"],
        &["check", "-p", "p.toml", "kind.jsonl"],
        &["check", "-p", "p.toml", "field.jsonl"],
        &["check", "-p", "key.toml", "o.jsonl"],
        &["policy", "check", "p\u{1b}[2J\n.toml"],
        &["diff", "snap.json", "o.jsonl"],
        &["verify", "t\u{1b}[2J\nk"],
        &["recover", "torn\u{1b}[2J\n.jsonl", "new"],
        &["recover", "o.jsonl", "new\u{1b}[2J\n"],
        &["snapshot", "-o", "/none\u{1b}[2J\n/x", "o.jsonl"],
        &["impact", "x", "./t\u{1b}[2J\nk"],
        &["report", "--bogus\u{1b}[2J\n"],
        &["bogus\u{1b}[2J\n"],
    ] {
        let output = kmodtrace(scratch.path(), arguments);
        let shown = stderr(&output) + &stdout(&output);
        assert!(!shown.is_empty() && shown.chars().all(|c| c == '\n' || !c.is_control()), "{arguments:?}: {shown:?}");
        let is_ours = |line: &str| line.starts_with("kmodtrace: ");
        assert!(stderr(&output).lines().all(is_ours), "{arguments:?}: {}", stderr(&output));
    }
}

/// An issue shows the name of a module escaped once.
#[test]
fn issue_module_name_is_escaped_once() {
    let whole = fs::read_to_string(captures().join("outage-6.1.jsonl")).unwrap();
    let odd: String = whole
        .lines()
        .map(|line| {
            if line.contains("\"type\":\"load\"") { line.replace("nf_conntrack", "a\\u001bb") } else { line.to_owned() }
        })
        .map(|line| line.replace("\"attribution\":\"exact\"", "\"attribution\":\"unknown\"") + "\n")
        .collect();
    for arguments in [&["impact", "x", "-"][..], &["policy", "learn", "-"]] {
        let shown = stderr(&fed(odd.as_bytes(), arguments));
        assert!(shown.contains("\"a\\x1bb\"") && !shown.contains("\\\\x1b"), "{shown}");
    }
}

/// An empty capture is incomplete evidence for every verb.
#[test]
fn empty_capture_is_no_evidence_for_any_verb() {
    let scratch = scratch();
    fs::write(scratch.path().join("empty"), "").unwrap();
    fs::write(scratch.path().join("blank"), "\n \n\n").unwrap();
    for (verb, code) in [
        (&["report"][..], 125),
        (&["report", "--tree"], 125),
        (&["report", "--json"], 125),
        (&["check", "-p", "p.toml"], 125),
        (&["policy", "learn"], 125),
        (&["snapshot"], 125),
        (&["impact", "nf_conntrack"], 125),
        (&["verify"], 1),
    ] {
        for file in ["./empty", "./blank", "/dev/null", "-"] {
            let output = kmodtrace(scratch.path(), &[verb, &[file]].concat());
            assert_eq!(output.status.code(), Some(code), "{verb:?} {file}: {}", stderr(&output));
            let text = stdout(&output) + &stderr(&output);
            assert!(text.contains("empty: it has no events"), "{verb:?} {file}: {text}");
        }
    }
    let both = kmodtrace(scratch.path(), &["report", "empty", "o.jsonl"]);
    assert!(stderr(&both).contains("empty: it has no events") && stdout(&both).contains("nf_conntrack"));
}

/// A time can start with a minus as a separate argument.
#[test]
fn time_with_leading_minus_is_accepted() {
    let scratch = scratch();
    for option in ["--since", "--until", "--new-since"] {
        let output = kmodtrace(scratch.path(), &["report", option, "-2h", "o.jsonl"]);
        assert_eq!(output.status.code(), Some(0), "{option}: {}", stderr(&output));
    }
}

/// Duplicate captures are counted once, in any format and order, and reported.
#[test]
fn duplicate_captures_are_counted_once() {
    let scratch = scratch();
    let path = |name: &str| scratch.path().join(name);
    let packed = fs::read(path("g.zst")).unwrap();
    let plain = zstd::stream::decode_all(packed.as_slice()).unwrap();
    fs::write(path("g.jsonl"), &plain).unwrap();
    fs::write(path("part.zst"), &packed[..packed.len() / 2]).unwrap();
    let cut = plain.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(200).unwrap().0;
    fs::write(path("part.jsonl"), &plain[..=cut]).unwrap();
    fs::copy(path("o.jsonl"), path("o2.jsonl")).unwrap();
    let forms: [&[&str]; 5] = [
        &["report", "--by", "module"],
        &["report", "--json", "--by", "exe"],
        &["report", "--csv", "--lines"],
        &["report", "--csv"],
        &["impact", "nf_conntrack", "ext4", "nf_nat"],
    ];
    for form in forms {
        let of = |files: &[&str]| kmodtrace(scratch.path(), &[form, files].concat());
        for (once, twice) in [
            (&["g.zst"][..], &["g.zst", "g.zst"][..]),
            (&["./g.zst"], &["./g.zst", "./g.jsonl"]),
            (&["./g.zst"], &["./g.jsonl", "./part.zst"]),
            (&["./g.zst"], &["./part.jsonl", "./g.zst"]),
            (&["./o.jsonl"], &["./o.jsonl", "./o2.jsonl"]),
            (&["./o.jsonl", "./g.zst"], &["./o.jsonl", "./g.zst", "./o2.jsonl", "./part.zst", "./g.jsonl"]),
        ] {
            let both = of(twice);
            assert_eq!(stdout(&both), stdout(&of(once)), "{form:?} {twice:?}");
            assert!(stderr(&both).contains("already read from"), "{form:?} {twice:?}: {}", stderr(&both));
        }
        assert!(!stderr(&of(&["./o.jsonl", "./g.zst"])).contains("already read"));
    }
    let verdict = |files: &[&str]| {
        let output = kmodtrace(scratch.path(), &[&["check", "-p", "p.toml", "--json"], files].concat());
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (once, twice) = (verdict(&["o.jsonl"]), verdict(&["o.jsonl", "o2.jsonl"]));
    assert_eq!((once.0, once.1), (twice.0, twice.1));
    assert!(twice.2.contains("o2.jsonl: 37 events were already read from o.jsonl, and counted once"), "{}", twice.2);
}

/// A recording of two frames with seals, signed by a key in the same directory.
fn signed(directory: &Path) {
    use kmodtrace::capture::{frame::FrameMaker, sign::Key};
    use std::os::unix::fs::PermissionsExt;
    let key = directory.join("key");
    fs::write(&key, "11".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut frames = FrameMaker::new(Some(std::sync::Arc::new(Key::load(&key).unwrap()))).unwrap();
    for line in fs::read_to_string(captures().join("outage-6.1.jsonl")).unwrap().lines() {
        frames.push(&serde_json::from_str(line).unwrap()).unwrap();
    }
    fs::write(directory.join("signed.zst"), frames.close().unwrap().unwrap().bytes).unwrap();
}

/// Unsealed, unsigned and invalid keys are distinguished, and standard input can be read.
#[test]
fn verify_seals_and_signatures_are_distinguished() {
    let scratch = scratch();
    signed(scratch.path());
    fs::write(scratch.path().join("binary"), [0xff; 32]).unwrap();
    fs::write(scratch.path().join("short"), "1234").unwrap();
    for (arguments, code, shown, unwanted) in [
        (&["verify", "--key", "key.pub", "signed.zst"][..], 0, "1 seal, 1 signed", "not sealed"),
        (&["verify", "--key", "key.pub", "g.zst"], 1, "7 seals, 0 signed", "not sealed:"),
        (&["verify", "--key", "key.pub", "g.zst"], 1, "is not signed", "not sealed:"),
        (&["verify", "--key", "key.pub", "o.jsonl"], 1, "not sealed: its content", "7 seals"),
        (&["verify", "--key", "binary", "g.zst"], 125, "invalid public key binary: expected 64", "xxd"),
        (&["verify", "--key", "short", "g.zst"], 125, "invalid public key short: expected 64", "xxd"),
        (&["verify", "--key", "none", "g.zst"], 125, "cannot read the public key none", "xxd"),
        (&["verify", "binary"], 125, "binary: not a capture: neither zstd nor JSON Lines; unpack", "xxd"),
        (&["report", "binary"], 125, "binary: not a capture: neither zstd nor JSON Lines; unpack", "xxd"),
        (&["impact", "x", "./binary"], 125, "./binary: not a capture: neither zstd nor JSON Lines; unpack", "xxd"),
        (&["recover", "-", "new"], 125, "cannot recover standard input: no event of it", "xxd"),
        (&["recover", "/dev/null", "new"], 125, "cannot recover /dev/null: no event of it", "xxd"),
    ] {
        let output = kmodtrace(scratch.path(), arguments);
        let text = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(shown) && !text.contains(unwanted), "{arguments:?}: {text}");
    }
    let output = fed(&fs::read(scratch.path().join("g.zst")).unwrap(), &["verify", "-"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("standard input: 401 events"), "{}", stdout(&output));
}

/// --follow ends when a pipe ends, and reports a truncated one.
#[test]
fn follow_ended_pipe_is_not_followed() {
    let whole = fs::read_to_string(captures().join("outage-6.1.jsonl")).unwrap();
    let output = fed(whole.as_bytes(), &["report", "--utc", "--follow", "-"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert!(stdout(&output).contains("nf_conntrack"));
    let output = fed(&whole.as_bytes()[..whole.len() / 2], &["report", "--follow", "-"]);
    assert!(stderr(&output).contains("truncated in the frame or line at offset"));
}

/// Names of modules can equal names of files and directories.
#[test]
fn impact_names_and_captures_are_distinguished() {
    let scratch = scratch();
    fs::create_dir(scratch.path().join("xfs")).unwrap();
    fs::write(scratch.path().join("dummy"), "no capture").unwrap();
    fs::create_dir(scratch.path().join("kept")).unwrap();
    fs::copy(scratch.path().join("o.jsonl"), scratch.path().join("kept/a.jsonl")).unwrap();
    fs::copy(scratch.path().join("o.jsonl"), scratch.path().join("capture")).unwrap();
    for (arguments, shown) in [
        (&["impact", "xfs", "dummy", "o.jsonl"][..], &["xfs: needed by", "dummy: needed by"][..]),
        (&["impact", "xfs", "kept"], &["xfs: needed by"]),
        (&["impact", "xfs", "capture"], &["xfs: needed by"]),
        (&["impact", "netdev-eth0.100", "o.jsonl"], &["netdev-eth0.100: unknown name"]),
    ] {
        let output = kmodtrace(scratch.path(), arguments);
        assert!(shown.iter().all(|shown| stdout(&output).contains(shown)), "{arguments:?}: {}", stderr(&output));
    }
}

/// A snapshot can be pretty-printed, compact or sorted.
#[test]
fn snapshot_any_layout_is_read() {
    let scratch = scratch();
    let snapshot = stdout(&kmodtrace(scratch.path(), &["snapshot", "o.jsonl"]));
    let value: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
    fs::write(scratch.path().join("many.json"), &snapshot).unwrap();
    let line = snapshot.lines().map(str::trim).collect::<String>();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    fs::write(scratch.path().join("one.json"), line + "\n").unwrap();
    // As `jq -cS` has it: keys by name.
    fs::write(scratch.path().join("sorted.json"), value.to_string()).unwrap();
    for name in ["one.json", "sorted.json"] {
        let output = kmodtrace(scratch.path(), &["diff", name, "many.json"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
    }
}
