//! A chain as facts: each module that it brought, and what was asked for where that brought none.

use std::collections::HashSet;

use super::{
    cells::{CellKey, Fact, Kind, What, WhoIds},
    names::{NameId, Names},
    who::Who,
};
use crate::{
    chain::{Chain, ChainKey},
    event::{Attempt, Body, Event, Process, Reason, Status, Text},
};

/// A failed load: errno of a module that is there already.
const EEXIST: i32 = 17;

/// Hands the facts of a chain, and of all that is nested in it, to `take`.
pub(super) fn of_chain(root: &Chain, host: NameId, names: &mut Names, take: &mut dyn FnMut(&Chain, Fact)) {
    let who = WhoIds::new(&Who::of(root), names);
    walk(root, &mut Context { who, host, names, take }, true);
}

struct Context<'a> {
    who: WhoIds,
    host: NameId,
    names: &'a mut Names,
    take: &'a mut dyn FnMut(&Chain, Fact),
}

fn walk(link: &Chain, context: &mut Context<'_>, is_root: bool) {
    let mut end = End {
        time_ns: nanoseconds(link.time),
        who: context.who,
        host: context.host,
        alias: link.request.as_ref().map(|request| context.names.id(request.name.as_bytes())),
        is_request: matches!(link.key, ChainKey::Request(_)),
        status: link.result.as_ref().map_or(Status::Unknown, |result| result.status),
        blocked_ns: link.result.as_ref().and_then(|result| result.duration_ns).filter(|_| is_root),
        modules: Vec::new(),
        attempts: Vec::new(),
    };
    for module in &link.modules {
        end.modules.push(Arrived {
            name: context.names.id(module.load.module.as_bytes()),
            status: init_status(module.init.as_ref().map(|init| init.ret)),
            reason: module.load.reason,
        });
    }
    for attempt in &link.attempts {
        end.attempts.extend(tried(attempt, context.names));
    }
    end.facts(&mut |fact| (context.take)(link, fact));
    link.nested.iter().for_each(|nested| walk(nested, context, false));
}

fn tried(attempt: &Attempt, names: &mut Names) -> Option<Tried> {
    let module = attempt.module.as_ref().map(Text::as_bytes);
    let file = attempt.file.as_ref().map(Text::as_bytes);
    Tried::new(attempt.syscall.as_bytes(), attempt.ret, module, file, names)
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds(time: jiff::Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// What an event tells of a module that left, or that somebody failed to unload.
pub(super) struct Unloading<'a> {
    /// The module; `None` where its name was not seen.
    pub(super) module: Option<&'a Text>,
    /// Who unloads it.
    pub(super) process: &'a Process,
    /// How that ended, in a word.
    pub(super) result: &'static str,
}

impl<'a> Unloading<'a> {
    /// `None` for all other events, and for a module whose init failed: that one never lived.
    pub(super) fn of(event: &'a Event) -> Option<Self> {
        match &event.body {
            Body::Unload(unload) if !unload.init_failed => {
                Some(Self { module: Some(&unload.module), process: &unload.process, result: "unloaded" })
            }
            Body::Attempt(failed) => {
                Some(Self { module: failed.module.as_ref(), process: &failed.process, result: Status::Failed.name() })
            }
            _ => None,
        }
    }
}

/// How a load ended, by what its init returned: one whose init was not seen is not known to be loaded.
pub(super) const fn init_status(ret: Option<i32>) -> Status {
    match ret {
        Some(..0) => Status::Failed,
        Some(0..) => Status::Loaded,
        None => Status::Unknown,
    }
}

/// A module that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) name: NameId,
    pub(super) status: Status,
    pub(super) reason: Option<Reason>,
}

/// A system call that failed to load something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried {
    name: NameId,
    status: Status,
}

impl Tried {
    /// `None` for what is no load.
    pub(super) fn new(
        syscall: &[u8],
        ret: i32,
        module: Option<&[u8]>,
        file: Option<&[u8]>,
        names: &mut Names,
    ) -> Option<Self> {
        if syscall == b"delete_module" {
            return None;
        }
        let status = if ret == -EEXIST { Status::AlreadyLoaded } else { Status::Failed };
        let name = match (module, file) {
            (Some(module), _) => names.id(module),
            (None, Some(file)) => names.id(&module_of_file(file)),
            (None, None) => NameId::NONE,
        };
        Some(Self { name, status })
    }
}

