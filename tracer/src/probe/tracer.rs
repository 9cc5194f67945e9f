//! The attached programs, and what is read from them.

use aya::{Ebpf, programs::links::PinnedLink};
use aya_log::EbpfLogger;

use super::{Addresses, ProbeError, attached::AttachedHook, losses::Losses, pin::Pins, ring::Ring, settings::Settings};

/// What a recorder found when it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// The programs were attached already and have gone on recording; records that waited.
    pub waiting: Option<u64>,
    /// Records that waited and cannot be read: another version pinned them.
    pub unreadable: u64,
    /// What else is to be told.
    pub notes: Vec<String>,
}

/// The attached programs. Dropping it detaches them, unless they are pinned.
pub struct Tracer {
    /// Records.
    pub ring: Ring,
    /// Loss counters.
    pub losses: Losses,
    /// Every hook and what became of it.
    pub hooks: Vec<AttachedHook>,
    /// What the flight recorder found when it began.
    pub resumed: Option<Resumed>,
    pub(super) logger: Option<EbpfLogger<&'static dyn log::Log>>,
    /// What was loaded by this process: all, or what could not be pinned.
    pub(super) ebpf: Option<Ebpf>,
    pub(super) pins: Option<Pins>,
    /// What keeps pinned programs attached is open as long as it is asked what it has missed.
    pub(super) _links: Vec<PinnedLink>,
    pub(super) settings: Settings,
}

impl Tracer {
    /// Whether programs and maps outlast this process.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Whether something was handed out that a crash would have the next recorder tell again, and how much of the ring it
    /// takes, from 0 to 1.
    #[must_use]
    pub fn held(&self) -> Option<f64> {
        self.ring.held_share().or_else(|| self.losses.is_untold().then_some(0.0))
    }

    /// Says that everything handed out so far is safe.
    ///
    /// # Errors
    /// When the kernel refuses to store what was told.
    pub fn release(&mut self) -> Result<(), ProbeError> {
        self.ring.release();
        self.losses.keep_told()
    }

    /// Has the programs know what a pointer points to.
    pub fn set_addresses(&self, addresses: Addresses) {
        self.settings.set_addresses(addresses);
    }

    /// Says that the ring is looked into without being woken: that costs a program more than all else it does.
    pub fn stay_awake(&self) {
        self.settings.set_awake(true);
    }

    /// Says that this process is to be woken; true where nothing came before that was said.
    #[must_use]
    pub fn go_to_sleep(&self) -> bool {
        self.settings.set_awake(false);
        self.ring.is_read()
    }

    /// Says that nobody looks into the ring by himself any more: programs that are pinned go on.
    pub fn leave(&self) {
        self.settings.set_awake(false);
    }

    /// Passes on what the probes said since the last call.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// Cost of each loaded program to the verifier, in instructions (kernel 5.16 and later).
    #[must_use]
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        self.ebpf
            .iter()
            .flat_map(Ebpf::programs)
            .filter_map(|(name, program)| Some((name.to_owned(), program.info().ok()?.verified_instruction_count()?)))
            .collect()
    }
}
