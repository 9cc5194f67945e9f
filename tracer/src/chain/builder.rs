//! Builds chains from events. Events are joined only by their ids, never by guess.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
};

use jiff::Timestamp;

use super::{
    Chain, ChainKey, Issue, Item, Part, Single,
    emitted::{EmittedEvents, EmittedRequests},
    is_unload,
    issues::Issues,
    lost::Lost,
    open::{Early, Moment, Open},
    weight::Heap,
};
use crate::event::{Body, Event, Outcome, ProcessId, Request, RequestId};

mod room;
#[cfg(test)]
mod tests;

pub use room::Limits;

/// Maximum nesting depth of chains. The kernel runs 50 requests at a time, so real streams stay far below it; a damaged
/// stream must not exhaust the stack of recursive code.
const DEPTH_LIMIT: usize = 64;

/// The number of a chain, ascending in order of their beginnings.
type Number = u64;

/// Builds chains.
///
/// - An event with a request id belongs to that request, any other to the loading process. A failed unload without a
///   request is emitted separately, since nothing ends it.
/// - A request is nested in its parent request, or in the one that its creator worked for, even if that one's own event
///   was lost. Without such a request it is nested in the chain of the process that was running a module's init at that
///   time, or that created the requesting kernel thread, while that process loads.
/// - A chain is emitted when its result was seen and all its nested chains have ended. A request whose parent was
///   already emitted is emitted separately.
/// - Chains that are open during a loss are marked as incomplete.
/// - Memory is bounded ([`Limits`]) for any stream: chains beyond the limits are emitted early.
/// - Two requests, helpers or results with the same id are both emitted and marked as incomplete, and reported as an
///   [`Issue`].
#[derive(Debug)]
pub struct Builder {
    open: BTreeMap<Number, Open>,
    /// The open chain of each key.
    current: HashMap<ChainKey, Number>,
    begun: Number,
    ready: VecDeque<Item>,
    lost: Lost,
    emitted: EmittedRequests<RequestId>,
    /// Processes whose chain was emitted early.
    cut: EmittedRequests<ProcessId>,
    issues: Issues,
    limits: Limits,
    /// Memory use of all open chains.
    bytes: usize,
    /// Open chains by the binary logarithm of their size; of equal ones the oldest is last.
    sizes: BTreeSet<(u32, Reverse<Number>)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Creates a builder with default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// Creates a builder that keeps at most `limit` chains open; beyond that it emits the oldest.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self::with_limits(Limits { chains: limit, ..Limits::default() })
    }

    /// Creates a builder with other limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        let limits = Limits { chains: limits.chains.max(1), ..limits };
        Self {
            open: BTreeMap::new(),
            current: HashMap::new(),
            begun: 0,
            ready: VecDeque::new(),
            lost: Lost::default(),
            emitted: EmittedRequests::with_limit(limits.chains),
            cut: EmittedRequests::with_limit(limits.chains),
            issues: Issues::default(),
            limits,
            bytes: 0,
            sizes: BTreeSet::new(),
        }
    }

    /// Processes the next event of a stream. The first has number 0.
    pub fn push(&mut self, event: Event) {
        self.lost.take(&event);
        let Event { seq, time, boot_ns, request, body } = event;
        let at = Moment { time, boot_ns };
        let number = match (body, request) {
            (Body::Request(body), Some(id)) => self.request(id, at, body),
            (Body::Helper(body), Some(id)) => {
                let bytes = body.heap_bytes();
                let is_same = self.open_chain(id).is_some_and(|chain| chain.helper.as_ref() == Some(&body));
                self.single(id, Single::Helper, at, (bytes, is_same), |chain| chain.helper = Some(body))
            }
            (Body::Load(load), request) => {
                let (key, bytes) = (key_of(request, load.process.id()), Open::module_bytes(&load));
                Some(self.add(key, at, bytes, |open| open.add_module(*load, boot_ns)))
            }
            (Body::Init(init), request) => {
                let key = key_of(request, ProcessId { pid: init.pid, start_ns: init.start_ns });
                // An init without its load becomes a note.
                let bytes = 2 * init.bytes() + init.module.heap_bytes();
                Some(self.add(key, at, bytes, |open| open.add_init(init)))
            }
            (Body::Attempt(body), request) if request.is_some() || !is_unload(&body) => {
                let (key, bytes) = (key_of(request, body.process.id()), size_of_val(&*body) + body.bytes());
                Some(self.add(key, at, bytes, |open| open.chain.attempts.push(*body)))
            }
            (Body::Result(body), Some(id)) => {
                let bytes = body.heap_bytes();
                let is_same = self.open_chain(id).is_some_and(|chain| chain.result.as_ref() == Some(&body));
                self.single(id, Single::Result, at, (bytes, is_same), |chain| chain.result = Some(body))
            }
            (Body::Result(body @ Outcome { loader: Some(loader), .. }), None) => {
                let bytes = body.heap_bytes();
                Some(self.add(ChainKey::Loader(loader), at, bytes, |open| open.chain.result = Some(body)))
            }
            (body, request) => {
                match &body {
                    Body::Request(_) => self.issues.no_id(Single::Request),
                    Body::Helper(_) => self.issues.no_id(Single::Helper),
                    Body::Result(_) => self.issues.no_id(Single::Result),
                    _ => {}
                }
                self.ready.push_back(Item::Event(Box::new(Event { seq, time, boot_ns, request, body })));
                None
            }
        };
        self.emit_if_done(number);
        self.keep_limits(number);
    }

    /// Processes the number of a seal or of an event of unknown type.
    pub fn number(&mut self, seq: u64) {
        self.lost.number(seq);
    }

    /// Returns the next finished chain or event.
    pub fn next_item(&mut self) -> Option<Item> {
        self.ready.pop_front()
    }

    /// Returns the issues with ids that were found since the last call.
    pub fn take_issues(&mut self) -> Vec<Issue> {
        self.issues.take()
    }

    /// Estimated memory use of the open chains, bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Emits the largest chains until the open ones use at most `bytes`, for readers of many streams with a shared
    /// limit.
    pub fn shrink_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some((_, Reverse(largest))) = self.sizes.last().copied() else { break };
            self.evict(largest, Early::NoRoom(bytes));
        }
    }

    /// Returns whether a chain with this key is open.
    pub(crate) fn is_open(&self, key: &ChainKey) -> bool {
        self.current.contains_key(key)
    }

    /// The beginning of the oldest open chain.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.open.values().next().map(|open| open.chain.time)
    }

    /// Requests that have not ended, oldest first. Nested requests are listed separately.
    pub fn running(&self) -> impl Iterator<Item = &Chain> {
        let open = self.open.values().map(|open| &*open.chain);
        open.filter(|chain| chain.request.is_some() && chain.result.is_none())
    }

    /// Ends the stream: emits all open chains, oldest first, with notes on what is missing.
    pub fn finish(&mut self) -> Vec<Item> {
        self.lost.stop();
        let roots: Vec<Number> =
            self.open.iter().filter(|(_, open)| open.parent.is_none()).map(|(number, _)| *number).collect();
        for root in roots {
            self.close(root);
        }
        self.ready.drain(..).collect()
    }

    /// Emits a chain and its nested chains.
    fn close(&mut self, number: Number) {
        let children: Vec<Number> =
            self.open.get(&number).map(|open| open.children.iter().copied().collect()).unwrap_or_default();
        for child in children {
            self.close(child);
        }
        self.emit(number);
    }

    /// Adds `bytes` of data to the chain of a key.
    fn add(&mut self, key: ChainKey, at: Moment, bytes: usize, add: impl FnOnce(&mut Open)) -> Number {
        let number = self.own(key, at, bytes);
        if let Some(open) = self.open.get_mut(&number) {
            add(open);
        }
        self.grow(number, bytes);
        number
    }

    /// Returns the open chain of a key with room for `bytes`; opens one if there is none.
    fn own(&mut self, key: ChainKey, at: Moment, bytes: usize) -> Number {
        let existing = self.current.get(&key).copied().filter(|number| match key {
            ChainKey::Request(_) => true,
            // A process that continues after its result begins another chain.
            ChainKey::Loader(_) => self.loads_now(*number),
        });
        match existing {
            Some(number) if !self.lacks_room(number, bytes) => return number,
            Some(number) => self.evict(number, Early::TooLarge(self.limits.chain_bytes)),
            None => {}
        }
        let is_rest = match key {
            ChainKey::Request(id) => self.emitted.contains(id),
            ChainKey::Loader(process) => self.cut.may_contain(process),
        };
        self.begun += 1;
        let number = self.begun;
        self.current.insert(key, number);
        let open = Open::new(key, at, &self.lost, if is_rest { Part::Rest } else { Part::Whole });
        self.bytes += open.bytes;
        self.sizes.insert((open.bytes.ilog2(), Reverse(number)));
        self.open.insert(number, open);
        number
    }

    fn loads_now(&self, number: Number) -> bool {
        self.open.get(&number).is_some_and(|open| open.chain.result.is_none())
    }

    /// Returns whether the open chain of a request has such an event.
    fn has_open(&self, id: RequestId, event: Single) -> bool {
        self.open_chain(id).is_some_and(|chain| has(chain, event))
    }

    /// Emits a second event of a kind that a request has only once; it must not replace the first.
    fn duplicate(&mut self, id: RequestId, event: Single, at: Moment, set: impl FnOnce(&mut Chain)) {
        let key = ChainKey::Request(id);
        self.issues.shared(event, id);
        if let Some(open) = self.current.get(&key).and_then(|number| self.open.get_mut(number)) {
            open.shared.insert(event);
        }
        let mut other = Open::new(key, at, &self.lost, Part::Duplicate);
        other.shared.insert(event);
        set(&mut other.chain);
        self.ready.push_back(Item::Chain(other.into_chain(&self.lost)));
    }

    /// The open chain of a request.
    fn open_chain(&self, id: RequestId) -> Option<&Chain> {
        let number = self.current.get(&ChainKey::Request(id))?;
        self.open.get(number).map(|open| &*open.chain)
    }

    /// Adds an event that a request has only once. An identical repetition is ignored: a resumed recorder may write it
    /// twice.
    fn single(
        &mut self,
        id: RequestId,
        event: Single,
        at: Moment,
        (bytes, is_same): (usize, bool),
        set: impl FnOnce(&mut Chain),
    ) -> Option<Number> {
        if is_same {
            return None;
        }
        if self.has_open(id, event) {
            self.duplicate(id, event, at, set);
            return None;
        }
        // If the first one was already emitted, only the chain of the second is marked.
        let is_second = self.emitted.get(id).is_some_and(|events| events.contains(event));
        if is_second {
            self.issues.shared(event, id);
        }
        Some(self.add(ChainKey::Request(id), at, bytes, |open| {
            set(&mut open.chain);
            if is_second {
                open.shared.insert(event);
            }
        }))
    }

    fn request(&mut self, id: RequestId, at: Moment, body: Box<Request>) -> Option<Number> {
        let is_duplicate = self.has_open(id, Single::Request);
        let parent = if is_duplicate { None } else { self.parent(id, &body, at) };
        let is_same = self.open_chain(id).is_some_and(|chain| chain.request.as_ref() == Some(&*body));
        let bytes = body.heap_bytes();
        let number = self.single(id, Single::Request, at, (bytes, is_same), |chain| {
            chain.time = at.time;
            chain.boot_ns = at.boot_ns;
            chain.request = Some(*body);
        })?;
        if let Some(parent) = parent {
            self.nest(number, parent);
        }
        Some(number)
    }

    /// Returns the open parent chain of a request.
    fn parent(&mut self, id: RequestId, body: &Request, at: Moment) -> Option<Number> {
        let behalf = body.behalf.as_ref();
        if let Some(parent) = body.parent_request.or_else(|| behalf?.request) {
            let key = ChainKey::Request(parent);
            return match self.current.get(&key) {
                Some(number) => Some(*number),
                None if parent == id || self.emitted.may_contain(parent) => None,
                None => Some(self.own(key, at, 0)),
            };
        }
        let loader = match (&body.in_init, behalf) {
            (Some(_), _) => body.process.id(),
            (None, Some(behalf)) => ProcessId { pid: behalf.pid, start_ns: behalf.start_ns },
            (None, None) => return None,
        };
        self.current.get(&ChainKey::Loader(loader)).copied().filter(|number| self.loads_now(*number))
    }

    /// Nests one open chain in another, unless that would create a cycle or exceed the depth limit.
    fn nest(&mut self, child: Number, parent: Number) {
        let Some(height) = self.open.get(&child).filter(|open| open.parent.is_none()).map(|open| open.height) else {
            return;
        };
        let mut above = Vec::new();
        let mut next = Some(parent);
        while let Some(number) = next {
            if number == child || above.len() + height >= DEPTH_LIMIT {
                return;
            }
            above.push(number);
            next = self.open.get(&number).and_then(|open| open.parent);
        }
        for (number, height) in above.into_iter().zip(height + 1..) {
            if let Some(open) = self.open.get_mut(&number) {
                open.height = open.height.max(height);
            }
        }
        if let Some(open) = self.open.get_mut(&parent) {
            open.children.insert(child);
        }
        if let Some(open) = self.open.get_mut(&child) {
            open.parent = Some(parent);
        }
    }

    fn emit_if_done(&mut self, number: Option<Number>) {
        let mut next = number;
        while let Some(number) = next {
            let done =
                self.open.get(&number).is_some_and(|open| open.chain.result.is_some() && open.children.is_empty());
            next = if done { self.emit(number) } else { None };
        }
    }

    /// Detaches a chain from its parent and returns the parent.
    fn detach(&mut self, number: Number) -> Option<Number> {
        let parent = self.open.get_mut(&number)?.parent.take()?;
        self.open.get_mut(&parent)?.children.remove(&number);
        Some(parent)
    }

    /// Closes a chain: adds it to its parent and returns that, or emits it if no parent is open.
    fn emit(&mut self, number: Number) -> Option<Number> {
        let parent = self.detach(number);
        let open = self.open.remove(&number)?;
        let bytes = open.bytes;
        self.bytes -= bytes;
        self.sizes.remove(&(bytes.ilog2(), Reverse(number)));
        if self.current.get(&open.chain.key) == Some(&number) {
            self.current.remove(&open.chain.key);
        }
        match open.chain.key {
            ChainKey::Request(id) => self.emitted.insert(id, events(&open.chain)),
            ChainKey::Loader(process) if open.chain.result.is_none() => {
                self.cut.insert(process, EmittedEvents::default());
            }
            ChainKey::Loader(process) => self.cut.remove(process),
        }
        // Chains that are still nested in it will be emitted separately.
        for child in &open.children {
            if let Some(child) = self.open.get_mut(child) {
                child.parent = None;
            }
        }
        let chain = open.into_chain(&self.lost);
        if let Some(full) = parent.filter(|parent| self.lacks_room(*parent, bytes)) {
            self.evict(full, Early::TooLarge(self.limits.chain_bytes));
        }
        match parent.and_then(|parent| Some((parent, self.open.get_mut(&parent)?))) {
            Some((number, open)) => {
                open.add_nested(chain);
                self.grow(number, bytes);
            }
            None => self.ready.push_back(Item::Chain(chain)),
        }
        parent
    }
}

const fn has(chain: &Chain, event: Single) -> bool {
    match event {
        Single::Request => chain.request.is_some(),
        Single::Helper => chain.helper.is_some(),
        Single::Result => chain.result.is_some(),
    }
}

fn events(chain: &Chain) -> EmittedEvents {
    let singles = [Single::Request, Single::Helper, Single::Result];
    singles.into_iter().fold(EmittedEvents::default(), |events, event| events.with(event, has(chain, event)))
}

fn key_of(request: Option<RequestId>, process: ProcessId) -> ChainKey {
    request.map_or(ChainKey::Loader(process), ChainKey::Request)
}
