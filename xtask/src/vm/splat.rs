//! Finds kernel splats in a console log. A run with a splat has failed, regardless of its tests.

/// Messages of kernel errors and warnings.
const SPLATS: &[&str] = &[
    "BUG:",
    "WARNING:",
    "Oops:",
    "Oops ",
    "general protection fault",
    "Call Trace:",
    "Kernel panic",
    "kernel BUG at",
    "rcu_sched self-detected stall",
    "rcu_preempt self-detected stall",
    "detected stalls on CPUs",
    "soft lockup",
    "hard LOCKUP",
    "blocked for more than",
    "Out of memory:",
    "UBSAN:",
    "KASAN:",
    "refcount_t:",
    "unregister_netdevice: waiting for",
];

/// Lines that look like a splat but are harmless, each with a reason.
const HARMLESS: &[(&str, &str)] =
    &[("hrtimer: interrupt took", "an emulated processor was not scheduled in time; nothing in the guest is wrong")];

/// The lines of a log that make a run fail.
pub(crate) fn find(log: &str) -> Vec<&str> {
    let lines = log.lines().map(str::trim_end);
    lines.filter(|line| SPLATS.iter().any(|splat| line.contains(splat)) && !is_harmless(line)).collect()
}

fn is_harmless(line: &str) -> bool {
    HARMLESS.iter().any(|(text, _)| line.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splats of each kind are found.
    #[test]
    fn splats_are_found() {
        for line in [
            "[   12.3] BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "[   12.3] WARNING: CPU: 0 PID: 1 at kernel/kmod.c:150 __request_module+0x2f0/0x4a0",
            "[   12.3] Oops: 0000 [#1] PREEMPT SMP NOPTI",
            "[   12.3] Call Trace:",
            "[   12.3] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
            "[   60.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[   60.0] watchdog: BUG: soft lockup - CPU#0 stuck for 23s! [kmodtrace:99]",
            "[  242.0] INFO: task modprobe:120 blocked for more than 120 seconds.",
            "[    9.9] general protection fault, probably for non-canonical address",
        ] {
            assert_eq!(find(line), [line]);
        }
    }

    /// The log of a healthy boot has no splat.
    #[test]
    fn healthy_log_has_no_splat() {
        let log = "[    0.0] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org)\n\
                   [    0.1] Spectre V2 : WARNING off\n\
                   [    5.1] nf_conntrack: nf_conntrack: table full, dropping packet\n\
                   [    5.2] dummy: loading out-of-tree module taints kernel.\n\
                   [    6.0] hrtimer: interrupt took 5012345 ns\n";
        assert!(find(log).is_empty(), "{:?}", find(log));
    }
}
