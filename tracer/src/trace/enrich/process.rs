//! Converts a task in the wire format to the event model.

use tracer_ebpf::wire::{self, Argv, CgroupHierarchy, Context, Have, Owner, PathSegments, RequestKey, WalkEnd};

use super::{cgroup, users::Users};
use crate::{
    event::{Ancestor, Attribution, Behalf, Descent, Namespaces, Process, ProcessId, RequestId, Text},
    kernel::syscalls,
};

/// Padding after a process title: a program that rewrote its title leaves more than two empty arguments.
const PADDING_ARGUMENTS: usize = 2;

/// Converts a task. `users` supplies the name of its uid.
#[must_use]
pub fn process(context: &Context, users: &Users) -> Process {
    let have = |bit| context.have & bit != 0;
    let (exe, exe_truncated) = path(&context.exe);
    let (argv, argv_truncated) = if have(Have::ARGV) { argv(&context.argv) } else { (Vec::new(), false) };
    let hierarchy = CgroupHierarchy::of(context.have);
    let has_cgroup = have(Have::CGROUP) && hierarchy != CgroupHierarchy::Unknown;
    let cgroup = has_cgroup.then(|| path(&context.cgroup).0);
    let placement = cgroup.as_ref().map(|path| cgroup::place(path.as_bytes())).unwrap_or_default();
    let audit = |value: u32| (have(Have::AUDIT) && value != u32::MAX).then_some(value);
    Process {
        pid: context.process.pid,
        tid: context.tid,
        start_ns: context.process.start_ns,
        comm: nul_text(&context.comm),
        thread_comm: thread_comm(&context.comm, &context.thread_comm),
        exe: (have(Have::EXE) && context.exe.len != 0).then_some(exe),
        exe_truncated: have(Have::EXE) && exe_truncated,
        exe_deleted: have(Have::EXE_DELETED),
        argv,
        argv_truncated,
        kthread: have(Have::KTHREAD),
        io_worker: have(Have::IO_WORKER),
        uid: context.uid,
        euid: context.euid,
        user: users.name(context.uid).cloned(),
        gid: context.gid,
        loginuid: audit(context.loginuid),
        no_login: have(Have::AUDIT) && context.loginuid == u32::MAX,
        login_user: audit(context.loginuid).and_then(|uid| users.name(uid).cloned()),
        session: audit(context.session),
        caps: have(Have::CAPS).then(|| format!("{:016x}", context.caps_effective)),
        cgroup_id: has_cgroup.then_some(context.cgroup_id),
        cgroup_controller: hierarchy.controller().filter(|_| has_cgroup).map(str::to_owned),
        unit: placement.innermost_unit().map(str::to_owned),
        container: placement.container.map(|container| container.to_string()),
        pod: placement.pod,
        cgroup,
        ns: Namespaces { pid: context.ns_pid, mnt: context.ns_mnt, net: context.ns_net, user: context.ns_user },
        parent_changed: context.parent_changed != 0,
        in_command: false,
        generations: None,
        descent: None,
    }
}

/// Notes what a process descends from: the tracer, and if its list of ancestors is truncated, init or the kernel. That of a helper of a
/// known request is known.
pub fn describe_descent(process: &mut Process, truncated: bool, owner: &Owner) {
    process.in_command = owner.of_tracer != 0;
    if !truncated || request_id(&owner.request).is_some() {
        return;
    }
    process.generations = Some(owner.depth);
    process.descent = Some(match WalkEnd::of(owner.end) {
        WalkEnd::Top => Descent::Init,
        WalkEnd::Kthread => Descent::Kernel,
        WalkEnd::Cut | WalkEnd::Unreadable => Descent::Unknown,
    });
}

/// Ancestors of a task, nearest first, and whether the list is truncated.
#[must_use]
pub fn ancestors(context: &Context) -> (Vec<Ancestor>, bool) {
    let count = usize::try_from(context.ancestor_count).unwrap_or(usize::MAX);
    let ancestors = context.ancestors.iter().take(count).map(ancestor).collect();
    (ancestors, context.have & Have::ANCESTRY_WHOLE == 0)
}

fn ancestor(ancestor: &wire::Ancestor) -> Ancestor {
    let exe = nul_text(&ancestor.exe);
    Ancestor {
        pid: ancestor.process.pid,
        start_ns: ancestor.process.start_ns,
        comm: nul_text(&ancestor.comm),
        exe: (!exe.is_empty()).then_some(exe),
        script: None,
        script_line: None,
        uid: ancestor.uid,
        kthread: ancestor.kthread != 0,
    }
}

