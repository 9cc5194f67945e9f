//! Records to events: holds what is in flight, joins each record by the key the kernel gave it, and
//! decides how requests end. No clock and no I/O of its own: time comes with records and ticks,
//! everything else from [`Knowledge`].

use std::collections::{BTreeMap, HashMap};

use tracer_ebpf::wire;

use super::{
    clock::Clock,
    devices::Devices,
    format::name as format_name,
    knowledge::Knowledge,
    requests::{Ending, InFlight, Loader},
    verdict::{self, Facts},
};
use crate::{
    enrich::process::{nul_text, process_id, request_id},
    event::{
        Attribution, Body, End, Event, Helper, Loss, LossStage, Outcome, Process, ProcessId, Request, RequestId,
        Status, Text,
    },
    probe::Record,
};

/// How long a request event waits for the tracepoint that says whether the requester waits.
const HOLD_NS: u64 = 100_000_000;

/// The kernel gives up after 5 s without a free slot (`MAX_KMOD_ALL_BUSY_TIMEOUT`, kernel/kmod.c); and a margin.
const THROTTLE_NS: u64 = 5_500_000_000;

/// A requester that is gone after about 5 s was most likely told so and left; one that is gone earlier was killed.
const THROTTLE_NEAR_NS: u64 = 4_800_000_000;

/// How long a requester is gone before its result counts as lost.
const LOST_NS: u64 = 1_000_000_000;

/// How long after `__request_module` the security hook may be late: it follows at once.
const ENTERED_NS: u64 = 1_000_000_000;

/// A loader that pauses this long has finished a piece of work.
const LOADER_IDLE_NS: u64 = 1_000_000_000;

/// Files that were named by tasks which then never loaded: more than this are forgotten.
const FILES_LIMIT: usize = 4096;

/// Turns records into events.
pub struct Tracker<K> {
    pub(super) knowledge: K,
    pub(super) clock: Clock,
    seq: u64,
    pub(super) out: Vec<Event>,
    /// By thread: entered `__request_module`, not yet at the security hook.
    entered: HashMap<u32, Box<wire::Entered>>,
    /// Entered, and the same thread entered again: settled when it is known what was lost meanwhile.
    overtaken: Vec<wire::Entered>,
    /// When a loss in the kernel was last told.
    lost_ns: Option<u64>,
    pub(super) requests: BTreeMap<RequestId, InFlight>,
    pub(super) loaders: BTreeMap<ProcessId, Loader>,
    /// By thread: the file it is loading.
    pub(super) files: HashMap<u32, (ProcessId, Text)>,
    /// Who loaded what lately, to tell a request that lost a race from one that had nothing to do.
    pub(super) recent_loads: HashMap<String, (u64, RequestId)>,
    pub(super) devices: Devices,
    totals: End,
}

impl<K: Knowledge> Tracker<K> {
    /// A tracker that has seen nothing yet. Its events are numbered from 0.
    pub fn new(knowledge: K, clock: Clock) -> Self {
        Self {
            knowledge,
            clock,
            seq: 0,
            out: Vec::new(),
            entered: HashMap::new(),
            overtaken: Vec::new(),
            lost_ns: None,
            requests: BTreeMap::new(),
            loaders: BTreeMap::new(),
            files: HashMap::new(),
            recent_loads: HashMap::new(),
            devices: Devices::default(),
            totals: End::default(),
        }
    }

