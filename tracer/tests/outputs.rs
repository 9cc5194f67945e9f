//! Output files of verbs: inputs are never overwritten, failures leave outputs unchanged.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, process::Command};

use common::{captures, kmodtrace, stderr};

/// A directory with a capture and a policy.
fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::copy(captures().join("generated.jsonl.zst"), scratch.path().join("g.zst")).unwrap();
    fs::copy(captures().join("../verdict/autoload.toml"), scratch.path().join("p.toml")).unwrap();
    scratch
}

fn shell(directory: &Path, line: &str) -> String {
    let line = line.replace("kmodtrace", env!("CARGO_BIN_EXE_kmodtrace"));
    let output = Command::new("bash").current_dir(directory).args(["-c", &line]).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// No verb overwrites its inputs.
#[test]
fn output_that_is_an_input_is_rejected() {
    let scratch = scratch();
    let whole = fs::read(scratch.path().join("g.zst")).unwrap();
    for arguments in [
        &["report", "-o", "g.zst", "g.zst"][..],
        &["report", "--html", "g.zst", "g.zst"],
        &["report", "--perfetto", "./g.zst", "g.zst"],
        &["report", "--follow", "-o", "g.zst", "g.zst"],
        &["snapshot", "-o", "g.zst", "g.zst"],
        &["check", "-p", "p.toml", "--junit", "g.zst", "g.zst"],
    ] {
        let output = kmodtrace(scratch.path(), arguments);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(stderr(&output).contains("is also an input"), "{arguments:?}: {}", stderr(&output));
        assert_eq!(fs::read(scratch.path().join("g.zst")).unwrap(), whole, "{arguments:?}");
    }
    let shown = shell(scratch.path(), "kmodtrace report --lines g.zst >>g.zst; echo $?");
    assert!(shown.contains("is also an input") && shown.starts_with("125\n"), "{shown}");
    assert_eq!(fs::read(scratch.path().join("g.zst")).unwrap(), whole);
}

/// A verb that fails leaves its outputs unchanged.
#[test]
fn failure_leaves_outputs_unchanged() {
    let scratch = scratch();
    let there = || {
        let entries = fs::read_dir(scratch.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    fs::write(scratch.path().join("old"), "old").unwrap();
    fs::write(scratch.path().join("x"), "no capture").unwrap();
    let before = there();
    for arguments in [
        &["report", "-o", "old", "nofile"][..],
        &["report", "-o", "old", "x"],
        &["report", "--html", "new", "x"],
        &["snapshot", "-o", "old", "x"],
        &["check", "-p", "p.toml", "--junit", "new", "nofile"],
    ] {
        assert_eq!(kmodtrace(scratch.path(), arguments).status.code(), Some(125), "{arguments:?}");
        assert_eq!(fs::read_to_string(scratch.path().join("old")).unwrap(), "old", "{arguments:?}");
        assert_eq!(there(), before, "{arguments:?}");
    }
    for arguments in [
        &["report", "-o", "old", "g.zst"][..],
        &["report", "--html", "new", "g.zst"],
        &["snapshot", "-o", "old", "g.zst"],
        &["check", "-p", "p.toml", "--junit", "new", "g.zst"],
    ] {
        kmodtrace(scratch.path(), arguments);
        let name = if arguments.contains(&"old") { "old" } else { "new" };
        assert!(fs::read(scratch.path().join(name)).unwrap().len() > 100, "{arguments:?}");
        assert!(there().iter().all(|name| !name.starts_with('.')), "{arguments:?}: {:?}", there());
    }
}

/// Two outputs are never the same file, and `-` is standard output for all verbs.
#[test]
fn outputs_to_one_file_are_rejected() {
    let scratch = scratch();
    for arguments in [
        &["report", "--html", "x", "--perfetto", "x", "g.zst"][..],
        &["report", "--html", "x", "--tree", "-o", "./x", "g.zst"],
        &["report", "--html", "-", "--perfetto", "-", "g.zst"],
        &["report", "--html", "-", "--json", "g.zst"],
        &["check", "-p", "p.toml", "--ktap", "x", "--junit", "x", "g.zst"],
        &["check", "-p", "p.toml", "--json", "--ktap", "-", "g.zst"],
    ] {
        let output = kmodtrace(scratch.path(), arguments);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        let shown = stderr(&output);
        let is_named = shown.contains("it is the same file as output") || shown.contains("two outputs use it");
        assert!(is_named, "{arguments:?}: {shown}");
        assert!(!scratch.path().join("x").exists());
    }
    for (arguments, begins) in [
        (&["report", "--html", "-", "g.zst"][..], "<!"),
        (&["report", "--perfetto", "-", "g.zst"], "{\"displayTimeUnit\""),
        (&["report", "--perfetto", "/dev/stdout", "g.zst"], "{\"displayTimeUnit\""),
        (&["report", "-o", "-", "g.zst"], "MODULE"),
        (&["snapshot", "-o", "-", "g.zst"], "{"),
    ] {
        let output = kmodtrace(scratch.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.starts_with(begins.as_bytes()), "{arguments:?}");
        assert!(!scratch.path().join("-").exists(), "{arguments:?}");
    }
}

/// A full output is named, and the input is not.
#[test]
fn output_full_is_named() {
    let scratch = scratch();
    for option in ["--html", "--perfetto", "-o"] {
        let output = kmodtrace(scratch.path(), &["report", option, "/dev/full", "g.zst"]);
        assert_eq!(output.status.code(), Some(125), "{option}");
        let shown = stderr(&output);
        assert!(
            shown.contains("cannot write to /dev/full: No space left") && !shown.contains("g.zst"),
            "{option}: {shown}"
        );
    }
}

/// A closed pipe does not change the exit code, and a full disk is an error.
#[test]
fn closed_pipe_is_not_an_error() {
    let scratch = scratch();
    for (line, wanted) in [
        ("kmodtrace check -p p.toml --json g.zst 2>/dev/null | true; echo ${PIPESTATUS[0]}", "1\n"),
        ("kmodtrace check -p p.toml --junit - g.zst 2>/dev/null | true; echo ${PIPESTATUS[0]}", "1\n"),
        ("kmodtrace --help | true; echo ${PIPESTATUS[0]}", "0\n"),
        ("kmodtrace --version | true; echo ${PIPESTATUS[0]}", "0\n"),
    ] {
        // The reader may be gone before or after.
        for _ in 0..5 {
            assert_eq!(shell(scratch.path(), line), wanted, "{line}");
        }
    }
    for verb in ["--help", "schema", "man"] {
        let shown = shell(scratch.path(), &format!("kmodtrace {verb} >/dev/full; echo $?"));
        assert!(
            shown.contains("No space left") && shown.contains("cannot write") && shown.starts_with("125"),
            "{shown}"
        );
    }
}
