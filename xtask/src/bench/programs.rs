//! The run time of the BPF programs without emulation, measured by this machine's own kernel.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::stats::Figure;
use crate::requirements::Purpose;
use crate::toolchain::linker;
use crate::{setup, shell};

/// The program that is started for comparison, as named in `tracer/benches/programs.rs`.
pub(super) const START: &str = "/bin/true";

/// One row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    /// A program, or [`START`].
    pub(super) name: String,
    pub(super) ns: Figure,
}

/// All figures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Native {
    pub(super) kernel: String,
    pub(super) rows: Vec<Row>,
    /// The reason if there are none.
    pub(super) absent: Option<String>,
}

/// One line of the bench.
#[derive(Deserialize)]
struct Line {
    what: String,
    ns: Vec<f64>,
}

/// Runs the bench of the programs. If the machine does not allow it, there is a reason instead of figures.
pub(super) fn run() -> Result<Native> {
    setup::run(Purpose::Build)?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel's release")?;
    // The suffix with the build is irrelevant.
    let kernel = kernel.split(['-', '\n']).next().unwrap_or_default().to_owned();
    let mut build = bench();
    build.arg("--no-run");
    shell::run(&mut build)?;
    let mut bench = bench();
    eprintln!("+ {}", shell::show(&bench));
    let done = bench.stdin(Stdio::null()).output().context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&done.stderr);
    eprint!("{said}");
    if done.status.success() {
        return Ok(Native { kernel, rows: rows(&String::from_utf8_lossy(&done.stdout))?, absent: None });
    }
    let Some(why) = said.lines().find_map(|line| line.strip_prefix("Not possible here: ")) else {
        bail!("the bench of the programs failed ({})", done.status);
    };
    Ok(Native { kernel, rows: Vec::new(), absent: Some(why.to_owned()) })
}

fn bench() -> Command {
    let mut command = Command::new(linker::cargo());
    command
        .current_dir(setup::workspace())
        .args(["bench", "--package", "kmodtrace", "--bench", "programs"])
        .env("KMODTRACE_EBPF", "require");
    command
}

fn rows(printed: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for line in printed.lines() {
        let line: Line = serde_json::from_str(line).with_context(|| format!("invalid figure: {line}"))?;
        rows.push(Row {
            ns: Figure::of(&line.ns).with_context(|| format!("no measurement of {}", line.what))?,
            name: line.what,
        });
    }
    if rows.iter().all(|row| row.name == START) {
        bail!("the bench of the programs ran no program");
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::rows;

    /// Batches become a figure, and a bench without programs is an error.
    #[test]
    fn batches_become_figures() {
        let start = "{\"what\":\"/bin/true\",\"ns\":[9,7,8]}\n";
        let found = rows(&format!("{start}{{\"what\":\"module_load\",\"ns\":[1.5]}}\n")).unwrap();
        assert_eq!((found[0].ns.median, found[1].ns.median), (8.0, 1.5));
        for bad in [start, "", "nonsense\n", "{\"what\":\"module_load\",\"ns\":[]}\n"] {
            assert!(rows(bad).is_err(), "{bad}");
        }
    }
}
