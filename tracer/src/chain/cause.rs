//! The requester of a chain: never modprobe, which acts on behalf of another process.

use super::Chain;
use crate::event::{Ancestor, Attempt, Behalf, Descent, Load, Origin, Process, ProcessId, Text};

/// The requester of a chain.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Cause<'a> {
    /// The process that made the request or the load. A tool of kmod is its own requester if the process that ran it is unknown.
    Process(&'a Process),
    /// A process ran a tool of kmod.
    Ran {
        /// The nearest ancestor that is no such tool.
        by: &'a Ancestor,
        /// The tool.
        tool: &'a Process,
    },
    /// A task created the kernel thread that made the request shortly before.
    Through {
        /// The task.
        behalf: &'a Behalf,
        /// The kernel thread.
        thread: &'a Process,
    },
    /// The kernel started the process, for a request that is not part of the chain.
    Kernel(&'a Process),
    /// It is unknown whether the kernel started the process for a request: its ancestry was not followed to its top.
    Undetermined {
        /// The nearest ancestor that is no tool of kmod; absent if the process itself is none.
        by: Option<&'a Ancestor>,
        /// The process.
        process: &'a Process,
    },
    /// No requester was seen.
    Unseen,
}

impl<'a> Cause<'a> {
    /// The requester of a chain.
    #[must_use]
    pub fn of(chain: &'a Chain) -> Self {
        if let Some(request) = &chain.request {
            return match request.behalf.as_ref().filter(|behalf| behalf.is_recent()) {
                Some(behalf) => Self::Through { behalf, thread: &request.process },
                None => Self::of_process(&request.process, &request.ancestors),
            };
        }
        let load = chain.modules.first().map(|module| &module.load);
        match (load, chain.attempts.first()) {
            (Some(load), _) => Self::of_load(load),
            (None, Some(attempt)) => Self::of_attempt(attempt),
            (None, None) => Self::Unseen,
        }
    }

    /// The requester of a load that is not part of a request.
    #[must_use]
    pub fn of_load(load: &'a Load) -> Self {
        Self::of_origin(load.origin, &load.process, &load.ancestors)
    }

    /// The requester of a failed system call.
    #[must_use]
    pub fn of_attempt(attempt: &'a Attempt) -> Self {
        Self::of_origin(attempt.origin, &attempt.process, &attempt.ancestors)
    }

    fn of_origin(origin: Origin, process: &'a Process, ancestors: &'a [Ancestor]) -> Self {
        match origin {
            // The process of a helper does not identify the requester.
            Origin::Request => Self::Kernel(process),
            Origin::Unknown if is_of_kernel(process, ancestors) => Self::Kernel(process),
            Origin::Unknown => Self::Undetermined { by: Self::above_tool(process, ancestors), process },
            Origin::Explicit | Origin::Udev => Self::of_process(process, ancestors),
        }
    }

    /// The nearest ancestor of a tool of kmod that is no such tool.
    fn above_tool(process: &Process, ancestors: &'a [Ancestor]) -> Option<&'a Ancestor> {
        // They adopted it, and did not run it.
        if process.parent_changed {
            return None;
        }
        let mut above = ancestors.iter().filter(|ancestor| !is_tool(&ancestor.comm, ancestor.exe.as_ref()));
        if is_tool(&process.comm, process.exe.as_ref()) { above.next() } else { None }
    }

    /// The requester on whose behalf a process acts.
    #[must_use]
    pub fn of_process(process: &'a Process, ancestors: &'a [Ancestor]) -> Self {
        match Self::above_tool(process, ancestors) {
            Some(by) if by.kthread => Self::Kernel(process),
            Some(by) => Self::Ran { by, tool: process },
            None => Self::Process(process),
        }
    }

    /// Whether the requester may be a process that was not seen.
    pub(crate) const fn is_unknown(&self) -> bool {
        matches!(self, Self::Kernel(_) | Self::Undetermined { .. } | Self::Unseen)
    }

    /// The `comm` and identity of the requester; `None` if it is the kernel or was not seen.
    #[must_use]
    pub fn culprit(&self) -> Option<(&'a Text, ProcessId)> {
        match self {
            Self::Process(process) => Some((&process.comm, process.id())),
            Self::Ran { by, .. } => Some((&by.comm, by.id())),
            Self::Through { behalf, .. } => {
                Some((&behalf.comm, ProcessId { pid: behalf.pid, start_ns: behalf.start_ns }))
            }
            Self::Kernel(_) | Self::Undetermined { .. } | Self::Unseen => None,
        }
    }
}

/// Whether a process is known to descend from a kernel thread.
fn is_of_kernel(process: &Process, ancestors: &[Ancestor]) -> bool {
    process.descent == Some(Descent::Kernel) || ancestors.iter().any(|ancestor| ancestor.kthread || ancestor.pid == 2)
}

fn is_tool(comm: &Text, exe: Option<&Text>) -> bool {
    is_kmod_tool(comm.as_bytes(), exe.map(Text::as_bytes))
}

/// The programs of kmod, which act on behalf of other processes. A `comm` is chosen by its process, so it counts only
/// if the executable is unknown or is a multi-call binary.
pub(crate) fn is_kmod_tool(comm: &[u8], exe: Option<&[u8]>) -> bool {
    const TOOLS: [&[u8]; 5] = [b"modprobe", b"insmod", b"rmmod", b"kmod", b"depmod"];
    const MANY: [&[u8]; 2] = [b"busybox", b"toybox"];
    let base = exe.and_then(|exe| exe.rsplit(|byte| *byte == b'/').next());
    match base {
        Some(base) if TOOLS.contains(&base) => true,
        Some(base) if !MANY.contains(&base) => false,
        _ => TOOLS.contains(&comm),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, is_kmod_tool};
    use crate::event::{Ancestor, Descent, Origin, Process, Text};

    /// A tool is recognized by its executable, or by its `comm` only if that is all that is known; a process cannot
    /// disguise itself as modprobe.
    #[test]
    fn tool_is_recognized_by_its_executable() {
        for (comm, exe, tool) in [
            ("modprobe", Some("/usr/bin/kmod"), true),
            ("anything", Some("/sbin/modprobe"), true),
            ("modprobe", Some("/bin/busybox"), true),
            ("sh", Some("/bin/busybox"), false),
            ("insmod", None, true),
            ("bash", None, false),
            ("modprobe", Some("/tmp/evil"), false),
        ] {
            assert_eq!(is_kmod_tool(comm.as_bytes(), exe.map(str::as_bytes)), tool, "{comm} {exe:?}");
        }
    }

    /// Tools that run tools are skipped, and a kernel thread is no requester that runs modprobe.
    #[test]
    fn nearest_ancestor_that_is_no_tool_is_the_requester() {
        let tool = Process { pid: 9, comm: Text::from("modprobe"), ..Process::default() };
        let parent =
            |pid, comm: &str, kthread| Ancestor { pid, comm: Text::from(comm), kthread, ..Ancestor::default() };
        let by_hand = [parent(8, "modprobe", false), parent(7, "iptables", false), parent(6, "bash", false)];
        let culprit = |cause: Cause<'_>| cause.culprit().map(|(_, id)| id.pid);
        assert_eq!(culprit(Cause::of_process(&tool, &by_hand)), Some(7));
        let by_kernel = [parent(8, "kworker/u4:1", true), parent(2, "kthreadd", true)];
        assert_eq!(culprit(Cause::of_process(&tool, &by_kernel)), None);
        assert_eq!(culprit(Cause::of_process(&tool, &[])), Some(9));
    }

    /// Of the loads of unknown origin, only one below a kernel thread is the kernel's; of others the nearest parent is named.
    #[test]
    fn load_of_unknown_origin_is_the_kernels_only_below_a_kernel_thread() {
        let tool = Process { pid: 9, comm: Text::from("modprobe"), ..Process::default() };
        let parent =
            |pid, comm: &str, kthread| Ancestor { pid, comm: Text::from(comm), kthread, ..Ancestor::default() };
        let shell = [parent(8, "modprobe", false), parent(7, "sh", false)];
        fn of<'a>(process: &'a Process, ancestors: &'a [Ancestor]) -> Cause<'a> {
            Cause::of_origin(Origin::Unknown, process, ancestors)
        }
        assert!(matches!(of(&tool, &shell), Cause::Undetermined { by: Some(by), .. } if by.pid == 7));
        assert!(of(&tool, &shell).culprit().is_none());
        let worker = [parent(8, "kworker/u4:1", true)];
        assert!(matches!(of(&tool, &worker), Cause::Kernel(_)));
        let far = Process { descent: Some(Descent::Kernel), ..tool.clone() };
        assert!(matches!(of(&far, &shell), Cause::Kernel(_)));
        let cut = Process { descent: Some(Descent::Unknown), ..tool.clone() };
        assert!(matches!(of(&cut, &shell), Cause::Undetermined { .. }));
    }

    /// A tool that init has adopted was not run by init.
    #[test]
    fn adopted_tool_is_not_run_by_its_parent() {
        let init = [Ancestor { pid: 1, comm: Text::from("init"), ..Ancestor::default() }];
        let tool = Process { pid: 9, comm: Text::from("modprobe"), ..Process::default() };
        assert!(matches!(Cause::of_process(&tool, &init), Cause::Ran { by, .. } if by.pid == 1));
        let orphan = Process { parent_changed: true, ..tool };
        assert!(matches!(Cause::of_process(&orphan, &init), Cause::Process(process) if process.pid == 9));
    }
}
