//! The command line as a user meets it, without privileges and without a kernel to trace.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn kmodtrace(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kmodtrace")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Check that help and version are answers, not errors, and go to standard output.
#[test]
fn help_and_version_are_answers() {
    for arguments in [&["--help"][..], &["--version"], &["watch", "--help"], &["run", "--help"]] {
        let output = kmodtrace(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
}

/// Check that usage errors end with 125, never with 2, and name what is wrong.
#[test]
fn usage_errors_name_the_option() {
    for (arguments, named) in [
        (&[][..], "Usage"),
        (&["wacth"][..], "wacth"),
        (&["watch", "--no-such-option"][..], "--no-such-option"),
        (&["run"][..], "CMD"),
        (&["watch", "--ring-kib", "100"][..], "power of two"),
        (&["watch", "--ring-kib", "many"][..], "whole number"),
        (&["watch", "--color", "sometimes"][..], "sometimes"),
    ] {
        let output = kmodtrace(arguments);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(stderr(&output).contains(named), "{arguments:?}: {}", stderr(&output));
    }
}

/// Check that an output file that cannot be written is named, and that nothing is run then.
#[test]
fn an_unwritable_output_is_named() {
    let output = kmodtrace(&["run", "-o", "/no/such/directory/file", "--", "echo", "ran"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("/no/such/directory/file"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

/// Check that a binary that cannot trace says why in one sentence, says what to do, and runs nothing.
#[test]
fn a_binary_that_cannot_trace_says_so() {
    let is_root = rustix::process::geteuid().is_root();
    if kmodtrace::probe::is_built_in() && is_root {
        // Then this machine decides; the guests test that.
        return;
    }
    let reason = if kmodtrace::probe::is_built_in() { "sudo kmodtrace" } else { "cargo xtask build" };
    let output = kmodtrace(&["run", "--", "echo", "ran"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}
