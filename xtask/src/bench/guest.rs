//! The cost of tracers in a guest: one boot, all tracers in turn.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kmodtrace_tests::protocol::{GUEST_PATH, Plan, Sample, TracerKind};
use serde::{Deserialize, Serialize};

use super::stats::{Figure, float};
use crate::vm::{Choice, Guest, Set, Sink};
use crate::{build, kernels};

/// The kernel line whose suite has every tracer.
const KERNEL: &str = "6.1";

/// The time limit. A round of all tracers takes minutes in an emulated guest.
const LIMIT: Duration = Duration::from_secs(2 * 3600);

/// One figure of one tracer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) figure: String,
    pub(super) tracer: String,
    pub(super) rounds: usize,
    #[serde(flatten)]
    pub(super) value: Figure,
}

/// All figures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Online {
    pub(super) kernel: String,
    /// The accelerator of the guest.
    pub(super) accelerator: String,
    pub(super) plan: Plan,
    pub(super) rows: Vec<Row>,
}

impl Online {
    /// A figure of a tracer.
    pub(super) fn get(&self, figure: &str, tracer: &str) -> Option<&Figure> {
        self.rows.iter().find(|row| row.figure == figure && row.tracer == tracer).map(|row| &row.value)
    }
}

/// Boots the guest, and measures all tracers.
pub(super) fn run(plan: Plan) -> Result<Online> {
    build::run()?;
    let guest = Guest::prepare(KERNEL, Choice::default())?.with_extras(Set::Tracers)?.with_timeout(LIMIT);
    let (kernel, accelerator) = (guest.release().to_owned(), guest.accelerator().to_owned());
    let orders = serde_json::to_string(&plan).context("cannot serialize the plan")?;
    let mut samples = Samples::default();
    let code = guest.run_command(&[GUEST_PATH.to_owned(), "bench".to_owned(), orders], &mut samples)?;
    if code != 0 {
        bail!("the bench in the guest failed with exit code {code}");
    }
    let mut rows = rows(&samples.all)?;
    for (program, count) in kernels::verified_instructions(KERNEL)? {
        let value = Figure::of(&[float(count)]).context("no count")?;
        // The kernel truncates program names to 15 bytes (`BPF_OBJ_NAME_LEN`, include/uapi/linux/bpf.h).
        let program: String = program.chars().take(15).collect();
        let figure = format!("program {program} verified_instructions");
        rows.push(Row { figure, tracer: TracerKind::Record.name().to_owned(), rounds: 1, value });
    }
    Ok(Online { kernel, accelerator, plan, rows })
}

/// Collects samples.
#[derive(Default)]
struct Samples {
    /// The start of an incomplete line.
    rest: Vec<u8>,
    all: Vec<Sample>,
}

impl Sink for Samples {
    fn stdout(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest.extend(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let sample = serde_json::from_slice(&line);
            self.all.push(sample.with_context(|| format!("invalid sample: {}", String::from_utf8_lossy(&line)))?);
        }
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<()> {
        eprint!("{}", String::from_utf8_lossy(bytes));
        Ok(())
    }
}

/// Combines the samples of all rounds into figures, in the order of their first samples.
fn rows(samples: &[Sample]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for sample in samples {
        if rows.iter().any(|row| row.figure == sample.figure && row.tracer == sample.tracer) {
            continue;
        }
        let same = samples.iter().filter(|other| other.figure == sample.figure && other.tracer == sample.tracer);
        let values: Vec<f64> = same.map(|sample| sample.value).collect();
        let value = Figure::of(&values).context("no round")?;
        rows.push(Row { figure: sample.figure.clone(), tracer: sample.tracer.clone(), rounds: values.len(), value });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use kmodtrace_tests::protocol::Sample;

    use super::{Samples, rows};
    use crate::vm::Sink as _;

    /// Samples arrive in pieces, and those of all rounds become one figure.
    #[test]
    fn rounds_become_figures() {
        let sample = |round, value| Sample { round, tracer: "x".into(), figure: "y_ms".into(), value };
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
