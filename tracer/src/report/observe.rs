//! Chains to observations: one for each module that arrived, and one for a request that loaded no module of its own.

use std::collections::HashSet;

use super::{
    aggregates::{GroupKey, Kind, Observation, RequesterIds, Subject},
    interner::{Interner, NameId},
    requester::Requester,
};
use crate::{
    chain::{Chain, ChainKey},
    event::{Attempt, Body, Event, Process, Reason, Status, Text},
};

/// errno of a load that failed because the module is already loaded.
const EEXIST: i32 = 17;

/// Passes the observations of a chain and of its nested chains to `emit`.
pub(super) fn of_chain(root: &Chain, host: NameId, names: &mut Interner, emit: &mut dyn FnMut(&Chain, Observation)) {
    let requester = RequesterIds::new(&Requester::of(root), names);
    walk(root, &mut Context { requester, host, names, emit }, true);
}

struct Context<'a> {
    requester: RequesterIds,
    host: NameId,
    names: &'a mut Interner,
    emit: &'a mut dyn FnMut(&Chain, Observation),
}

fn walk(link: &Chain, context: &mut Context<'_>, is_root: bool) {
    let mut end = EndedChain {
        time_ns: nanoseconds(link.time),
        requester: context.requester,
        host: context.host,
        alias: link.request.as_ref().map(|request| context.names.id(request.name.as_bytes())),
        is_request: matches!(link.key, ChainKey::Request(_)),
        status: link.result.as_ref().map_or(Status::Unknown, |result| result.status),
        blocked_ns: link.result.as_ref().and_then(|result| result.duration_ns).filter(|_| is_root),
        modules: Vec::new(),
        attempts: Vec::new(),
    };
    for module in &link.modules {
        end.modules.push(ArrivedModule {
            name: context.names.id(module.load.module.as_bytes()),
            status: init_status(module.init.as_ref().map(|init| init.ret)),
            reason: module.load.reason,
        });
    }
    for attempt in &link.attempts {
        end.attempts.extend(failed_load(attempt, context.names));
    }
    end.observations(&mut |observation| (context.emit)(link, observation));
    link.nested.iter().for_each(|nested| walk(nested, context, false));
}

fn failed_load(attempt: &Attempt, names: &mut Interner) -> Option<FailedLoad> {
    let module = attempt.module.as_ref().map(Text::as_bytes);
    let file = attempt.file.as_ref().map(Text::as_bytes);
    FailedLoad::new(attempt.syscall.as_bytes(), attempt.ret, module, file, names)
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds(time: jiff::Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// A successful or failed unload.
pub(super) struct Unloading<'a> {
    /// The module; `None` if its name was not seen.
    pub(super) module: Option<&'a Text>,
    /// The process that unloads it.
    pub(super) process: &'a Process,
    /// The result in one word.
    pub(super) result: &'static str,
}

impl<'a> Unloading<'a> {
    /// `None` for all other events, and for a module whose init failed, since it was never live.
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

/// The status of a load by the return value of its init; unknown if the init was not seen.
pub(super) const fn init_status(ret: Option<i32>) -> Status {
    match ret {
        Some(..0) => Status::Failed,
        Some(0..) => Status::Loaded,
        None => Status::Unknown,
    }
}

/// A module that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrivedModule {
    pub(super) name: NameId,
    pub(super) status: Status,
    pub(super) reason: Option<Reason>,
}

/// A system call that failed to load a module.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailedLoad {
    name: NameId,
    status: Status,
}