    /// The events made since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.out)
    }

    /// Adds an event that no record brings: header, baseline.
    pub fn push(&mut self, boot_ns: u64, body: Body) {
        self.emit(boot_ns, None, body);
    }

    /// Requests and loaders whose last event is still to come.
    #[must_use]
    pub fn open(&self) -> usize {
        self.requests.len() + self.loaders.len()
    }

    /// Whether every record was made into events, and none that is still to come depends on one that came.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open() == 0 && self.entered.is_empty()
    }

    pub(super) fn emit(&mut self, boot_ns: u64, request: Option<RequestId>, body: Body) {
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

    /// Takes one record.
    pub fn record(&mut self, record: Record) {
        match record {
            Record::Entered(record) => self.entered(record),
            Record::Request(record) => self.asked(&record),
            Record::Verdict(record) => self.denied(&record),
            Record::Admitted(record) => self.admitted(&record),
            Record::Handover(record) => self.handed_over(&record),
            Record::Helper(record) => self.helper(&record),
            Record::Result(record) => self.returned(&record),
            Record::Load(record) => self.load(&record),
            Record::InitDone(record) => self.init_done(&record),
            Record::Unload(record) => self.unload(&record),
            Record::ModuleFile(record) => self.module_file(&record),
            Record::LoadExit(record) => self.load_exit(&record),
        }
    }

    /// Takes a loss.
    pub fn loss(&mut self, boot_ns: u64, stage: LossStage, cause: &str, count: u64) {
        self.lost_ns = self.lost_ns.max(Some(boot_ns));
        self.emit(boot_ns, None, Body::Loss(Loss { stage, cause: cause.to_owned(), count }));
    }

    fn entered(&mut self, record: Box<wire::Entered>) {
        let tid = record.header.tid;
        // An empty kernel.modprobe is looked at before the name's length is.
        let ends_here = record.no_modprobe == 0 && is_too_long(format_name(&record).as_ref());
        self.overtaken.extend(self.entered.insert(tid, record).map(|overtaken| *overtaken));
        if ends_here && let Some(stopped) = self.entered.remove(&tid) {
            self.stopped_early(&stopped);
        }
    }

    /// Tells what entered and never asked. Where something was lost since, that may be its request: it is counted there.
    fn settle_entered(&mut self, is_late: impl Fn(&wire::Entered) -> bool) {
        let late = self.entered.extract_if(|_, entered| is_late(entered)).map(|(_, entered)| *entered);
        let late: Vec<wire::Entered> = late.chain(self.overtaken.drain(..)).collect();
        for entered in late {
            let is_counted = self.lost_ns.is_some_and(|lost_ns| lost_ns >= entered.header.boot_ns);
            if !is_counted || is_too_long(format_name(&entered).as_ref()) {
                self.stopped_early(&entered);
            }
        }
    }

    fn asked(&mut self, record: &wire::Request) {
        let Some(id) = request_id(&record.request) else { return };
        let entered = self.entered.remove(&record.header.tid);
        let began_ns = entered.as_ref().map_or(record.header.boot_ns, |entered| entered.header.boot_ns);
        let name = match (&entered, record.no_modprobe) {
            (Some(entered), 1..) => format_name(entered).unwrap_or_default(),
            _ => nul_text(&record.name),
        };
        let request = Box::new(self.request_body(record, name.clone()));
        let duration_ns = Some(record.header.boot_ns.saturating_sub(began_ns));

        if record.no_modprobe != 0 {
            self.emit(record.header.boot_ns, Some(id), Body::Request(request));
            let mut outcome = Outcome::new(Status::NoModprobe, Attribution::exact());
            outcome.code = Some(-2);
            outcome.errno = Some("ENOENT".to_owned());
            outcome.detail = Some("kernel.modprobe is empty: this kernel loads nothing by itself".to_owned());
            outcome.duration_ns = duration_ns;
            self.emit(record.header.boot_ns, Some(id), Body::Result(outcome));
        } else if record.verdict < 0 && record.verdict != wire::Request::VERDICT_LATER {
            self.emit(record.header.boot_ns, Some(id), Body::Request(request));
            self.deny(id, record.header.boot_ns, record.verdict, duration_ns);
        } else {
            let in_flight = InFlight {
                name,
                began_ns,
                process: process_id(&record.context.process),
                held: Some(request),
                admitted: false,
                handed_over: false,
                helper: None,
                loaded: Vec::new(),
                failures: Vec::new(),
                gone_ns: None,
                ending: None,
            };
            self.requests.insert(id, in_flight);
        }
    }

    fn deny(&mut self, id: RequestId, boot_ns: u64, verdict: i32, duration_ns: Option<u64>) {
        let mut outcome = Outcome::new(Status::Denied, Attribution::exact());
        outcome.code = Some(verdict);
        outcome.errno = Some(verdict::errno_name(verdict));
        outcome.detail = Some("a security module refused the request".to_owned());
        outcome.duration_ns = duration_ns;
        self.emit(boot_ns, Some(id), Body::Result(outcome));
    }

    fn denied(&mut self, record: &wire::Verdict) {
        let Some(id) = request_id(&record.request) else { return };
        self.release(id, None);
        let began_ns = self.requests.remove(&id).map(|in_flight| in_flight.began_ns);
        let duration_ns = began_ns.map(|began| record.header.boot_ns.saturating_sub(began));
        self.deny(id, record.header.boot_ns, record.verdict, duration_ns);
    }

    /// Lets a held request event out, with what is known by now.
    fn release(&mut self, id: RequestId, wait: Option<bool>) {
        let Some(mut request) = self.requests.get_mut(&id).and_then(|in_flight| in_flight.held.take()) else { return };
        request.wait = wait;
        self.emit(id.boot_ns, Some(id), Body::Request(request));
    }

    fn admitted(&mut self, record: &wire::Admitted) {
        let Some(id) = request_id(&record.request) else { return };
        if let Some(in_flight) = self.requests.get_mut(&id) {
            in_flight.admitted = true;
        }
        self.release(id, Some(record.wait != 0));
    }

    fn handed_over(&mut self, record: &wire::Handover) {
        /// include/linux/umh.h: the caller waits until the helper has ended.
        const UMH_WAIT_PROC: u32 = 2;
        let Some(id) = request_id(&record.request) else { return };
        self.release(id, Some(record.wait & UMH_WAIT_PROC != 0));
        if let Some(in_flight) = self.requests.get_mut(&id) {
            in_flight.admitted = true;
            in_flight.handed_over = true;
        }
    }

    fn helper(&mut self, record: &wire::Helper) {
        let Some(id) = request_id(&record.request) else { return };
        self.release(id, None);
        let process = process_id(&record.header.process);
        if let Some(in_flight) = self.requests.get_mut(&id) {
            in_flight.helper = Some(process);
        }
        let helper = Helper {
            pid: process.pid,
            start_ns: process.start_ns,
            path: nul_text(&record.path),
            argv: record.argv.iter().map(|argument| nul_text(argument)).collect(),
            attribution: Attribution::exact(),
        };
        self.emit(record.header.boot_ns, Some(id), Body::Helper(helper));
    }

    fn returned(&mut self, record: &wire::RequestResult) {
        let Some(id) = request_id(&record.request) else { return };
        self.release(id, Some(record.wait != 0));
        let boot_ns = record.header.boot_ns;
        let Some(in_flight) = self.requests.get(&id) else {
            // Its request record was lost: the value is true, the rest is not known.
            let mut outcome = Outcome::new(Status::Unknown, Attribution::unknown());
            outcome.code = Some(record.ret);
            self.emit(boot_ns, Some(id), Body::Result(outcome));
            return;
        };
        let parallel = self.loaded_meanwhile(&in_flight.name.clone(), id);
        let Some(in_flight) = self.requests.get_mut(&id) else { return };
        let facts = Facts {
            name: &in_flight.name,
            ret: record.ret,
            wait: record.wait != 0,
            duration_ns: Some(boot_ns.saturating_sub(in_flight.began_ns)),
            loaded: in_flight.loaded.len(),
            failures: &in_flight.failures,
            parallel,
        };
        let outcome = verdict::decide(&facts, &mut self.knowledge);
        if matches!(outcome.status, Status::NotWaited | Status::Interrupted) {
            in_flight.ending = Some(Ending { outcome, boot_ns });
            return;
        }
        self.requests.remove(&id);
        self.emit(boot_ns, Some(id), Body::Result(outcome));
    }

    /// A task entered `__request_module` and never reached the security hook.
    fn stopped_early(&mut self, entered: &wire::Entered) {
        let id = RequestId { boot_ns: entered.header.boot_ns, tid: entered.header.tid };
        let name = format_name(entered);
        let process = process_id(&entered.header.process);
        let request = Request {
            name: name.clone().unwrap_or_default(),
            wait: None,
            process: Process {
                pid: process.pid,
                tid: entered.header.tid,
                start_ns: process.start_ns,
                comm: nul_text(&entered.comm),
                uid: entered.uid,
                euid: entered.uid,
                ..Process::default()
            },
            ancestors: Vec::new(),
            ancestors_truncated: true,
            syscall: None,
            stack: Vec::new(),
            user_stack: Vec::new(),
            parent_request: None,
            parent_attribution: None,
            in_init: None,
            behalf: None,
            explanation: None,
            attribution: Attribution::exact(),
        };
        let outcome = if is_too_long(name.as_ref()) {
            Outcome {
                code: Some(-36),
                errno: Some("ENAMETOOLONG".to_owned()),
                detail: Some("the name is too long for a module name; nothing was loaded".to_owned()),
                ..Outcome::new(Status::Failed, Attribution::inferred("name-length"))
            }
        } else {
            Outcome {
                detail: Some("the request did not reach the security hook".to_owned()),
                ..Outcome::new(Status::Unknown, Attribution::unknown())
            }
        };
        self.emit(entered.header.boot_ns, Some(id), Body::Request(Box::new(request)));
        self.emit(entered.header.boot_ns, Some(id), Body::Result(outcome));
    }

    /// Settles what only time can settle. Call it a few times a second with the present boot time.
    pub fn tick(&mut self, now_ns: u64) {
        let late = |since: u64, limit: u64| now_ns.saturating_sub(since) > limit;

        self.settle_entered(|entered| late(entered.header.boot_ns, ENTERED_NS));

        let ids: Vec<RequestId> = self.requests.keys().copied().collect();
        for id in ids {
            if late(id.boot_ns, HOLD_NS) {
                self.release(id, None);
            }
            self.settle(id, now_ns);
        }

        let loaders: Vec<ProcessId> = self.loaders.keys().copied().collect();
        for loader in loaders {
            let idle = |state: &Loader| state.in_init == 0 && late(state.last_ns, LOADER_IDLE_NS);
            let idle = self.loaders.get(&loader).is_some_and(idle);
            if idle || !self.knowledge.is_alive(loader) {
                self.loader_ended(loader);
            }
        }
        self.recent_loads.retain(|_, (boot_ns, _)| now_ns.saturating_sub(*boot_ns) < 60_000_000_000);
        if self.files.len() > FILES_LIMIT {
            let knowledge = &mut self.knowledge;
            self.files.retain(|_, (process, _)| knowledge.is_alive(*process));
        }
    }

    fn settle(&mut self, id: RequestId, now_ns: u64) {
        let Some(in_flight) = self.requests.get_mut(&id) else { return };
        if in_flight.ending.is_some() {
            // A helper that was never born (the requester was killed first) gets a second to appear.
            let over = match in_flight.helper {
                Some(helper) => !self.knowledge.is_alive(helper),
                None => now_ns.saturating_sub(id.boot_ns) > THROTTLE_NS,
            };
            if over && let Some(Ending { outcome, boot_ns }) = in_flight.ending.take() {
                self.requests.remove(&id);
                self.emit(boot_ns, Some(id), Body::Result(outcome));
            }
            return;
        }
        if in_flight.admitted || in_flight.handed_over {
            self.settle_lost(id, now_ns);
            return;
        }
        let waited_ns = now_ns.saturating_sub(id.boot_ns);
        let process = in_flight.process;
        let gone = waited_ns > HOLD_NS && !self.knowledge.is_alive(process);
        let outcome = if waited_ns > THROTTLE_NS || (gone && waited_ns > THROTTLE_NEAR_NS) {
            Outcome {
                code: Some(-62),
                errno: Some("ETIME".to_owned()),
                detail: Some("50 requests were running and none ended within 5 s".to_owned()),
                ..Outcome::new(Status::Throttled, Attribution::inferred("not-admitted-in-5s"))
            }
        } else if gone {
            Outcome {
                code: Some(-512),
                errno: Some("ERESTARTSYS".to_owned()),
                detail: Some("the requester was killed while it waited for its turn".to_owned()),
                duration_ns: None,
                ..Outcome::new(Status::Interrupted, Attribution::inferred("gone-before-admission"))
            }
        } else {
            return;
        };
        self.requests.remove(&id);
        self.emit(now_ns, Some(id), Body::Result(outcome));
    }

    /// A requester cannot end before its result: one that is gone without it has lost it on the way.
    fn settle_lost(&mut self, id: RequestId, now_ns: u64) {
        let Some(in_flight) = self.requests.get_mut(&id) else { return };
        let lives = |process| self.knowledge.is_alive(process);
        if std::iter::once(in_flight.process).chain(in_flight.helper).any(lives) {
            in_flight.gone_ns = None;
            return;
        }
        // The record may have come between the last reading and this look.
        let gone_ns = *in_flight.gone_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(gone_ns) < LOST_NS {
            return;
        }
        self.requests.remove(&id);
        let outcome = Outcome {
            detail: Some("its end was not seen: the record of it was lost".to_owned()),
            ..Outcome::new(Status::Unknown, Attribution::unknown())
        };
        self.emit(now_ns, Some(id), Body::Result(outcome));
    }

    /// Ends the stream: lets out what is held, and the totals. What still runs stays without a result.
    pub fn finish(&mut self, now_ns: u64) {
        self.settle_entered(|_| true);
        let ids: Vec<RequestId> = self.requests.keys().copied().collect();
        for id in ids {
            self.release(id, None);
            let ending = self.requests.get_mut(&id).and_then(|in_flight| in_flight.ending.take());
            if let Some(Ending { outcome, boot_ns }) = ending {
                self.requests.remove(&id);
                self.emit(boot_ns, Some(id), Body::Result(outcome));
            }
        }
        let loaders: Vec<ProcessId> = self.loaders.keys().copied().collect();
        for loader in loaders {
            self.loader_ended(loader);
        }
        let totals = self.totals.clone();
        self.emit(now_ns, None, Body::End(totals));
    }
}

/// `char module_name[MODULE_NAME_LEN]` of `__request_module` must hold the name and its NUL.
fn is_too_long(name: Option<&Text>) -> bool {
    name.is_some_and(|name| name.as_bytes().len() >= wire::MODULE_NAME_BYTES)
}
