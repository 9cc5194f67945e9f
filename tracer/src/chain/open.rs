//! An open chain, and the notes on what it lacks when it is emitted.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Chain, ChainKey, Module, Part,
    issues::Single,
    lost::{Lost, Totals},
    weight::Heap,
};
use crate::event::{Init, Load, ProcessId, Text};

/// Memory use of an open chain without its events: its entries in the builder's tables, and later in the list of nested
/// chains, up to half of which is unused capacity.
const OPEN_BYTES: usize = 2 * (size_of::<Open>() + size_of::<Chain>()) + 256;

/// Memory use of an entry in the table of modules whose init has not ended, without the name.
const WAITING_BYTES: usize = size_of::<(Text, ProcessId)>() + size_of::<Vec<usize>>() + 64;

/// A point in time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) time: Timestamp,
    pub(super) boot_ns: u64,
}

/// Why a chain is emitted early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// Too many chains are open.
    TooMany,
    /// The chain exceeds this size, bytes.
    TooLarge(usize),
    /// All open chains together exceed this size, bytes.
    NoRoom(usize),
}

impl Early {
    fn words(self) -> String {
        match self {
            Self::TooMany => "emitted early: too many open chains".to_owned(),
            Self::TooLarge(bytes) => format!("emitted early: the chain is larger than {}", size(bytes)),
            Self::NoRoom(0) => "emitted early: the open chains of all streams are too large together".to_owned(),
            Self::NoRoom(bytes) => format!("emitted early: all open chains are larger than {}", size(bytes)),
        }
    }
}

fn size(bytes: usize) -> String {
    const MIB: usize = 1 << 20;
    if bytes >= MIB { format!("{} MiB", bytes / MIB) } else { format!("{bytes} bytes") }
}

/// An open chain.
#[derive(Debug)]
pub(super) struct Open {
    /// Boxed, so that it can be emitted without a copy.
    pub(super) chain: Box<Chain>,
    /// Its parent chain, while that is open.
    pub(super) parent: Option<u64>,
    /// Its nested chains that are still open.
    pub(super) children: BTreeSet<u64>,
    /// Number of generations below it, including those that have ended.
    pub(super) height: usize,
    /// The reason why it is emitted early, if so.
    pub(super) early: Option<Early>,
    /// Its memory use, including nested chains.
    pub(super) bytes: usize,
    /// Events of which another one with the same id was seen.
    pub(super) shared: BTreeSet<Single>,
    /// Inits without a load event.
    inits_alone: Vec<Init>,
    /// Modules whose init has not ended, by name and loader; the last one is the most recent.
    waiting: HashMap<(Text, ProcessId), Vec<usize>>,
    /// Its beginning may have been lost.
    beginning_hidden: bool,
    lost_before: Arc<Totals>,
}

impl Open {
    /// Opens a chain that begins with an event at this time.
    pub(super) fn new(key: ChainKey, at: Moment, lost: &Lost, part: Part) -> Self {
        let (began, beginning_hidden) = match key {
            // The id contains the time of the request, even if its event was lost.
            ChainKey::Request(id) => (moved(at, id.boot_ns), false),
            ChainKey::Loader(process) => (at, lost.may_hide_beginning(process.start_ns, at.boot_ns)),
        };
        let chain = Chain {
            key,
            time: began.time,
            boot_ns: began.boot_ns,
            part,
            request: None,
            helper: None,
            modules: Vec::new(),
            attempts: Vec::new(),
            result: None,
            nested: Vec::new(),
            incomplete: Vec::new(),
        };
        let lost_before = lost.before(began.boot_ns);
        Self {
            chain: Box::new(chain),
            parent: None,
            children: BTreeSet::new(),
            height: 0,
            early: None,
            bytes: OPEN_BYTES + lost_before.bytes(),
            shared: BTreeSet::new(),
            inits_alone: Vec::new(),
            waiting: HashMap::new(),
            beginning_hidden,
            lost_before,
        }
    }

