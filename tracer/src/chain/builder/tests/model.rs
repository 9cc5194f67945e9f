//! What must come out of a whole telling, worked out from the plot instead of from ids.

use super::history::{Parent, Telling, Told};
use crate::{
    chain::{Chain, Module, Part},
    event::{Body, Load},
};

/// A telling seen from its end.
pub(super) struct Model<'a> {
    pub(super) telling: &'a Telling,
    /// Per tag, the positions of its events.
    positions: Vec<Vec<usize>>,
}

impl<'a> Model<'a> {
    pub(super) fn new(telling: &'a Telling) -> Self {
        let mut positions = vec![Vec::new(); telling.plots.len()];
        for (at, told) in telling.told.iter().enumerate() {
            if let Some(positions) = positions.get_mut(told.tag) {
                positions.push(at);
            }
        }
        Self { telling, positions }
    }

    pub(super) fn first(&self, tag: usize) -> usize {
        self.positions[tag][0]
    }

    fn last(&self, tag: usize) -> usize {
        *self.positions[tag].last().expect("it was told")
    }

    /// The tag under which a chain hangs, and where that is over.
    fn home(&self, tag: usize) -> Option<usize> {
        match self.telling.plots[tag].parent {
            Parent::None => None,
            Parent::Chain(parent) => (self.first(tag) < self.over(parent, Some(tag))).then_some(parent),
            Parent::Process(process) => (0..self.telling.plots.len()).find(|other| {
                self.telling.plots[*other].loader == Some(process)
                    && self.first(*other) < self.first(tag)
                    && self.first(tag) < self.last(*other)
            }),
        }
    }

    /// Where a chain and all that hangs under it is over; looking at children older than `before` only.
    fn over(&self, tag: usize, before: Option<usize>) -> usize {
        let mut children: Vec<usize> =
            (0..self.telling.plots.len()).filter(|child| self.may_hang(*child, tag)).collect();
        children.sort_by_key(|child| self.first(*child));
        let mut over = self.last(tag);
        for child in children {
            if before.is_some_and(|before| self.first(child) >= self.first(before)) {
                break;
            }
            let by_process = self.telling.plots[tag].loader.is_some();
            if by_process || self.first(child) < over {
                over = over.max(self.over(child, None));
            }
        }
        over
    }

    fn may_hang(&self, child: usize, tag: usize) -> bool {
        match self.telling.plots[child].parent {
            Parent::None => false,
            Parent::Chain(parent) => parent == tag,
            Parent::Process(_) => self.home(child) == Some(tag),
        }
    }

    /// The position at which a chain comes out, for those that come out by themselves.
    pub(super) fn comes_out(&self, tag: usize) -> Option<usize> {
        self.home(tag).is_none().then(|| self.over(tag, None))
    }

    pub(super) fn children(&self, tag: usize) -> Vec<usize> {
        let mut children: Vec<usize> =
            (0..self.telling.plots.len()).filter(|child| self.home(*child) == Some(tag)).collect();
        children.sort_by_key(|child| self.first(*child));
        children
    }

    /// The chain of a tag.
    pub(super) fn chain(&self, tag: usize) -> Chain {
        let first = &self.telling.told[self.first(tag)].event;
        let mut chain = Chain {
            key: self.telling.key(tag),
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
            let Told { event, .. } = &self.telling.told[*at];
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

/// What a load is known by.
pub(super) fn mark(load: &Load) -> u64 {
    load.file.as_ref().and_then(|file| file.field().parse().ok()).expect("every load has a mark")
}
