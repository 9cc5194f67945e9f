//! What only time can settle: requests whose next record never comes, and the end of the stream.

use tracer_ebpf::wire;

use super::{
    format::name as format_name,
    knowledge::Knowledge,
    requests::{Ending, Loader},
    tracker::{Tracker, is_too_long},
    unended::unknown,
};
use crate::{
    enrich::process::{nul_text, process_id},
    event::{Attribution, Body, LossStage, Outcome, Process, ProcessId, Request, RequestId, Status},
};

/// How long a request event waits for the tracepoint that says whether the requester waits.
const HOLD_NS: u64 = 100_000_000;

/// The kernel gives up after 5 s without a free slot (`MAX_KMOD_ALL_BUSY_TIMEOUT`, kernel/kmod.c); and a margin.
const THROTTLE_NS: u64 = 5_500_000_000;

/// A requester that is gone after about 5 s was most likely told so and left.
const THROTTLE_NEAR_NS: u64 = 4_800_000_000;

/// One that is gone much earlier was killed. Between the two nobody can tell: the kernel counts the 5 s in ticks, of which
/// a processor that stood still makes up for many at once.
const THROTTLE_EARLY_NS: u64 = 3_000_000_000;

/// How long after the end of its request a helper may be born: a busy machine's workers are late.
const BIRTH_NS: u64 = 5_000_000_000;

/// How long after `__request_module` the security hook may be late: it follows at once, unless the machine is so busy that
/// the task must wait between them.
const ENTERED_NS: u64 = 5_000_000_000;

/// A loader that pauses this long has finished a piece of work.
const LOADER_IDLE_NS: u64 = 1_000_000_000;

impl<K: Knowledge> Tracker<K> {
    /// Settles what only time can settle. Call it a few times a second with the boot time before the records were read that
    /// are there, and the present one: reading can take long, and who is found gone is gone at the latest now.
    pub fn tick(&mut self, now_ns: u64, looked_ns: u64) {
        let late = |since: u64, limit: u64| now_ns.saturating_sub(since) > limit;

        self.settle_entered(|entered| late(entered.header.boot_ns, ENTERED_NS));

        let ids: Vec<RequestId> = self.requests.keys().copied().collect();
        for id in ids {
            if late(id.boot_ns, HOLD_NS) {
                self.release(id, None);
            }
            self.settle(id, now_ns, looked_ns);
        }

        let loaders: Vec<ProcessId> = self.loaders.keys().copied().collect();
        for loader in loaders {
            let idle = |state: &Loader| state.in_init == 0 && late(state.last_ns, LOADER_IDLE_NS);
            let idle = self.loaders.get(&loader).is_some_and(idle);
            let is_gone = !self.knowledge.is_alive(loader);
            // Its last records may have come between the last reading and this look.
            let was_gone =
                self.loaders.get_mut(&loader).is_some_and(|state| std::mem::replace(&mut state.gone, is_gone));
            if idle || (is_gone && was_gone) {
                self.loader_ended(loader);
            }
        }
        let Self { latest, requests, .. } = self;
        latest.retain(|_, id| requests.contains_key(id));
        self.recent_loads.retain(|_, (boot_ns, _)| now_ns.saturating_sub(*boot_ns) < 60_000_000_000);
        self.files.make_room(|process| self.knowledge.is_alive(process));
    }

