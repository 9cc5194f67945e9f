//! The requester of a chain, reduced to the fields that reports group by.

use std::borrow::Cow;

use crate::{
    chain::{Cause, Chain, ChainKey},
    event::{Ancestor, Process, Text},
    output,
    select::NO_LOGIN,
};

/// The requester's program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Program<'a> {
    /// Path of the executable.
    Path(Cow<'a, [u8]>),
    /// The end of a path whose beginning is unknown.
    PathEnd(Cow<'a, [u8]>),
    /// Only the `comm`, which the process chooses itself: kernel threads, and processes without a known executable.
    Name(Cow<'a, [u8]>),
    /// The kernel, on behalf of a request that is not part of the chain.
    Kernel,
    /// No requester was seen.
    Unseen,
}

impl<'a> Program<'a> {
    /// The program of a process.
    pub(super) fn of_process(comm: Cow<'a, [u8]>, exe: Option<Cow<'a, [u8]>>, truncated: bool, kthread: bool) -> Self {
        match exe {
            Some(exe) if truncated => Self::PathEnd(exe),
            Some(exe) if !exe.is_empty() => Self::Path(exe),
            _ if kthread => Self::Name(worker_kind(comm)),
            _ => Self::Name(comm),
        }
    }

    /// The program of an ancestor, of which only the last path component is known.
    pub(super) fn of_ancestor(comm: Cow<'a, [u8]>, exe: Option<Cow<'a, [u8]>>, kthread: bool) -> Self {
        match exe {
            Some(exe) if !exe.is_empty() => Self::PathEnd(exe),
            _ if kthread => Self::Name(worker_kind(comm)),
            _ => Self::Name(comm),
        }
    }

    /// The kind and the name; together they identify the program.
    pub(super) fn parts(&self) -> (u8, &[u8]) {
        match self {
            Self::Path(path) => (b'p', path),
            Self::PathEnd(end) => (b'e', end),
            Self::Name(name) => (b'n', name),
            Self::Kernel => (b'k', b""),
            Self::Unseen => (b'u', b""),
        }
    }

    /// The inverse of [`Program::parts`].
    pub(super) fn from_parts(kind: u8, name: &'a [u8]) -> Self {
        match kind {
            b'p' => Self::Path(Cow::Borrowed(name)),
            b'e' => Self::PathEnd(Cow::Borrowed(name)),
            b'n' => Self::Name(Cow::Borrowed(name)),
            b'k' => Self::Kernel,
            _ => Self::Unseen,
        }
    }

    /// For human output: a path begins with `/`, the end of one with `.../`, a `comm` is in brackets, and anything else
    /// in parentheses.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Path(path) => output::name(&Text::from(path.as_ref())),
            Self::PathEnd(end) => format!(".../{}", output::name(&Text::from(end.as_ref()))),
            Self::Name(name) => format!("[{}]", output::name(&Text::from(name.as_ref()))),
            Self::Kernel => "(kernel)".to_owned(),
            Self::Unseen => "(unseen)".to_owned(),
        }
    }

    /// For machine-readable output: the same without escapes, byte by byte.
    #[must_use]
    pub fn field(&self) -> Text {
        match self {
            Self::Path(path) => Text::from(path.as_ref()),
            Self::PathEnd(end) => Text::from([b".../", end.as_ref()].concat().as_slice()),
            Self::Name(name) => Text::from([b"[", name.as_ref(), b"]"].concat().as_slice()),
            Self::Kernel => Text::from("(kernel)"),
            Self::Unseen => Text::from("(unseen)"),
        }
    }
}

/// Names of kworkers, such as `kworker/u4:1-events`, change; they are reported as one program.
fn worker_kind(comm: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if comm.starts_with(b"kworker/") { Cow::Borrowed(b"kworker") } else { comm }
}

/// The requester of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requester<'a> {
    /// The program.
    pub program: Program<'a>,
    /// Real user: the name, or `uid <number>`; absent if no requester was seen.
    pub user: Option<Cow<'a, [u8]>>,
    /// The user who logged in: the name, `uid <number>`, or `none`; absent if unknown.
    pub login: Option<Cow<'a, [u8]>>,
    /// Systemd unit.
    pub unit: Option<Cow<'a, [u8]>>,
    /// Container.
    pub container: Option<Cow<'a, [u8]>>,
}

impl<'a> Requester<'a> {
    /// No requester was seen.
    pub(super) const UNSEEN: Requester<'static> =
        Requester { program: Program::Unseen, user: None, login: None, unit: None, container: None };

