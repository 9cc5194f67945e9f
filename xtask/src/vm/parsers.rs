//! `cargo xtask parsers`: validates our output with third-party parsers: events with jsonschema; verdicts with the kernel's
//! kunit.py, tap.py and junitparser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::requirements::Purpose;
use crate::setup;
use crate::toolchain::linker;

use super::packages::{Packages, partial, remove_dir};
use super::paths::Paths;
use super::schema_check;

/// The suite of the parsers.
const SUITE: &str = "bookworm";

/// The package that depends on the kernel's source.
const SOURCE: &str = "linux-source";

/// The Python parsers with their dependencies.
const PYTHON: [&str; 3] = ["python3-tap", "python3-junitparser", "python3-future"];

/// The captures: a real one, and the same with hostile names.
const CAPTURES: [&str; 2] = ["capture.jsonl", "hostile.jsonl"];

/// Prints the results of tap.py and junitparser for a verdict.
const READ: &str = r#"
import json, sys
from tap.parser import Parser
from junitparser import JUnitXml
tests = [line for line in Parser().parse_file(sys.argv[1]) if line.category == "test"]
cases = [case for suite in JUnitXml.fromfile(sys.argv[2]) for case in suite]
kinds = [type(result).__name__ for case in cases for result in case.result]
print(json.dumps({
    "tap": {"all": len(tests), "failed": sum(not test.ok for test in tests), "skipped": sum(test.skip for test in tests)},
    "junit": {"all": len(cases), "failed": kinds.count("Failure"), "skipped": kinds.count("Skipped")},
}))
"#;

