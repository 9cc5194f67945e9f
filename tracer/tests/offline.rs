//! What verbs on captures say of odd inputs: nothing is counted twice, taken for whole, or written raw.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fixtures/captures")
}

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

fn kmodtrace(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kmodtrace")).current_dir(directory).args(arguments).output().unwrap()
}

/// With `text` as standard input.
fn fed(text: &[u8], arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kmodtrace"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who refuses its options reads nothing.
    let _ = child.stdin.take().unwrap().write_all(text);
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Check that no name and no message writes control characters, or a line of its own, to the terminal.
#[test]
fn errors_are_escaped() {
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
    ] {
        let output = kmodtrace(scratch.path(), arguments);
        let told = stderr(&output) + &stdout(&output);
        assert!(!told.is_empty() && told.chars().all(|c| c == '\n' || !c.is_control()), "{arguments:?}: {told:?}");
        let is_ours = |line: &str| line.starts_with("kmodtrace: ");
        assert!(stderr(&output).lines().all(is_ours), "{arguments:?}: {}", stderr(&output));
    }
}

/// Check that a doubt names a module as it is, escaped once.
#[test]
fn doubts_are_escaped_once() {
    let whole = fs::read_to_string(captures().join("outage-6.1.jsonl")).unwrap();
    let odd: String = whole
        .lines()
        .map(|line| {
            if line.contains("\"type\":\"load\"") { line.replace("nf_conntrack", "a\\u001bb") } else { line.to_owned() }
        })
        .map(|line| line.replace("\"attribution\":\"exact\"", "\"attribution\":\"unknown\"") + "\n")
        .collect();
    for arguments in [&["impact", "x", "-"][..], &["policy", "learn", "-"]] {
        let told = stderr(&fed(odd.as_bytes(), arguments));
        assert!(told.contains("\"a\\x1bb\"") && !told.contains("\\\\x1b"), "{told}");
    }
}
