//! Who is behind a chain: never modprobe, which does what another wants.

use super::words::{comm_pid, command, doubt};
use crate::{
    chain::Chain,
    event::{Ancestor, Behalf, Origin, Process, Text},
};

/// Who is behind a chain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause<'a> {
    /// The process that asked or loaded.
    Process(&'a Process),
    /// Somebody ran a tool of kmod.
    Ran { by: &'a Ancestor, tool: &'a Process },
    /// A task created the kernel thread that asked.
    Through { behalf: &'a Behalf, thread: &'a Process },
    /// The kernel started the process, for a request that is not part of the chain.
    Kernel(&'a Process),
    /// Nothing that tells was seen.
    Unseen,
}

impl<'a> Cause<'a> {
    /// Who is behind a chain.
    pub(super) fn of(chain: &'a Chain) -> Self {
        if let Some(request) = &chain.request {
            return match &request.behalf {
                Some(behalf) => Self::Through { behalf, thread: &request.process },
                None => Self::of_process(&request.process, &request.ancestors),
            };
        }
        let load = chain.modules.first().map(|module| &module.load);
        let first = load.map(|load| (&load.process, &load.ancestors, load.origin));
        let attempt = chain.attempts.first();
        match first.or(attempt.map(|attempt| (&attempt.process, &attempt.ancestors, attempt.origin))) {
            // A helper's own process says nothing of who asked.
            Some((process, _, Origin::Request | Origin::Unknown)) => Self::Kernel(process),
            Some((process, ancestors, Origin::Explicit | Origin::Udev)) => Self::of_process(process, ancestors),
            None => Self::Unseen,
        }
    }

    /// Who is behind what a process does.
    pub(super) fn of_process(process: &'a Process, ancestors: &'a [Ancestor]) -> Self {
        if !is_kmod_tool(&process.comm, process.exe.as_ref()) {
            return Self::Process(process);
        }
        match ancestors.iter().find(|ancestor| !is_kmod_tool(&ancestor.comm, ancestor.exe.as_ref())) {
            Some(by) if by.kthread => Self::Kernel(process),
            Some(by) => Self::Ran { by, tool: process },
            None => Self::Process(process),
        }
    }

    /// `name(pid)`.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Process(process) => comm_pid(&process.comm, process.pid),
            Self::Ran { by, .. } => comm_pid(&by.comm, by.pid),
            Self::Through { behalf, .. } => comm_pid(&behalf.comm, behalf.pid),
            Self::Kernel(process) => format!("kernel helper {}", comm_pid(&process.comm, process.pid)),
            Self::Unseen => "somebody unseen".to_owned(),
        }
    }

    /// The first line of a story.
    pub(super) fn head(&self) -> String {
        match self {
            Self::Process(process) => command(process),
            Self::Ran { tool, .. } => format!("{} ran: {}", self.name(), command(tool)),
            Self::Through { behalf, thread } => format!(
                "{} through the kernel thread {}{}",
                self.name(),
                comm_pid(&thread.comm, thread.pid),
                doubt(&behalf.attribution)
            ),
            Self::Kernel(process) => format!("the kernel ran: {}", command(process)),
            Self::Unseen => "a request whose beginning was not seen".to_owned(),
        }
    }
}

/// Programs of kmod: they load what someone else wants. A name alone is claimed by its process, and counts
/// only where no executable tells better, or one that is many programs.
fn is_kmod_tool(comm: &Text, exe: Option<&Text>) -> bool {
    const TOOLS: [&[u8]; 5] = [b"modprobe", b"insmod", b"rmmod", b"kmod", b"depmod"];
    const MANY: [&[u8]; 2] = [b"busybox", b"toybox"];
    let base = exe.and_then(|exe| exe.as_bytes().rsplit(|byte| *byte == b'/').next());
    match base {
        Some(base) if TOOLS.contains(&base) => true,
        Some(base) if !MANY.contains(&base) => false,
        _ => TOOLS.contains(&comm.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, is_kmod_tool};
    use crate::event::{Ancestor, Process, Text};

    /// Check that the executable decides, that its name alone does where it is all there is, and that a
    /// process cannot pass for modprobe by its name.
    #[test]
    fn tools_are_known_by_their_executable() {
        for (comm, exe, tool) in [
            ("modprobe", Some("/usr/bin/kmod"), true),
            ("anything", Some("/sbin/modprobe"), true),
            ("modprobe", Some("/bin/busybox"), true),
            ("sh", Some("/bin/busybox"), false),
            ("insmod", None, true),
            ("bash", None, false),
            ("modprobe", Some("/tmp/evil"), false),
        ] {
            assert_eq!(is_kmod_tool(&Text::from(comm), exe.map(Text::from).as_ref()), tool, "{comm} {exe:?}");
        }
    }

    /// Check that tools that ran tools are passed over, and that a kernel thread is nobody who runs modprobe.
    #[test]
    fn the_nearest_that_is_no_tool_is_the_cause() {
        let tool = Process { pid: 9, comm: Text::from("modprobe"), ..Process::default() };
        let parent =
            |pid, comm: &str, kthread| Ancestor { pid, comm: Text::from(comm), kthread, ..Ancestor::default() };
        let by_hand = [parent(8, "modprobe", false), parent(7, "iptables", false), parent(6, "bash", false)];
        assert_eq!(Cause::of_process(&tool, &by_hand).head(), "iptables(7) ran: [modprobe]");
        let by_kernel = [parent(8, "kworker/u4:1", true), parent(2, "kthreadd", true)];
        assert_eq!(Cause::of_process(&tool, &by_kernel).head(), "the kernel ran: [modprobe]");
        assert_eq!(Cause::of_process(&tool, &[]).head(), "[modprobe]");
    }
}