/// The system call of a task: its name, or `syscall_<number>`.
#[must_use]
pub fn syscall(context: &Context) -> Option<String> {
    let number = u32::try_from(context.syscall).ok()?;
    (context.have & Have::SYSCALL != 0).then(|| syscalls::name_here(number, context.have & Have::COMPAT != 0))
}

/// The ABI of a 32-bit system call of a task.
#[must_use]
pub fn syscall_abi(context: &Context) -> Option<String> {
    let number = u32::try_from(context.syscall).ok().filter(|_| context.have & Have::SYSCALL != 0)?;
    let (abi, _) = syscalls::call(number, context.have & Have::COMPAT != 0);
    abi?.compat_name().map(str::to_owned)
}

/// The id of a request; `None` if the record has none.
#[must_use]
pub fn request_id(key: &RequestKey) -> Option<RequestId> {
    let id = RequestId { boot_ns: key.boot_ns, tid: key.tid };
    (id.boot_ns != 0 || id.tid != 0).then_some(id)
}

/// Id and start time of a process.
#[must_use]
pub const fn process_id(key: &wire::ProcessKey) -> ProcessId {
    ProcessId { pid: key.pid, start_ns: key.start_ns }
}

/// The creator of a kernel thread that makes a request at `boot_ns`; `None` if unknown. Marked as inferred, since a thread may
/// serve others too.
#[must_use]
pub fn behalf(behalf: &wire::Behalf, boot_ns: u64) -> Option<Behalf> {
    (behalf.creator.pid != 0 && behalf.is_worker == 0).then(|| Behalf {
        pid: behalf.creator.pid,
        tid: behalf.tid,
        start_ns: behalf.creator.start_ns,
        comm: nul_text(&behalf.comm),
        thread_comm: thread_comm(&behalf.comm, &behalf.thread_comm),
        cgroup_id: (behalf.cgroup_id != 0).then_some(behalf.cgroup_id),
        in_command: behalf.owner.of_tracer != 0,
        age_ns: Some(boot_ns.saturating_sub(behalf.boot_ns)),
        request: request_id(&behalf.owner.request),
        attribution: Attribution::inferred("kthread-creator"),
    })
}

/// A path from its segments, and whether its beginning is missing; then it has no leading `/`.
#[must_use]
pub fn path(segments: &PathSegments) -> (Text, bool) {
    let bytes = clamped(&segments.bytes, segments.len);
    let mut names: Vec<&[u8]> = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.reverse();
    let truncated = segments.truncated != 0;
    let mut path = names.join(&b'/');
    if !truncated {
        path.insert(0, b'/');
    }
    (Text::from(path.as_slice()), truncated)
}

/// Arguments, and whether they are truncated.
#[must_use]
pub fn argv(argv: &Argv) -> (Vec<Text>, bool) {
    let bytes = clamped(&argv.bytes, argv.len);
    let truncated = usize::try_from(argv.total).is_ok_and(|total| total > bytes.len());
    if bytes.is_empty() {
        return (Vec::new(), truncated);
    }
    // Each argument ends with NUL, except the last one of a truncated area.
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let mut arguments: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let empty = arguments.iter().rev().take_while(|argument| argument.is_empty()).count();
    if empty > PADDING_ARGUMENTS {
        arguments.truncate(arguments.len() - empty);
    }
    (arguments.into_iter().map(Text::from).collect(), truncated)
}

/// The name of a thread, if it differs from that of its process.
#[must_use]
pub fn thread_comm(process: &[u8], thread: &[u8]) -> Option<Text> {
    let thread = nul_text(thread);
    (!thread.is_empty() && thread != nul_text(process)).then_some(thread)
}

