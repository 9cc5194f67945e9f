//! What a bench in a guest is told, and the figures that it gives: one line of JSON each.

use serde::{Deserialize, Serialize};

/// How long and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How often each tracer has its turn.
    pub rounds: u32,
    /// How long each is left alone, in the first round.
    pub idle_s: u64,
    /// How long a user without rights asks, in the first round.
    pub storm_s: u64,
    /// How long a reader is stopped, in each round.
    pub stopped_s: u64,
}

/// One figure of one tracer in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// From 1.
    pub round: u32,
    /// The tracer.
    pub who: String,
    /// What was measured, its unit last.
    pub figure: String,
    /// In that unit.
    pub value: f64,
}

/// What is traced with, and what is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// No tracer at all.
    Nothing,
    /// The same once more: how far figures differ by chance.
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

impl Who {
    /// All, in the order of tables.
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

    /// As people call it.
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

    /// Whether it is ours.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Watch | Self::Record | Self::Pinned)
    }
}
