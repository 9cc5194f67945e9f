//! Builds chains from events. Every event goes where its ids say, or nowhere: nothing is joined by guess.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    Chain, ChainKey, Item, Module,
    gone::Gone,
    is_unload,
    lost::Lost,
    open::{Moment, Open},
};
use crate::event::{Body, Event, Init, Outcome, ProcessId, Request, RequestId};

#[cfg(test)]
mod tests;

/// Chains that may be open at a time, before the oldest is handed out as it is.
const OPEN_LIMIT: usize = 65_536;

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
#[derive(Debug)]
pub struct Builder {
    open: BTreeMap<Number, Open>,
    /// The open chain that a key's next event belongs to.
    current: HashMap<ChainKey, Number>,
    begun: Number,
    ready: VecDeque<Item>,
    lost: Lost,
    gone: Gone,
    limit: usize,
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

    /// A builder that keeps at most `limit` chains open: the oldest comes out as it is when there are more.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        let limit = limit.max(1);
        Self {
            open: BTreeMap::new(),
            current: HashMap::new(),
            begun: 0,
            ready: VecDeque::new(),
            lost: Lost::default(),
            gone: Gone::with_limit(limit),
            limit,
        }
    }

    /// Takes the next event of a stream. The first has number 0.
    pub fn push(&mut self, event: Event) {
        self.lost.take(&event);
        let Event { seq, time, boot_ns, request, body } = event;
        let at = Moment { time, boot_ns };
        match (body, request) {
            (Body::Request(body), Some(id)) => self.request(id, at, *body),
            (Body::Helper(body), Some(id)) => self.own(ChainKey::Request(id), at).1.chain.helper = Some(body),
            (Body::Load(load), request) => {
                let key = key_of(request, load.process.id());
                self.own(key, at).1.chain.modules.push(Module { load: *load, boot_ns, init: None });
            }
            (Body::Init(body), request) => {
                let key = key_of(request, ProcessId { pid: body.pid, start_ns: body.start_ns });
                self.init(key, at, body);
            }
            (Body::Attempt(body), request) if request.is_some() || !is_unload(&body) => {
                let key = key_of(request, body.process.id());
                self.own(key, at).1.chain.attempts.push(*body);
            }
            (Body::Result(body), Some(id)) => self.result(ChainKey::Request(id), at, body),
            (Body::Result(body @ Outcome { loader: Some(loader), .. }), None) => {
                self.result(ChainKey::Loader(loader), at, body);
            }
            (body, request) => {
                self.ready.push_back(Item::Event(Box::new(Event { seq, time, boot_ns, request, body })));
            }
        }
        while self.open.len() > self.limit {
            let Some(mut oldest) = self.open.first_entry() else { break };
            oldest.get_mut().handed_out_early = true;
            let number = *oldest.key();
            let parent = self.detach(number);
            self.hand_out(number);
            self.hand_out_if_done(parent);
        }
    }

    /// Takes the number of something that is no event of a chain: a seal, or a type that is not known.
    pub fn number(&mut self, seq: u64) {
        self.lost.number(seq);
    }

    /// The next chain or event that is finished.
    pub fn next_item(&mut self) -> Option<Item> {
        self.ready.pop_front()
    }

    /// Requests that have not ended, oldest first. What is nested in them stands beside them.
    pub fn running(&self) -> impl Iterator<Item = &Chain> {
        let open = self.open.values().map(|open| &open.chain);
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

    /// The chain of a key, begun if there is none.
    fn own(&mut self, key: ChainKey, at: Moment) -> (Number, &mut Open) {
        let going_on = self.current.get(&key).copied().filter(|number| match key {
            ChainKey::Request(_) => true,
            // A process that goes on after its result has begun another piece of work.
            ChainKey::Loader(_) => self.loads_now(*number),
        });
        let number = going_on.unwrap_or_else(|| {
            self.begun += 1;
            self.current.insert(key, self.begun);
            self.begun
        });
        let (lost, gone) = (&self.lost, &self.gone);
        let open = self.open.entry(number).or_insert_with(|| Open::new(key, at, lost, gone));
        (number, open)
    }

    fn loads_now(&self, number: Number) -> bool {
        self.open.get(&number).is_some_and(|open| open.chain.result.is_none())
    }

    fn request(&mut self, id: RequestId, at: Moment, body: Request) {
        let parent = self.parent(id, &body, at);
        let (number, open) = self.own(ChainKey::Request(id), at);
        if open.chain.request.is_none() {
            open.chain.time = at.time;
            open.chain.boot_ns = at.boot_ns;
        }
        open.request(body);
        if let Some(parent) = parent {
            self.hang(number, parent);
        }
    }

    /// The open chain that a request belongs under.
    fn parent(&mut self, id: RequestId, body: &Request, at: Moment) -> Option<Number> {
        let behalf = body.behalf.as_ref();
        if let Some(parent) = body.parent_request.or_else(|| behalf?.request) {
            let key = ChainKey::Request(parent);
            return match self.current.get(&key) {
                Some(number) => Some(*number),
                None if parent == id || self.gone.may_contain(parent) => None,
                None => Some(self.own(key, at).0),
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

    fn init(&mut self, key: ChainKey, at: Moment, init: Init) {
        let open = self.own(key, at).1;
        // The kernel lets a name in again only after its first load failed or left: the latest is meant.
        let loaded = open.chain.modules.iter_mut().rev().find(|module| {
            let by = &module.load.process;
            module.init.is_none()
                && module.load.module == init.module
                && (by.pid, by.start_ns) == (init.pid, init.start_ns)
        });
        match loaded {
            Some(module) => module.init = Some(init),
            None => open.inits_alone.push(init),
        }
    }

    fn result(&mut self, key: ChainKey, at: Moment, result: Outcome) {
        let (number, open) = self.own(key, at);
        open.result(result);
        self.hand_out_if_done(Some(number));
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
        if self.current.get(&open.chain.key) == Some(&number) {
            self.current.remove(&open.chain.key);
        }
        if let ChainKey::Request(id) = open.chain.key {
            self.gone.insert(id);
        }
        // What still hangs under it will come out by itself.
        for child in &open.children {
            if let Some(child) = self.open.get_mut(child) {
                child.parent = None;
            }
        }
        let chain = open.into_chain(&self.lost);
        match parent.and_then(|parent| self.open.get_mut(&parent)) {
            Some(open) => open.add_nested(chain),
            None => self.ready.push_back(Item::Chain(Box::new(chain))),
        }
        parent
    }
}

fn key_of(request: Option<RequestId>, process: ProcessId) -> ChainKey {
    request.map_or(ChainKey::Loader(process), ChainKey::Request)
}