/// The name of the module in a file: `dm_crypt` of `/lib/modules/6.1/dm-crypt.ko.xz`.
fn module_of_file(file: &[u8]) -> Vec<u8> {
    let base = file.rsplit(|byte| *byte == b'/').next().unwrap_or(file);
    let end = base.windows(3).position(|part| part == b".ko").unwrap_or(base.len());
    base.iter().take(end).map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect()
}

/// What is known of a request or loader when it has ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) time_ns: i64,
    pub(super) who: WhoIds,
    pub(super) host: NameId,
    pub(super) alias: Option<NameId>,
    pub(super) is_request: bool,
    pub(super) status: Status,
    pub(super) blocked_ns: Option<u64>,
    pub(super) modules: Vec<Arrived>,
    pub(super) attempts: Vec<Tried>,
}

impl End {
    /// Hands out the facts.
    ///
    /// The time a requester was blocked counts for what was asked for, once: not for each of its dependencies.
    pub(super) fn facts(&self, take: &mut dyn FnMut(Fact)) {
        let main = if self.status == Status::Loaded { self.main() } else { None };
        let alias = self.alias.filter(|_| main.is_none());
        // A request whose own event was lost still is one.
        let of_request = main.or_else(|| alias.is_none().then_some(0)).filter(|_| self.is_request);
        for (index, module) in self.modules.iter().enumerate() {
            let blocked_ns = self.blocked_ns.filter(|_| self.is_request && main == Some(index));
            let fact = self.fact(Kind::Module, module.name, module.status);
            take(Fact { is_request: of_request == Some(index), blocked_ns, ..fact });
        }
        if let Some(alias) = alias {
            let fact = self.fact(Kind::Alias, alias, self.status);
            take(Fact { is_request: self.is_request, blocked_ns: self.blocked_ns, ..fact });
        }
        if !self.is_request && !self.attempts.is_empty() {
            let arrived: HashSet<NameId> = self.modules.iter().map(|module| module.name).collect();
            for tried in self.attempts.iter().filter(|tried| !arrived.contains(&tried.name)) {
                take(self.fact(Kind::Module, tried.name, tried.status));
            }
        }
    }

    /// The module that was asked for: dependencies come before it.
    fn main(&self) -> Option<usize> {
        let is = |wanted: &[Option<Reason>]| self.modules.iter().rposition(|module| wanted.contains(&module.reason));
        is(&[Some(Reason::Asked), Some(Reason::Alias)]).or_else(|| is(&[None])).or(self.modules.len().checked_sub(1))
    }

    fn fact(&self, kind: Kind, name: NameId, status: Status) -> Fact {
        let key = CellKey { what: What { kind, name }, who: self.who, host: self.host };
        Fact { key, time_ns: self.time_ns, status, is_request: false, blocked_ns: None }
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, Status, of_chain};
    use crate::{
        chain::{Item, samples},
        report::cells::{Fact, Kind},
        report::names::NameId,
    };

    fn facts(item: &Item) -> Vec<Fact> {
        let Item::Chain(chain) = item else { unreachable!("it is a chain") };
        let mut found = Vec::new();
        of_chain(chain, NameId::NONE, &mut Names::default(), &mut |_, fact| found.push(fact));
        found
    }

    /// Check that a module whose init was not seen is not said to be loaded, and that one whose init failed has failed.
    #[test]
    fn a_module_whose_init_was_not_seen_is_unknown() {
        let Item::Chain(mut chain) = samples::outage() else { unreachable!("it is a chain") };
        for (ret, status) in [(Some(0), Status::Loaded), (Some(-12), Status::Failed), (None, Status::Unknown)] {
            match ret {
                Some(ret) => chain.modules[0].init.as_mut().unwrap().ret = ret,
                None => chain.modules[0].init = None,
            }
            assert_eq!(facts(&Item::Chain(chain.clone()))[0].status, status, "{ret:?}");
        }
    }

    /// Check that a request is one, however many modules it brings, and that a load without one is none.
    #[test]
    fn a_request_counts_once() {
        for (item, requests) in
            [(samples::outage(), 1), (samples::not_found(), 1), (samples::nested(), 3), (samples::by_hand(), 0)]
        {
            let found = facts(&item);
            assert_eq!(found.iter().filter(|fact| fact.is_request).count(), requests, "{found:?}");
        }
        assert_eq!(facts(&samples::outage()).iter().filter(|fact| fact.key.what.kind == Kind::Module).count(), 3);
    }
}
