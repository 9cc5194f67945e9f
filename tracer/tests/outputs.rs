//! What verbs write, and where: a capture is never destroyed by a report of it.
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

/// Check that no verb writes over what it reads.
#[test]
fn inputs_are_never_written_to() {
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
        assert!(stderr(&output).contains("is read, too"), "{arguments:?}: {}", stderr(&output));
        assert_eq!(fs::read(scratch.path().join("g.zst")).unwrap(), whole, "{arguments:?}");
    }
    let told = shell(scratch.path(), "kmodtrace report --lines g.zst >>g.zst; echo $?");
    assert!(told.contains("is read, too") && told.starts_with("125\n"), "{told}");
    assert_eq!(fs::read(scratch.path().join("g.zst")).unwrap(), whole);
}

/// Check that what fails leaves its outputs as they were, and that what does not writes them.
#[test]
fn failures_leave_outputs_alone() {
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

/// Check that two outputs are never one file, and that `-` is standard output everywhere.
#[test]
fn outputs_are_apart() {
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
        assert!(stderr(&output).contains("two outputs cannot go to one place"), "{arguments:?}: {}", stderr(&output));
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

/// Check that an output that cannot be written is named, and that the input is not blamed.
#[test]
fn full_outputs_are_named() {
    let scratch = scratch();
    for option in ["--html", "--perfetto", "-o"] {
        let output = kmodtrace(scratch.path(), &["report", option, "/dev/full", "g.zst"]);
        assert_eq!(output.status.code(), Some(125), "{option}");
        let told = stderr(&output);
        assert!(
            told.contains("cannot write to /dev/full: No space left") && !told.contains("g.zst"),
            "{option}: {told}"
        );
    }
}

/// Check that a reader that goes away is a normal end, which changes no verdict, and that a full disk is told.
#[test]
fn closed_pipes_are_ends() {
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
        let told = shell(scratch.path(), &format!("kmodtrace {verb} >/dev/full; echo $?"));
        assert!(told.contains("No space left") && told.contains("cannot write") && told.starts_with("125"), "{told}");
    }
}
