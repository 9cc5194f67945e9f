//! Whether the flight recorder (`record --pin`) can keep programs attached.

use super::Finding;
use crate::kernel::{btf::Btf, file::read, sysinfo::SystemInfo};

const CHECK: &str = "flight-recorder";

pub(super) fn check(sysinfo: &SystemInfo) -> Finding {
    let has_bpffs = read(sysinfo.root(), "proc/mounts", "mount /proc").is_ok_and(|mounts| has_bpffs(&mounts));
    if !has_bpffs {
        return Finding::note(
            CHECK,
            "no BPF file system is mounted",
            "`record --pin` cannot keep anything attached while no recorder runs",
            "`mount -t bpf bpf /sys/fs/bpf`",
        );
    }
    let Ok(btf) = Btf::load_from(sysinfo.root()) else {
        return Finding::note(CHECK, "unknown: the kernel has no BTF", "see btf", "see btf");
    };
    // The link type of kprobes since 5.15.
    if btf.struct_size("bpf_perf_link").is_none() {
        return Finding::note(
            CHECK,
            "this kernel cannot pin kprobes",
            "with `record --pin`, requests that end because kernel.modprobe is empty or the name is too long are not seen \
             while no recorder runs; everything else is",
            "boot kernel 5.15 or later",
        );
    }
    Finding::ok(CHECK, "all programs can be pinned: `record --pin` misses nothing while no recorder runs")
}

fn has_bpffs(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some("/sys/fs/bpf") && fields.next() == Some("bpf")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{check, has_bpffs};
    use crate::{doctor::Level, kernel::sysinfo::SystemInfo};

    /// Only a BPF filesystem at its standard path counts.
    #[test]
    fn bpf_filesystem_elsewhere_does_not_count() {
        assert!(has_bpffs("sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw,nosuid,mode=700 0 0\n"));
        assert!(!has_bpffs("bpf /mnt bpf rw 0 0\ntmpfs /sys/fs/bpf tmpfs rw 0 0\n"));
    }

    /// The finding for a system without a BPF filesystem has the mount command.
    #[test]
    fn missing_bpf_filesystem_finding_has_a_fix() {
        let root = tempfile::tempdir().unwrap();
        let finding = check(&SystemInfo::new(root.path()));
        assert_eq!(finding.level, Level::Note);
        assert!(finding.fix.is_some_and(|fix| fix.contains("mount -t bpf")));
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/mounts"), "bpf /sys/fs/bpf bpf rw 0 0\n").unwrap();
        assert_eq!(check(&SystemInfo::new(root.path())).found, "unknown: the kernel has no BTF");
    }
}
