//! A chain that is being built, and what it has to say when it is handed out.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{
    Chain, ChainKey,
    gone::Gone,
    lost::{Lost, Totals},
};
use crate::event::{Init, Outcome, Request};

/// A moment of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) time: Timestamp,
    pub(super) boot_ns: u64,
}

/// A chain that is being built.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) chain: Chain,
    /// The chain it hangs under, while that is open.
    pub(super) parent: Option<u64>,
    /// Chains that hang under it and are still open.
    pub(super) children: BTreeSet<u64>,
    /// Generations under it, those that have ended included.
    pub(super) height: usize,
    /// Inits of which no load was seen.
    pub(super) inits_alone: Vec<Init>,
    /// Requests and results that differ from the first of this id.
    repeats: u64,
    /// It had to make room.
    pub(super) handed_out_early: bool,
    /// A part of it was handed out before.
    continued: bool,
    /// Its beginning may have been lost.
    beginning_hidden: bool,
    lost_before: Arc<Totals>,
}

impl Open {
    /// A chain that begins with an event of this moment.
    pub(super) fn new(key: ChainKey, at: Moment, lost: &Lost, gone: &Gone) -> Self {
        let (began, continued, beginning_hidden) = match key {
            // The id tells when it was asked, even when nothing else does.
            ChainKey::Request(id) => (moved(at, id.boot_ns), gone.contains(id), false),
            ChainKey::Loader(process) => (at, false, lost.may_hide_beginning(process.start_ns, at.boot_ns)),
        };
        let chain = Chain {
            key,
            time: began.time,
            boot_ns: began.boot_ns,
            request: None,
            helper: None,
            modules: Vec::new(),
            attempts: Vec::new(),
            result: None,
            nested: Vec::new(),
            incomplete: Vec::new(),
        };
        Self {
            chain,
            parent: None,
            children: BTreeSet::new(),
            height: 0,
            inits_alone: Vec::new(),
            repeats: 0,
            handed_out_early: false,
            continued,
            beginning_hidden,
            lost_before: lost.before(began.boot_ns),
        }
    }

    /// Takes the request. The first stays: a request is asked once.
    pub(super) fn request(&mut self, request: Request) {
        match &self.chain.request {
            Some(first) => self.repeats += u64::from(*first != request),
            None => self.chain.request = Some(request),
        }
    }

    /// Takes the result. The first stays: a request ends once.
    pub(super) fn result(&mut self, result: Outcome) {
        match &self.chain.result {
            Some(first) => self.repeats += u64::from(*first != result),
            None => self.chain.result = Some(result),
        }
    }

    /// Adds a chain that has ended, in order of beginning.
    pub(super) fn add_nested(&mut self, chain: Chain) {
        let nested = &mut self.chain.nested;
        let at = nested.partition_point(|other| (other.boot_ns, other.key) <= (chain.boot_ns, chain.key));
        nested.insert(at, chain);
    }

    /// The chain, with all that is missing in words.
    pub(super) fn into_chain(self, lost: &Lost) -> Chain {
        let notes = self.notes(lost);
        Chain { incomplete: notes, ..self.chain }
    }

    fn notes(&self, lost: &Lost) -> Vec<String> {
        let chain = &self.chain;
        let mut notes = Vec::new();
        match chain.key {
            ChainKey::Request(_) if chain.request.is_some() => {}
            ChainKey::Request(_) if self.continued => {
                notes.push("its first part was handed out before this one".to_owned());
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
        if self.repeats > 0 {
            notes.push("the stream has another request or result of the same id: the first is shown".to_owned());
        }
        notes.extend(lost.since(&self.lost_before));
        if self.handed_out_early {
            notes.push("too many chains were open: it was handed out before its end".to_owned());
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
