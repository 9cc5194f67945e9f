//! What can be chosen about loading and attaching.

use super::hooks::{How, Program};

/// Which way of attaching to prefer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preference {
    /// The best that works.
    #[default]
    Best,
    /// Without trampolines, as on kernels that have none.
    KProbe,
    /// Without kprobes wherever there is a choice, as on kernels that have none.
    Trampoline,
}

impl Preference {
    pub(super) fn allows(self, way: &[Program]) -> bool {
        way.iter().all(|program| match self {
            Self::Best => true,
            Self::KProbe => !matches!(program.how, How::FEntry | How::FExit),
            Self::Trampoline => !matches!(program.how, How::KProbe | How::KRetProbe),
        })
    }
}

/// How much the probes say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogLevel {
    /// Nothing; the verifier removes the code.
    #[default]
    Off,
    /// What each probe sees.
    Debug,
}

/// What can be chosen about loading.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Bytes of the ring buffer; rounded up to a power of two of pages.
    pub ring_bytes: u32,
    /// Way of attaching.
    pub preference: Preference,
    /// Probe diagnostics.
    pub log: LogLevel,
    /// Whether the programs outlast this process: the flight recorder.
    pub pin: bool,
}

impl Default for Options {
    fn default() -> Self {
        // About 1,000 whole requests: twenty times what the kernel lets run at once.
        Self { ring_bytes: 4 << 20, preference: Preference::Best, log: LogLevel::Off, pin: false }
    }
}
