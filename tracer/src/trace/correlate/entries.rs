//! Entries into `__request_module`. Each is followed by a request of the same thread, unless the kernel stopped before
//! that.

use std::collections::BTreeMap;

use tracer_ebpf::wire;

use super::{
    environment::Environment,
    kernel_printf::format_name,
    round_robin::RoundRobin,
    tracker::Tracker,
    unresolved::{unknown, unseen},
};
use crate::{
    event::{Attribution, Body, LossStage, Outcome, Process, ProcessId, Request, RequestId, Status, Text},
    trace::enrich::process::{nul_text, process_id, thread_comm},
};

/// Maximum number of entries. Each is a thread on its way to the security hook.
const LIMIT: usize = 1 << 16;

/// Entries without a request so far.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// The entry of each thread.
    open: BTreeMap<u32, Box<wire::Entered>>,
    /// Entries whose thread has left; resolved when it is known what was lost meanwhile.
    left: Vec<wire::Entered>,
    looks: RoundRobin<u32>,
}

impl Entries {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.left.is_empty()
    }

    /// The process of a thread, and when the thread entered.
    pub(super) fn thread(&self, tid: u32) -> Option<(ProcessId, u64)> {
        let header = &self.open.get(&tid)?.header;
        Some((process_id(&header.process), header.boot_ns))
    }

    /// The next threads to check, round-robin.
    pub(super) fn next_to_check(&mut self, limit: usize) -> Vec<u32> {
        let Self { open, looks, .. } = self;
        looks.next(limit, |range, count| open.range(range).map(|(tid, _)| *tid).take(count).collect())
    }

    /// Takes the entry that belongs to a request of this thread. An entry of another process that had the same thread id
    /// does not.
    fn take(&mut self, tid: u32, process: ProcessId, asked_ns: u64) -> Option<Box<wire::Entered>> {
        let (by, began_ns) = self.thread(tid).filter(|(_, began_ns)| *began_ns <= asked_ns)?;
        let entry = self.open.remove(&tid)?;
        if by == process {
            return Some(entry);
        }
        log::debug!("thread {tid}, which entered at {began_ns}, belonged to another process");
        self.left.push(*entry);
        None
    }

    /// Notes that a thread has left `__request_module`, and all its records were read.
    pub(super) fn thread_left(&mut self, id: RequestId) {
        if self.open.get(&id.tid).is_some_and(|entry| entry.header.boot_ns == id.boot_ns) {
            self.left.extend(self.open.remove(&id.tid).map(|entry| *entry));
        }
    }
}

impl<K: Environment> Tracker<K> {
    pub(super) fn on_entered(&mut self, record: Box<wire::Entered>) {
        let wire::Header { tid, boot_ns, process, .. } = record.header;
        if self.requests.has_begun(RequestId { boot_ns, tid })
            || self.entries.thread(tid).is_some_and(|(_, last_ns)| last_ns >= boot_ns)
        {
            self.count_late(tid);
            return;
        }
        self.requests.thread_calls_again(tid, process_id(&process), boot_ns);
        // The kernel checks for an empty kernel.modprobe before the length of the name.
        let ends_here = record.no_modprobe == 0 && is_too_long(format_name(&record).as_ref());
        self.entries.left.extend(self.entries.open.insert(tid, record).map(|overtaken| *overtaken));
        if ends_here && let Some(stopped) = self.entries.open.remove(&tid) {
            self.stopped_early(&stopped);
        }
        if self.entries.open.len() > LIMIT {
            // If its request arrives later, it only lacks its start time.
            self.entries.open.pop_first();
            self.loss(boot_ns, LossStage::Decode, "entries", 1);
        }
        if self.entries.left.len() > LIMIT {
            self.settle_entries();
        }
    }

    /// Takes the entry of a request.
    pub(super) fn entry_of(&mut self, record: &wire::Request) -> Option<Box<wire::Entered>> {
        let wire::Header { tid, boot_ns, process, .. } = record.header;
        self.entries.take(tid, process_id(&process), boot_ns)
    }

    /// Emits the entries that no request followed. If records were lost since, the request may be among these and is
    /// counted there.
    pub(super) fn settle_entries(&mut self) {
        for entered in std::mem::take(&mut self.entries.left) {
            if !self.may_be_lost(&entered) || is_too_long(format_name(&entered).as_ref()) {
                self.stopped_early(&entered);
            }
        }
    }

    /// Emits the remaining entries when the stream ends. If the programs stay attached, the next reader reports entries
    /// without a request.
    pub(super) fn entries_at_the_end(&mut self, is_continued: bool) {
        let open = std::mem::take(&mut self.entries.open);
        let (stopped, open): (Vec<_>, Vec<_>) =
            open.into_values().partition(|entered| is_too_long(format_name(entered).as_ref()));
        self.entries.left.extend(stopped.into_iter().map(|entered| *entered));
        self.settle_entries();
        for entered in open {
            if !is_continued && !self.may_be_lost(&entered) {
                let outcome = unseen("tracing ended before the request reached the security hook");
                self.emit_unfinished(&entered, outcome);
            }
        }
    }

    /// Whether its request may be among the lost records.
    fn may_be_lost(&self, entered: &wire::Entered) -> bool {
        self.last_loss_ns.is_some_and(|last_loss_ns| last_loss_ns >= entered.header.boot_ns)
    }

    /// Emits a thread that entered `__request_module` and did not reach the security hook.
    fn stopped_early(&mut self, entered: &wire::Entered) {
        let outcome = if is_too_long(format_name(entered).as_ref()) {
            Outcome {
                code: Some(-36),
                errno: Some("ENAMETOOLONG".to_owned()),
                detail: Some("the name is longer than a module name can be; nothing was loaded".to_owned()),
                ..Outcome::new(Status::Failed, Attribution::inferred("name-length"))
            }
        } else {
            unknown("the request did not reach the security hook")
        };
        self.emit_unfinished(entered, outcome);
    }

    /// Emits a request of which only the entry is known.
    fn emit_unfinished(&mut self, entered: &wire::Entered, outcome: Outcome) {
        let id = RequestId { boot_ns: entered.header.boot_ns, tid: entered.header.tid };
        let Some(retired) = self.requests.retire(id) else {
            self.count_late(id.tid);
            return;
        };
        let process = process_id(&entered.header.process);
        let request = Request {
            name: format_name(entered).unwrap_or_default(),
            wait: None,
            process: Process {
                pid: process.pid,
                tid: entered.header.tid,
                start_ns: process.start_ns,
                comm: nul_text(&entered.comm),
                thread_comm: thread_comm(&entered.comm, &entered.thread_comm),
                uid: entered.uid,
                euid: entered.uid,
                ..Process::default()
            },
            ancestors: Vec::new(),
            ancestors_truncated: true,
            syscall: None,
            syscall_abi: None,
            stack: Vec::new(),
            user_stack: Vec::new(),
            parent_request: None,
            parent_attribution: None,
            in_init: None,
            behalf: None,
            explanation: None,
            late: false,
            attribution: Attribution::exact(),
        };
        self.emit(entered.header.boot_ns, Some(id), Body::Request(Box::new(request)));
        self.emit_result(&retired, entered.header.boot_ns, outcome);
    }
}

/// `char module_name[MODULE_NAME_LEN]` of `__request_module` must hold the name and its NUL.
fn is_too_long(name: Option<&Text>) -> bool {
    name.is_some_and(|name| name.as_bytes().len() >= wire::MODULE_NAME_BYTES)
}
