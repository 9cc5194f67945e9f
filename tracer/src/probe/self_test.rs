//! The self-test: whether kprobes and trampolines run at all.
//!
//! Attaching succeeds where nothing runs afterwards: `kernel.ftrace_enabled` is 0, kprobes are switched off in debugfs, or the
//! kernel has switched ftrace off after an error. All of these stop every program of an attach method. Two programs of their
//! own observe a system call that this process makes, before it is armed and regularly afterwards.
//!
//! A module request of the tracer's own would test the hooks themselves, but the kernel would start a modprobe for it, as root
//! and on each start, and only the load of a module would test the others. Instead, the tracepoint `module_request`, which
//! depends on neither method, shows each request for which the hooks before it did not run (`request-late`).

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use tracer_ebpf::wire::Alive;

use super::{
    ProbeError,
    attach::AttachedHook,
    hooks::{Hook, How, SELF_TESTS},
    mmap_counters::MmapCounters,
};

/// Name of the map of runs.
pub(super) const ALIVE: &str = "ALIVE";

/// How often a call is repeated until the programs have run, and the time between: the kernel skips a program on a CPU where
/// another one was preempted.
const ATTEMPTS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(2);

/// How often a stop is reported as long as it lasts.
const AGAIN: Duration = Duration::from_secs(60);

/// The warning where a seccomp filter refuses the call of the self-test.
const UNTESTED: &str = "cannot test whether the probes run: sched_get_priority_max(2) is refused; allow it in the filter for system \
                        calls (seccomp) of this process";

/// The state of an attach method.
#[derive(Debug)]
struct Method {
    alive: Alive,
    /// The hooks that use it.
    hooks: Vec<&'static str>,
    has_stopped: bool,
    reported_at: Option<Instant>,
}

impl Method {
    const fn name(&self) -> &'static str {
        match self.alive {
            Alive::Kprobes => "kprobes",
            Alive::Trampolines => "BPF trampolines",
        }
    }

    const fn cause(&self) -> &'static str {
        match self.alive {
            Alive::Kprobes => "kprobes-off",
            Alive::Trampolines => "trampolines-off",
        }
    }

    /// Notes the result of a test, and describes a change.
    fn note(&mut self, runs: bool, why: impl FnOnce() -> String) -> Option<String> {
        if std::mem::replace(&mut self.has_stopped, !runs) != runs {
            return None;
        }
        let (name, hooks) = (self.name(), self.hooks.join(", "));
        if runs {
            self.reported_at = None;
            return Some(format!("{name} run again: the hooks {hooks} observe again"));
        }
        Some(format!("{name} do not run, so the hooks {hooks} observe nothing: {}", why()))
    }
}

/// The programs that show whether each attach method works.
pub struct SelfTest {
    runs: MmapCounters,
    methods: Vec<Method>,
    /// The call was refused, which was reported.
    is_refused: bool,
}

impl SelfTest {
    /// `tests`: the attached hooks of the self-test. Methods that no hook uses are not tested.
    pub(super) fn new(runs: MmapCounters, tests: &[AttachedHook], hooks: &[AttachedHook]) -> Self {
        let attached = |test: &Hook| tests.iter().any(|it| it.hook.name == test.name && !it.programs.is_empty());
        let [kprobes, trampolines] = &SELF_TESTS;
        let methods = [(Alive::Kprobes, kprobes), (Alive::Trampolines, trampolines)];
        let methods = methods.into_iter().filter(|(_, test)| attached(test)).map(|(alive, _)| Method {
            alive,
            hooks: hooks.iter().filter(|hook| uses(hook, alive)).map(|hook| hook.hook.name).collect(),
            has_stopped: false,
            reported_at: None,
        });
        Self { runs, methods: methods.collect(), is_refused: false }
    }

