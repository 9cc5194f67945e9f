//! A chain that is being built, and what it has to say when it is handed out.

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

/// What an open chain takes without its events: its places in the builder's tables, later that in the list of what is
/// nested, of which up to half is empty.
const OPEN_BYTES: usize = 2 * (size_of::<Open>() + size_of::<Chain>()) + 256;

/// What a module's place in the table of those that wait for their init takes, without its name.
const WAITING_BYTES: usize = size_of::<(Text, ProcessId)>() + size_of::<Vec<usize>>() + 64;

/// A moment of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) time: Timestamp,
    pub(super) boot_ns: u64,
}

/// Why a chain is handed out before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// There are too many chains.
    TooMany,
    /// It is larger than this, bytes.
    TooLarge(usize),
    /// All open chains together are larger than this, bytes.
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

/// A chain that is being built.
#[derive(Debug)]
pub(super) struct Open {
    /// Boxed: it is handed out as it is.
    pub(super) chain: Box<Chain>,
    /// The chain it hangs under, while that is open.
    pub(super) parent: Option<u64>,
    /// Chains that hang under it and are still open.
    pub(super) children: BTreeSet<u64>,
    /// Generations under it, those that have ended included.
    pub(super) height: usize,
    /// It had to make room.
    pub(super) early: Option<Early>,
    /// What it takes, with all that is nested in it.
    pub(super) bytes: usize,
    /// Events of which another with its id was seen.
    pub(super) shared: BTreeSet<Single>,
    /// Inits of which no load was seen.
    inits_alone: Vec<Init>,
    /// Modules whose init has not ended, by name and loader; the last one is the latest.
    waiting: HashMap<(Text, ProcessId), Vec<usize>>,
    /// Its beginning may have been lost.
    beginning_hidden: bool,
    lost_before: Arc<Totals>,
}

impl Open {
    /// A chain that begins with an event of this moment.
    pub(super) fn new(key: ChainKey, at: Moment, lost: &Lost, part: Part) -> Self {
        let (began, beginning_hidden) = match key {
            // The id tells when it was asked, even when nothing else does.
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

    /// What a module will take. The list that it goes into is at most twice as long as it has to be.
    pub(super) fn module_bytes(load: &Load) -> usize {
        2 * size_of::<Module>() + load.heap_bytes() + WAITING_BYTES + load.module.heap_bytes()
    }

    /// Adds a module that arrived.
    pub(super) fn add_module(&mut self, load: Load, boot_ns: u64) {
        let key = (load.module.clone(), load.process.id());
        self.waiting.entry(key).or_default().push(self.chain.modules.len());
        self.chain.modules.push(Module { load, boot_ns, init: None });
    }

    /// Adds the end of an init. The kernel lets a name in again only after its first load failed or left: the latest is
    /// meant.
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

    /// Adds a chain that has ended.
    pub(super) fn add_nested(&mut self, chain: Box<Chain>) {
        self.chain.nested.push(*chain);
    }

    /// The chain, with all that is missing in words, and what is nested in order of beginning.
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
            // Which processes had to make room is known for a while.
            ChainKey::Loader(_) if chain.part == Part::Rest => {
                notes.push("it may have loaded more, which was emitted before this chain".to_owned());
            }
            ChainKey::Request(_) => notes.push("its request was not seen: who asked is unknown".to_owned()),
            ChainKey::Loader(_) => {
                if chain.modules.is_empty() && chain.attempts.is_empty() {
                    notes.push("what this process loaded was not seen".to_owned());
                } else if self.beginning_hidden {
                    notes.push("events were lost just before: it may have loaded more".to_owned());
                }
            }
        }
        for init in &self.inits_alone {
            notes.push(format!("the init of {} ended, but its arrival was not seen", init.module.field()));
        }
        notes.extend(lost.since(&self.lost_before));
        if let Some(early) = self.early {
            notes.push(early.words());
        } else if chain.result.as_ref().is_none_or(|result| result.incomplete) {
            notes.push("its end was not seen: it still ran when tracing ended, or its end was lost".to_owned());
        }
        notes
    }
}

/// The same clock at another time since boot.
fn moved(at: Moment, boot_ns: u64) -> Moment {
    let by_ns = i128::from(boot_ns) - i128::from(at.boot_ns);
    let time = i64::try_from(by_ns).ok().and_then(|ns| at.time.checked_add(SignedDuration::from_nanos(ns)).ok());
    time.map_or(at, |time| Moment { time, boot_ns })
}