/// Text up to the first NUL, or all of it.
#[must_use]
pub fn nul_text(bytes: &[u8]) -> Text {
    Text::from(bytes.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// The used bytes; a length beyond the array is clamped.
fn clamped(bytes: &[u8], len: u32) -> &[u8] {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    bytes.get(..len).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use tracer_ebpf::wire::{self, Argv, CgroupHierarchy, Context, Have, Owner, PathSegments, RequestKey, WalkEnd};
    use zerocopy::{FromBytes, FromZeros};

    use super::{ancestors, argv, behalf, describe_descent, nul_text, path, process, request_id, syscall, thread_comm};
    use crate::{
        event::{Descent, Process, Text},
        trace::enrich::users::Users,
    };

    fn segments(bytes: &[u8], truncated: u32) -> PathSegments {
        let mut segments = PathSegments::new_zeroed();
        segments.bytes[..bytes.len()].copy_from_slice(bytes);
        segments.len = u32::try_from(bytes.len()).unwrap();
        segments.truncated = truncated;
        segments
    }

    fn arguments(bytes: &[u8], total: u32) -> Argv {
        let mut argv = Argv::new_zeroed();
        argv.bytes[..bytes.len()].copy_from_slice(bytes);
        argv.len = u32::try_from(bytes.len()).unwrap();
        argv.total = total;
        argv
    }

    fn no_name() -> Users {
        Users::new(Path::new("/nonexistent"))
    }

    /// Segments are stored leaf first; a truncated path has no leading `/`.
    #[test]
    fn path_segments_are_joined_from_the_root() {
        assert_eq!(path(&segments(b"iptables\0sbin\0usr\0", 0)), (Text::from("/usr/sbin/iptables"), false));
        assert_eq!(path(&segments(b"iptables\0sbin\0", 1)), (Text::from("sbin/iptables"), true));
        assert_eq!(path(&segments(b"", 0)), (Text::from("/"), false));
        assert_eq!(path(&segments(b"a\0b", 0)), (Text::from("/b/a"), false));
    }

    /// Empty arguments are kept, padding is removed, and truncation is reported.
    #[test]
    fn arguments_keep_boundaries_and_report_truncation() {
        let texts = |list: &[&str]| list.iter().map(|text| Text::from(*text)).collect::<Vec<_>>();
        assert_eq!(argv(&arguments(b"iptables\0-t\0nat\0-L\0", 19)), (texts(&["iptables", "-t", "nat", "-L"]), false));
        assert_eq!(argv(&arguments(b"echo\0\0x\0\0", 9)), (texts(&["echo", "", "x", ""]), false));
        assert_eq!(argv(&arguments(b"sshd: ada\0\0\0\0\0", 14)), (texts(&["sshd: ada"]), false));
        assert_eq!(argv(&arguments(b"long\0argum", 4000)), (texts(&["long", "argum"]), true));
        assert_eq!(argv(&arguments(b"", 0)), (Vec::new(), false));
    }

    /// Values that were not captured are `None`, not zero.
    #[test]
    fn uncaptured_value_is_none() {
        let mut context = Context::new_zeroed();
        context.exe = segments(b"sh\0", 0);
        context.argv = arguments(b"sh\0", 3);
        let bare = process(&context, &no_name());
        assert_eq!((bare.exe, bare.caps, bare.cgroup, bare.cgroup_id), (None, None, None, None));
        assert_eq!((bare.loginuid, bare.session, bare.unit, bare.container), (None, None, None, None));
        assert!(bare.argv.is_empty() && !bare.kthread);
        assert_eq!(syscall(&context), None);

        context.have = Have::AUDIT | Have::CAPS | Have::SYSCALL | Have::EXE | Have::ARGV | Have::CGROUP;
        context.cgroup = segments(b"ssh.service\0system.slice\0", 0);
        context.session = u32::MAX;
        let full = process(&context, &no_name());
        assert_eq!((full.exe, full.argv.len()), (Some(Text::from("/sh")), 1));
        assert_eq!((full.loginuid, full.session), (Some(0), None));
        assert_eq!(full.caps.as_deref(), Some("0000000000000000"));
        assert_eq!(full.unit.as_deref(), Some("ssh.service"));
        assert!(syscall(&context).is_some());
    }

    /// A path in a v1 hierarchy names its controller, and one in an unknown hierarchy means nothing.
    #[test]
    fn cgroup_names_its_hierarchy() {
        let id = "0".repeat(64);
        let mut context = Context::new_zeroed();
        context.cgroup = segments(format!("{id}\0pod0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9\0kubepods\0").as_bytes(), 0);
        context.cgroup_id = 7;
        for (hierarchy, controller) in [
            (CgroupHierarchy::V2, None),
            (CgroupHierarchy::Pids, Some("pids")),
            (CgroupHierarchy::Memory, Some("memory")),
        ] {
            context.have = Have::CGROUP | hierarchy.bits();
            let placed = process(&context, &no_name());
            assert_eq!((placed.cgroup_controller.as_deref(), placed.cgroup_id), (controller, Some(7)));
            assert_eq!(placed.pod.as_deref(), Some("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"));
            assert_eq!(placed.container, Some(format!("kubernetes:{id}")));
        }
        context.have = Have::CGROUP | CgroupHierarchy::Unknown.bits();
        let unplaced = process(&context, &no_name());
        assert_eq!((unplaced.cgroup, unplaced.cgroup_id, unplaced.cgroup_controller), (None, None, None));
        assert_eq!((unplaced.container, unplaced.pod), (None, None));
    }

    /// A request id of zeros is `None`, and a kernel thread with an unknown creator acts for no process.
    #[test]
    fn zero_request_and_creator_are_none() {
        assert_eq!(request_id(&RequestKey::NONE), None);
        assert_eq!(behalf(&wire::Behalf::new_zeroed(), 1), None);
    }

    /// A thread created by a worker of a workqueue acts for no known process, and an old thread for anyone.
    #[test]
    fn old_thread_and_thread_of_a_worker_act_for_no_known_process() {
        let mut wire = wire::Behalf::new_zeroed();
        wire.creator.pid = 7;
        wire.boot_ns = 1_000;
        let young = behalf(&wire, 2_000).unwrap();
        assert!(young.is_recent() && young.age_ns == Some(1_000));
        assert!(!behalf(&wire, 60_000_000_000).unwrap().is_recent());
        wire.is_worker = 0x20;
        assert_eq!(behalf(&wire, 2_000), None);
    }

    /// The descent is noted for a truncated list of ancestors only, that of the command always.
    #[test]
    fn descent_from_the_tracer_is_always_noted() {
        let owner = Owner { depth: 40, of_tracer: 1, end: WalkEnd::Cut as u32, ..Owner::NONE };
        let mut found = Process::default();
        describe_descent(&mut found, false, &owner);
        assert_eq!((found.in_command, found.generations, found.descent), (true, None, None));
        describe_descent(&mut found, true, &Owner { of_tracer: 0, ..owner });
        assert_eq!((found.in_command, found.generations, found.descent), (false, Some(40), Some(Descent::Unknown)));
    }

    /// A thread has a name of its own only if it differs from that of the process.
    #[test]
    fn thread_name_is_kept_only_if_it_differs() {
        assert_eq!(thread_comm(b"thr\0", b"pool-worker\0"), Some(Text::from("pool-worker")));
        assert_eq!(thread_comm(b"thr\0xx", b"thr\0yy"), None);
        assert_eq!(thread_comm(b"thr\0", b"\0"), None);
    }

    /// Text ends at the first NUL, or at the end of the array.
    #[test]
    fn text_with_nul_ends_there() {
        assert_eq!(nul_text(b"can\0junk"), Text::from("can"));
        assert_eq!(nul_text(b"full"), Text::from("full"));
        assert_eq!(nul_text(b""), Text::default());
    }

    proptest! {
        /// Any bytes are a valid context, and every list stays within its limit.
        #[test]
        fn any_bytes_as_context_stay_within_limits(seed in proptest::collection::vec(any::<u8>(), 64), have in any::<u32>()) {
            let bytes: Vec<u8> = seed.iter().copied().cycle().take(size_of::<Context>()).collect();
            let mut context = Context::read_from_bytes(&bytes).unwrap();
            context.have = have;
            let process = process(&context, &no_name());
            prop_assert!(process.argv.iter().map(|text| text.as_bytes().len()).sum::<usize>() <= wire::ARGV_BYTES);
            prop_assert!(process.comm.as_bytes().len() <= wire::COMM_BYTES);
            prop_assert!(ancestors(&context).0.len() <= wire::ANCESTORS);
            let _ = syscall(&context);
        }

        /// A path in the wire format is converted without loss.
        #[test]
        fn path_in_wire_format_is_restored(names in proptest::collection::vec("[^/\0]{1,20}", 1..8)) {
            let mut bytes = Vec::new();
            for name in names.iter().rev() {
                bytes.extend_from_slice(name.as_bytes());
                bytes.push(0);
            }
            prop_assume!(bytes.len() <= wire::PATH_BYTES);
            prop_assert_eq!(path(&segments(&bytes, 0)).0, Text::from(format!("/{}", names.join("/"))));
        }

        /// Any length is clamped to the array.
        #[test]
        fn any_length_is_clamped_to_the_array(len in any::<u32>(), total in any::<u32>(), byte in any::<u8>()) {
            let argv_wire = Argv { len, total, bytes: [byte; wire::ARGV_BYTES] };
            let (arguments, _) = argv(&argv_wire);
            prop_assert!(arguments.iter().map(|text| text.as_bytes().len()).sum::<usize>() <= wire::ARGV_BYTES);
            let (text, _) = path(&PathSegments { len, truncated: total, bytes: [byte; wire::PATH_BYTES] });
            prop_assert!(text.as_bytes().len() <= wire::PATH_BYTES + 1);
        }
    }
}
