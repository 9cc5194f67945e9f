//! The cost of reading captures, compared with alternatives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::measure::{self, Cost};
use super::stats::{Figure, digits};
use crate::build;
use crate::setup;
use crate::shell;
use crate::toolchain::probe;

/// The version that is compared.
const DUCKDB: &str = "duckdb==1.4.1";

const SCRIPT: &str = include_str!("duckdb.py");

/// Counts modules by program, a small part of what `report` shows.
const JQ: &str =
    r#"reduce (inputs | select(.type == "load")) as $e ({}; .[$e.module + " " + ($e.process.exe // "")] += 1)"#;

/// A command that is measured.
struct Contender {
    name: &'static str,
    argv: Vec<String>,
    /// The exit codes of success.
    codes: &'static [i32],
}

/// The cost of a command for one size of capture.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) events: u64,
    pub(super) wall_s: Figure,
    pub(super) cpu_s: Figure,
    pub(super) peak_mib: Figure,
}

/// A generated capture.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Size {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// All figures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offline {
    pub(super) rounds: usize,
    pub(super) sizes: Vec<Size>,
    pub(super) rows: Vec<Row>,
    /// Commands that could not be measured, with the reason.
    pub(super) absent: Vec<String>,
}

/// Generates captures of these sizes, and measures all commands on each, round by round.
pub(super) fn run(sizes: &[u64], rounds: usize) -> Result<Offline> {
    let kmodtrace = build::run()?;
    let directory = probe::target_dir(&setup::workspace()).join("bench");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let policy = directory.join("policy.toml");
    let rule = "[[rule]]\naction = \"deny\"\nmodule = \"nf_*\"\norigin = \"request\"\n";
    fs::write(&policy, format!("version = 1\ndefault = \"allow\"\n\n{rule}")).context("cannot write the policy")?;
    let duckdb = duckdb(&directory);
    let absent = duckdb.as_ref().err().map(|error| format!("duckdb: {error:#}")).into_iter().collect();

    let mut found = Offline { rounds, sizes: Vec::new(), rows: Vec::new(), absent };
    for &events in sizes {
        let capture = directory.join(format!("{events}.jsonl.zst"));
        if !capture.exists() {
            generate(events, &capture)?;
        }
        let bytes = fs::metadata(&capture).context("cannot find the generated capture")?.len();
        found.sizes.push(Size { events, bytes });
        let commands = contenders(&kmodtrace, &capture, &policy, duckdb.as_deref().ok());
        let mut costs: Vec<Vec<Cost>> = commands.iter().map(|_| Vec::new()).collect();
        for round in 1..=rounds {
            for (one, costs) in commands.iter().zip(&mut costs) {
                let (program, arguments) = one.argv.split_first().context("the command is empty")?;
                let cost = measure::run(Command::new(program).args(arguments), one.codes)?;
                let (cpu, peak) = (digits(cost.cpu_s), digits(cost.peak_bytes / 1048576.0));
                println!("{events} events, round {round}: {}: {cpu} s of processor time, {peak} MiB", one.name);
                costs.push(cost);
            }
        }
        for (one, costs) in commands.iter().zip(&costs) {
            let figure =
                |of: fn(&Cost) -> f64| Figure::of(&costs.iter().map(of).collect::<Vec<_>>()).context("no round");
            found.rows.push(Row {
                name: one.name.to_owned(),
                events,
                wall_s: figure(|cost| cost.wall_s)?,
                cpu_s: figure(|cost| cost.cpu_s)?,
                peak_mib: figure(|cost| cost.peak_bytes / 1048576.0)?,
            });
        }
    }
    Ok(found)
}

/// Generates a capture in a separate process, so that its memory is not counted for other commands.
fn generate(events: u64, capture: &Path) -> Result<()> {
    let mut generator = Command::new(std::env::current_exe().context("cannot find the path of this program")?);
    generator.args(["gen", "--events", &events.to_string(), "--output"]).arg(capture);
    shell::run(&mut generator)
}

fn contenders(kmodtrace: &Path, capture: &Path, policy: &Path, duckdb: Option<&[String]>) -> Vec<Contender> {
    let text = |path: &Path| path.display().to_string();
    let ours = |name, arguments: &[&str]| {
        let argv = [text(kmodtrace)].into_iter().chain(arguments.iter().map(|&argument| argument.to_owned()));
        Contender { name, argv: argv.chain([text(capture)]).collect(), codes: &[0] }
    };
    let policy = text(policy);
    let mut all = vec![
        ours("kmodtrace report", &["report"]),
        ours("kmodtrace report --by exe", &["report", "--by", "exe"]),
        ours("kmodtrace report --module nf_conntrack", &["report", "--module", "nf_conntrack"]),
        ours("kmodtrace report --lines", &["report", "--lines"]),
        ours("kmodtrace verify", &["verify"]),
        // The capture has losses, so the exit code is 125.
        Contender { codes: &[125], ..ours("kmodtrace check", &["check", "--policy", &policy]) },
    ];
    let jq = "zstdcat \"$1\" | jq -n \"$2\"";
    let argv = ["sh", "-c", jq, "sh", &text(capture), JQ].map(str::to_owned).to_vec();
    all.push(Contender { name: "zstdcat | jq", argv, codes: &[0] });
    if let Some(duckdb) = duckdb {
        let argv = duckdb.iter().cloned().chain([text(capture)]).collect();
        all.push(Contender { name: "DuckDB", argv, codes: &[0] });
    }
    all
}

/// The command that runs the DuckDB script. DuckDB is installed below `target`.
fn duckdb(directory: &Path) -> Result<Vec<String>> {
    let python: PathBuf = directory.join("python");
    if !python.join("duckdb").exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&python).arg(DUCKDB);
        shell::run(&mut pip).context("cannot install DuckDB; install python3-pip")?;
    }
    let script = directory.join("duckdb-report.py");
    fs::write(&script, SCRIPT).context("cannot write the script")?;
    let path = format!("PYTHONPATH={}", python.display());
    Ok(vec!["env".to_owned(), path, "python3".to_owned(), script.display().to_string()])
}