    /// Memory use of a module. The capacity of its list is at most twice its length.
    pub(super) fn module_bytes(load: &Load) -> usize {
        2 * size_of::<Module>() + load.heap_bytes() + WAITING_BYTES + load.module.heap_bytes()
    }

    /// Adds a module that arrived.
    pub(super) fn add_module(&mut self, load: Load, boot_ns: u64) {
        let key = (load.module.clone(), load.process.id());
        self.waiting.entry(key).or_default().push(self.chain.modules.len());
        self.chain.modules.push(Module { load, boot_ns, init: None });
    }

    /// Adds the end of an init to the most recent load of this name: the kernel accepts a name again only after the
    /// earlier load failed or was unloaded.
    pub(super) fn add_init(&mut self, init: Init) {
        let key = (init.module.clone(), ProcessId { pid: init.pid, start_ns: init.start_ns });
        let latest = match self.waiting.entry(key) {
            Entry::Occupied(mut waiting) => {
                let latest = waiting.get_mut().pop();
                if waiting.get().is_empty() {
                    waiting.remove();
                }
                latest
            }
            Entry::Vacant(_) => None,
        };
        match latest.and_then(|at| self.chain.modules.get_mut(at)) {
            Some(module) => module.init = Some(init),
            None => self.inits_alone.push(init),
        }
    }

    /// Adds a nested chain that has ended.
    pub(super) fn add_nested(&mut self, chain: Box<Chain>) {
        self.chain.nested.push(*chain);
    }

    /// Returns the chain with notes on everything that is missing, and with its nested chains in the order of their
    /// beginnings.
    pub(super) fn into_chain(self, lost: &Lost) -> Box<Chain> {
        let notes = self.notes(lost);
        let mut chain = self.chain;
        chain.incomplete = notes;
        if !chain.nested.is_sorted_by_key(|nested| (nested.boot_ns, nested.key)) {
            chain.nested.sort_by_key(|nested| (nested.boot_ns, nested.key));
        }
        chain
    }

    fn notes(&self, lost: &Lost) -> Vec<String> {
        let chain = &self.chain;
        let mut notes = Vec::new();
        if let ChainKey::Request(id) = chain.key {
            notes.extend(self.shared.iter().map(|event| format!("two {} events share the id {id}", event.name())));
        }
        if chain.part == Part::Duplicate {
            return notes;
        }
        match chain.key {
            ChainKey::Request(_) if chain.request.is_some() => {}
            ChainKey::Request(_) if chain.part == Part::Rest => {
                notes.push("its first part was emitted before this one".to_owned());
            }
            // Recently evicted processes are known.
            ChainKey::Loader(_) if chain.part == Part::Rest => {
                notes.push("it may have loaded more, which was emitted before this chain".to_owned());
            }
            ChainKey::Request(_) => notes.push("its request was not seen: unknown requester".to_owned()),
            ChainKey::Loader(_) => {
                if chain.modules.is_empty() && chain.attempts.is_empty() {
                    notes.push("the modules that this process loaded were not seen".to_owned());
                } else if self.beginning_hidden {
                    notes.push("events were lost just before: it may have loaded more".to_owned());
                }
            }
        }
        for init in &self.inits_alone {
            notes.push(format!("the init of {} ended, but its load was not seen", init.module.field()));
        }
        notes.extend(lost.since(&self.lost_before));
        if let Some(early) = self.early {
            notes.push(early.words());
        } else if chain.result.as_ref().is_none_or(|result| result.incomplete) {
            notes.push("its end was not seen: it was in flight when tracing ended, or its end was lost".to_owned());
        }
        notes
    }
}

/// Shifts a point in time to another boot-clock value.
fn moved(at: Moment, boot_ns: u64) -> Moment {
    let by_ns = i128::from(boot_ns) - i128::from(at.boot_ns);
    let time = i64::try_from(by_ns).ok().and_then(|ns| at.time.checked_add(SignedDuration::from_nanos(ns)).ok());
    time.map_or(at, |time| Moment { time, boot_ns })
}
