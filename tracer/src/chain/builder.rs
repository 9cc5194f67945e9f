//! Builds chains from events. Every event goes where its ids say, or nowhere: nothing is joined by guess.

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

/// Chains under chains. The kernel runs 50 requests at a time, so no true stream comes near; a damaged
/// one must not exhaust the stack of whoever walks a chain.
const DEPTH_LIMIT: usize = 64;

/// The number of a chain: they count up in order of their beginning.
type Number = u64;

/// Builds chains.
///
/// - An event with a request id belongs to that request, any other to the process that loads. A failed unload without a
///   request is a story of its own: nothing ends it.
/// - A request hangs under the one it names as its parent, or that its creator worked for, even when that
///   one's own event was lost. Without such a request it hangs under the process in whose module's init it
///   was made, or which created the asking kernel thread, while that process loads.
/// - A chain is handed out when its result has come and all that hangs under it has ended. A request whose
///   parent is already out comes out by itself.
/// - What is open while something is lost says so.
/// - Memory is bounded ([`Limits`]), whatever the stream: what has no room comes out early.
/// - Of two requests, helpers or results with one id both come out, marked as incomplete, and there is an [`Issue`].
#[derive(Debug)]
pub struct Builder {
    open: BTreeMap<Number, Open>,
    /// The open chain that a key's next event belongs to.
    current: HashMap<ChainKey, Number>,
    begun: Number,
    ready: VecDeque<Item>,
    lost: Lost,
    emitted: EmittedRequests<RequestId>,
    /// Processes whose piece of work was handed out before its end.
    cut: EmittedRequests<ProcessId>,
    issues: Issues,
    limits: Limits,
    /// What all open chains take.
    bytes: usize,
    /// Open chains by the power of two that they take at least; of the same the oldest is last.
    sizes: BTreeSet<(u32, Reverse<Number>)>,
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
        Self::with_limits(Limits::default())
    }

    /// A builder that keeps at most `limit` chains open: the oldest comes out as it is when there are more.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self::with_limits(Limits { chains: limit, ..Limits::default() })
    }

    /// A builder with other limits.
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

    /// Takes the next event of a stream. The first has number 0.
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
                // One without its load is told in words.
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
        self.hand_out_if_done(number);
        self.keep_limits(number);
    }

    /// Takes the number of something that is no event of a chain: a seal, or a type that is not known.
    pub fn number(&mut self, seq: u64) {
        self.lost.number(seq);
    }

    /// The next chain or event that is finished.
    pub fn next_item(&mut self) -> Option<Item> {
        self.ready.pop_front()
    }

    /// What is wrong with the ids of the stream, as far as it was found since this was asked last.
    pub fn take_issues(&mut self) -> Vec<Issue> {
        self.issues.take()
    }

    /// What the open chains take, estimated, bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands out the largest chains until all that are open take no more than `bytes`: for a reader of many streams, which
    /// have a limit together.
    pub fn shrink_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some((_, Reverse(largest))) = self.sizes.last().copied() else { break };
            self.evict(largest, Early::NoRoom(bytes));
        }
    }

    /// Whether the next event of a key goes on with a chain that is open.
    pub(crate) fn is_open(&self, key: &ChainKey) -> bool {
        self.current.contains_key(key)
    }

    /// When the oldest chain that is open began.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.open.values().next().map(|open| open.chain.time)
    }

    /// Requests that have not ended, oldest first. What is nested in them stands beside them.
    pub fn running(&self) -> impl Iterator<Item = &Chain> {
        let open = self.open.values().map(|open| &*open.chain);
        open.filter(|chain| chain.request.is_some() && chain.result.is_none())
    }

    /// Ends the stream: hands out everything that is left, oldest first, and says what is unfinished.
    pub fn finish(&mut self) -> Vec<Item> {
        self.lost.stop();
        let roots: Vec<Number> =
            self.open.iter().filter(|(_, open)| open.parent.is_none()).map(|(number, _)| *number).collect();
        for root in roots {
            self.close(root);
        }
        self.ready.drain(..).collect()
    }

    /// Takes a chain out with all that hangs under it.
    fn close(&mut self, number: Number) {
        let children: Vec<Number> =
            self.open.get(&number).map(|open| open.children.iter().copied().collect()).unwrap_or_default();
        for child in children {
            self.close(child);
        }
        self.hand_out(number);
    }

    /// Adds what takes so many bytes to the chain of a key.
    fn add(&mut self, key: ChainKey, at: Moment, bytes: usize, add: impl FnOnce(&mut Open)) -> Number {
        let number = self.own(key, at, bytes);
        if let Some(open) = self.open.get_mut(&number) {
            add(open);
        }
        self.grow(number, bytes);
        number
    }

    /// The open chain of a key, with room for so many bytes; begun if there is none.
    fn own(&mut self, key: ChainKey, at: Moment, bytes: usize) -> Number {
        let going_on = self.current.get(&key).copied().filter(|number| match key {
            ChainKey::Request(_) => true,
            // A process that goes on after its result has begun another piece of work.
            ChainKey::Loader(_) => self.loads_now(*number),
        });
        match going_on {
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

    /// Whether the open chain of a request has such an event.
    fn has_open(&self, id: RequestId, event: Single) -> bool {
        self.open_chain(id).is_some_and(|chain| has(chain, event))
    }

    /// Hands out a second event where a request has one: it must not take the place of the first.
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

    /// Takes an event of which a request has one. The same again is none: a recorder that was resumed may write it twice.
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
        // One that was handed out already is told of in the chain of the second alone.
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
            self.hang(number, parent);
        }
        Some(number)
    }

    /// The open chain that a request belongs under.
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

    /// Hangs one open chain under another, unless that made a circle or too deep a tree.
    fn hang(&mut self, child: Number, parent: Number) {
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

    fn hand_out_if_done(&mut self, number: Option<Number>) {
        let mut next = number;
        while let Some(number) = next {
            let done =
                self.open.get(&number).is_some_and(|open| open.chain.result.is_some() && open.children.is_empty());
            next = if done { self.hand_out(number) } else { None };
        }
    }

    /// Cuts a chain off from its parent, and gives the parent back.
    fn detach(&mut self, number: Number) -> Option<Number> {
        let parent = self.open.get_mut(&number)?.parent.take()?;
        self.open.get_mut(&parent)?.children.remove(&number);
        Some(parent)
    }

    /// Takes a chain out: under its parent while that is open (and given back), else to the reader.
    fn hand_out(&mut self, number: Number) -> Option<Number> {
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
        // What still hangs under it will come out by itself.
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
