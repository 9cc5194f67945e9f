//! Text for the cause of a chain.

use super::words::{comm_pid, command, doubt, task, thread_name};
use crate::{
    chain::{Cause, is_kmod_tool},
    event::{Process, Text},
};

impl Cause<'_> {
    /// `name(pid)`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Process(process) => task(process) + parent_unknown(process),
            Self::Ran { by, .. } => comm_pid(&by.comm, by.pid),
            Self::Through { behalf, .. } => {
                comm_pid(&behalf.comm, behalf.pid) + &thread_name(behalf.thread_comm.as_ref())
            }
            Self::Kernel(process) => format!("kernel helper {}", comm_pid(&process.comm, process.pid)),
            Self::Undetermined { by: Some(by), .. } => comm_pid(&by.comm, by.pid),
            Self::Undetermined { by: None, process } => comm_pid(&process.comm, process.pid),
            Self::Unseen => "unknown requester".to_owned(),
        }
    }

    /// The first line of a chain in the tree.
    pub(super) fn head(&self) -> String {
        match self {
            Self::Process(process) => command(process) + parent_unknown(process),
            Self::Ran { tool, .. } => format!("{} ran: {}", self.name(), command(tool)),
            Self::Through { behalf, thread } => format!(
                "{} through the kernel thread {}{}",
                self.name(),
                comm_pid(&thread.comm, thread.pid),
                doubt(&behalf.attribution)
            ),
            Self::Kernel(process) => format!("the kernel ran: {}", command(process)),
            Self::Undetermined { by: Some(_), process } => {
                format!("{} ran: {} (origin unknown)", self.name(), command(process))
            }
            Self::Undetermined { by: None, process } => format!("{} (origin unknown)", command(process)),
            Self::Unseen => "a request whose beginning was not seen".to_owned(),
        }
    }
}

/// The note on a tool of kmod whose parent has changed: it is named itself, since the program that ran it is unknown.
fn parent_unknown(process: &Process) -> &'static str {
    let is_tool = is_kmod_tool(process.comm.as_bytes(), process.exe.as_ref().map(Text::as_bytes));
    if is_tool && process.parent_changed { ", parent unknown" } else { "" }
}

#[cfg(test)]
mod tests {
    use crate::{
        chain::Cause,
        event::{Ancestor, Process, Text},
    };

    /// The text for modprobe names the program or kernel that ran it, if known.
    #[test]
    fn cause_modprobe_names_its_parent() {
        let tool = Process { pid: 9, comm: Text::from("modprobe"), ..Process::default() };
        let parent =
            |pid, comm: &str, kthread| Ancestor { pid, comm: Text::from(comm), kthread, ..Ancestor::default() };
        let by_hand = [parent(8, "modprobe", false), parent(7, "iptables", false)];
        assert_eq!(Cause::of_process(&tool, &by_hand).head(), "iptables(7) ran: [modprobe]");
        assert_eq!(Cause::of_process(&tool, &[parent(2, "kthreadd", true)]).head(), "the kernel ran: [modprobe]");
        assert_eq!(Cause::of_process(&tool, &[]).head(), "[modprobe]");
        let orphan = Process { parent_changed: true, ..tool };
        let cause = Cause::of_process(&orphan, &by_hand);
        assert_eq!(
            (cause.head(), cause.name()),
            ("[modprobe], parent unknown".into(), "modprobe(9), parent unknown".into())
        );
    }
}
