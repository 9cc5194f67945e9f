//! The field values of a chain, of a part of one, or of an unload or failed unload.

use super::{Field, NO_LOGIN, Seen};
use crate::{
    chain::{Cause, Chain, ChainKey, Module, is_kmod_tool},
    event::{Ancestor, Attempt, Load, Origin, Process, Status, Text, Unload},
    modules::families::{self, Membership},
};

/// A subject of selection. Nested chains are attributed to the root's requester.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Subject<'a> {
    /// A chain with its nested chains.
    Chain(&'a Chain),
    /// One request or loader of a chain, without its modules and nested chains.
    Link {
        /// Its chain.
        root: &'a Chain,
        /// The request or loader.
        link: &'a Chain,
    },
    /// One module of a chain.
    Module {
        /// Its chain.
        root: &'a Chain,
        /// The request or loader that loaded it.
        link: &'a Chain,
        /// The module.
        module: &'a Module,
    },
    /// An unloaded module.
    Unload(&'a Unload),
    /// A module that failed to unload.
    FailedUnload(&'a Attempt),
}

/// The process to which a subject is attributed.
struct Actor<'a> {
    process: Option<(&'a Process, Ancestry<'a>)>,
    cause: Cause<'a>,
}

/// The ancestors of a process.
#[derive(Clone, Copy)]
struct Ancestry<'a> {
    ancestors: &'a [Ancestor],
    /// The list is truncated.
    is_truncated: bool,
}

impl<'a> Ancestry<'a> {
    /// Ancestors in an event without a flag for truncation: complete if they end at a process without a parent.
    fn of_event(ancestors: &'a [Ancestor]) -> Self {
        Self { ancestors, is_truncated: ancestors.last().is_none_or(|last| last.pid > FIRST_PIDS) }
    }

    fn of_load(load: &'a Load) -> Self {
        Self { ancestors: &load.ancestors, is_truncated: load.ancestors_truncated }
    }
}

/// init and kthreadd have no parent.
const FIRST_PIDS: u32 = 2;

impl<'a> Subject<'a> {
    /// A complete chain.
    #[must_use]
    pub const fn chain(chain: &'a Chain) -> Self {
        Self::Chain(chain)
    }

    /// An unload.
    #[must_use]
    pub const fn unload(unload: &'a Unload) -> Self {
        Self::Unload(unload)
    }

    /// A failed unload.
    #[must_use]
    pub const fn failed_unload(attempt: &'a Attempt) -> Self {
        Self::FailedUnload(attempt)
    }

