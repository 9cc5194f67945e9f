//! The privileges of this process, and what is mounted.

use tracer_ebpf::wire::CgroupHierarchy;

use super::Finding;
use crate::kernel::{
    ReadError, cgroup,
    file::read,
    privileges::{Capabilities, Capability},
    process::has_global_ids_in,
    sysinfo::SystemInfo,
};

pub(super) fn check(sysinfo: &SystemInfo) -> Vec<Finding> {
    let mounts = read(sysinfo.root(), "proc/self/mounts", "mount it with `mount -t proc proc /proc`");
    vec![
        capabilities(sysinfo),
        perf(sysinfo),
        unprivileged_bpf(sysinfo),
        bpffs(&mounts),
        cgroup(sysinfo, &mounts),
        pid_namespace(sysinfo),
    ]
}

/// Capabilities that are missing for attaching the hooks; `None` if all are there or unknown.
pub(super) fn missing(sysinfo: &SystemInfo) -> Option<String> {
    // If the capabilities are unknown, loading is tried.
    let own = Capabilities::effective(sysinfo.root()).ok()?;
    let missing = own.missing(&[Capability::Bpf, Capability::Perfmon]);
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn capabilities(sysinfo: &SystemInfo) -> Finding {
    const CHECK: &str = "capabilities";
    let own = match Capabilities::effective(sysinfo.root()) {
        Ok(own) => own,
        Err(error) => return Finding::unknown(CHECK, &error, "it is unknown whether tracing is permitted"),
    };
    let missing = own.missing(&[Capability::Bpf, Capability::Perfmon]);
    if missing.is_empty() {
        return Finding::ok(CHECK, format!("CAP_BPF and CAP_PERFMON are effective ({:#x})", own.bits));
    }
    Finding::problem(
        CHECK,
        format!("missing: {}", missing.join(", ")),
        "nothing can be traced",
        "run `sudo kmodtrace ...`",
    )
    .limiting()
}

/// Debian and derived distributions deny perf events to all users except root from 3 on; kprobes are attached through
/// them.
fn perf(sysinfo: &SystemInfo) -> Finding {
    const CHECK: &str = "perf-event-paranoid";
    let value = match sysinfo.perf_event_paranoid() {
        Ok(value) => value,
        Err(error) => return Finding::unknown(CHECK, &error, "it is unknown whether kprobes can be attached"),
    };
    let admin = Capabilities::effective(sysinfo.root()).is_ok_and(|own| own.has(Capability::SysAdmin));
    if value < 3 || admin {
        return Finding::ok(CHECK, format!("kernel.perf_event_paranoid is {value}"));
    }
    Finding::note(
        CHECK,
        format!("kernel.perf_event_paranoid is {value}"),
        "without CAP_SYS_ADMIN the kernel may refuse to attach kprobes",
        "run as root, or set `sysctl kernel.perf_event_paranoid=2`",
    )
}

fn unprivileged_bpf(sysinfo: &SystemInfo) -> Finding {
    const CHECK: &str = "unprivileged-bpf";
    match sysinfo.unprivileged_bpf_disabled() {
        Ok(0) => Finding::ok(CHECK, "kernel.unprivileged_bpf_disabled is 0: any user can load simple programs"),
        Ok(value) => Finding::ok(CHECK, format!("kernel.unprivileged_bpf_disabled is {value}")),
        Err(error) => Finding::unknown(CHECK, &error, "it is unknown whether the kernel has bpf()"),
    }
}

fn is_mounted(mounts: &str, kind: &str, at: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(at) && words.next() == Some(kind)
    })
}

fn bpffs(mounts: &Result<String, ReadError>) -> Finding {
    match mounts {
        Err(error) => Finding::unknown("bpffs", error, "tracing is not affected"),
        Ok(mounts) if is_mounted(mounts, "bpf", "/sys/fs/bpf") => Finding::ok("bpffs", "mounted at /sys/fs/bpf"),
        Ok(_) => Finding::note(
            "bpffs",
            "not mounted",
            "BPF programs cannot be pinned; tracing is not affected",
            "`mount -t bpf bpf /sys/fs/bpf`",
        ),
    }
}

fn cgroup(sysinfo: &SystemInfo, mounts: &Result<String, ReadError>) -> Finding {
    const CHECK: &str = "cgroup";
    const COSTS: &str = "`run` follows its command by ancestry only, and misses daemons that detach from it";
    const UNIFIED: &str = "boot with systemd.unified_cgroup_hierarchy=1";
    let hierarchy = cgroup::hierarchy_of(sysinfo.root());
    let (mounts, is_v1) = match (mounts, hierarchy.controller()) {
        (Err(error), _) => return Finding::unknown(CHECK, error, COSTS),
        (Ok(_), None) if hierarchy == CgroupHierarchy::Unknown => {
            return Finding::problem(
                CHECK,
                "cgroup v1 without the controllers pids and memory",
                "the cgroup, unit and container of a process are unknown; `run` judges no policy",
                UNIFIED,
            )
            .limiting();
        }
        (Ok(mounts), controller) => (mounts, controller.is_some()),
    };
    let wanted = |line: &str| {
        let mut words = line.split(' ').skip(2);
        let (kind, options) = (words.next(), words.next().unwrap_or_default());
        match hierarchy.controller() {
            Some(controller) => kind == Some("cgroup") && options.split(',').any(|option| option == controller),
            None => kind == Some("cgroup2"),
        }
    };
    let place = mounts.lines().find(|line| wanted(line)).and_then(|line| line.split(' ').nth(1));
    let name = hierarchy
        .controller()
        .map_or("cgroup v2".to_owned(), |controller| format!("cgroup v1, controller {controller}"));
    match place {
        Some(place) if is_v1 => Finding::note(
            CHECK,
            format!("{name}, mounted at {place}"),
            "units without limits or accounting for that controller, and all units of users, are unknown",
            UNIFIED,
        ),
        Some(place) => Finding::ok(CHECK, format!("{name}, mounted at {place}")),
        None => Finding::problem(
            CHECK,
            format!("{name}, not mounted"),
            COSTS,
            if is_v1 { "mount the hierarchy below /sys/fs/cgroup" } else { "`mount -t cgroup2 none /sys/fs/cgroup`" },
        )
        .limiting(),
    }
}

