//! The expected chains of a complete history, derived from the plans instead of from ids.

use super::history::{History, Parent, TaggedEvent};
use crate::{
    chain::{Chain, Module, Part},
    event::{Body, Load},
};

/// The model of a complete history.
pub(super) struct Model<'a> {
    pub(super) history: &'a History,
    /// The positions of the events of each tag.
    positions: Vec<Vec<usize>>,
}

impl<'a> Model<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        let mut positions = vec![Vec::new(); history.plans.len()];
        for (at, tagged) in history.events.iter().enumerate() {
            if let Some(positions) = positions.get_mut(tagged.tag) {
                positions.push(at);
            }
        }
        Self { history, positions }
    }

    pub(super) fn first(&self, tag: usize) -> usize {
        self.positions[tag][0]
    }

    fn last(&self, tag: usize) -> usize {
        *self.positions[tag].last().expect("it has an event")
    }

    /// The parent's tag, and the position where the parent ends.
    fn home(&self, tag: usize) -> Option<usize> {
        match self.history.plans[tag].parent {
            Parent::None => None,
            Parent::Chain(parent) => (self.first(tag) < self.over(parent, Some(tag))).then_some(parent),
            Parent::Process(process) => (0..self.history.plans.len()).find(|other| {
                self.history.plans[*other].loader == Some(process)
                    && self.first(*other) < self.first(tag)
                    && self.first(tag) < self.last(*other)
            }),
        }
    }

    /// The position where a chain and its nested chains end; considers only children older than `before`.
    fn over(&self, tag: usize, before: Option<usize>) -> usize {
        let mut children: Vec<usize> =
            (0..self.history.plans.len()).filter(|child| self.may_nest(*child, tag)).collect();
        children.sort_by_key(|child| self.first(*child));
        let mut over = self.last(tag);
        for child in children {
            if before.is_some_and(|before| self.first(child) >= self.first(before)) {
                break;
            }
            let by_process = self.history.plans[tag].loader.is_some();
            if by_process || self.first(child) < over {
                over = over.max(self.over(child, None));
            }
        }
        over
    }

    fn may_nest(&self, child: usize, tag: usize) -> bool {
        match self.history.plans[child].parent {
            Parent::None => false,
            Parent::Chain(parent) => parent == tag,
            Parent::Process(_) => self.home(child) == Some(tag),
        }
    }

    /// The position at which a chain is emitted, for root chains.
    pub(super) fn comes_out(&self, tag: usize) -> Option<usize> {
        self.home(tag).is_none().then(|| self.over(tag, None))
    }

    pub(super) fn children(&self, tag: usize) -> Vec<usize> {
        let mut children: Vec<usize> =
            (0..self.history.plans.len()).filter(|child| self.home(*child) == Some(tag)).collect();
        children.sort_by_key(|child| self.first(*child));
        children
    }

    /// The chain of a tag.
    pub(super) fn chain(&self, tag: usize) -> Chain {
        let first = &self.history.events[self.first(tag)].event;
        let mut chain = Chain {
            key: self.history.key(tag),
            time: first.time,
            boot_ns: first.boot_ns,
            part: Part::Whole,
            request: None,
            helper: None,
            modules: Vec::new(),
            attempts: Vec::new(),
            result: None,
            nested: self.children(tag).into_iter().map(|child| self.chain(child)).collect(),
            incomplete: Vec::new(),
        };
        for at in &self.positions[tag] {
            let TaggedEvent { event, .. } = &self.history.events[*at];
            match event.body.clone() {
                Body::Request(body) => chain.request = Some(*body),
                Body::Helper(body) => chain.helper = Some(body),
                Body::Load(load) => chain.modules.push(Module { load: *load, boot_ns: event.boot_ns, init: None }),
                Body::Init(init) => {
                    let module = chain.modules.iter_mut().find(|module| mark(&module.load) == init.duration_ns);
                    module.expect("it was loaded").init = Some(init);
                }
                Body::Attempt(attempt) => chain.attempts.push(*attempt),
                Body::Result(result) => chain.result = Some(result),
                other => panic!("{other:?} belongs to no chain"),
            }
        }
        chain
    }
}

/// The identification of a load.
pub(super) fn mark(load: &Load) -> u64 {
    load.file.as_ref().and_then(|file| file.field().parse().ok()).expect("every load has a mark")
}