    /// The requester of a root chain, to which its nested chains are attributed as well.
    #[must_use]
    pub fn of(root: &'a Chain) -> Self {
        if matches!((root.key, &root.request), (ChainKey::Request(_), None)) {
            return Self::UNSEEN;
        }
        match Cause::of(root) {
            Cause::Process(process) => Self::process(process, own_program(process)),
            Cause::Ran { by, tool } => Self::ran(by, tool),
            Cause::Through { behalf, thread } => {
                // The login of the creator is unknown.
                Self { login: None, ..Self::process(thread, Program::Name(Cow::Borrowed(behalf.comm.as_bytes()))) }
            }
            Cause::Kernel(process) => Self { login: None, ..Self::process(process, Program::Kernel) },
            Cause::Undetermined { by: Some(by), process } => Self { login: None, ..Self::ran(by, process) },
            Cause::Undetermined { by: None, process } => {
                Self { login: None, ..Self::process(process, own_program(process)) }
            }
            Cause::Unseen => Self::UNSEEN,
        }
    }

    fn process(process: &'a Process, program: Program<'a>) -> Self {
        Self {
            program,
            user: Some(user(process.user.as_ref().map(|user| Cow::Borrowed(user.as_bytes())), process.uid)),
            login: login(process),
            unit: process.unit.as_ref().map(|unit| Cow::Borrowed(unit.as_bytes())),
            container: process.container.as_ref().map(|container| Cow::Borrowed(container.as_bytes())),
        }
    }

    fn ran(by: &'a Ancestor, tool: &'a Process) -> Self {
        let exe = by.exe.as_ref().map(|exe| Cow::Borrowed(exe.as_bytes()));
        let program = Program::of_ancestor(Cow::Borrowed(by.comm.as_bytes()), exe, by.kthread);
        let own = Self::process(tool, program);
        if by.uid == tool.uid { own } else { Self { user: Some(user(None, by.uid)), ..own } }
    }
}

/// The program of a process.
pub(super) fn own_program(process: &Process) -> Program<'_> {
    let exe = process.exe.as_ref().map(|exe| Cow::Borrowed(exe.as_bytes()));
    Program::of_process(Cow::Borrowed(process.comm.as_bytes()), exe, process.exe_truncated, process.kthread)
}

/// The user's name, or `uid <number>`.
pub(super) fn user(name: Option<Cow<'_, [u8]>>, uid: u32) -> Cow<'_, [u8]> {
    name.unwrap_or_else(|| Cow::Owned(format!("uid {uid}").into_bytes()))
}

/// The user who logged in: the name, `uid <number>`, or `none`; absent if unknown.
pub(super) fn login(process: &Process) -> Option<Cow<'_, [u8]>> {
    match process.loginuid {
        Some(loginuid) => {
            let name = process.login_user.as_ref().map(Text::as_bytes);
            // A user with this name would look like no login.
            let name = name.filter(|name| *name != NO_LOGIN.as_bytes());
            Some(user(name.map(Cow::Borrowed), loginuid))
        }
        None => process.no_login.then_some(Cow::Borrowed(NO_LOGIN.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, Requester, Text, login};
    use crate::chain::{Item, samples};

    fn label(item: &Item) -> String {
        let Item::Chain(chain) = item else { unreachable!("it is a chain") };
        let requester = Requester::of(chain);
        format!("{} {}", requester.program.label(), String::from_utf8_lossy(&requester.user.unwrap_or_default()))
    }

    /// The requester is never modprobe, and paths, ends of paths and `comm` names are formatted differently.
    #[test]
    fn program_label_shows_its_kind() {
        assert_eq!(label(&samples::outage()), "/usr/sbin/xtables-legacy-multi root");
        assert_eq!(label(&samples::by_hand()), ".../iptables root");
        assert_eq!(label(&samples::not_found()), "/usr/bin/mount uid 1000");
        assert_eq!(label(&samples::hostile()), "/tmp/\\u{202e}txt.exe root");
    }

    /// Without a login the label is `none`, which no user has, and a login that was not seen has none.
    #[test]
    fn login_label_of_unset_login_is_none() {
        let of = |loginuid: Option<u32>, name: Option<&str>, no_login: bool| {
            let process = Process { loginuid, login_user: name.map(Text::from), no_login, ..Process::default() };
            login(&process).map(|login| String::from_utf8_lossy(&login).into_owned())
        };
        assert_eq!(of(Some(1000), Some("alice"), false).as_deref(), Some("alice"));
        assert_eq!(of(Some(1000), None, false).as_deref(), Some("uid 1000"));
        assert_eq!(of(Some(1000), Some("none"), false).as_deref(), Some("uid 1000"));
        assert_eq!(of(None, None, true).as_deref(), Some("none"));
        assert_eq!(of(None, None, false), None);
    }
}
