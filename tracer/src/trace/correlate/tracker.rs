//! Turns records into events: keeps what is in flight and joins each record by the key that the kernel assigned. It has no
//! clock and does no I/O: time comes from records and ticks, everything else from [`Environment`].

use tracer_ebpf::wire;

use super::{
    checks::Seen,
    clock::Clock,
    devices::Devices,
    entries::Entries,
    environment::Environment,
    files::Files,
    history::History,
    in_flight::{Ending, InFlight, Requests, Retired},
    kernel_printf::format_name,
    loaders::Loaders,
    outcome::{self, OutcomeInput},
    unresolved::unseen,
};
use crate::{
    event::{Attribution, Body, End, Event, Helper, Loss, LossStage, Outcome, RequestId, Status},
    kernel::clock::ClockTriple,
    probe::Record,
    trace::enrich::process::{nul_text, process_id, request_id},
};

/// Number of requests that the kernel runs at a time (`MAX_KMOD_CONCURRENT`, kernel/kmod.c).
const MAX_CONCURRENT: usize = 50;

/// Turns records into events.
pub struct Tracker<K> {
    pub(super) environment: K,
    pub(super) clock: Clock,
    seq: u64,
    pub(super) out: Vec<Event>,
    pub(super) entries: Entries,
    /// When a loss was last reported.
    pub(super) last_loss_ns: Option<u64>,
    /// When runs of the verdict probe were last found missing.
    pub(super) last_missed_ns: Option<u64>,
    /// When all slots of the kernel were last in use.
    pub(super) last_full_ns: Option<u64>,
    pub(super) requests: Requests,
    pub(super) loaders: Loaders,
    /// Results of the last checks.
    pub(super) seen: Seen,
    /// Results of earlier checks, until the ring was read.
    pub(super) settling: Seen,
    /// Records that arrived after the result of their request, since this was last reported.
    pub(super) late_records: u64,
    /// The programs stay attached after the end of the stream.
    pub(super) is_continued: bool,
    pub(super) files: Files,
    pub(super) history: History,
    pub(super) devices: Devices,
    pub(super) totals: End,
}

impl<K: Environment> Tracker<K> {
    /// Creates a tracker. Its events are numbered from 0.
    pub fn new(environment: K, clock: Clock) -> Self {
        Self {
            environment,
            clock,
            seq: 0,
            out: Vec::new(),
            entries: Entries::default(),
            last_loss_ns: None,
            last_missed_ns: None,
            last_full_ns: None,
            requests: Requests::default(),
            loaders: Loaders::default(),
            seen: Seen::default(),
            settling: Seen::default(),
            late_records: 0,
            is_continued: false,
            files: Files::default(),
            history: History::default(),
            devices: Devices::default(),
            totals: End::default(),
        }
    }

    /// The environment.
    pub fn environment(&mut self) -> &mut K {
        &mut self.environment
    }

