//! The privileges of this process, and what is mounted.

use super::Finding;
use crate::kernel::{
    FactError,
    facts::Facts,
    file::read,
    privileges::{Capabilities, Capability},
    process::has_global_ids_in,
};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mounts = read(facts.root(), "proc/self/mounts", "mount it with `mount -t proc proc /proc`");
    vec![
        capabilities(facts),
        perf(facts),
        unprivileged_bpf(facts),
        bpffs(&mounts),
        cgroup(&mounts),
        pid_namespace(facts),
    ]
}

/// Capabilities that are missing for attaching the hooks; `None` if all are there or unknown.
pub(super) fn missing(facts: &Facts) -> Option<String> {
    // If they cannot be read, the kernel decides.
    let own = Capabilities::effective(facts.root()).ok()?;
    let missing = own.missing(&[Capability::Bpf, Capability::Perfmon]);
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn capabilities(facts: &Facts) -> Finding {
    const CHECK: &str = "capabilities";
    let own = match Capabilities::effective(facts.root()) {
        Ok(own) => own,
        Err(error) => return Finding::unknown(CHECK, &error, "whether tracing is permitted is seen by trying only"),
    };
    let missing = own.missing(&[Capability::Bpf, Capability::Perfmon]);
    if missing.is_empty() {
        return Finding::ok(CHECK, format!("CAP_BPF and CAP_PERFMON are there (effective: {:#x})", own.bits));
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
fn perf(facts: &Facts) -> Finding {
    const CHECK: &str = "perf-event-paranoid";
    let value = match facts.perf_event_paranoid() {
        Ok(value) => value,
        Err(error) => return Finding::unknown(CHECK, &error, "whether kprobes can be attached is seen by trying only"),
    };
    let admin = Capabilities::effective(facts.root()).is_ok_and(|own| own.has(Capability::SysAdmin));
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

fn unprivileged_bpf(facts: &Facts) -> Finding {
    const CHECK: &str = "unprivileged-bpf";
    match facts.unprivileged_bpf_disabled() {
        Ok(0) => Finding::ok(CHECK, "kernel.unprivileged_bpf_disabled is 0: anyone may load simple programs"),
        Ok(value) => Finding::ok(CHECK, format!("kernel.unprivileged_bpf_disabled is {value}")),
        Err(error) => Finding::unknown(CHECK, &error, "whether the kernel has bpf() is seen by trying only"),
    }
}

fn is_mounted(mounts: &str, kind: &str, at: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(at) && words.next() == Some(kind)
    })
}

fn bpffs(mounts: &Result<String, FactError>) -> Finding {
    match mounts {
        Err(error) => Finding::unknown("bpffs", error, "nothing that tracing needs"),
        Ok(mounts) if is_mounted(mounts, "bpf", "/sys/fs/bpf") => Finding::ok("bpffs", "mounted at /sys/fs/bpf"),
        Ok(_) => Finding::note(
            "bpffs",
            "not mounted",
            "BPF programs cannot be pinned; tracing does not need it",
            "`mount -t bpf bpf /sys/fs/bpf`",
        ),
    }
}

fn cgroup(mounts: &Result<String, FactError>) -> Finding {
    const COSTS: &str = "`run` follows its command by ancestry alone: what detaches itself (daemons) is missed";
    match mounts {
        Err(error) => Finding::unknown("cgroup2", error, COSTS),
        Ok(mounts) if is_mounted(mounts, "cgroup2", "/sys/fs/cgroup") => {
            Finding::ok("cgroup2", "mounted at /sys/fs/cgroup")
        }
        Ok(_) => Finding::problem(
            "cgroup2",
            "not mounted at /sys/fs/cgroup",
            COSTS,
            "boot with systemd.unified_cgroup_hierarchy=1, or `mount -t cgroup2 none /sys/fs/cgroup`",
        )
        .limiting(),
    }
}

fn pid_namespace(facts: &Facts) -> Finding {
    if has_global_ids_in(facts.root()) {
        return Finding::ok("pid-namespace", "the initial one: process ids are those of the kernel");
    }
    Finding::problem(
        "pid-namespace",
        "not the initial one, as in a container or under WSL: process ids differ from those of the kernel",
        "`run` needs a cgroup of its own and judges no policy; requests that wait for a place or lost their record end later",
        "run the container with --pid=host, or kmodtrace by `nsenter -t 1 -a` from the host",
    )
    .limiting()
}

#[cfg(test)]
mod tests {
    use super::{check, is_mounted, missing};
    use crate::{
        doctor::{Finding, Level},
        kernel::facts::Facts,
    };

    fn system(files: &[(&str, &str)]) -> (tempfile::TempDir, Facts) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let facts = Facts::new(root.path());
        (root, facts)
    }

    fn finding(name: &str, files: &[(&str, &str)]) -> Finding {
        let (_root, facts) = system(files);
        check(&facts).into_iter().find(|finding| finding.check == name).unwrap()
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
        let (_root, facts) = system(&[("proc/self/status", &status(0))]);
        assert_eq!(missing(&facts).as_deref(), Some("CAP_BPF, CAP_PERFMON"));
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
            let (root, facts) = system(&[("proc/self/ns/mnt", "")]);
            std::os::unix::fs::symlink(namespace, root.path().join("proc/self/ns/pid")).unwrap();
            let found = check(&facts).into_iter().find(|finding| finding.check == "pid-namespace").unwrap();
            assert_eq!(found.level, level, "{namespace}");
        }
    }

    /// Only a mount of the right type at the right path counts.
    #[test]
    fn mount_of_another_kind_does_not_count() {
        let mounts = "none /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n";
        assert!(is_mounted(mounts, "bpf", "/sys/fs/bpf"));
        assert!(!is_mounted(mounts, "cgroup2", "/sys/fs/cgroup"));
        let hybrid = finding("cgroup2", &[("proc/self/mounts", mounts)]);
        assert!(hybrid.level == Level::Problem && hybrid.limits_tracing);
        assert_eq!(finding("bpffs", &[("proc/self/mounts", mounts)]).level, Level::Ok);
        assert_eq!(finding("bpffs", &[]).level, Level::Note, "unknown is not fine");
    }
}
