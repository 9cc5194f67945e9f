//! The attached programs, their ring and their counters.

use aya::{Ebpf, programs::links::PinnedLink};
use aya_log::EbpfLogger;

use super::{
    Addresses, ProbeError, attach::AttachedHook, losses::Losses, pin::Pins, ring::Ring, runtime_config::RuntimeConfig,
    self_test::SelfTest, symbolizer::Symbolizer,
};

/// The state that a recorder found at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// Number of unread records, if the programs were attached already.
    pub waiting: Option<u64>,
    /// Number of unread records of another version, which cannot be decoded.
    pub unreadable: u64,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// The attached programs. Dropping it detaches them, unless they are pinned.
pub struct Tracer {
    /// The ring buffer.
    pub ring: Ring,
    /// Loss counters.
    pub losses: Losses,
    /// Whether the attach methods work.
    pub self_test: SelfTest,
    /// Every hook, attached or not.
    pub hooks: Vec<AttachedHook>,
    /// The state that the flight recorder found at its start.
    pub resumed: Option<Resumed>,
    /// The symbols of the kernel, if it can be asked (since 5.13).
    pub symbolizer: Option<Symbolizer>,
    pub(super) logger: Option<EbpfLogger<&'static dyn log::Log>>,
    /// The programs loaded by this process: all, or those that cannot be pinned.
    pub(super) ebpf: Option<Ebpf>,
    pub(super) pins: Option<Pins>,
    /// Links of pinned programs, open for their counters of missed runs.
    pub(super) _links: Vec<PinnedLink>,
    pub(super) settings: RuntimeConfig,
}

impl Tracer {
    /// Whether programs and maps outlast this process.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Fraction of the ring, from 0 to 1, whose records were read and not released: after a crash, the next recorder reports
    /// them again. `None` if there is nothing to release.
    #[must_use]
    pub fn held(&self) -> Option<f64> {
        self.ring.uncommitted_fraction().or_else(|| self.losses.has_unsaved().then_some(0.0))
    }

    /// Commits all records and losses that were read: they are stored safely elsewhere.
    ///
    /// # Errors
    /// If the kernel refuses to store the loss checkpoint.
    pub fn release(&mut self) -> Result<(), ProbeError> {
        self.ring.release();
        self.losses.save_checkpoint()
    }

    /// Sets the kernel addresses that the programs compare pointers with.
    pub fn set_addresses(&self, addresses: Addresses) {
        self.settings.set_addresses(addresses);
    }

    /// Whether the programs know kernel addresses, for example of an earlier recorder.
    #[must_use]
    pub fn has_addresses(&self) -> bool {
        self.settings.has_addresses()
    }

    /// Sets that the ring is polled, so that programs need not wake this process: a wakeup costs more than all their other work.
    pub fn stay_awake(&self) {
        self.settings.set_polling(true);
    }

    /// Sets that programs must wake this process. Returns whether the ring was empty after that.
    #[must_use]
    pub fn go_to_sleep(&self) -> bool {
        self.settings.set_polling(false);
        self.ring.is_read()
    }

    /// Ends polling; pinned programs keep recording.
    pub fn leave(&self) {
        self.settings.set_polling(false);
    }

    /// Logs the diagnostics of the programs since the last call.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// Instructions that the verifier processed for each loaded program (kernel 5.16 and later).
    #[must_use]
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        self.ebpf
            .iter()
            .flat_map(Ebpf::programs)
            .filter_map(|(name, program)| Some((name.to_owned(), program.info().ok()?.verified_instruction_count()?)))
            .collect()
    }
}
