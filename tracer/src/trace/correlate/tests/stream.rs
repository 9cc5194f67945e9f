//! A model of the kernel and of the reader, in which the true outcome of each request is known.
//!
//! The model has the guarantees of the ring: the records of a thread are in order, and a reader that has read up to the
//! producer position has read all records reserved by then, or their loss is counted. Everything else is arbitrary: how
//! long a thread is not scheduled between two stages, in which order records of several threads are read, how far the
//! reader lags, when it checks processes, and which records are lost or duplicated.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection, prelude::*};
use tracer_ebpf::wire;
use zerocopy::FromZeros;

use super::{
    World,
    alive::helper,
    asks, drained, ends, enters, handed_over, header, key, returns, tracker,
    unresolved::{admitted, losses},
};
use crate::{
    event::{Body, Event, LossStage, Outcome, RequestId, Status},
    kernel::process::ThreadState,
    probe::Record,
    trace::correlate::{Drained, Tracker},
};

const MILLISECOND: u64 = 1_000_000;

/// How a request ends in the model.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Returns(i32),
    /// The kernel gives up after this many milliseconds.
    TimesOut(u64),
    /// Its thread is killed while it waits for a slot, after this many milliseconds.
    Killed(u64),
    Denied,
    /// It is admitted, and no modprobe is started.
    Duplicate,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => prop_oneof![Just(0), Just(256), Just(-512)].prop_map(Kind::Returns),
        2 => (5_000_u64..40_000).prop_map(Kind::TimesOut),
        2 => (0_u64..4_800).prop_map(Kind::Killed),
        1 => Just(Kind::Denied),
        1 => Just(Kind::Duplicate),
    ]
}

/// Milliseconds between two stages: usually few, sometimes longer than any timeout.
fn gaps() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..50, 0_u64..6_000, 0_u64..30_000]
}

#[derive(Clone, Debug)]
struct Ask {
    kind: Kind,
    gaps: [u64; 5],
    /// What the thread does afterwards, and for how long.
    then: ThreadState,
    pause: u64,
}

fn requests() -> impl Strategy<Value = Ask> {
    let then = prop_oneof![Just(ThreadState::Asleep), Just(ThreadState::Running), Just(ThreadState::Blocked)];
    (kinds(), [gaps(), gaps(), gaps(), gaps(), gaps()], then, 0_u64..30_000).prop_map(|(kind, gaps, then, pause)| Ask {
        kind,
        gaps,
        then,
        pause,
    })
}

/// A reading: the time since the last one, its duration, and whether it reads everything.
type Reading = (u64, u64, bool);

#[derive(Debug)]
struct Reserved {
    at_ns: u64,
    tid: u32,
    record: Record,
}

/// The events in the kernel.
#[derive(Debug, Default)]
struct Kernel {
    /// Records in ring order.
    ring: Vec<Reserved>,
    /// When each thread enters a state.
    states: BTreeMap<u32, Vec<(u64, ThreadState)>>,
    truth: BTreeMap<RequestId, Kind>,
}

impl Kernel {
    fn new(threads: &[Vec<Ask>]) -> Self {
        let mut kernel = Self::default();
        for (tid, asks) in (1_000..).zip(threads) {
            kernel.run(tid, asks);
        }
        kernel.ring.sort_by_key(|reserved| reserved.at_ns);
        kernel
    }

