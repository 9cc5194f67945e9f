//! Options for loading and attaching.

use super::hooks::{How, Program};

/// The preferred kind of attach method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preference {
    /// The best method that works.
    #[default]
    Best,
    /// No trampolines, if there is a choice: as on kernels without trampolines.
    KProbe,
    /// No kprobes, if there is a choice: as on kernels without kprobes.
    Trampoline,
}

impl Preference {
    pub(super) fn allows(self, method: &[Program]) -> bool {
        method.iter().all(|program| match self {
            Self::Best => true,
            Self::KProbe => !matches!(program.how, How::FEntry | How::FExit),
            Self::Trampoline => !matches!(program.how, How::KProbe | How::KRetProbe),
        })
    }
}

/// Diagnostics of the probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogLevel {
    /// None; the verifier removes the code.
    #[default]
    Off,
    /// A line for each run of a probe.
    Debug,
}

/// Options for loading.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Size of the ring buffer, bytes; rounded up to a power of two of pages.
    pub ring_bytes: u32,
    /// Preferred kind of attach method.
    pub preference: Preference,
    /// Diagnostics of the probes.
    pub log: LogLevel,
    /// Whether the programs stay attached after this process ends: the flight recorder.
    pub pin: bool,
}

impl Default for Options {
    fn default() -> Self {
        // About 1,000 complete requests: twenty times the number that the kernel allows to run at once.
        Self { ring_bytes: 4 << 20, preference: Preference::Best, log: LogLevel::Off, pin: false }
    }
}
