//! The values that a chain, a part of one, or an unload, also one that failed, has for a field.

use super::Field;
use crate::{
    chain::{Cause, Chain, Module},
    event::{Ancestor, Attempt, Origin, Process, Status, Unload},
    explain::families,
};

/// What a selector looks at. Who is behind something nested is who is behind its root.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A chain with all that is nested in it.
    Chain(&'a Chain),
    /// One request or loader of a chain, without its modules and what is nested in it.
    Link {
        /// The chain it is a part of.
        root: &'a Chain,
        /// The request or loader.
        link: &'a Chain,
    },
    /// One module of a chain.
    Module {
        /// The chain it is a part of.
        root: &'a Chain,
        /// The request or loader that it arrived through.
        link: &'a Chain,
        /// The module.
        module: &'a Module,
    },
    /// A module that left.
    Unload(&'a Unload),
    /// A module that somebody failed to unload.
    FailedUnload(&'a Attempt),
}

/// Who is behind something.
struct Who<'a> {
    process: Option<(&'a Process, &'a [Ancestor])>,
    cause: Cause<'a>,
}

impl<'a> Subject<'a> {
    /// A chain as a whole.
    #[must_use]
    pub const fn chain(chain: &'a Chain) -> Self {
        Self::Chain(chain)
    }

    /// An unload.
    #[must_use]
    pub const fn unload(unload: &'a Unload) -> Self {
        Self::Unload(unload)
    }

    /// An unload that failed.
    #[must_use]
    pub const fn failed_unload(attempt: &'a Attempt) -> Self {
        Self::FailedUnload(attempt)
    }

    /// Hands each value of a field to `take`.
    pub fn values(&self, field: Field, take: &mut dyn FnMut(&[u8])) {
        match field {
            Field::Module => self.modules(take),
            Field::Alias => self.links(&mut |link| {
                if let Some(request) = &link.request {
                    take(request.name.as_bytes());
                }
            }),
            Field::Family => self.links(&mut |link| {
                let name = link.request.as_ref().map(|request| &request.name);
                if let Some(found) = name.and_then(families::find) {
                    take(found.family.name.as_bytes());
                }
            }),
            Field::Result => self.links(&mut |link| {
                let status = link.result.as_ref().map_or(Status::Unknown, |result| result.status);
                take(status.name().as_bytes());
            }),
            Field::Origin => self.origins(take),
            _ => self.who().values(field, take),
        }
    }

    /// Each request and loader that is looked at.
    fn links(&self, visit: &mut dyn FnMut(&'a Chain)) {
        match self {
            Self::Chain(chain) => walk(chain, visit),
            Self::Link { link, .. } | Self::Module { link, .. } => visit(link),
            Self::Unload(_) | Self::FailedUnload(_) => {}
        }
    }

    fn modules(&self, take: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Chain(chain) => walk(chain, &mut |link| {
                link.modules.iter().for_each(|module| take(module.load.module.as_bytes()));
                let attempted = link.attempts.iter().filter_map(|attempt| attempt.module.as_ref());
                attempted.for_each(|module| take(module.as_bytes()));
            }),
            Self::Link { .. } => {}
            Self::Module { module, .. } => take(module.load.module.as_bytes()),
            Self::Unload(unload) => take(unload.module.as_bytes()),
            Self::FailedUnload(attempt) => attempt.module.iter().for_each(|module| take(module.as_bytes())),
        }
    }

    fn origins(&self, take: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Unload(_) => take(Origin::Explicit.name().as_bytes()),
            Self::FailedUnload(attempt) => take(attempt.origin.name().as_bytes()),
            _ => {}
        }
        self.links(&mut |link| {
            let loaded = link.modules.first().map(|module| module.load.origin);
            let tried = link.attempts.first().map(|attempt| attempt.origin);
            let asked = link.request.as_ref().map(|_| Origin::Request);
            take(asked.or(loaded).or(tried).unwrap_or(Origin::Unknown).name().as_bytes());
        });
    }

    fn who(&self) -> Who<'a> {
        match self {
            Self::Chain(root) | Self::Link { root, .. } | Self::Module { root, .. } => {
                let asked = root.request.as_ref().map(|request| (&request.process, request.ancestors.as_slice()));
                let loaded =
                    root.modules.first().map(|module| (&module.load.process, module.load.ancestors.as_slice()));
                let tried = root.attempts.first().map(|attempt| (&attempt.process, attempt.ancestors.as_slice()));
                Who { process: asked.or(loaded).or(tried), cause: Cause::of(root) }
            }
            Self::Unload(unload) => Who {
                process: Some((&unload.process, &unload.ancestors)),
                cause: Cause::of_process(&unload.process, &unload.ancestors),
            },
            Self::FailedUnload(attempt) => {
                Who { process: Some((&attempt.process, &attempt.ancestors)), cause: Cause::of_attempt(attempt) }
            }
        }
    }
}

impl Who<'_> {
    fn values(&self, field: Field, take: &mut dyn FnMut(&[u8])) {
        let by = match self.cause {
            Cause::Ran { by, .. } => Some(by),
            _ => None,
        };
        let behalf = match self.cause {
            Cause::Through { behalf, .. } => Some(behalf),
            _ => None,
        };
        let (process, ancestors) = match self.process {
            Some((process, ancestors)) => (Some(process), ancestors),
            None => (None, &[][..]),
        };
        match field {
            Field::Comm => {
                let names = process.map(|process| &process.comm).into_iter();
                let behind = by.map(|by| &by.comm).into_iter().chain(behalf.map(|behalf| &behalf.comm));
                names.chain(behind).for_each(|name| take(name.as_bytes()));
            }
            Field::Exe => {
                let own = process.and_then(|process| process.exe.as_ref());
                own.into_iter().chain(by.and_then(|by| by.exe.as_ref())).for_each(|exe| take(exe.as_bytes()));
            }
            Field::Pid => {
                let own = process.into_iter().flat_map(|process| [process.pid, process.tid]);
                let behalf = behalf.into_iter().flat_map(|behalf| [behalf.pid, behalf.tid]);
                let above = ancestors.iter().map(|ancestor| ancestor.pid);
                own.chain(behalf).chain(above).for_each(|pid| take(pid.to_string().as_bytes()));
            }
            Field::Uid => {
                if let Some(process) = process {
                    take(process.uid.to_string().as_bytes());
                    process.user.iter().for_each(|user| take(user.as_bytes()));
                }
            }
            Field::Cgroup => {
                process.and_then(|process| process.cgroup.as_ref()).iter().for_each(|path| take(path.as_bytes()));
            }
            Field::Container => {
                process.and_then(|process| process.container.as_ref()).iter().for_each(|id| take(id.as_bytes()));
            }
            Field::Unit => {
                process.and_then(|process| process.unit.as_ref()).iter().for_each(|unit| take(unit.as_bytes()));
            }
            Field::Module | Field::Alias | Field::Family | Field::Result | Field::Origin => {}
        }
    }
}

fn walk<'a>(chain: &'a Chain, visit: &mut dyn FnMut(&'a Chain)) {
    visit(chain);
    chain.nested.iter().for_each(|nested| walk(nested, visit));
}
