//! `cargo xtask bless`: regenerates the files that tests compare with the output of the code.
//!
//! Some tests of the package `kmodtrace` write their files instead of comparing them if a variable is set. These variables are an
//! implementation detail of this command.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::setup;
use crate::shell;
use crate::toolchain::linker;
use crate::{bench, r#gen, kernels};

/// The variables that make tests write: manual pages, completions and the policy schema; the event schema; expected outputs.
const VARIABLES: [&str; 3] = ["KMODTRACE_WRITE_MANUAL", "KMODTRACE_WRITE_SCHEMA", "KMODTRACE_WRITE_GOLDEN"];

/// The test binaries that use them.
const TESTS: [&str; 4] = ["manual", "policy", "schema", "report"];

/// The generated capture, on which expected outputs depend: number of events, seed and path.
const CAPTURE: (u64, u64, &str) = (400, 1, "tests/fixtures/captures/generated.jsonl");

/// Regenerates all files. Review the changes with `git diff`.
pub(crate) fn verb() -> Result<ExitCode> {
    let (events, seed, path) = CAPTURE;
    r#gen::verb(&r#gen::Options::new(events, seed, setup::workspace().join(path)))?;
    shell::run(&mut write_command())?;
    bench::rewrite_pages()?;
    kernels::rewrite_page()?;
    println!("regenerated; review the changes with git diff");
    Ok(ExitCode::SUCCESS)
}

/// The command that runs the tests with the variables set. It needs no eBPF object.
fn write_command() -> Command {
    let mut command = Command::new(linker::cargo());
    command.current_dir(setup::workspace()).args(["test", "--package", "kmodtrace", "--locked"]);
    command.args(TESTS.iter().flat_map(|test| ["--test", test])).env("KMODTRACE_EBPF", "skip");
    command.envs(VARIABLES.map(|variable| (variable, "1")));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every variable that a test of the tracer reads is set, and every test that reads one is run.
    #[test]
    fn every_writing_test_is_run() {
        let directory = setup::workspace().join("tracer/tests");
        let command = shell::show(&write_command());
        let mut found = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for rest in text.split("\"KMODTRACE_WRITE_").skip(1) {
                let variable = format!("KMODTRACE_WRITE_{}=1", rest.split('"').next().unwrap());
                let test = format!("--test {}", path.file_stem().unwrap().to_str().unwrap());
                assert!(command.contains(&variable) && command.contains(&test), "{variable} in {}", path.display());
                found += 1;
            }
        }
        assert!(found >= VARIABLES.len(), "{found} tests write files");
    }
}
