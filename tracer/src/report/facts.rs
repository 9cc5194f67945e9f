//! A chain as facts: each module that it brought, and what was asked for where that brought none.

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
            has_failed: module.init.as_ref().is_some_and(|init| init.ret < 0),
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

/// A module that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) name: NameId,
    pub(super) has_failed: bool,
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
        for (index, module) in self.modules.iter().enumerate() {
            let status = if module.has_failed { Status::Failed } else { Status::Loaded };
            let blocked_ns = self.blocked_ns.filter(|_| self.is_request && main == Some(index));
            self.fact(Kind::Module, module.name, status, blocked_ns, take);
        }
        if let Some(alias) = self.alias.filter(|_| main.is_none()) {
            self.fact(Kind::Alias, alias, self.status, self.blocked_ns, take);
        }
        if !self.is_request {
            for tried in &self.attempts {
                if !self.modules.iter().any(|module| module.name == tried.name) {
                    self.fact(Kind::Module, tried.name, tried.status, None, take);
                }
            }
        }
    }

    /// The module that was asked for: dependencies come before it.
    fn main(&self) -> Option<usize> {
        let is = |wanted: &[Option<Reason>]| self.modules.iter().rposition(|module| wanted.contains(&module.reason));
        is(&[Some(Reason::Asked), Some(Reason::Alias)]).or_else(|| is(&[None])).or(self.modules.len().checked_sub(1))
    }

    fn fact(&self, kind: Kind, name: NameId, status: Status, blocked_ns: Option<u64>, take: &mut dyn FnMut(Fact)) {
        let key = CellKey { what: What { kind, name }, who: self.who, host: self.host };
        take(Fact { key, time_ns: self.time_ns, status, blocked_ns });
    }
}
