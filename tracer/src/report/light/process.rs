//! Processes of an event: who asked or loaded, parents, on whose behalf.

use std::borrow::Cow;

use super::{
    super::who::{Program, Who, user},
    scan::{Malformed, Members, hex, number, string},
};
use crate::event::ProcessId;

/// Raw values of a process or an ancestor.
#[derive(Default)]
pub(super) struct Process<'a> {
    comm: Option<&'a [u8]>,
    comm_hex: Option<&'a [u8]>,
    exe: Option<&'a [u8]>,
    exe_hex: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    user_hex: Option<&'a [u8]>,
    uid: Option<&'a [u8]>,
    unit: Option<&'a [u8]>,
    container: Option<&'a [u8]>,
    pub(super) exe_truncated: bool,
    pub(super) kthread: bool,
}

impl<'a> Process<'a> {
    pub(super) fn new(raw: &'a [u8]) -> Result<Self, Malformed> {
        let mut found = Self::default();
        let mut members = Members::new(raw);
        while let Some((key, value)) = members.next()? {
            let slot = match key {
                b"comm" => &mut found.comm,
                b"comm_hex" => &mut found.comm_hex,
                b"exe" => &mut found.exe,
                b"exe_hex" => &mut found.exe_hex,
                b"user" => &mut found.user,
                b"user_hex" => &mut found.user_hex,
                b"uid" => &mut found.uid,
                b"unit" => &mut found.unit,
                b"container" => &mut found.container,
                b"exe_truncated" => {
                    found.exe_truncated = value == b"true";
                    continue;
                }
                b"kthread" => {
                    found.kthread = value == b"true";
                    continue;
                }
                _ => continue,
            };
            *slot = Some(value).filter(|value| *value != b"null");
        }
        Ok(found)
    }

    pub(super) fn comm(&self) -> Result<Cow<'a, [u8]>, Malformed> {
        text(self.comm, self.comm_hex)?.ok_or(Malformed)
    }

    pub(super) fn exe(&self) -> Result<Option<Cow<'a, [u8]>>, Malformed> {
        text(self.exe, self.exe_hex)
    }

    pub(super) fn uid(&self) -> Result<u32, Malformed> {
        number(self.uid.ok_or(Malformed)?)
    }

    pub(super) fn who(&self, program: Program<'a>) -> Result<Who<'a>, Malformed> {
        Ok(Who {
            program,
            user: Some(user(text(self.user, self.user_hex)?, self.uid()?)),
            unit: self.unit.map(string).transpose()?,
            container: self.container.map(string).transpose()?,
        })
    }
}

/// Raw values of the task a kernel thread works for.
#[derive(Default)]
pub(super) struct Behalf<'a> {
    pid: Option<&'a [u8]>,
    start_ns: Option<&'a [u8]>,
    comm: Option<&'a [u8]>,
    comm_hex: Option<&'a [u8]>,
    pub(super) request: Option<&'a [u8]>,
}

impl<'a> Behalf<'a> {
    pub(super) fn new(raw: &'a [u8]) -> Result<Self, Malformed> {
        let mut found = Self::default();
        let mut members = Members::new(raw);
        while let Some((key, value)) = members.next()? {
            let slot = match key {
                b"pid" => &mut found.pid,
                b"start_ns" => &mut found.start_ns,
                b"comm" => &mut found.comm,
                b"comm_hex" => &mut found.comm_hex,
                b"request" => &mut found.request,
                _ => continue,
            };
            *slot = Some(value).filter(|value| *value != b"null");
        }
        Ok(found)
    }

    pub(super) fn comm(&self) -> Result<Cow<'a, [u8]>, Malformed> {
        text(self.comm, self.comm_hex)?.ok_or(Malformed)
    }

    pub(super) fn id(&self) -> Result<ProcessId, Malformed> {
        Ok(ProcessId { pid: number(self.pid.ok_or(Malformed)?)?, start_ns: number(self.start_ns.ok_or(Malformed)?)? })
    }
}

/// A name: its exact bytes where it is no text.
pub(super) fn text<'a>(field: Option<&'a [u8]>, exact: Option<&'a [u8]>) -> Result<Option<Cow<'a, [u8]>>, Malformed> {
    match (field, exact) {
        (None, _) => Ok(None),
        (Some(_), Some(exact)) => hex(exact).map(|bytes| Some(Cow::Owned(bytes))),
        (Some(field), None) => string(field).map(Some),
    }
}

/// The identity of a process.
pub(super) fn process_id(raw: &[u8]) -> Result<ProcessId, Malformed> {
    let mut id = (None, None);
    let mut members = Members::new(raw);
    while let Some((key, value)) = members.next()? {
        match key {
            b"pid" => id.0 = Some(value),
            b"start_ns" => id.1 = Some(value),
            _ => continue,
        }
        if let (Some(pid), Some(start_ns)) = id {
            return Ok(ProcessId { pid: number(pid)?, start_ns: number(start_ns)? });
        }
    }
    Err(Malformed)
}
