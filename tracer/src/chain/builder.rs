//! Builds chains from events. Every event goes where its ids say, or nowhere: nothing is joined by guess.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::{Chain, ChainKey, Item, Module};
use crate::event::{Attempt, Body, Event, Helper, Init, Load, Outcome, ProcessId, Request, RequestId};

/// Chains that may be open at a time, before the oldest is handed out as it is.
const OPEN_LIMIT: usize = 65_536;

/// Builds chains.
#[derive(Debug)]
pub struct Builder {
    open: BTreeMap<ChainKey, Open>,
    /// Keys in order of their beginning.
    order: VecDeque<ChainKey>,
    ready: VecDeque<Item>,
    next_seq: Option<u64>,
    limit: usize,
}

/// A chain that is being built.
#[derive(Debug)]
struct Open {
    chain: Chain,
    /// The chain it hangs under, while that is open.
    parent: Option<ChainKey>,
    /// Chains that hang under it and are still open.
    children: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A builder without chains.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(OPEN_LIMIT)
    }

    /// A builder that keeps at most `limit` chains open.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self {
            open: BTreeMap::new(),
            order: VecDeque::new(),
            ready: VecDeque::new(),
            next_seq: None,
            limit: limit.max(1),
        }
    }

    /// Takes the next event of a stream.
    pub fn push(&mut self, event: Event) {
        if let Some(expected) = self.next_seq
            && event.seq != expected
        {
            self.mark_open(&format!(
                "events are missing from the stream (number {expected} expected, {} found)",
                event.seq
            ));
        }
        self.next_seq = Some(event.seq + 1);

        let Event { seq, time, boot_ns, request, body } = event;
        match (body, request) {
            (Body::Request(body), Some(id)) => self.request(id, time, boot_ns, *body),
            (Body::Helper(body), Some(id)) => {
                let chain = self.chain(ChainKey::Request(id), time, boot_ns);
                chain.helper = Some::<Helper>(body);
            }
            (Body::Load(body), request) => {
                let key = key_of(request, body.process.id());
                self.load(key, time, boot_ns, *body);
            }
            (Body::Init(body), request) => {
                let key = key_of(request, ProcessId { pid: body.pid, start_ns: body.start_ns });
                self.init(key, time, boot_ns, body);
            }
            (Body::Attempt(body), request) => {
                let key = key_of(request, body.process.id());
                let attempts: &mut Vec<Attempt> = &mut self.chain(key, time, boot_ns).attempts;
                attempts.push(*body);
            }
            (Body::Result(body), request) => match (request, body.loader) {
                (Some(id), _) => self.result(ChainKey::Request(id), time, boot_ns, body),
                (None, Some(loader)) => self.result(ChainKey::Loader(loader), time, boot_ns, body),
                (None, None) => self.ready.push_back(Item::Event(Box::new(Event {
                    seq,
                    time,
                    boot_ns,
                    request,
                    body: Body::Result(body),
                }))),
            },
            (body, request) => {
                if let Body::Loss(loss) = &body {
                    self.mark_open(&format!("{} events were lost ({})", loss.count, loss.cause));
                }
                self.ready.push_back(Item::Event(Box::new(Event { seq, time, boot_ns, request, body })));
            }
        }
        while self.order.len() > self.limit {
            let Some(oldest) = self.order.front().copied() else { break };
            self.note(oldest, "too many chains were open: handed out before its end");
            self.hand_out(oldest);
        }
    }

    /// The next chain or event that is finished.
    pub fn next_item(&mut self) -> Option<Item> {
        self.ready.pop_front()
    }

    /// Ends the stream: hands out everything, the unfinished marked as such.
    pub fn finish(&mut self) -> Vec<Item> {
        // Innermost first, so that a chain leaves with all that hangs under it.
        while let Some(key) = self.order.back().copied() {
            let ended = self.open.get(&key).is_some_and(|open| open.chain.result.is_some());
            if !ended {
                self.note(key, "still running when tracing ended");
            }
            self.hand_out(key);
        }
        self.ready.drain(..).collect()
    }

    fn chain(&mut self, key: ChainKey, time: Timestamp, boot_ns: u64) -> &mut Chain {
        let order = &mut self.order;
        let open = self.open.entry(key).or_insert_with(|| {
            order.push_back(key);
            let mut incomplete = Vec::new();
            if matches!(key, ChainKey::Request(_)) {
                incomplete.push(REQUEST_MISSING.to_owned());
            }
            let chain = Chain {
                key,
                time,
                boot_ns,
                request: None,
                helper: None,
                modules: Vec::new(),
                attempts: Vec::new(),
                result: None,
                nested: Vec::new(),
                incomplete,
            };
            Open { chain, parent: None, children: 0 }
        });
        &mut open.chain
    }

    fn request(&mut self, id: RequestId, time: Timestamp, boot_ns: u64, body: Request) {
        let key = ChainKey::Request(id);
        let parent = body.parent_request.map(ChainKey::Request);
        let chain = self.chain(key, time, boot_ns);
        chain.incomplete.retain(|note| note != REQUEST_MISSING);
        chain.request = Some(body);
        // A parent that has been handed out stays out; the child keeps its id.
        if let Some(parent) = parent.filter(|parent| *parent != key && self.open.contains_key(parent)) {
            if let Some(open) = self.open.get_mut(&parent) {
                open.children += 1;
            }
            if let Some(open) = self.open.get_mut(&key) {
                open.parent = Some(parent);
            }
        }
    }

    fn load(&mut self, key: ChainKey, time: Timestamp, boot_ns: u64, load: Load) {
        self.chain(key, time, boot_ns).modules.push(Module { load, boot_ns, init: None });
    }

    fn init(&mut self, key: ChainKey, time: Timestamp, boot_ns: u64, init: Init) {
        let chain = self.chain(key, time, boot_ns);
        let loaded = chain.modules.iter_mut().rev().find(|module| {
            let by = &module.load.process;
            module.init.is_none()
                && module.load.module == init.module
                && (by.pid, by.start_ns) == (init.pid, init.start_ns)
        });
        match loaded {
            Some(module) => module.init = Some(init),
            None => chain.incomplete.push("a module's arrival was not seen, only the end of its init".to_owned()),
        }
    }

    fn result(&mut self, key: ChainKey, time: Timestamp, boot_ns: u64, result: Outcome) {
        self.chain(key, time, boot_ns).result = Some(result);
        self.hand_out_if_done(key);
    }

    fn hand_out_if_done(&mut self, key: ChainKey) {
        let mut next = Some(key);
        while let Some(key) = next {
            let done = self.open.get(&key).is_some_and(|open| open.chain.result.is_some() && open.children == 0);
            next = if done { self.take_out(key) } else { None };
        }
    }

    fn hand_out(&mut self, key: ChainKey) {
        if let Some(parent) = self.take_out(key) {
            self.hand_out_if_done(parent);
        }
    }

    /// Takes a chain out: under its parent while that is open (and given back), else to the reader.
    fn take_out(&mut self, key: ChainKey) -> Option<ChainKey> {
        let Open { chain, parent, children } = self.open.remove(&key)?;
        self.order.retain(|other| *other != key);
        if children > 0 {
            // What still hangs under it will come out on its own.
            for open in self.open.values_mut().filter(|open| open.parent == Some(key)) {
                open.parent = None;
            }
        }
        let Some((parent, open)) = parent.and_then(|parent| Some((parent, self.open.get_mut(&parent)?))) else {
            self.ready.push_back(Item::Chain(Box::new(chain)));
            return None;
        };
        open.children = open.children.saturating_sub(1);
        let at = open.chain.nested.partition_point(|nested| nested.boot_ns <= chain.boot_ns);
        open.chain.nested.insert(at, chain);
        Some(parent)
    }

    fn note(&mut self, key: ChainKey, note: &str) {
        if let Some(open) = self.open.get_mut(&key) {
            open.chain.incomplete.push(note.to_owned());
        }
    }

    /// Something was lost: it may belong to any chain that is open.
    fn mark_open(&mut self, note: &str) {
        for open in self.open.values_mut() {
            if !open.chain.incomplete.iter().any(|other| other == note) {
                open.chain.incomplete.push(note.to_owned());
            }
        }
    }
}

/// What a chain says whose request event was not seen.
const REQUEST_MISSING: &str = "its request was not seen: who asked is unknown";

fn key_of(request: Option<RequestId>, process: ProcessId) -> ChainKey {
    request.map_or(ChainKey::Loader(process), ChainKey::Request)
}