    fn run(&mut self, tid: u32, script: &[Ask]) {
        let mut now = u64::from(tid) * MILLISECOND;
        let mut helpers = tid * 100;
        for ask in script {
            let [to_hook, to_place, to_handover, to_birth, to_end] = ask.gaps.map(|gap| gap * MILLISECOND);
            // A runnable thread is seen as running, a waiting one as blocked.
            let inside = if ask.pause.is_multiple_of(2) { ThreadState::Blocked } else { ThreadState::Running };
            self.state(tid, now, inside);
            self.reserve(now, tid, enters(tid, now, "fs-x"));
            now += to_hook + 1;
            let asked_ns = now;
            self.truth.insert(RequestId { boot_ns: asked_ns, tid }, ask.kind);
            self.reserve(now, tid, asks(tid, now, "fs-x"));
            match ask.kind {
                Kind::TimesOut(after) => now += after * MILLISECOND,
                Kind::Killed(after) => {
                    self.state(tid, now + after * MILLISECOND, ThreadState::Gone);
                    return;
                }
                Kind::Denied => {
                    now += to_place + 1;
                    let mut verdict = wire::Verdict::new_zeroed();
                    (verdict.header, verdict.request, verdict.verdict) = (header(tid, now), key(tid, asked_ns), -1);
                    self.reserve(now, tid, Record::Verdict(verdict));
                }
                Kind::Duplicate => {
                    now += to_place + 1;
                    self.reserve(now, tid, admitted(tid, asked_ns));
                    now += to_end;
                }
                Kind::Returns(ret) => {
                    now += to_place + 1;
                    self.reserve(now, tid, admitted(tid, asked_ns));
                    now += to_handover + 1;
                    self.reserve(now, tid, handed_over(tid, asked_ns));
                    helpers += 1;
                    let (born, ended) = (now + to_birth + 1, now + to_birth + to_end + 2);
                    self.state(helpers, now, ThreadState::Running);
                    self.state(helpers, ended, ThreadState::Gone);
                    // The helper is started by the handover, so its record never comes before that.
                    self.reserve(born, tid, helper(tid, asked_ns, helpers));
                    // A killed requester does not wait for its helper.
                    now = if ret == -512 { now + to_end + 1 } else { ended + to_birth };
                    self.reserve(now, tid, returns(tid, asked_ns, ret));
                }
            }
            now += 1;
            self.state(tid, now, ask.then);
            now += ask.pause * MILLISECOND + 1;
        }
        if script.len().is_multiple_of(2) {
            self.state(tid, now, ThreadState::Gone);
        }
    }

    fn reserve(&mut self, at_ns: u64, tid: u32, mut record: Record) {
        match &mut record {
            Record::Admitted(record) => record.header.boot_ns = at_ns,
            Record::Handover(record) => record.header.boot_ns = at_ns,
            Record::Helper(record) => record.header.boot_ns = at_ns,
            Record::Result(record) => record.header.boot_ns = at_ns,
            // These were created with this time.
            _ => {}
        }
        self.ring.push(Reserved { at_ns, tid, record });
    }

    fn state(&mut self, tid: u32, from_ns: u64, state: ThreadState) {
        self.states.entry(tid).or_default().push((from_ns, state));
    }

    /// The states of threads and processes at a time.
    fn check(&self, at_ns: u64, world: &mut World) {
        for (tid, states) in &self.states {
            match states.iter().rev().find(|(from_ns, _)| *from_ns <= at_ns) {
                Some((_, ThreadState::Gone)) => {
                    world.dead.insert(*tid);
                }
                Some((_, state)) => {
                    world.threads.insert(*tid, *state);
                }
                None => {}
            }
        }
    }
}

/// Reads the ring of a kernel.
struct Reader {
    tracker: Tracker<World>,
    now_ns: u64,
    /// Number of records that were read, in ring order.
    read: usize,
    events: Vec<Event>,
}

impl Reader {
    /// Reads up to `end`, with the records of several threads in any order.
    fn read(&mut self, kernel: &Kernel, end: usize, faults: &Faults) {
        let mut by_thread: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for index in self.read..end {
            by_thread.entry(kernel.ring[index].tid).or_default().insert(0, index);
        }
        let mut turns = faults.turns.iter().cycle();
        while !by_thread.is_empty() {
            let turn = turns.next().copied().unwrap_or(0) % by_thread.len();
            let tid = *by_thread.keys().nth(turn).unwrap();
            let waiting = by_thread.get_mut(&tid).unwrap();
            let index = waiting.pop().unwrap();
            if waiting.is_empty() {
                by_thread.remove(&tid);
            }
            if faults.lost.contains(&index) {
                self.tracker.loss(self.now_ns, LossStage::Probe, "ring-stage", 1);
            } else {
                let times = if faults.twice.contains(&index) { 2 } else { 1 };
                (0..times).for_each(|_| self.tracker.record(kernel.ring[index].record.clone()));
            }
        }
        self.read = self.read.max(end);
    }