    /// Tests every attach method. Returns a warning for each that has stopped, or works again, since the last call.
    pub fn check(&mut self) -> Vec<String> {
        let is_known = |method: &Method| method.has_stopped;
        // While one is stopped, there is no need to wait for it.
        let attempts = if self.methods.iter().any(is_known) { 1 } else { ATTEMPTS };
        let before: Vec<u64> = self.counts();
        for attempt in 0..attempts {
            if attempt > 0 {
                thread::sleep(BETWEEN);
            }
            if !call() {
                // Nothing can be concluded.
                let was_refused = std::mem::replace(&mut self.is_refused, true);
                return if was_refused { Vec::new() } else { vec![UNTESTED.to_owned()] };
            }
            if self.counts().iter().zip(&before).all(|(now, before)| now > before) {
                break;
            }
        }
        let ran: Vec<bool> = self.counts().iter().zip(&before).map(|(now, before)| now > before).collect();
        self.methods.iter_mut().zip(ran).filter_map(|(method, ran)| method.note(ran, reason)).collect()
    }

    /// The causes of loss to report now: one for each attach method that does not work.
    pub fn take_losses(&mut self) -> Vec<&'static str> {
        let now = Instant::now();
        let is_due = |method: &&mut Method| {
            method.has_stopped && method.reported_at.is_none_or(|at| now.duration_since(at) >= AGAIN)
        };
        let due = self.methods.iter_mut().filter(is_due).map(|method| {
            method.reported_at = Some(now);
            method.cause()
        });
        due.collect()
    }

    fn counts(&self) -> Vec<u64> {
        self.methods.iter().map(|method| self.runs.get(method.alive as u32)).collect()
    }
}

/// The tests of the attach methods that hooks use.
pub(super) fn tests_for(hooks: &[AttachedHook]) -> impl Iterator<Item = &'static Hook> {
    let is_used = |alive: Alive| hooks.iter().any(|hook| uses(hook, alive));
    let used = [is_used(Alive::Kprobes), is_used(Alive::Trampolines)];
    SELF_TESTS.iter().zip(used).filter(|(_, is_used)| *is_used).map(|(test, _)| test)
}

fn uses(hook: &AttachedHook, alive: Alive) -> bool {
    hook.programs.iter().any(|program| match program.how {
        How::KProbe | How::KRetProbe => alive == Alive::Kprobes,
        How::FEntry | How::FExit => alive == Alive::Trampolines,
        How::RawTracePoint => false,
    })
}

/// Makes the system call; false if it was refused.
fn call() -> bool {
    // SAFETY: it has no pointers and no side effects.
    unsafe { libc::sched_get_priority_max(libc::SCHED_FIFO) >= 0 }
}

/// Refuses to attach while `kernel.ftrace_enabled` is 0, for the reason at the error.
pub(super) fn check_ftrace() -> Result<(), ProbeError> {
    if is_off(FTRACE) { Err(ProbeError::FtraceOff) } else { Ok(()) }
}

/// The switch of ftrace; absent if the kernel has no ftrace.
const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";

/// The switch of kprobes; absent if debugfs is not mounted.
const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";

fn is_off(switch: &str) -> bool {
    fs::read_to_string(switch).is_ok_and(|value| value.trim() == "0")
}

/// Why programs do not run, as far as the kernel shows it.
fn reason() -> String {
    if is_off(FTRACE) {
        return "kernel.ftrace_enabled is 0; run `sysctl kernel.ftrace_enabled=1` before kmodtrace ends: detaching now can make \
                the kernel disable ftrace later"
            .to_owned();
    }
    if is_off(KPROBES) {
        return format!(
            "kprobes are disabled; run `echo 1 > {KPROBES}`, and restart kmodtrace if it was started meanwhile: the kernel does \
             not enable probes that were attached while kprobes were disabled"
        );
    }
    "the reason is unknown; the kernel log may name it".to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Alive, Method};

    /// A stop and its end are each reported once.
    #[test]
    fn change_is_reported_once() {
        let mut method =
            Method { alive: Alive::Kprobes, hooks: vec!["load", "request"], has_stopped: false, reported_at: None };
        let mut note = |runs| method.note(runs, || "why".to_owned());
        assert_eq!(note(true), None);
        assert_eq!(note(false).unwrap(), "kprobes do not run, so the hooks load, request observe nothing: why");
        assert_eq!(note(false), None);
        assert_eq!(note(true).unwrap(), "kprobes run again: the hooks load, request observe again");
        assert_eq!(note(true), None);
    }
}