    fn settle(&mut self, id: RequestId, now_ns: u64, looked_ns: u64) {
        let Some(in_flight) = self.requests.get_mut(&id) else { return };
        if let Some(ending) = &in_flight.ending {
            let over = match in_flight.helper {
                Some(helper) => {
                    // As with loaders, its last records may have come between the last reading and this look.
                    let is_gone = !self.knowledge.is_alive(helper);
                    std::mem::replace(&mut in_flight.helper_gone, is_gone) && is_gone
                }
                // One that was never born (the requester was killed first) gets some seconds to appear.
                None => now_ns.saturating_sub(ending.boot_ns) > BIRTH_NS,
            };
            if over && let Some(Ending { outcome, boot_ns }) = in_flight.ending.take() {
                self.end(id, boot_ns, outcome);
            }
            return;
        }
        if in_flight.admitted_ns.is_some() {
            self.settle_unended(id, now_ns);
            return;
        }
        let is_gone =
            now_ns.saturating_sub(id.boot_ns) > HOLD_NS && !self.knowledge.is_thread_alive(in_flight.process, id.tid);
        // As with those that were handed over, its next record may have come meanwhile: it counts at the second look.
        let gone_ns = if is_gone { *in_flight.gone_ns.get_or_insert(looked_ns) } else { now_ns };
        let gone = gone_ns < now_ns;
        let over_ns = in_flight.over_ns;
        let waited_ns = over_ns.unwrap_or(gone_ns).saturating_sub(id.boot_ns);
        let may_be_denied =
            self.missed_ns.is_some_and(|at| at >= id.boot_ns) && self.crowded_ns.is_none_or(|at| at < id.boot_ns);
        let outcome = if may_be_denied && (gone || over_ns.is_some() || waited_ns > THROTTLE_NS) {
            self.loss(now_ns, LossStage::Missed, "verdict", 1);
            unknown("it went no further although there was room for it: what stopped it was missed")
        } else if waited_ns > THROTTLE_NS || ((gone || over_ns.is_some()) && waited_ns > THROTTLE_NEAR_NS) {
            Outcome {
                code: Some(-62),
                errno: Some("ETIME".to_owned()),
                detail: Some("50 requests were running and none ended within 5 s".to_owned()),
                ..Outcome::new(Status::Throttled, Attribution::inferred("not-admitted-in-5s"))
            }
        } else if over_ns.is_some() {
            unknown("it went no further, and its thread asked again: what stopped it was not seen")
        } else if gone && waited_ns > THROTTLE_EARLY_NS {
            unknown("it waited for its turn and its thread is gone: it was killed, or given up after about 5 s")
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
        self.end(id, over_ns.unwrap_or(now_ns), outcome);
    }

    /// Ends the stream: lets out what is held, and the totals. What still runs stays without a result.
    pub fn finish(&mut self, now_ns: u64) {
        self.entered_at_the_end();
        let ids: Vec<RequestId> = self.requests.keys().copied().collect();
        for id in ids {
            self.release(id, None);
            if self.requests.get(&id).is_some_and(|in_flight| in_flight.over_ns.is_some()) {
                self.settle(id, now_ns, now_ns);
            }
            let ending = self.requests.get_mut(&id).and_then(|in_flight| in_flight.ending.take());
            if let Some(Ending { outcome, boot_ns }) = ending {
                self.end(id, boot_ns, outcome);
            }
        }
        let loaders: Vec<ProcessId> = self.loaders.keys().copied().collect();
        for loader in loaders {
            self.loader_ended(loader);
        }
        let totals = self.totals.clone();
        self.emit(now_ns, None, Body::End(totals));
    }

    /// The programs go on without this process: what entered and has not asked yet is told by whoever reads on.
    pub fn leave_entered(&mut self) {
        self.settle_entered(|entered| is_too_long(format_name(entered).as_ref()));
        self.entered.clear();
    }

    /// Tells what entered and had no time left to ask: no more can be known of it.
    fn entered_at_the_end(&mut self) {
        self.settle_entered(|entered| is_too_long(format_name(entered).as_ref()));
        for (_, entered) in std::mem::take(&mut self.entered) {
            if !self.is_counted(&entered) {
                let outcome = unknown("tracing ended before the request reached the security hook");
                self.went_no_further(&entered, outcome);
            }
        }
    }

    /// Whether its request may be among those that were told as lost.
    fn is_counted(&self, entered: &wire::Entered) -> bool {
        self.lost_ns.is_some_and(|lost_ns| lost_ns >= entered.header.boot_ns)
    }

    /// Tells what entered and never asked. Where something was lost since, that may be its request: it is counted there.
    fn settle_entered(&mut self, is_late: impl Fn(&wire::Entered) -> bool) {
        let late = self.entered.extract_if(|_, entered| is_late(entered)).map(|(_, entered)| *entered);
        let late: Vec<wire::Entered> = late.chain(self.overtaken.drain(..)).collect();
        for entered in late {
            if !self.is_counted(&entered) || is_too_long(format_name(&entered).as_ref()) {
                self.stopped_early(&entered);
            }
        }
    }

    /// A task entered `__request_module` and never reached the security hook.
    pub(super) fn stopped_early(&mut self, entered: &wire::Entered) {
        let outcome = if is_too_long(format_name(entered).as_ref()) {
            Outcome {
                code: Some(-36),
                errno: Some("ENAMETOOLONG".to_owned()),
                detail: Some("the name is too long for a module name; nothing was loaded".to_owned()),
                ..Outcome::new(Status::Failed, Attribution::inferred("name-length"))
            }
        } else {
            unknown("the request did not reach the security hook")
        };
        self.went_no_further(entered, outcome);
    }

    /// Tells a request of which there is no more than its beginning.
    fn went_no_further(&mut self, entered: &wire::Entered, outcome: Outcome) {
        let id = RequestId { boot_ns: entered.header.boot_ns, tid: entered.header.tid };
        let process = process_id(&entered.header.process);
        let request = Request {
            name: format_name(entered).unwrap_or_default(),
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
        self.emit(entered.header.boot_ns, Some(id), Body::Request(Box::new(request)));
        self.emit(entered.header.boot_ns, Some(id), Body::Result(outcome));
    }
}