fn pid_namespace(sysinfo: &SystemInfo) -> Finding {
    if has_global_ids_in(sysinfo.root()) {
        return Finding::ok("pid-namespace", "the initial one: process ids are those of the kernel");
    }
    Finding::problem(
        "pid-namespace",
        "not the initial one, as in a container or under WSL: process ids differ from those of the kernel",
        "requests that wait for a place or lost their record end later, and scripts are not named",
        "run the container with --pid=host, or kmodtrace by `nsenter -t 1 -a` from the host",
    )
    .limiting()
}

#[cfg(test)]
mod tests {
    use super::{check, is_mounted, missing};
    use crate::{
        doctor::{Finding, Level},
        kernel::sysinfo::tests::tree as system,
    };

    fn finding(name: &str, files: &[(&str, &str)]) -> Finding {
        let (_root, sysinfo) = system(files);
        check(&sysinfo).into_iter().find(|finding| finding.check == name).unwrap()
    }

    fn status(bits: u64) -> String {
        format!("Name:\tx\nCapEff:\t{bits:016x}\n")
    }

    /// Root and CAP_BPF with CAP_PERFMON are sufficient, one of the two alone is not.
    #[test]
    fn missing_capability_prevents_tracing() {
        let level = |bits| finding("capabilities", &[("proc/self/status", &status(bits))]).level;
        assert_eq!(level(1 << 21), Level::Ok);
        assert_eq!(level(1 << 38 | 1 << 39), Level::Ok);
        assert_eq!(level(1 << 39), Level::Problem);
        let (_root, sysinfo) = system(&[("proc/self/status", &status(0))]);
        assert_eq!(missing(&sysinfo).as_deref(), Some("CAP_BPF, CAP_PERFMON"));
    }

    /// The strictest setting only affects processes without CAP_SYS_ADMIN.
    #[test]
    fn perf_event_paranoid_affects_unprivileged_only() {
        let level = |value: &str, bits| {
            let files = [("proc/sys/kernel/perf_event_paranoid", value), ("proc/self/status", &status(bits))];
            finding("perf-event-paranoid", &files).level
        };
        assert_eq!(level("3\n", 1 << 38 | 1 << 39), Level::Note);
        assert_eq!(level("3\n", 1 << 21), Level::Ok);
        assert_eq!(level("2\n", 0), Level::Ok);
    }

    /// A pid namespace other than the initial one is a problem.
    #[test]
    fn pid_namespace_is_a_problem_unless_initial() {
        for (namespace, level) in [("pid:[4026531836]", Level::Ok), ("pid:[4026532177]", Level::Problem)] {
            let (root, sysinfo) = system(&[("proc/self/ns/mnt", "")]);
            std::os::unix::fs::symlink(namespace, root.path().join("proc/self/ns/pid")).unwrap();
            let found = check(&sysinfo).into_iter().find(|finding| finding.check == "pid-namespace").unwrap();
            assert_eq!(found.level, level, "{namespace}");
        }
    }

    /// Only a mount of the right type at the right path counts.
    #[test]
    fn mount_of_another_kind_does_not_count() {
        let mounts = "none /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n";
        assert!(is_mounted(mounts, "bpf", "/sys/fs/bpf"));
        assert!(!is_mounted(mounts, "cgroup2", "/sys/fs/cgroup"));
        assert_eq!(finding("bpffs", &[("proc/self/mounts", mounts)]).level, Level::Ok);
        assert_eq!(finding("bpffs", &[]).level, Level::Note, "unknown is not ok");
    }

    /// The hierarchy that places processes must be mounted. That of cgroup v1 lacks units, and without pids and memory all.
    #[test]
    fn cgroup_hierarchy_in_use_must_be_mounted() {
        const V2: &str = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        const V1: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n";
        for (own, mounts, level) in [
            ("0::/\n", V2, Level::Ok),
            ("0::/\n", "", Level::Problem),
            ("3:pids:/\n0::/\n", V1, Level::Note),
            ("3:pids:/\n0::/\n", V2, Level::Problem),
            ("3:freezer:/\n", V1, Level::Problem),
        ] {
            let found = finding("cgroup", &[("proc/self/cgroup", own), ("proc/self/mounts", mounts)]);
            assert_eq!(found.level, level, "{own}{mounts}");
            assert_eq!(found.limits_tracing, level == Level::Problem);
        }
    }
}