    fn tick(&mut self, kernel: &Kernel, (gap, took, is_complete): Reading, faults: &Faults) {
        let began_ns = self.now_ns + gap * MILLISECOND;
        let ended_ns = began_ns + took * MILLISECOND;
        self.now_ns = ended_ns;
        let reserved = kernel.ring.partition_point(|reserved| reserved.at_ns <= began_ns);
        // A record that is being written holds back the later ones.
        let end = if is_complete { reserved } else { self.read + (reserved - self.read) / 2 };
        self.read(kernel, end, faults);
        kernel.check(ended_ns, &mut self.tracker.environment);
        self.tracker.tick(Drained { began_ns, ended_ns, is_complete });
        self.events.append(&mut self.tracker.take_events());
    }
}

/// Faults, by the position of records in the ring.
#[derive(Clone, Debug, Default)]
struct Faults {
    lost: BTreeSet<usize>,
    twice: BTreeSet<usize>,
    /// The thread whose record is read next.
    turns: Vec<usize>,
}

fn faults() -> impl Strategy<Value = Faults> {
    let lost = prop_oneof![Just(BTreeSet::new()), collection::btree_set(0_usize..60, 0..12)];
    let twice = prop_oneof![Just(BTreeSet::new()), collection::btree_set(0_usize..60, 0..12)];
    (lost, twice, collection::vec(0_usize..8, 1..60)).prop_map(|(lost, twice, turns)| Faults { lost, twice, turns })
}

/// Runs a kernel and a reader to the end.
fn run(kernel: &Kernel, readings: &[Reading], faults: &Faults) -> Vec<Event> {
    let mut reader = Reader { tracker: tracker(), now_ns: 1_000 * MILLISECOND, read: 0, events: Vec::new() };
    for reading in readings {
        reader.tick(kernel, *reading, faults);
    }
    reader.now_ns += 1_000_000 * MILLISECOND;
    reader.read(kernel, kernel.ring.len(), faults);
    reader.tracker.finish(drained(reader.now_ns));
    assert_eq!(reader.tracker.open(), 0, "everything ends with the stream");
    reader.events.append(&mut reader.tracker.take_events());
    reader.events
}

fn outcomes(events: &[Event]) -> BTreeMap<RequestId, &Outcome> {
    let outcome = |event| match event {
        &Event { body: Body::Result(ref outcome), request: Some(id), .. } => Some((id, outcome)),
        _ => None,
    };
    events.iter().filter_map(outcome).collect()
}