impl FailedLoad {
    /// `None` for system calls other than loads.
    pub(super) fn new(
        syscall: &[u8],
        ret: i32,
        module: Option<&[u8]>,
        file: Option<&[u8]>,
        names: &mut Interner,
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

/// The module name of a file: `dm_crypt` for `/lib/modules/6.1/dm-crypt.ko.xz`.
fn module_of_file(file: &[u8]) -> Vec<u8> {
    let base = file.rsplit(|byte| *byte == b'/').next().unwrap_or(file);
    let end = base.windows(3).position(|part| part == b".ko").unwrap_or(base.len());
    base.iter().take(end).map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect()
}

/// A request or explicit load that has ended.
#[derive(Clone, Debug)]
pub(super) struct EndedChain {
    pub(super) time_ns: i64,
    pub(super) requester: RequesterIds,
    pub(super) host: NameId,
    pub(super) alias: Option<NameId>,
    pub(super) is_request: bool,
    pub(super) status: Status,
    pub(super) blocked_ns: Option<u64>,
    pub(super) modules: Vec<ArrivedModule>,
    pub(super) attempts: Vec<FailedLoad>,
}

impl EndedChain {
    /// Emits the observations.
    ///
    /// The time that the requester was blocked is attributed once, to the requested module and not to its dependencies.
    pub(super) fn observations(&self, emit: &mut dyn FnMut(Observation)) {
        let main = if self.status == Status::Loaded { self.main() } else { None };
        let alias = self.alias.filter(|_| main.is_none());
        // A request whose own event was lost still counts as a request.
        let of_request = main.or_else(|| alias.is_none().then_some(0)).filter(|_| self.is_request);
        for (index, module) in self.modules.iter().enumerate() {
            let blocked_ns = self.blocked_ns.filter(|_| self.is_request && main == Some(index));
            let observation = self.observation(Kind::Module, module.name, module.status);
            emit(Observation { is_request: of_request == Some(index), blocked_ns, ..observation });
        }
        if let Some(alias) = alias {
            let observation = self.observation(Kind::Alias, alias, self.status);
            emit(Observation { is_request: self.is_request, blocked_ns: self.blocked_ns, ..observation });
        }
        if !self.is_request && !self.attempts.is_empty() {
            let arrived: HashSet<NameId> = self.modules.iter().map(|module| module.name).collect();
            for failed_load in self.attempts.iter().filter(|failed_load| !arrived.contains(&failed_load.name)) {
                emit(self.observation(Kind::Module, failed_load.name, failed_load.status));
            }
        }
    }

    /// The requested module: it arrives after its dependencies.
    fn main(&self) -> Option<usize> {
        let is = |wanted: &[Option<Reason>]| self.modules.iter().rposition(|module| wanted.contains(&module.reason));
        is(&[Some(Reason::Asked), Some(Reason::Alias)]).or_else(|| is(&[None])).or(self.modules.len().checked_sub(1))
    }

    fn observation(&self, kind: Kind, name: NameId, status: Status) -> Observation {
        let key = GroupKey { subject: Subject { kind, name }, requester: self.requester, host: self.host };
        Observation { key, time_ns: self.time_ns, status, is_request: false, blocked_ns: None }
    }
}

#[cfg(test)]
mod tests {
    use super::{Interner, Status, of_chain};
    use crate::{
        chain::{Item, samples},
        report::aggregates::{Kind, Observation},
        report::interner::NameId,
    };

    fn observations(item: &Item) -> Vec<Observation> {
        let Item::Chain(chain) = item else { unreachable!("it is a chain") };
        let mut found = Vec::new();
        of_chain(chain, NameId::NONE, &mut Interner::default(), &mut |_, observation| found.push(observation));
        found
    }

    /// A module whose init was not seen has the status unknown, and one whose init failed has the status failed.
    #[test]
    fn module_without_init_is_unknown() {
        let Item::Chain(mut chain) = samples::outage() else { unreachable!("it is a chain") };
        for (ret, status) in [(Some(0), Status::Loaded), (Some(-12), Status::Failed), (None, Status::Unknown)] {
            match ret {
                Some(ret) => chain.modules[0].init.as_mut().unwrap().ret = ret,
                None => chain.modules[0].init = None,
            }
            assert_eq!(observations(&Item::Chain(chain.clone()))[0].status, status, "{ret:?}");
        }
    }

    /// A request counts once regardless of the number of its modules; an explicit load counts as no request.
    #[test]
    fn request_with_many_modules_counts_once() {
        for (item, requests) in
            [(samples::outage(), 1), (samples::not_found(), 1), (samples::nested(), 3), (samples::by_hand(), 0)]
        {
            let found = observations(&item);
            assert_eq!(found.iter().filter(|observation| observation.is_request).count(), requests, "{found:?}");
        }
        assert_eq!(
            observations(&samples::outage())
                .iter()
                .filter(|observation| observation.key.subject.kind == Kind::Module)
                .count(),
            3
        );
    }
}
