//! What tracers cost in a guest: one boot, everyone in turn.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kmodtrace_tests::protocol::{GUEST_PATH, Plan, Sample, Who};
use serde::{Deserialize, Serialize};

use super::stats::{Figure, float};
use crate::vm::{Choice, Guest, Set, Sink};
use crate::{build, kernels};

/// The line that has every tracer in its own suite.
const KERNEL: &str = "6.1";

/// A round of all tracers is minutes where everything is emulated.
const LIMIT: Duration = Duration::from_secs(2 * 3600);

/// One figure of one tracer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) figure: String,
    pub(super) who: String,
    pub(super) rounds: usize,
    #[serde(flatten)]
    pub(super) value: Figure,
}

/// All figures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Online {
    pub(super) kernel: String,
    /// What ran the guest.
    pub(super) accelerator: String,
    pub(super) plan: Plan,
    pub(super) rows: Vec<Row>,
}

impl Online {
    /// A figure of one of the tracers.
    pub(super) fn get(&self, figure: &str, who: &str) -> Option<&Figure> {
        self.rows.iter().find(|row| row.figure == figure && row.who == who).map(|row| &row.value)
    }
}

/// Boots the guest, and has everyone take their turn.
pub(super) fn run(plan: Plan) -> Result<Online> {
    build::run()?;
    let guest = Guest::prepare(KERNEL, Choice::default())?.with_extras(Set::Tracers)?.with_timeout(LIMIT);
    let (kernel, accelerator) = (guest.release().to_owned(), guest.accelerator().to_owned());
    let orders = serde_json::to_string(&plan).context("the plan has no JSON form")?;
    let mut samples = Samples::default();
    let code = guest.run_command(&[GUEST_PATH.to_owned(), "bench".to_owned(), orders], &mut samples)?;
    if code != 0 {
        bail!("the bench in the guest ended with {code}: it measures nothing");
    }
    let mut rows = rows(&samples.all)?;
    for (program, count) in kernels::verified_instructions(KERNEL)? {
        let value = Figure::of(&[float(count)]).context("no count")?;
        // The kernel keeps so much of a program's name (`BPF_OBJ_NAME_LEN`, include/uapi/linux/bpf.h).
        let program: String = program.chars().take(15).collect();
        let figure = format!("program {program} verified_instructions");
        rows.push(Row { figure, who: Who::Record.name().to_owned(), rounds: 1, value });
    }
    Ok(Online { kernel, accelerator, plan, rows })
}

/// Samples as they come.
#[derive(Default)]
struct Samples {
    /// The beginning of a line whose end is still to come.
    rest: Vec<u8>,
    all: Vec<Sample>,
}

impl Sink for Samples {
    fn stdout(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest.extend(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let sample = serde_json::from_slice(&line);
            self.all.push(sample.with_context(|| format!("no figure: {}", String::from_utf8_lossy(&line)))?);
        }
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<()> {
        eprint!("{}", String::from_utf8_lossy(bytes));
        Ok(())
    }
}

/// Rounds to figures, in the order in which they came first.
fn rows(samples: &[Sample]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for sample in samples {
        if rows.iter().any(|row| row.figure == sample.figure && row.who == sample.who) {
            continue;
        }
        let same = samples.iter().filter(|other| other.figure == sample.figure && other.who == sample.who);
        let values: Vec<f64> = same.map(|sample| sample.value).collect();
        let value = Figure::of(&values).context("no round")?;
        rows.push(Row { figure: sample.figure.clone(), who: sample.who.clone(), rounds: values.len(), value });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use kmodtrace_tests::protocol::Sample;

    use super::{Samples, rows};
    use crate::vm::Sink as _;

    /// Samples come in pieces, and those of all rounds make one figure.
    #[test]
    fn rounds_become_figures() {
        let sample = |round, value| Sample { round, who: "x".into(), figure: "y_ms".into(), value };
        let lines: String = [sample(1, 3.0), sample(2, 1.0), sample(3, 2.5)]
            .iter()
            .map(|sample| serde_json::to_string(sample).unwrap() + "\n")
            .collect();
        let mut samples = Samples::default();
        for piece in lines.as_bytes().chunks(7) {
            samples.stdout(piece).unwrap();
        }
        let rows = rows(&samples.all).unwrap();
        assert_eq!((rows.len(), rows[0].rounds), (1, 3));
        assert_eq!((rows[0].value.median, rows[0].value.min, rows[0].value.max), (2.5, 1.0, 3.0));
        assert!(samples.stdout(b"nonsense\n").is_err());
    }
}