    /// Takes the events created since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.out)
    }

    /// Whether there are events to take.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.out.is_empty()
    }

    /// Adds an event that does not come from a record: header, baseline.
    pub fn push(&mut self, boot_ns: u64, body: Body) {
        match &body {
            Body::Header(_) => self.start_devices(boot_ns),
            Body::Baseline(baseline) => self.history.begin(&baseline.modules),
            _ => {}
        }
        self.emit(boot_ns, None, body);
    }

    /// Wall clock minus boot clock of the events, nanoseconds.
    pub(in crate::trace) const fn realtime_minus_boot_ns(&self) -> i64 {
        self.clock.realtime_minus_boot_ns
    }

    /// Notes that the wall clock was set: later events have the new time.
    pub fn clock_was_set(&mut self, clocks: &ClockTriple) {
        self.clock = Clock { realtime_minus_boot_ns: clocks.realtime_minus_boot_ns() };
        self.emit(clocks.boot_ns, None, Body::Clock(clocks.into()));
    }

    /// Number of requests and loaders whose last event is still to come.
    #[must_use]
    pub fn open(&self) -> usize {
        self.requests.len() + self.loaders.len()
    }

    /// Whether nothing is in flight: all records were turned into events, and no later record depends on an earlier one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open() == 0 && self.entries.is_empty()
    }

    /// Emits an event. The result of a request is emitted by [`Self::emit_result`].
    pub(super) fn emit(&mut self, boot_ns: u64, request: Option<RequestId>, body: Body) {
        debug_assert!(request.is_none() || !matches!(body, Body::Result(_)), "a result takes a retired request");
        self.send(boot_ns, request, body);
    }

    /// Emits the result of a request that was removed from the table.
    pub(super) fn emit_result(&mut self, retired: &Retired, boot_ns: u64, outcome: Outcome) {
        self.send(boot_ns, Some(retired.id()), Body::Result(outcome));
    }

    /// Ends a request: emits its pending event, if any, and its result.
    pub(super) fn end(&mut self, id: RequestId, boot_ns: u64, outcome: Outcome) {
        self.release(id, None);
        match self.requests.retire(id) {
            Some(retired) => self.emit_result(&retired, boot_ns, outcome),
            None => self.count_late(id.tid),
        }
    }

    /// Counts a record that arrived after the result of its request, or cannot belong to it. Emitted events do not change.
    pub(super) fn count_late(&mut self, tid: u32) {
        log::debug!("a record of thread {tid} arrived after the result of its request");
        self.late_records += 1;
    }

    fn send(&mut self, boot_ns: u64, request: Option<RequestId>, body: Body) {
        match &body {
            Body::Request(_) => self.totals.requests += 1,
            Body::Load(_) => self.totals.loads += 1,
            Body::Unload(unload) if !unload.init_failed => self.totals.unloads += 1,
            Body::Loss(loss) => self.totals.lost += loss.count,
            _ => {}
        }
        let event = Event { seq: self.seq, time: self.clock.at(boot_ns), boot_ns, request, body };
        self.seq += 1;
        self.out.push(event);
    }

    /// Handles a record.
    pub fn record(&mut self, record: Record) {
        match record {
            Record::Entered(record) => self.on_entered(record),
            Record::Request(record) => self.on_request(&record),
            Record::Verdict(record) => self.on_verdict(&record),
            Record::Admitted(record) => self.on_admitted(&record),
            Record::Handover(record) => self.on_handover(&record),
            Record::Helper(record) => self.on_helper(&record),
            Record::Result(record) => self.on_result(&record),
            Record::Load(record) => self.on_load(&record),
            Record::InitDone(record) => self.on_init_done(&record),
            Record::Unload(record) => self.on_unload(&record),
            Record::ModuleFile(record) => self.on_module_file(&record),
            Record::LoadExit(record) => self.on_load_exit(&record),
        }
    }

    /// Handles a loss.
    pub fn loss(&mut self, boot_ns: u64, stage: LossStage, cause: &str, count: u64) {
        let loss = Loss { stage, cause: cause.to_owned(), count };
        // No record is missing after a walk that was cut.
        if !loss.is_walk_cut() {
            self.last_loss_ns = self.last_loss_ns.max(Some(boot_ns));
            self.history.lost(boot_ns);
            self.environment.module_changed(None);
        }
        self.emit(boot_ns, None, Body::Loss(loss));
    }

    /// Notes that runs of the verdict probe were missed. Requests that continued lost nothing.
    pub fn verdicts_missed(&mut self, boot_ns: u64) {
        self.last_missed_ns = self.last_missed_ns.max(Some(boot_ns));
    }

    /// Notes whether all slots of the kernel are in use.
    fn note_concurrency(&mut self, boot_ns: u64) {
        if self.requests.running() >= MAX_CONCURRENT {
            self.last_full_ns = self.last_full_ns.max(Some(boot_ns));
        }
    }

    /// The request of a record of its own thread. `None` if that has ended, or if the thread id belongs to another process
    /// now: then the record is counted as late.
    fn request_of(&mut self, key: &wire::RequestKey, header: &wire::Header) -> Option<RequestId> {
        let id = request_id(key)?;
        let is_another = |in_flight: &InFlight| in_flight.process != process_id(&header.process);
        if self.requests.has_ended(id) || self.requests.get(id).is_some_and(is_another) {
            self.count_late(id.tid);
            return None;
        }
        self.requests.change(id, |in_flight| in_flight.saw_record(header.boot_ns));
        Some(id)
    }

    fn on_request(&mut self, record: &wire::Request) {
        let Some(id) = request_id(&record.request) else { return };
        if self.requests.is_known(id) {
            self.count_late(id.tid);
            return;
        }
        let process = process_id(&record.context.process);
        self.requests.thread_calls_again(id.tid, process, record.header.boot_ns);
        let entered = self.entry_of(record);
        let began_ns = entered.as_ref().map_or(record.header.boot_ns, |entered| entered.header.boot_ns);
        let name = match (&entered, record.no_modprobe) {
            (Some(entered), 1..) => format_name(entered).unwrap_or_default(),
            _ => nul_text(&record.name),
        };
        if let Some(oldest) = self.requests.oldest_if_full() {
            self.end(oldest, record.header.boot_ns, unseen("its end was not seen: too many requests were in flight"));
        }
        let request = Box::new(self.request_body(record, name.clone()));
        self.requests.insert(id, InFlight::new(name, id, began_ns, process, request));
        let duration_ns = Some(record.header.boot_ns.saturating_sub(began_ns));

        if record.no_modprobe != 0 {
            let mut outcome = Outcome::new(Status::NoModprobe, Attribution::exact());
            outcome.code = Some(-2);
            outcome.errno = Some("ENOENT".to_owned());
            outcome.detail = Some("kernel.modprobe is empty: the kernel loads no modules on request".to_owned());
            outcome.duration_ns = duration_ns;
            self.end(id, record.header.boot_ns, outcome);
        } else if record.verdict < 0 && ![wire::Request::VERDICT_LATER, wire::Request::LATE].contains(&record.verdict) {
            self.deny(id, record.header.boot_ns, record.verdict, duration_ns);
        }
    }

    fn deny(&mut self, id: RequestId, boot_ns: u64, verdict: i32, duration_ns: Option<u64>) {
        let mut outcome = Outcome::new(Status::Denied, Attribution::exact());
        outcome.code = Some(verdict);
        outcome.errno = Some(outcome::errno_name(verdict));
        outcome.detail = Some("a security module refused the request".to_owned());
        outcome.duration_ns = duration_ns;
        self.end(id, boot_ns, outcome);
    }

    fn on_verdict(&mut self, record: &wire::Verdict) {
        let Some(id) = self.request_of(&record.request, &record.header) else { return };
        let began_ns = self.requests.get(id).map(|in_flight| in_flight.began_ns);
        let duration_ns = began_ns.map(|began| record.header.boot_ns.saturating_sub(began));
        self.deny(id, record.header.boot_ns, record.verdict, duration_ns);
    }

    /// Emits a pending request event with what is known so far.
    pub(super) fn release(&mut self, id: RequestId, wait: Option<bool>) {
        let Some(mut request) = self.requests.change(id, |in_flight| in_flight.pending_event.take()).flatten() else {
            return;
        };
        request.wait = wait;
        self.emit(id.boot_ns, Some(id), Body::Request(request));
    }

    fn on_admitted(&mut self, record: &wire::Admitted) {
        let Some(id) = self.request_of(&record.request, &record.header) else { return };
        self.requests.change(id, |in_flight| in_flight.is_admitted = true);
        self.note_concurrency(record.header.boot_ns);
        self.release(id, Some(record.wait != 0));
    }

    fn on_handover(&mut self, record: &wire::Handover) {
        /// include/linux/umh.h: the caller waits until the helper exits.
        const UMH_WAIT_PROC: u32 = 2;
        let Some(id) = self.request_of(&record.request, &record.header) else { return };
        self.release(id, Some(record.wait & UMH_WAIT_PROC != 0));
        self.requests.change(id, |in_flight| in_flight.helper_runs(record.header.boot_ns));
        self.note_concurrency(record.header.boot_ns);
    }

    fn on_helper(&mut self, record: &wire::Helper) {
        let Some(id) = request_id(&record.request) else { return };
        self.release(id, None);
        let process = process_id(&record.header.process);
        if self.requests.get(id).is_some_and(|in_flight| in_flight.helper == Some(process)) {
            self.count_late(id.tid);
            return;
        }
        self.requests.change(id, |in_flight| {
            in_flight.helper = Some(process);
            in_flight.helper_runs(record.header.boot_ns);
        });
        let helper = Helper {
            pid: process.pid,
            start_ns: process.start_ns,
            path: nul_text(&record.path),
            argv: record.argv.iter().map(|argument| nul_text(argument)).collect(),
            attribution: Attribution::exact(),
        };
        self.emit(record.header.boot_ns, Some(id), Body::Helper(helper));
    }

    fn on_result(&mut self, record: &wire::RequestResult) {
        let Some(id) = self.request_of(&record.request, &record.header) else { return };
        self.release(id, Some(record.wait != 0));
        let boot_ns = record.header.boot_ns;
        self.note_concurrency(boot_ns);
        let Self { requests, environment, history, clock, .. } = self;
        let Some(in_flight) = requests.get(id) else {
            // The request record was lost: the return value is correct, everything else is unknown.
            let mut outcome = Outcome::new(Status::Unknown, Attribution::unknown());
            outcome.code = Some(record.ret);
            self.end(id, boot_ns, outcome);
            return;
        };
        if in_flight.ending.as_ref().is_some_and(|ending| ending.outcome.code.is_some()) {
            self.count_late(id.tid);
            return;
        }
        let began_ns = in_flight.began_ns;
        let input = OutcomeInput {
            id,
            name: &in_flight.name,
            ret: record.ret,
            wait: record.wait != 0,
            began_ns,
            began_realtime_ns: clock.realtime_ns(began_ns),
            duration_ns: Some(boot_ns.saturating_sub(began_ns)),
            loaded: &in_flight.loaded,
            failures: &in_flight.failures,
            nested: &in_flight.nested,
            history,
        };
        let outcome = outcome::classify(&input, environment);
        if matches!(outcome.status, Status::NotWaited | Status::Interrupted) {
            let ending = Ending { outcome, boot_ns, is_due: false };
            self.requests.change(id, |in_flight| in_flight.ending = Some(ending));
            return;
        }
        self.end(id, boot_ns, outcome);
    }
}
