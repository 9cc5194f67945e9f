//! What the types of a kernel say about whether programs may be attached to it at all.

use super::ProbeError;
use crate::kernel::btf::Btf;

/// Architectures of the programs: the name, and the member of the saved registers that only that architecture has
/// (arch/x86/include/asm/ptrace.h, arch/arm64/include/asm/ptrace.h; unchanged 5.10 to 7.3).
const ARCHITECTURES: [(&str, &str); 2] = [("x86_64", "orig_ax"), ("aarch64", "orig_x0")];

/// Checks that programs of this build may be attached to the kernel with these types.
pub(super) fn check(btf: &Btf) -> Result<(), ProbeError> {
    is_same_architecture(btf, std::env::consts::ARCH)?;
    if has_sleeping_ring_lock(btf) {
        return Err(ProbeError::RingLock);
    }
    Ok(())
}

/// The names of system calls and registers are those of the build.
fn is_same_architecture(btf: &Btf, build: &'static str) -> Result<(), ProbeError> {
    let is_kernel_of = |(_, member): &&(&str, &str)| btf.offset(&["pt_regs", member]).is_some();
    match (ARCHITECTURES.iter().find(is_kernel_of), btf.unread()) {
        (Some((kernel, _)), _) if *kernel == build => Ok(()),
        (Some((kernel, _)), _) => Err(ProbeError::Architecture { kernel, build }),
        (None, Some(unread)) => Err(ProbeError::Btf(unread)),
        (None, None) => Err(ProbeError::Architecture { kernel: "another architecture", build }),
    }
}

/// Whether reserving a record may sleep. On a real-time kernel, a `spinlock_t` is a mutex with waiters
/// (include/linux/spinlock_types.h), and before "bpf: Use raw_spinlock_t in ringbuf" (6.12, CVE-2024-50138) the lock of the
/// ring buffer was one (kernel/bpf/ringbuf.c). Kprobes and raw tracepoints run with preemption disabled, where sleeping can
/// hang the machine.
fn has_sleeping_ring_lock(btf: &Btf) -> bool {
    btf.offset(&["bpf_ringbuf", "spinlock", "lock", "waiters"]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf::builder::Builder;

    /// A kernel whose registers have this member, and whose ring buffer has a lock of this kind.
    fn kernel(register: &str, lock: &str) -> Btf {
        let mut b = Builder::new();
        let long = b.int("long", 8, 64);
        let int = b.int("int", 4, 32);
        b.structure("pt_regs", 8, &[(register, long, 0, 0)]);
        let raw = b.structure("raw_spinlock", 4, &[("raw_lock", int, 0, 0)]);
        let waiters = b.structure("rb_root_cached", 16, &[("rb_leftmost", long, 0, 0)]);
        let mutex = b.structure("rt_mutex_base", 24, &[("wait_lock", raw, 0, 0), ("waiters", waiters, 64, 0)]);
        let sleeping = b.structure("spinlock", 24, &[("lock", mutex, 0, 0)]);
        let rlock = b.structure("", 4, &[("rlock", raw, 0, 0)]);
        let spinning = b.structure("spinlock", 4, &[("", rlock, 0, 0)]);
        let of = match lock {
            "raw" => raw,
            "sleeping" => sleeping,
            _ => spinning,
        };
        b.structure("bpf_ringbuf", 32, &[("mask", long, 0, 0), ("spinlock", of, 64, 0)]);
        Btf::parse(&b.bytes()).unwrap()
    }

    /// Only a ring buffer whose lock is a mutex is refused: not a raw lock, and not a spinlock that spins.
    #[test]
    fn sleeping_ring_lock_is_refused() {
        assert!(has_sleeping_ring_lock(&kernel("orig_ax", "sleeping")));
        assert!(!has_sleeping_ring_lock(&kernel("orig_ax", "raw")));
        assert!(!has_sleeping_ring_lock(&kernel("orig_ax", "spinning")));
    }

    /// A kernel of another architecture is refused, and the error names both.
    #[test]
    fn other_architecture_is_refused() {
        assert!(is_same_architecture(&kernel("orig_ax", "raw"), "x86_64").is_ok());
        assert!(is_same_architecture(&kernel("orig_x0", "raw"), "aarch64").is_ok());
        let error = is_same_architecture(&kernel("orig_x0", "raw"), "x86_64").unwrap_err().to_string();
        assert!(error.contains("aarch64") && error.contains("x86_64"), "{error}");
        assert!(is_same_architecture(&kernel("orig_gpr2", "raw"), "x86_64").is_err());
        assert!(is_same_architecture(&kernel("orig_ax", "raw"), "riscv64").is_err());
    }
}