    /// Calls `take` with each value of a field, as far as it was seen. Returns whether there may be unseen values: then it
    /// is unknown whether the field has one.
    pub fn values(&self, field: Field, take: &mut dyn FnMut(Seen<'_>)) -> bool {
        let mut is_open = false;
        match field {
            Field::Module => return self.modules(take),
            Field::Alias => self.links(&mut |link| match &link.request {
                Some(request) if !request.name.is_empty() => take(Seen::alias(request.name.as_bytes())),
                _ => is_open |= is_request(link),
            }),
            Field::Family => self.links(&mut |link| {
                match link.request.as_ref().filter(|request| !request.name.is_empty()) {
                    // The missing part of a name may determine its family.
                    Some(request) if !Seen::alias(request.name.as_bytes()).is_complete() => is_open = true,
                    Some(request) => match families::membership(&request.name, &request.stack) {
                        Membership::Of(family) => take(complete(family.name)),
                        Membership::None => {}
                        Membership::Unknown => is_open = true,
                    },
                    None => is_open |= is_request(link),
                }
            }),
            Field::Result => self.links(&mut |link| {
                let status = link.result.as_ref().map_or(Status::Unknown, |result| result.status);
                is_open |= status == Status::Unknown;
                take(complete(status.name()));
            }),
            Field::Origin => return self.origins(take),
            _ => return self.actor().values(field, take),
        }
        is_open
    }

    /// All requests and loaders of the subject.
    fn links(&self, visit: &mut dyn FnMut(&'a Chain)) {
        match self {
            Self::Chain(chain) => walk(chain, visit),
            Self::Link { link, .. } | Self::Module { link, .. } => visit(link),
            Self::Unload(_) | Self::FailedUnload(_) => {}
        }
    }

    fn modules(&self, take: &mut dyn FnMut(Seen<'_>)) -> bool {
        let mut is_open = false;
        let mut one = |module: Option<&Text>| match module.filter(|module| !module.is_empty()) {
            Some(module) => take(Seen::complete(module.as_bytes())),
            None => is_open = true,
        };
        match self {
            Self::Chain(chain) => walk(chain, &mut |link| {
                link.modules.iter().for_each(|module| one(Some(&module.load.module)));
                link.attempts.iter().for_each(|attempt| one(attempt.module.as_ref()));
            }),
            Self::Link { .. } => {}
            Self::Module { module, .. } => one(Some(&module.load.module)),
            Self::Unload(unload) => one(Some(&unload.module)),
            Self::FailedUnload(attempt) => one(attempt.module.as_ref()),
        }
        is_open
    }

    fn origins(&self, take: &mut dyn FnMut(Seen<'_>)) -> bool {
        let mut is_open = false;
        let mut one = |origin: Origin| {
            is_open |= origin == Origin::Unknown;
            take(complete(origin.name()));
        };
        match self {
            Self::Unload(_) => one(Origin::Explicit),
            Self::FailedUnload(attempt) => one(attempt.origin),
            _ => {}
        }
        self.links(&mut |link| {
            let loaded = link.modules.first().map(|module| module.load.origin);
            let tried = link.attempts.first().map(|attempt| attempt.origin);
            let asked = link.request.as_ref().map(|_| Origin::Request);
            one(asked.or(loaded).or(tried).unwrap_or(Origin::Unknown));
        });
        is_open
    }

    fn actor(&self) -> Actor<'a> {
        match self {
            // A process may execute another program between two loads: each load has the values of its time.
            Self::Module { root, link, module } if root.request.is_none() && root.key == link.key => {
                let load = root.load_behind(module);
                Actor { process: Some((&load.process, Ancestry::of_load(load))), cause: Cause::of_load(load) }
            }
            Self::Chain(root) | Self::Link { root, .. } | Self::Module { root, .. } => {
                let asked = root.request.as_ref().map(|request| {
                    let ancestry =
                        Ancestry { ancestors: &request.ancestors, is_truncated: request.ancestors_truncated };
                    (&request.process, ancestry)
                });
                let loaded = root.modules.first().map(|module| (&module.load.process, Ancestry::of_load(&module.load)));
                let tried =
                    root.attempts.first().map(|attempt| (&attempt.process, Ancestry::of_event(&attempt.ancestors)));
                Actor { process: asked.or(loaded).or(tried), cause: Cause::of(root) }
            }
            Self::Unload(unload) => Actor {
                process: Some((&unload.process, Ancestry::of_event(&unload.ancestors))),
                cause: Cause::of_process(&unload.process, &unload.ancestors),
            },
            Self::FailedUnload(attempt) => Actor {
                process: Some((&attempt.process, Ancestry::of_event(&attempt.ancestors))),
                cause: Cause::of_attempt(attempt),
            },
        }
    }
}

impl<'a> Actor<'a> {
    fn values(&self, field: Field, take: &mut dyn FnMut(Seen<'_>)) -> bool {
        let by = match self.cause {
            Cause::Ran { by, .. } => Some(by),
            Cause::Undetermined { by, .. } => by,
            _ => None,
        };
        let behalf = match self.cause {
            Cause::Through { behalf, .. } => Some(behalf),
            _ => None,
        };
        let Some((process, ancestry)) = self.process else { return true };
        // Of the creator of a kernel thread only name and id are known, and of the process for which a helper acts
        // nothing.
        let is_another = behalf.is_some() || self.cause.is_unknown();
        match field {
            Field::Comm => {
                let names = [Some(&process.comm), by.map(|by| &by.comm), behalf.map(|behalf| &behalf.comm)];
                // A thread has no other name than its process, or is known by both.
                let threads = [&process.thread_comm, behalf.map_or(&None, |behalf| &behalf.thread_comm)];
                for thread in threads.into_iter().flatten().filter(|thread| !thread.is_empty()) {
                    take(Seen::complete(thread.as_bytes()));
                }
                let mut is_empty = false;
                for name in names.into_iter().flatten() {
                    is_empty |= name.is_empty();
                    take(Seen::complete(name.as_bytes()));
                }
                is_empty || self.is_hidden(process, ancestry)
            }
            Field::Exe => {
                let own = process.exe.as_ref().filter(|exe| !exe.is_empty());
                own.into_iter().for_each(|exe| take(Seen::path(exe.as_bytes(), process.exe_truncated)));
                let parent_exe = by.and_then(|by| by.exe.as_ref()).filter(|exe| !exe.is_empty());
                parent_exe.into_iter().for_each(|exe| take(Seen::ancestor_exe(exe.as_bytes())));
                let lacks_own = own.is_none() && !process.kthread;
                let lacks_parent = by.is_some() && parent_exe.is_none();
                lacks_own || lacks_parent || is_another || self.is_hidden(process, ancestry)
            }
            Field::Pid => {
                let own = [process.pid, process.tid].into_iter();
                let behalf = behalf.into_iter().flat_map(|behalf| [behalf.pid, behalf.tid]);
                let ancestors = ancestry.ancestors.iter().map(|ancestor| ancestor.pid);
                own.chain(behalf).chain(ancestors).for_each(|pid| take(complete(&pid.to_string())));
                ancestry.is_truncated || is_another
            }
            Field::Uid => {
                take(complete(&process.uid.to_string()));
                // The process that started a kmod tool may have another user.
                let other = by.map(|by| by.uid).filter(|uid| *uid != process.uid);
                other.into_iter().for_each(|uid| take(complete(&uid.to_string())));
                let user = process.user.as_ref().filter(|user| !user.is_empty());
                user.into_iter().for_each(|user| take(Seen::complete(user.as_bytes())));
                user.is_none() || other.is_some() || is_another
            }
            Field::Login => is_another || login(process, take),
            Field::Cgroup => {
                let cgroup = process.cgroup.as_ref().filter(|path| !path.is_empty());
                cgroup.into_iter().for_each(|path| take(Seen::path(path.as_bytes(), false)));
                cgroup.is_none() || is_another
            }
            Field::Container => placed(process, process.container.as_deref(), take) || is_another,
            Field::Unit => placed(process, process.unit.as_deref(), take) || is_unit_hidden(process) || is_another,
            Field::Module | Field::Alias | Field::Family | Field::Result | Field::Origin => false,
        }
    }

    /// Whether the subject may be attributed to an unseen process: the process that started a kmod tool may be above the
    /// known ancestors, and a process with another name may be a kmod tool by its executable, if that was not seen.
    fn is_hidden(&self, process: &Process, ancestry: Ancestry<'_>) -> bool {
        let is_tool = |comm: &Text, exe: Option<&Text>| is_kmod_tool(comm.as_bytes(), exe.map(Text::as_bytes));
        let is_unseen = |exe: Option<&Text>| exe.is_none_or(Text::is_empty);
        match self.cause {
            Cause::Process(_) if process.kthread => false,
            Cause::Process(_) if is_tool(&process.comm, process.exe.as_ref()) => {
                ancestry.is_truncated || process.parent_changed
            }
            Cause::Process(_) => {
                is_unseen(process.exe.as_ref()) && (ancestry.is_truncated || !ancestry.ancestors.is_empty())
            }
            Cause::Ran { by, .. } => is_unseen(by.exe.as_ref()),
            Cause::Through { behalf, .. } => is_tool(&behalf.comm, None),
            Cause::Kernel(_) | Cause::Undetermined { .. } | Cause::Unseen => true,
        }
    }
}

/// Passes the login of a process to `take`; returns whether it was not seen. A process that runs a tool of kmod has the same
/// login as the tool, since only programs that log users in change it.
fn login(process: &Process, take: &mut dyn FnMut(Seen<'_>)) -> bool {
    match process.loginuid {
        Some(loginuid) => {
            take(complete(&loginuid.to_string()));
            let user = process.login_user.as_ref().map(Text::as_bytes).filter(|user| !user.is_empty());
            match user {
                // A user with this name is known by the number only.
                Some(user) if user == NO_LOGIN.as_bytes() => {}
                Some(user) => take(Seen::complete(user)),
                None => take(Seen { text: b"", lacks_front: true, lacks_end: true }),
            }
            false
        }
        None if process.no_login => {
            take(complete(NO_LOGIN));
            false
        }
        None => true,
    }
}

/// Passes a value from the cgroup path of a process to `take`; returns whether the path may be incomplete.
fn placed(process: &Process, name: Option<&str>, take: &mut dyn FnMut(Seen<'_>)) -> bool {
    let path = process.cgroup.as_ref().map(Text::as_bytes).unwrap_or_default();
    // A path without its beginning may be misread. A process in the root cgroup is not placed by this hierarchy: if
    // systemd or a container engine uses cgroup v1, this means nothing.
    let is_whole = path.starts_with(b"/");
    let says_nothing = path == b"/" && !process.kthread;
    for name in name.into_iter().filter(|name| !name.is_empty()) {
        take(Seen { lacks_front: !is_whole, ..complete(name) });
    }
    !is_whole || (says_nothing && name.is_none())
}

/// Whether a process may be in another unit than the one in its cgroup path. In cgroup v1, systemd creates the directory of a unit
/// only in the hierarchies of controllers that the unit uses, and those of a user's units in none of them.
fn is_unit_hidden(process: &Process) -> bool {
    let has_known_unit = process.unit.as_ref().is_some_and(|unit| !unit.starts_with("user@"));
    process.cgroup_controller.is_some() && !process.kthread && !has_known_unit
}

const fn complete(text: &str) -> Seen<'_> {
    Seen::complete(text.as_bytes())
}

/// Whether a subject is a request, seen or not: an explicit load has no alias.
const fn is_request(link: &Chain) -> bool {
    matches!(link.key, ChainKey::Request(_))
}

fn walk<'a>(chain: &'a Chain, visit: &mut dyn FnMut(&'a Chain)) {
    visit(chain);
    chain.nested.iter().for_each(|nested| walk(nested, visit));
}
