//! What made a module load that no request asked for.

use crate::event::{Ancestor, Attribution, Origin, Process, Text};

/// Decides the origin of a load by a task that works for no known request.
///
/// `walk_cut`: the kernel side could not follow the parents to their end.
pub(super) fn of_load(
    process: &Process,
    ancestors: &[Ancestor],
    truncated: bool,
    walk_cut: bool,
) -> (Origin, Attribution) {
    if is_udev(process, ancestors) {
        return (Origin::Udev, Attribution::exact());
    }
    // A usermode helper descends from a kernel thread. One whose request was not seen has no known cause.
    let of_kernel = ancestors.iter().any(|ancestor| ancestor.kthread || ancestor.pid == 2);
    if of_kernel || walk_cut || (truncated && ancestors.is_empty()) {
        return (Origin::Unknown, Attribution::unknown());
    }
    (Origin::Explicit, Attribution::exact())
}

/// The unit that udev runs in, under systemd.
const UNIT: &str = "systemd-udevd.service";

/// udev's manager or a worker of it: by executable, since workers rename themselves.
fn is_udev(process: &Process, ancestors: &[Ancestor]) -> bool {
    let udev = |name: &[u8]| name == b"systemd-udevd" || name == b"udevadm" || name == b"udevd";
    let base = |path: &Text| path.as_bytes().rsplit(|byte| *byte == b'/').next().is_some_and(udev);
    // udevadm is also a command for people; the daemon is a child of init or of itself.
    let own = process.exe.as_ref().is_some_and(base);
    let by_parent = ancestors.first().is_some_and(|parent| parent.pid == 1 || parent.exe.as_ref().is_some_and(base));
    // Any program may be called so and be left to init. Where there is systemd, it says whose work a process does.
    let elsewhere = process.unit.as_deref().is_some_and(|unit| unit != UNIT);
    own && by_parent && !elsewhere
}

#[cfg(test)]
mod tests {
    use super::of_load;
    use crate::event::{Ancestor, Certainty, Origin, Process, Text};

    fn process(exe: &str) -> Process {
        Process { pid: 100, exe: Some(Text::from(exe)), ..Process::default() }
    }

    fn parent(pid: u32, exe: &str, kthread: bool) -> Ancestor {
        Ancestor { pid, exe: Some(Text::from(exe)), kthread, ..Ancestor::default() }
    }

    /// Check that a shell's modprobe is explicit, udev's worker is udev, a stray helper unknown.
    #[test]
    fn origins() {
        let shell = [parent(50, "bash", false), parent(1, "systemd", false)];
        assert_eq!(of_load(&process("/usr/bin/kmod"), &shell, false, false).0, Origin::Explicit);
        let worker = [parent(200, "systemd-udevd", false), parent(1, "systemd", false)];
        assert_eq!(of_load(&process("/usr/lib/systemd/systemd-udevd"), &worker, false, false).0, Origin::Udev);
        let manager = [parent(1, "systemd", false)];
        assert_eq!(of_load(&process("/usr/bin/udevadm"), &manager, false, false).0, Origin::Udev);
        assert_eq!(of_load(&process("/usr/bin/udevadm"), &shell, false, false).0, Origin::Explicit);
        let helper = [parent(30, "", true), parent(2, "", true)];
        let (origin, attribution) = of_load(&process("/usr/bin/kmod"), &helper, false, false);
        assert_eq!((origin, attribution.attribution), (Origin::Unknown, Certainty::Unknown));
    }

    /// Check that a program of udev's name is not udev where it runs in another unit.
    #[test]
    fn another_unit_is_not_udev() {
        let manager = [parent(1, "systemd", false)];
        let in_unit = |unit: &str| Process { unit: Some(unit.to_owned()), ..process("/tmp/udevadm") };
        let origin = |unit| of_load(&in_unit(unit), &manager, false, false).0;
        assert_eq!(origin("systemd-udevd.service"), Origin::Udev);
        assert_eq!(origin("cron.service"), Origin::Explicit);
    }

    /// Check that a walk that could not be finished claims nothing.
    #[test]
    fn a_cut_walk_is_unknown() {
        let shell = [parent(50, "bash", false)];
        assert_eq!(of_load(&process("/usr/bin/kmod"), &shell, true, true).0, Origin::Unknown);
    }
}