/// Validates captures against their schema. Then fetches the parsers, checks the captures against a policy, and compares the
/// result of each parser with the verdict.
pub(crate) fn verb() -> Result<ExitCode> {
    setup::run(Purpose::Parsers)?;
    schema_check::run(&Paths::new().vm, SUITE)?;
    let parsers = Parsers::prepare()?;
    let kmodtrace = build()?;
    let fixtures = setup::workspace().join("tests/fixtures/verdict");
    let scratch = Paths::new().vm.join("parsers-out");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    for capture in CAPTURES {
        let out = |kind: &str| scratch.join(format!("{capture}.{kind}"));
        let status = Command::new(&kmodtrace)
            .arg("check")
            .arg("--policy")
            .arg(fixtures.join("autoload.toml"))
            .args(
                [out("ktap"), out("xml"), out("json")]
                    .iter()
                    .zip(["--ktap", "--junit", "--verdict"])
                    .flat_map(|(path, option)| [option.into(), path.clone().into_os_string()]),
            )
            .arg(fixtures.join(capture))
            .status()
            .context("cannot run kmodtrace")?;
        if status.code() != Some(1) {
            bail!("kmodtrace check ended with {status} for {capture}, expected exit code 1");
        }
        let text = fs::read_to_string(out("json")).context("cannot read the verdict")?;
        let verdict: Value = serde_json::from_str(&text).context("the verdict is not JSON")?;
        parsers.compare(capture, &verdict, &out("ktap"), &out("xml"))?;
        println!("ok      {capture}: kunit.py, tap.py and junitparser agree with the verdict");
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the tool for this machine, without its eBPF object, which is not needed here.
fn build() -> Result<PathBuf> {
    let mut command = Command::new(linker::cargo());
    command.current_dir(setup::workspace()).args(["build", "--package", "kmodtrace"]).env("KMODTRACE_EBPF", "skip");
    crate::shell::run(&mut command)?;
    Ok(Paths::new().target.join("debug/kmodtrace"))
}

/// Unpacked parsers.
struct Parsers {
    kunit: PathBuf,
    python: PathBuf,
}

/// Numbers of tests by result.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    all: u64,
    failed: u64,
    skipped: u64,
}

impl Parsers {
    fn prepare() -> Result<Self> {
        let root = Paths::new().vm;
        let dir = root.join("parsers");
        let parsers = Self {
            kunit: dir.join("kunit/tools/testing/kunit/kunit.py"),
            python: dir.join("usr/lib/python3/dist-packages"),
        };
        if parsers.kunit.exists() {
            return Ok(parsers);
        }
        let packages = Packages::parsers(&root, SUITE, SOURCE, &PYTHON)?;
        let staging = partial(&dir);
        remove_dir(&staging)?;
        fs::create_dir_all(staging.join("kunit")).with_context(|| format!("cannot create {}", staging.display()))?;
        packages.unpack(&staging)?;
        let archive = fs::read_dir(staging.join("usr/src")).context("the source package has no source")?;
        let archive =
            archive.flatten().map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with(".tar.xz"));
        let archive = archive.context("the source package has no archive")?;
        let mut tar = Command::new("tar");
        tar.arg("-xJf").arg(&archive).arg("-C").arg(staging.join("kunit"));
        tar.args(["--strip-components=1", "--wildcards", "*/tools/testing/kunit/*.py"]);
        crate::shell::run(&mut tar)?;
        // The rest of the source is not needed.
        remove_dir(&staging.join("usr/src"))?;
        fs::rename(&staging, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(parsers)
    }

    fn compare(&self, capture: &str, verdict: &Value, ktap: &Path, junit: &Path) -> Result<()> {
        let (rules, leaves) = expected_counts(verdict)?;
        let read = self.python(&["-c", READ], &[ktap, junit])?;
        let read: Value = serde_json::from_str(&read).with_context(|| format!("invalid output: {read}"))?;
        for parser in ["tap", "junit"] {
            let number = |key: &str| read[parser][key].as_u64().context("invalid output");
            let found = Counts { all: number("all")?, failed: number("failed")?, skipped: number("skipped")? };
            // A rule that matched nothing is skipped in KTAP and passes in JUnit.
            let skipped = if parser == "junit" { 0 } else { rules.skipped };
            let rules = Counts { skipped, ..rules };
            if found != rules {
                bail!("{parser} counts {found:?} in {capture}, expected {rules:?}");
            }
        }
        let script = self.kunit.to_str().context("the path is not UTF-8")?;
        let output_text = self.python(&[script, "parse"], &[ktap])?;
        let last = output_text.lines().last().unwrap_or_default();
        let wanted = format!(
            "Testing complete. Ran {} tests: passed: {}, failed: {}, skipped: {}",
            leaves.all,
            leaves.all - leaves.failed - leaves.skipped,
            leaves.failed,
            leaves.skipped
        );
        if !last.contains(&wanted) || output_text.contains("[ERROR]") {
            bail!("kunit.py prints for {capture}:\n{output_text}\nexpected {wanted}");
        }
        Ok(())
    }

    /// Runs Python with the parsers. A parser that finds failures has a non-zero exit code, which is ignored.
    fn python(&self, arguments: &[&str], files: &[&Path]) -> Result<String> {
        let output = Command::new("python3")
            .args(arguments)
            .args(files)
            .env("PYTHONPATH", &self.python)
            .output()
            .context("cannot run python3")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if stderr.contains("Traceback") || output.stdout.is_empty() {
            bail!("python3 {} failed ({}): {stderr}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The expected numbers: rules and the test of the evidence, and subtests as kunit.py counts them.
fn expected_counts(verdict: &Value) -> Result<(Counts, Counts)> {
    let rules = verdict["rules"].as_array().context("the verdict has no rules")?;
    let mut tests = Counts { all: 1, failed: 0, skipped: 0 };
    let mut leaves = Counts { all: 1, failed: 0, skipped: 0 };
    for rule in rules {
        let state = rule["state"].as_str().context("a rule has no state")?;
        let (failed, skipped) = (matches!(state, "violated" | "unmet"), matches!(state, "unused" | "skipped"));
        tests.all += 1;
        tests.failed += u64::from(failed);
        tests.skipped += u64::from(skipped);
        let findings = rule["findings"].as_array().context("a rule has no findings")?;
        let denied = findings.iter().filter(|finding| finding["action"] == "deny").count();
        let (all, failed) = if findings.is_empty() {
            (1, u64::from(failed))
        } else {
            (u64::try_from(findings.len())?, u64::try_from(denied)?)
        };
        leaves.all += all;
        leaves.failed += failed;
        leaves.skipped += u64::from(skipped && findings.is_empty());
    }
    Ok((tests, leaves))
}
