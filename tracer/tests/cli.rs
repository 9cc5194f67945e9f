//! The command line, without privileges and without tracing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn kmodtrace(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kmodtrace")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Help and version are written to stdout with exit code 0.
#[test]
fn help_and_version_exit_with_0() {
    for arguments in [&["--help"][..], &["--version"], &["watch", "--help"], &["run", "--help"]] {
        let output = kmodtrace(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
}

/// Usage errors exit with 125 and name the option.
#[test]
fn usage_error_names_the_option() {
    for (arguments, named) in [
        (&[][..], "Usage"),
        (&["wacth"][..], "wacth"),
        (&["watch", "--no-such-option"][..], "--no-such-option"),
        (&["run"][..], "CMD"),
        (&["watch", "--ring-kib", "100"][..], "power of two"),
        (&["watch", "--ring-kib", "many"][..], "power of two"),
        (&["watch", "--color", "sometimes"][..], "sometimes"),
    ] {
        let output = kmodtrace(arguments);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(stderr(&output).contains(named), "{arguments:?}: {}", stderr(&output));
    }
}

/// An output file that cannot be written is named, and the command is not run.
#[test]
fn output_unwritable_is_named() {
    let output = kmodtrace(&["run", "-o", "/no/such/directory/file", "--", "echo", "ran"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("/no/such/directory/file"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

/// Missing privileges or a missing BPF object are reported in one line, and the command is not run.
#[test]
fn run_without_tracing_reports_one_line() {
    let is_root = rustix::process::geteuid().is_root();
    if kmodtrace::probe::is_built_in() && is_root {
        // As root, the result depends on this machine; guests test it.
        return;
    }
    let reason = if kmodtrace::probe::is_built_in() { "sudo kmodtrace" } else { "cargo xtask build" };
    let output = kmodtrace(&["run", "--", "echo", "ran"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}
