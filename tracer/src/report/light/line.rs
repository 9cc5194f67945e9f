//! The few fields of an event that the grouping needs, read where they stand in the line.

use std::{borrow::Cow, sync::LazyLock};

use jiff::Timestamp;
use memchr::memmem::{Finder, FinderRev};

use super::{
    super::{
        facts::nanoseconds,
        who::{Program, Who, user},
    },
    process::{Behalf, Process, process_id, text},
    scan::{Elements, Malformed, Members, number, string},
};
use crate::{
    chain::{ChainKey, is_kmod_tool},
    event::{ProcessId, Reason, RequestId, Status},
};

/// Keys of a request that may stand behind its process.
static REQUEST_REST: LazyLock<[Finder<'static>; 4]> =
    LazyLock::new(|| [r#""parent_request""#, r#""behalf""#, r#""in_init""#, r#""name_hex""#].map(Finder::new));

/// The same of a load; its chain is told before it, or by its process.
static LOAD_REST: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [r#""module_hex""#, r#""request":"#].map(Finder::new));
static REASON: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(r#""reason""#));

/// The type of an event, as far as reports tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Request,
    Helper,
    Load,
    Init,
    Attempt,
    Result,
    /// Those that say nothing of modules: clocks and seals.
    Quiet,
    /// Rare ones that are read in full: header, baseline, unload, loss, end, and what a later version may add.
    Other,
}

/// Raw values of an event, as far as they were found. An object or array may have more behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line<'a> {
    whole: &'a [u8],
    kind: Option<&'a [u8]>,
    seq: Option<&'a [u8]>,
    time: Option<&'a [u8]>,
    boot_ns: Option<&'a [u8]>,
    request: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    name_hex: Option<&'a [u8]>,
    module: Option<&'a [u8]>,
    module_hex: Option<&'a [u8]>,
    file: Option<&'a [u8]>,
    file_hex: Option<&'a [u8]>,
    process: Option<&'a [u8]>,
    ancestors: Option<&'a [u8]>,
    parent_request: Option<&'a [u8]>,
    behalf: Option<&'a [u8]>,
    in_init: Option<&'a [u8]>,
    origin: Option<&'a [u8]>,
    reason: Option<&'a [u8]>,
    pid: Option<&'a [u8]>,
    start_ns: Option<&'a [u8]>,
    ret: Option<&'a [u8]>,
    syscall: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    duration_ns: Option<&'a [u8]>,
    loader: Option<&'a [u8]>,
}

impl<'a> Line<'a> {
    /// Finds the values of a line.
    pub(crate) fn new(line: &'a [u8]) -> Result<Self, Malformed> {
        let mut found = Self { whole: line, ..Self::default() };
        let mut members = Members::new(line);
        while let Some(key) = members.next_key()? {
            // With the process begins what is most of a line, and of no interest to most.
            if key == b"process" && found.takes_rest(members.rest()) {
                break;
            }
            let value = members.value()?;
            let slot = match key {
                b"type" => &mut found.kind,
                b"seq" => &mut found.seq,
                b"time" => &mut found.time,
                b"boot_ns" => &mut found.boot_ns,
                b"request" => &mut found.request,
                b"name" => &mut found.name,
                b"name_hex" => &mut found.name_hex,
                b"module" => &mut found.module,
                b"module_hex" => &mut found.module_hex,
                b"file" => &mut found.file,
                b"file_hex" => &mut found.file_hex,
                b"process" => &mut found.process,
                b"ancestors" => &mut found.ancestors,
                b"parent_request" => &mut found.parent_request,
                b"behalf" => &mut found.behalf,
                b"in_init" => &mut found.in_init,
                b"origin" => &mut found.origin,
                b"reason" => &mut found.reason,
                b"pid" => &mut found.pid,
                b"start_ns" => &mut found.start_ns,
                b"ret" => &mut found.ret,
                b"syscall" => &mut found.syscall,
                b"status" => &mut found.status,
                b"duration_ns" => &mut found.duration_ns,
                b"loader" => &mut found.loader,
                _ => continue,
            };
            *slot = Some(value).filter(|value| *value != b"null");
        }
        Ok(found)
    }

    /// Tells from the rest of a line, process first, whether there is nothing to be found in it but what this takes.
    ///
    /// A key in its quotes cannot stand in a string: there, a quote has a backslash before it. So what is not found is
    /// not there; what is found may be something else, and then the rest is read member by member.
    fn takes_rest(&mut self, rest: &'a [u8]) -> bool {
        // Who wrote the line anew may have put what every event has behind it.
        let takes = rest.ends_with(b"}")
            && [self.seq, self.time, self.boot_ns].iter().all(Option::is_some)
            && match self.kind {
                Some(b"\"request\"") if self.request.is_some() && self.name.is_some() => {
                    REQUEST_REST.iter().all(|key| key.find(rest).is_none())
                }
                Some(b"\"load\"") if self.module.is_some() && self.origin.is_some() => {
                    LOAD_REST.iter().all(|key| key.find(rest).is_none()) && self.takes_reason(rest)
                }
                _ => false,
            };
        if takes {
            self.process = Some(rest);
        }
        takes
    }

    /// Takes the reason from the end of a load.
    fn takes_reason(&mut self, rest: &'a [u8]) -> bool {
        let Some(at) = REASON.rfind(rest) else { return true };
        let Some(tail) = at.checked_sub(1).and_then(|comma| rest.get(comma..)) else { return false };
        // It is a member of the event, and of nothing in it, if the event ends where its last member does.
        let mut members = Members::from_comma(tail);
        let mut reason = None;
        while let Ok(Some((key, value))) = members.next() {
            if key == b"reason" {
                reason = Some(value);
            }
        }
        let is_member = members.has_ended() && members.rest().is_empty() && reason.is_some();
        if is_member {
            self.reason = reason;
        }
        is_member
    }

    /// What it is.
    pub(crate) fn kind(&self) -> Result<Type, Malformed> {
        Ok(match self.kind.ok_or(Malformed)? {
            b"\"request\"" => Type::Request,
            b"\"helper\"" => Type::Helper,
            b"\"load\"" => Type::Load,
            b"\"init\"" => Type::Init,
            b"\"attempt\"" => Type::Attempt,
            b"\"result\"" => Type::Result,
            b"\"clock\"" | b"\"seal\"" => Type::Quiet,
            _ => Type::Other,
        })
    }

    /// Whether this version knows what it is.
    pub(crate) fn is_known_type(&self) -> bool {
        const RARE: [&[u8]; 5] = [b"\"header\"", b"\"baseline\"", b"\"unload\"", b"\"loss\"", b"\"end\""];
        self.kind.is_some_and(|kind| RARE.contains(&kind)) || self.kind() != Ok(Type::Other)
    }

    pub(crate) fn seq(&self) -> Result<u64, Malformed> {
        number(self.seq.ok_or(Malformed)?)
    }

    pub(super) fn time_ns(&self) -> Result<i64, Malformed> {
        let text = string(self.time.ok_or(Malformed)?)?;
        let time: Timestamp = std::str::from_utf8(&text).map_err(|_| Malformed)?.parse().map_err(|_| Malformed)?;
        Ok(nanoseconds(time))
    }

    pub(super) fn boot_ns(&self) -> Result<u64, Malformed> {
        number(self.boot_ns.ok_or(Malformed)?)
    }

    pub(super) fn request(&self) -> Result<Option<RequestId>, Malformed> {
        self.request.map(request_id).transpose()
    }

    pub(super) fn name(&self) -> Result<Cow<'a, [u8]>, Malformed> {
        text(self.name, self.name_hex)?.ok_or(Malformed)
    }

    pub(super) fn module(&self) -> Result<Option<Cow<'a, [u8]>>, Malformed> {
        text(self.module, self.module_hex)
    }

    pub(super) fn file(&self) -> Result<Option<Cow<'a, [u8]>>, Malformed> {
        text(self.file, self.file_hex)
    }

    pub(super) fn syscall(&self) -> Result<Cow<'a, [u8]>, Malformed> {
        string(self.syscall.ok_or(Malformed)?)
    }

    pub(super) fn ret(&self) -> Result<i32, Malformed> {
        number(self.ret.ok_or(Malformed)?)
    }

    pub(super) fn duration_ns(&self) -> Result<Option<u64>, Malformed> {
        self.duration_ns.map(number).transpose()
    }

    pub(super) fn status(&self) -> Result<Status, Malformed> {
        let name = string(self.status.ok_or(Malformed)?)?;
        Status::ALL.into_iter().find(|status| status.name().as_bytes() == name.as_ref()).ok_or(Malformed)
    }

    pub(super) fn reason(&self) -> Result<Option<Reason>, Malformed> {
        Ok(match self.reason {
            None => None,
            Some(b"\"asked\"") => Some(Reason::Asked),
            Some(b"\"alias\"") => Some(Reason::Alias),
            Some(b"\"dependency\"") => Some(Reason::Dependency),
            Some(b"\"softdep\"") => Some(Reason::Softdep),
            Some(_) => return Err(Malformed),
        })
    }

    /// A helper's own process says nothing of who asked.
    pub(super) fn is_by_helper(&self) -> Result<bool, Malformed> {
        Ok(matches!(self.origin.ok_or(Malformed)?, b"\"request\"" | b"\"unknown\""))
    }

    /// The chain that a load, an attempt, an init or a result belongs to.
    pub(super) fn key(&self) -> Result<Option<ChainKey>, Malformed> {
        if let Some(request) = self.request()? {
            return Ok(Some(ChainKey::Request(request)));
        }
        let process = match (self.process.or(self.loader), self.pid, self.start_ns) {
            (Some(raw), ..) => process_id(raw)?,
            (None, Some(pid), Some(start_ns)) => ProcessId { pid: number(pid)?, start_ns: number(start_ns)? },
            _ => return Ok(None),
        };
        Ok(Some(ChainKey::Loader(process)))
    }

    /// The chains it may hang under, by what it says: a request for sure, or a process while that loads.
    pub(super) fn parent(&self) -> Result<Option<ChainKey>, Malformed> {
        if let Some(parent) = self.parent_request {
            return Ok(Some(ChainKey::Request(request_id(parent)?)));
        }
        let behalf = self.behalf.map(Behalf::new).transpose()?;
        if let Some(request) = behalf.as_ref().and_then(|behalf| behalf.request) {
            return Ok(Some(ChainKey::Request(request_id(request)?)));
        }
        if self.in_init.is_some() {
            return Ok(Some(ChainKey::Loader(process_id(self.process.ok_or(Malformed)?)?)));
        }
        behalf.map(|behalf| Ok(ChainKey::Loader(behalf.id()?))).transpose()
    }

    /// Who is behind a request, or behind a load without one.
    pub(super) fn who(&self) -> Result<Who<'a>, Malformed> {
        let process = Process::new(self.process.ok_or(Malformed)?)?;
        if let Some(behalf) = self.behalf {
            return process.who(Program::Name(Behalf::new(behalf)?.comm()?));
        }
        let (comm, exe) = (process.comm()?, process.exe()?);
        if !is_kmod_tool(&comm, exe.as_deref()) {
            return process.who(Program::of_process(comm, exe, process.exe_truncated, process.kthread));
        }
        let mut ancestors = Elements::new(self.ancestors()?)?;
        while let Some(raw) = ancestors.next()? {
            let by = Process::new(raw)?;
            let (by_comm, by_exe) = (by.comm()?, by.exe()?);
            if is_kmod_tool(&by_comm, by_exe.as_deref()) {
                continue;
            }
            if by.kthread {
                return process.who(Program::Kernel);
            }
            let own = process.who(Program::of_ancestor(by_comm, by_exe, by.kthread))?;
            let (uid, own_uid) = (by.uid()?, process.uid()?);
            return Ok(if uid == own_uid { own } else { Who { user: Some(user(None, uid)), ..own } });
        }
        process.who(Program::of_process(comm, exe, process.exe_truncated, process.kthread))
    }

    /// Its parents: few ask for them, so they are looked for when somebody does.
    fn ancestors(&self) -> Result<&'a [u8], Malformed> {
        if let Some(ancestors) = self.ancestors {
            return Ok(ancestors);
        }
        let mut members = Members::new(self.whole);
        while let Some((key, value)) = members.next()? {
            if key == b"ancestors" {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// Who is behind a load by a helper whose request is not part of the chain.
    pub(super) fn who_kernel(&self) -> Result<Who<'a>, Malformed> {
        Process::new(self.process.ok_or(Malformed)?)?.who(Program::Kernel)
    }
}

fn request_id(raw: &[u8]) -> Result<RequestId, Malformed> {
    let text = string(raw)?;
    std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
}
