//! The plan of a bench in a guest, and its samples: one line of JSON each.

use serde::{Deserialize, Serialize};

/// How long and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The number of turns of each tracer.
    pub rounds: u32,
    /// How long each tracer is idle, in the first round.
    pub idle_s: u64,
    /// How long an unprivileged user makes requests, in the first round.
    pub storm_s: u64,
    /// How long a tracer is stopped, in each round.
    pub stopped_s: u64,
}

/// One figure of one tracer in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The round, from 1.
    pub round: u32,
    /// The name of the tracer.
    pub tracer: String,
    /// The name of the figure, with its unit at the end.
    pub figure: String,
    /// The value in that unit.
    pub value: f64,
}

/// What a boot has cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootCost {
    /// Time that the processor was busy.
    pub busy_ms: u64,
    /// Processor time of the recorder; 0 without it.
    pub recorder_ms: u64,
    /// Processor time of the unit that arms the programs; 0 without it.
    pub arming_ms: u64,
}

/// The tracers that are compared, including none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TracerKind {
    /// No tracer at all.
    Nothing,
    /// No tracer again: the difference between the two is noise.
    NothingAgain,
    /// `kmodtrace watch`
    Watch,
    /// `kmodtrace record`
    Record,
    /// `kmodtrace record --pin`
    Pinned,
    /// `bpftrace` with the script in the repository.
    Bpftrace,
    /// `trace-cmd record -e module`
    TraceCmd,
    /// `perf trace -e module:*`
    Perf,
}

impl TracerKind {
    /// All kinds, in the order of the tables.
    pub const ALL: [Self; 8] = [
        Self::Nothing,
        Self::NothingAgain,
        Self::Watch,
        Self::Record,
        Self::Pinned,
        Self::Bpftrace,
        Self::TraceCmd,
        Self::Perf,
    ];

    /// The display name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::NothingAgain => "nothing, again",
            Self::Watch => "kmodtrace watch",
            Self::Record => "kmodtrace record",
            Self::Pinned => "kmodtrace record --pin",
            Self::Bpftrace => "bpftrace",
            Self::TraceCmd => "trace-cmd record",
            Self::Perf => "perf trace",
        }
    }

    /// Whether it is kmodtrace.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Watch | Self::Record | Self::Pinned)
    }
}