/// Whether an outcome is possible for a request that ended in this way.
fn is_true(kind: Kind, outcome: &Outcome) -> bool {
    let rule = outcome.attribution.rule.as_deref();
    if outcome.status == Status::Unknown {
        return true;
    }
    match kind {
        Kind::TimesOut(_) => outcome.status == Status::Throttled && rule == Some("admission-timeout"),
        Kind::Killed(_) => outcome.status == Status::Interrupted && rule == Some("killed-before-admission"),
        Kind::Denied => outcome.status == Status::Denied,
        Kind::Duplicate => false,
        Kind::Returns(ret) => outcome.code == Some(ret) && rule.is_none_or(|rule| rule == "modprobe-config"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every request has one outcome, which is correct or unknown, whatever is late, lost, reordered or duplicated; if
    /// nothing is lost, the kernel's return value is always reported.
    #[test]
    fn any_stream_gives_one_correct_outcome_per_request(
        threads in collection::vec(collection::vec(requests(), 1..4), 1..6),
        readings in collection::vec((prop_oneof![0_u64..300, 0_u64..3_000, 0_u64..90_000], 0_u64..3_000, any::<bool>()), 0..80),
        faults in faults(),
    ) {
        let kernel = Kernel::new(&threads);
        let events = run(&kernel, &readings, &faults);
        prop_assert_eq!(ends(&events).len(), outcomes(&events).len(), "one result a request");
        for (id, outcome) in outcomes(&events) {
            let Some(kind) = kernel.truth.get(&id) else {
                return Err(TestCaseError::fail(format!("{id} was not requested: {outcome:?}")));
            };
            prop_assert!(is_true(*kind, outcome), "{} is {:?}, reported as {:?}", id, kind, outcome);
        }
        let mut reported = BTreeSet::new();
        for event in &events {
            if let (Body::Request(request), Some(id)) = (&event.body, event.request) {
                prop_assert!(reported.insert(id), "{} is reported twice", id);
                prop_assert_eq!(request.process.pid, id.tid);
            }
        }
        let ended: BTreeSet<RequestId> = outcomes(&events).into_keys().collect();
        prop_assert!(reported.is_subset(&ended), "every request ends");
        if faults.lost.range(..kernel.ring.len()).next().is_none() {
            prop_assert_eq!(&ended, &kernel.truth.keys().copied().collect(), "every request is reported");
            if faults.twice.is_empty() {
                prop_assert_eq!(losses(&events, "late-record"), 0);
            }
            for (id, outcome) in outcomes(&events) {
                if let Some(Kind::Returns(ret)) = kernel.truth.get(&id) {
                    prop_assert_eq!(outcome.code, Some(*ret), "{}: {:?}", id, outcome);
                }
            }
        }
    }

    /// With records in an impossible order and arbitrary check results, no request has two results, all end with the
    /// stream, and none contradicts a return value that was read before.
    #[test]
    fn any_order_gives_one_result_per_request(steps in collection::vec((0_u32..4, 0_u64..3, 0_usize..9, any::<bool>()), 0..300)) {
        let mut tracker = tracker();
        let mut values: BTreeMap<RequestId, Option<i32>> = BTreeMap::new();
        let mut events = Vec::new();
        let mut now_ns = 10_000 * MILLISECOND;
        for (thread, turn, what, flag) in steps {
            let (tid, asked_ns) = (thread + 7, 1_000 + turn * 6_000 * MILLISECOND);
            let id = RequestId { boot_ns: asked_ns, tid };
            let has_ended = outcomes(&events).contains_key(&id);
            now_ns += 700 * MILLISECOND;
            match what {
                0 => tracker.record(asks(tid, asked_ns, "fs-x")),
                1 => tracker.record(admitted(tid, asked_ns)),
                2 => tracker.record(handed_over(tid, asked_ns)),
                3 => tracker.record(helper(tid, asked_ns, tid + 100)),
                4 => {
                    if !has_ended {
                        values.entry(id).or_insert(Some(if flag { 0 } else { 256 }));
                    }
                    tracker.record(returns(tid, asked_ns, if flag { 0 } else { 256 }));
                }
                5 => {
                    tracker.environment.threads.insert(tid, if flag { ThreadState::Asleep } else { ThreadState::Running });
                }
                6 => {
                    tracker.environment.dead.extend([tid, tid + 100].into_iter().filter(|_| flag));
                }
                _ => tracker.tick(Drained { is_complete: flag, ..drained(now_ns) }),
            }
            events.append(&mut tracker.take_events());
        }
        tracker.finish(drained(now_ns));
        prop_assert_eq!(tracker.open(), 0);
        events.append(&mut tracker.take_events());
        ends(&events);
        for (id, outcome) in outcomes(&events) {
            if let Some(value) = values.get(&id) {
                prop_assert_eq!(outcome.code, *value, "{}: {:?}", id, outcome);
            }
        }
        let asked: Vec<_> = events.iter().filter(|event| matches!(event.body, Body::Request(_))).map(|event| event.request).collect();
        prop_assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len());
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        prop_assert_eq!(seqs, (0..u64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    }
}
