//! The origin of a load that belongs to no request.

use tracer_ebpf::wire::WalkEnd;

use crate::event::{Ancestor, Attribution, Origin, Process, Text};

/// Classifies a load by a task that acts for no known request. `end`: where the walk up its parents ended.
pub(super) fn of_load(process: &Process, ancestors: &[Ancestor], end: WalkEnd) -> (Origin, Attribution) {
    if is_udev(process, ancestors) {
        return (Origin::Udev, Attribution::exact());
    }
    // A usermode helper descends from a kernel thread. If its request was not seen, the cause is unknown. It is unknown, too,
    // if the descent of the process is unknown.
    let of_kernel = ancestors.iter().any(|ancestor| ancestor.kthread || ancestor.pid == 2);
    match end {
        WalkEnd::Top if !of_kernel => (Origin::Explicit, Attribution::exact()),
        _ => (Origin::Unknown, Attribution::unknown()),
    }
}

/// The unit of udev under systemd.
const UNIT: &str = "systemd-udevd.service";

/// Whether a process is udev's manager or one of its workers. Matched by executable, since workers rename themselves.
fn is_udev(process: &Process, ancestors: &[Ancestor]) -> bool {
    let udev = |name: &[u8]| name == b"systemd-udevd" || name == b"udevadm" || name == b"udevd";
    let base = |path: &Text| path.as_bytes().rsplit(|byte| *byte == b'/').next().is_some_and(udev);
    // udevadm is also a user command; the daemon is a child of init or of itself.
    let own = process.exe.as_ref().is_some_and(base);
    let by_parent = ancestors.first().is_some_and(|parent| parent.pid == 1 || parent.exe.as_ref().is_some_and(base));
    // Any program can have this name and be reparented to init. Under systemd, the unit decides.
    let elsewhere = process.unit.as_deref().is_some_and(|unit| unit != UNIT);
    own && by_parent && !elsewhere
}

#[cfg(test)]
mod tests {
    use tracer_ebpf::wire::WalkEnd;

    use super::of_load;
    use crate::event::{Ancestor, Certainty, Origin, Process, Text};

    fn process(exe: &str) -> Process {
        Process { pid: 100, exe: Some(Text::from(exe)), ..Process::default() }
    }

    fn parent(pid: u32, exe: &str, kthread: bool) -> Ancestor {
        Ancestor { pid, exe: Some(Text::from(exe)), kthread, ..Ancestor::default() }
    }

    /// A modprobe started by a shell is explicit, a udev worker is udev, and a helper without a request is unknown.
    #[test]
    fn load_without_request_is_classified_by_ancestry() {
        let shell = [parent(50, "bash", false), parent(1, "systemd", false)];
        assert_eq!(of_load(&process("/usr/bin/kmod"), &shell, WalkEnd::Top).0, Origin::Explicit);
        let worker = [parent(200, "systemd-udevd", false), parent(1, "systemd", false)];
        assert_eq!(of_load(&process("/usr/lib/systemd/systemd-udevd"), &worker, WalkEnd::Top).0, Origin::Udev);
        let manager = [parent(1, "systemd", false)];
        assert_eq!(of_load(&process("/usr/bin/udevadm"), &manager, WalkEnd::Top).0, Origin::Udev);
        assert_eq!(of_load(&process("/usr/bin/udevadm"), &shell, WalkEnd::Top).0, Origin::Explicit);
        let helper = [parent(30, "", true), parent(2, "", true)];
        let (origin, attribution) = of_load(&process("/usr/bin/kmod"), &helper, WalkEnd::Top);
        assert_eq!((origin, attribution.attribution), (Origin::Unknown, Certainty::Unknown));
    }

    /// A program with udev's name in another unit is not udev.
    #[test]
    fn udev_name_in_another_unit_is_explicit() {
        let manager = [parent(1, "systemd", false)];
        let in_unit = |unit: &str| Process { unit: Some(unit.to_owned()), ..process("/tmp/udevadm") };
        let origin = |unit| of_load(&in_unit(unit), &manager, WalkEnd::Top).0;
        assert_eq!(origin("systemd-udevd.service"), Origin::Udev);
        assert_eq!(origin("cron.service"), Origin::Explicit);
    }

    /// The end of the walk decides, not the length of the list of ancestors.
    #[test]
    fn origin_follows_from_the_end_of_the_walk() {
        let shell = [parent(50, "bash", false)];
        let origin = |end| of_load(&process("/usr/bin/kmod"), &shell, end).0;
        assert_eq!(origin(WalkEnd::Top), Origin::Explicit);
        for end in [WalkEnd::Kthread, WalkEnd::Cut, WalkEnd::Unreadable] {
            assert_eq!(origin(end), Origin::Unknown, "{end:?}");
        }
    }
}
