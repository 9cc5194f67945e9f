//! Configures and starts a trace.

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use tokio::time::Instant;

use super::{
    Batch, GRACE, Phase, Trace,
    correlate::{self, Clock, Drained, Filter, Scope, Started, Tracker},
    poll::PollSchedule,
};
use crate::{
    event::End,
    probe::{LogLevel, Options, Preference, ProbeError},
};

/// A limit that no one reaches, so that times can be added.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Configures a trace.
///
/// ```no_run
/// use kmodtrace::trace::{Observed, TraceBuilder};
///
/// # async fn trace() -> Result<(), Box<dyn std::error::Error>> {
/// let mut trace = TraceBuilder::new().start()?;
/// while let Some(batch) = trace.next().await? {
///     for observed in batch.events {
///         if let Observed::InScope(event) = observed {
///             println!("{}", serde_json::to_string(&event)?);
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TraceBuilder {
    options: Options,
    scope: Scope,
    has_user_symbols: bool,
    btf: Option<PathBuf>,
    grace: Duration,
}

impl Default for TraceBuilder {
    fn default() -> Self {
        Self { options: Options::default(), scope: Scope::Host, has_user_symbols: false, btf: None, grace: GRACE }
    }
}

impl TraceBuilder {
    /// Traces the whole machine, with the best attach methods of this kernel.
    pub fn new() -> Self {
        Self::default()
    }

    /// Size of the ring buffer, bytes (default 4 MiB); rounded up to a power of two of pages.
    pub const fn ring_bytes(mut self, bytes: u32) -> Self {
        self.options.ring_bytes = bytes;
        self
    }

    /// The preferred attach method.
    pub const fn attach(mut self, preference: Preference) -> Self {
        self.options.preference = preference;
        self
    }

    /// Reads the kernel's types from a file, for a kernel that has none (`CONFIG_DEBUG_INFO_BTF`). They must be of exactly this
    /// kernel.
    pub fn btf(mut self, file: Option<PathBuf>) -> Self {
        self.btf = file;
        self
    }

    /// Makes each program log what it observes, with the `log` crate.
    pub const fn log(mut self, level: LogLevel) -> Self {
        self.options.log = level;
        self
    }

    /// Keeps the programs attached after this process: the flight recorder.
    pub const fn pin(mut self, pin: bool) -> Self {
        self.options.pin = pin;
        self
    }

    /// Narrows the events to a command.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// How long the end of the trace waits at most for requests and loads of the scope that are in flight (default 2 s). For those
    /// of other processes, it never waits longer than 2 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(LONGEST_GRACE);
        self
    }

    /// Resolves user stacks with the symbol tables of the requester's files.
    #[cfg(feature = "symbols")]
    pub const fn user_symbols(mut self, resolve: bool) -> Self {
        self.has_user_symbols = resolve;
        self
    }

    /// Attaches and pins the programs, and leaves the records to a later trace with [`TraceBuilder::pin`]. Must be called in a
    /// tokio runtime.
    ///
    /// # Errors
    /// As [`TraceBuilder::start`].
    pub fn arm(self) -> Result<Armed, ProbeError> {
        let mut started = correlate::start(Options { pin: true, ..self.options }, self.btf.as_deref())?;
        let missing = correlate::read_symbols(&mut started.system, &mut started.tracer);
        started.warnings.extend(missing);
        let was_armed = started.tracer.resumed.as_ref().is_some_and(|resumed| resumed.waiting.is_some());
        Ok(Armed { was_armed, warnings: started.warnings })
    }

    /// Attaches; afterwards every request is traced. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// If tracing is not possible here; the error names the reason and the fix.
    pub fn start(self) -> Result<Trace, ProbeError> {
        let started = correlate::start(self.options, self.btf.as_deref())?;
        let Started { tracer, uevents, system, clocks, header, baseline, warnings } = started;
        #[cfg(feature = "symbols")]
        let system = if self.has_user_symbols { system.with_user_symbols() } else { system };
        let clock = Clock { realtime_minus_boot_ns: clocks.realtime_minus_boot_ns() };
        let enters_another_namespace = system.enters_another_namespace();
        let mut tracker = Tracker::new(system, clock);
        tracker.push(clocks.boot_ns, header);
        tracker.push(clocks.boot_ns, baseline);
        let first = tracker.take_events();

        let now = Instant::now();
        let mut trace = Trace {
            tracer,
            uevents,
            tracker,
            filter: Filter::new(self.scope),
            pending: VecDeque::new(),
            warnings,
            next_seq: 0,
            totals: End::default(),
            polls: PollSchedule::new(now),
            deadline: None,
            grace: self.grace,
            is_polling: false,
            losses_at: now,
            has_user_symbols: self.has_user_symbols,
            enters_another_namespace,
            resumed_records: None,
            drained: Drained { began_ns: clocks.boot_ns, ended_ns: clocks.boot_ns, is_complete: false },
            reading: None,
            phase: Phase::Running,
        };
        // Header and baseline precede everything, also losses of the time before a resumed recorder.
        let mut events = trace.in_scope(first);
        trace.read_symbols();
        trace.resumed_records = trace.resume();
        trace.losses(false);
        events.extend(trace.collect());
        trace.pending.push_back(Batch { events, is_tick: false, has_calmed: false });
        Ok(trace)
    }
}

/// Programs that were attached and left to record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Armed {
    /// They were attached before, and records wait.
    pub was_armed: bool,
    /// What could not be set up, and what is missing because of it.
    pub warnings: Vec<String>,
}
