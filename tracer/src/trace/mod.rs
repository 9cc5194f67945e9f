//! The live source: probes and tracker, as a stream of events.
//!
//! [`TraceBuilder::start`] attaches the probes, [`Trace::next`] returns the events. Nothing is printed: everything that the
//! user should know is in [`Trace::take_warnings`].

mod builder;
pub mod correlate;
pub mod enrich;
mod poll;
mod read;

use std::{collections::VecDeque, io, time::Duration};

use tokio::time::{Instant, sleep_until};

pub use self::{
    builder::{Armed, TraceBuilder},
    correlate::{CommandCgroup, Scope},
};
use self::{
    correlate::{Drained, Filter, LiveSystem, Tracker},
    poll::PollSchedule,
    read::{Reading, Then},
};
use crate::{
    event::{Body, End, Event},
    kernel::{
        clock::ClockTriple,
        privileges::{Capability, keep_only},
        process,
    },
    probe::{ProbeError, Tracer, Uevents},
};

/// How long the end waits for everything in flight, in scope or not.
const GRACE: Duration = Duration::from_secs(2);

/// Share of a pinned ring that may wait for requests in flight. Until their records are released, a recorder that starts after
/// a crash sees these requests from their beginning.
const UNRELEASED_SHARE_MAX: f64 = 0.25;

/// Why a trace cannot continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The socket for uevents cannot be waited for.
    #[error("cannot wait for uevents: {0}")]
    Uevents(#[source] io::Error),
    /// The kernel refuses a change of a map or program.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

/// An event, and whether it belongs to the scope.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Observed {
    /// An event of the scope. `seq` numbers these without gaps; `end` has their totals.
    InScope(Event),
    /// An event of another process. `seq` has no meaning.
    OutOfScope(Event),
}

/// Events that arrived together.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Batch {
    /// The events, in order.
    pub events: Vec<Observed>,
    /// Whether the batch ends a tick: state that depends on time can be updated.
    pub is_tick: bool,
    /// Whether the trace has just become quiet: memory of the busy time is no longer needed.
    pub has_calmed: bool,
}

/// The phase of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// It waits for requests in flight.
    Stopping {
        /// For those of other processes until this time at the latest.
        others_until: Instant,
        /// For those in scope until this time at the latest.
        until: Instant,
    },
    Ended,
}

