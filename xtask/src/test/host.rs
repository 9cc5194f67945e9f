//! Runs the unit and property tests of the workspace. They need no guest and no eBPF object.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::setup;
use crate::shell;
use crate::toolchain::linker;
use crate::vm::Counts;

use super::summary::Part;

/// Runs the tests.
pub(super) fn run() -> Part {
    let mut part = Part::new("host", "cargo xtask test --host");
    if let Err(error) = count(&mut part) {
        eprintln!("xtask: {error:#}");
        part.problem(&format!("{error:#}"));
    }
    part
}

fn count(part: &mut Part) -> Result<()> {
    let mut command = Command::new(linker::cargo());
    command.current_dir(setup::workspace()).args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.env("KMODTRACE_EBPF", "skip").stdin(Stdio::null()).stdout(Stdio::piped());
    eprintln!("+ {}", shell::show(&command));
    let mut child = command.spawn().context("cannot run cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no stdout")?;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read the output of cargo test")?;
        if let Some(found) = result_line(&line) {
            part.count(found, []);
        }
        part.count(Counts::default(), failed_test(&line).map(str::to_owned));
        println!("{line}");
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    if !status.success() && part.counts().failed == 0 {
        bail!("cargo test ended with {status}");
    }
    Ok(())
}

/// `test result: ok. 55 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.80s`
fn result_line(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let (_, rest) = rest.split_once(". ")?;
    let number = |what: &str| {
        let part = rest.split("; ").find(|part| part.ends_with(what))?;
        part.split(' ').next()?.parse().ok()
    };
    Some(Counts { passed: number("passed")?, failed: number("failed")?, skipped: number("ignored")? })
}

/// `test kernel::btf::tests::reads ... FAILED`
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts of a result line are parsed, and other lines are ignored.
    #[test]
    fn result_line_is_parsed() {
        let line = "test result: FAILED. 55 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.80s";
        assert_eq!(result_line(line), Some(Counts { passed: 55, failed: 2, skipped: 1 }));
        assert_eq!(result_line("test kernel::btf::tests::reads ... ok"), None);
    }

    /// Only the line of a failed test gives its name.
    #[test]
    fn failed_test_is_parsed() {
        assert_eq!(failed_test("test kernel::btf::tests::reads ... FAILED"), Some("kernel::btf::tests::reads"));
        assert_eq!(failed_test("test kernel::btf::tests::reads ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 55 passed; 2 failed; 1 ignored"), None);
    }
}