/// A running trace.
pub struct Trace {
    tracer: Tracer,
    uevents: Option<Uevents>,
    tracker: Tracker<LiveSystem>,
    filter: Filter,
    pending: VecDeque<Batch>,
    warnings: Vec<String>,
    /// Number of the next event of the scope.
    next_seq: u64,
    totals: End,
    polls: PollSchedule,
    deadline: Option<Instant>,
    /// How long the end waits for requests in scope.
    grace: Duration,
    /// Whether the programs know that the ring is polled, so that they need not wake this process.
    is_polling: bool,
    /// When the loss counters were read.
    losses_at: Instant,
    has_user_symbols: bool,
    /// The files of the kernel's helper are in another mount namespace.
    enters_another_namespace: bool,
    resumed_records: Option<u64>,
    /// How far the ring was read.
    drained: Drained,
    reading: Option<Reading>,
    phase: Phase,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("next_seq", &self.next_seq).field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Trace {
    /// Waits for the next events. A batch may be empty, for example on a tick. `None` after the last one, whose last event is
    /// `end`; only [`Trace::stop`] ends a trace.
    ///
    /// # Errors
    /// If the kernel no longer provides events.
    pub async fn next(&mut self) -> Result<Option<Batch>, TraceError> {
        loop {
            if let Some(batch) = self.pending.pop_front() {
                return Ok(Some(batch));
            }
            if let Some(reading) = self.reading.take() {
                self.read_on(reading);
                continue;
            }
            match self.phase {
                Phase::Ended => return Ok(None),
                Phase::Stopping { others_until, until } if self.is_settled(others_until, until) => {
                    self.begin_reading(Then::End);
                }
                Phase::Running | Phase::Stopping { .. } => {
                    let is_tick = self.wait().await?;
                    self.begin_reading(if is_tick { Then::Tick } else { Then::Nothing });
                }
            }
        }
    }

    /// Whether there is nothing more to wait for at the end.
    fn is_settled(&self, others_until: Instant, until: Instant) -> bool {
        let now = Instant::now();
        self.tracker.is_idle() || now >= until || (now >= others_until && self.filter.is_idle())
    }

    /// Waits until there is something to read, or time for a tick; true for a tick.
    async fn wait(&mut self) -> Result<bool, TraceError> {
        let next_at = self.polls.next_at(Instant::now());
        tokio::select! {
            ready = self.tracer.ring.ready() => ready?,
            ready = uevents_ready(&mut self.uevents) => ready.map_err(TraceError::Uevents)?,
            () = sleep_until(next_at) => {}
        }
        Ok(self.polls.is_tick(Instant::now()))
    }

    /// Begins to end the trace: [`Trace::next`] waits for requests in flight (see [`TraceBuilder::grace`]), then returns the last
    /// batch. Called again, it ends the waiting.
    pub fn stop(&mut self) {
        let now = Instant::now();
        match &mut self.phase {
            Phase::Running => {
                let others_until = now + GRACE.min(self.grace);
                self.phase = Phase::Stopping { others_until, until: now + self.grace };
                self.begin_reading(Then::Tick);
            }
            Phase::Stopping { until, .. } => *until = now,
            Phase::Ended => {}
        }
    }

    /// Detaches; pinned programs continue to record.
    pub fn detach(self) {
        self.tracer.leave();
    }

    /// Warnings since the last call: what could not be set up or read, and what is missing because of it.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Records that pinned programs wrote before this trace started; `None` if no programs were pinned.
    #[must_use]
    pub const fn resumed_records(&self) -> Option<u64> {
        self.resumed_records
    }

    /// Narrows the scope from now on, for example to a command that has just been started.
    pub fn set_scope(&mut self, scope: Scope) {
        self.filter.set_scope(scope);
    }

    /// Notes that no process of the command runs any more, so the end does not wait for its processes. In a pid namespace, their ids
    /// do not show that.
    pub const fn command_has_exited(&mut self) {
        self.filter.command_has_exited();
    }

    /// Makes a batch return at this time at the latest.
    pub const fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Drops the privileges that only attaching needed. New symbols, the loss checkpoint of pinned programs (before
    /// kernel 5.19), reading modprobe's configuration in another mount namespace, and `also` stay possible.
    ///
    /// # Errors
    /// If the kernel refuses: a seccomp policy forbids `capset(2)`.
    pub fn drop_privileges(&self, also: &[Capability]) -> io::Result<()> {
        let mut kept = vec![Capability::Syslog];
        kept.extend(self.tracer.is_pinned().then_some(Capability::Bpf));
        kept.extend(also);
        if self.enters_another_namespace {
            kept.extend([Capability::SysAdmin, Capability::SysChroot]);
        }
        if self.has_user_symbols {
            kept.extend([Capability::SysPtrace, Capability::DacReadSearch]);
        } else if process::are_hidden() {
            kept.push(Capability::SysPtrace);
        }
        keep_only(&kept)
    }

    /// Whether records of a pinned ring should be released now: no request is in flight, or they take much of the ring.
    #[must_use]
    pub fn is_release_due(&self) -> bool {
        self.tracer.held().is_some_and(|share| self.tracker.is_idle() || share > UNRELEASED_SHARE_MAX)
    }

    /// Releases the records of all events that [`Trace::next`] has returned: they are stored safely elsewhere.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn release(&mut self) -> Result<(), TraceError> {
        Ok(self.tracer.release()?)
    }

    /// Takes the events of the tracker, in scope or not.
    fn collect(&mut self) -> Vec<Observed> {
        let events = self.tracker.take_events();
        if !events.is_empty() {
            // Records were lost before the last of these events, so chains that these events end must be marked.
            self.losses(false);
        }
        let mut collected = self.tracker.take_events();
        collected.extend(events);
        self.in_scope(collected)
    }

    /// Decides which events belong to the scope, and numbers these.
    fn in_scope(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Observed> {
        let decide = |mut event: Event| {
            if !self.filter.belongs(&event) {
                return Observed::OutOfScope(event);
            }
            event.seq = self.next_seq;
            self.next_seq += 1;
            self.totals.count(&event.body);
            if let Body::End(end) = &mut event.body {
                end.clone_from(&self.totals);
            }
            Observed::InScope(event)
        };
        events.into_iter().map(decide).collect()
    }
}

/// Waits for a uevent; forever if the socket is closed.
async fn uevents_ready(uevents: &mut Option<Uevents>) -> io::Result<()> {
    match uevents {
        Some(uevents) => uevents.ready().await,
        None => std::future::pending().await,
    }
}

/// Nanoseconds since boot.
fn now_ns() -> u64 {
    ClockTriple::now().boot_ns
}
