//! Formatting of values, shared by the human-readable formats.

use jiff::Timestamp;
use tracer_ebpf::wire::GENERATIONS;

use super::{
    page::Meaning,
    zone::{name as zone_name, offset_of_repeated, zone},
};
use crate::event::{
    Ancestor, Attempt, Attribution, Certainty, Descent, Device, LossStage, Process, Reason, Status, Text,
};
use crate::text::{argument, count, escape_str, module, name};

/// A duration with a unit that leaves one to four digits.
pub(crate) fn duration(ns: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    for (unit_ns, unit) in UNITS {
        if ns >= unit_ns {
            let whole = ns / unit_ns;
            if whole >= 100 {
                return format!("{whole} {unit}");
            }
            return format!("{whole}.{} {unit}", ns % unit_ns / (unit_ns / 10));
        }
    }
    format!("{ns} ns")
}

/// A time of day with milliseconds; with its UTC offset if the time is ambiguous.
pub(super) fn time_of_day(time: Timestamp, utc: bool) -> String {
    clock(time, utc, "%H:%M:%S%.3f")
}

/// A time of day with seconds; with its UTC offset if the time is ambiguous.
pub(super) fn time_of_day_s(time: Timestamp, utc: bool) -> String {
    clock(time, utc, "%H:%M:%S")
}

fn clock(time: Timestamp, utc: bool, format: &str) -> String {
    let zone = zone(utc);
    let shown = time.to_zoned(zone.clone()).strftime(format).to_string();
    shown + &offset_of_repeated(time, &zone)
}

/// The line with the time zone, for a format without a heading.
pub(super) fn zone_line(time: Timestamp, utc: bool) -> String {
    format!("# times are in {}\n", zone_name(&zone(utc), time))
}

/// The action of an explanation, without its description and family.
pub(super) fn short(explanation: &str) -> &str {
    let action = explanation.split(": ").next().unwrap_or(explanation);
    match action.rsplit_once(" (") {
        Some((action, family)) if family.ends_with(')') => action,
        _ => action,
    }
}

/// The command line of a process, or its name in brackets if the arguments are unknown.
pub(super) fn command(process: &Process) -> String {
    if process.argv.is_empty() {
        return format!("[{}]", name(&process.comm));
    }
    let arguments: Vec<String> = process.argv.iter().map(argument).collect();
    let cut = if process.argv_truncated { " ..." } else { "" };
    format!("{}{cut}", arguments.join(" "))
}

/// `name (uid)`, or the number alone.
pub(super) fn user(user: Option<&Text>, uid: u32) -> String {
    match user {
        Some(user) => format!("{} ({uid})", name(user)),
        None => format!("uid {uid}"),
    }
}

/// Number of candidates for a device that are shown.
const SHOWN_DEVICES: usize = 4;

/// The device that a module was loaded for, or the candidates.
pub(super) fn device(device: &Device) -> String {
    let details = [&device.action, &device.modalias].into_iter().flatten().map(name).collect::<Vec<_>>().join(", ");
    match &device.devpath {
        Some(devpath) => format!("{} ({details}){}", name(devpath), doubt(&device.attribution)),
        None => {
            let mut paths: Vec<String> = device.devpaths.iter().take(SHOWN_DEVICES).map(name).collect();
            if paths.len() < usize::try_from(device.candidates).unwrap_or(usize::MAX) {
                paths.push("...".to_owned());
            }
            format!("one of {} ({details}): {}", device.candidates, paths.join(", "))
        }
    }
}

/// `name(pid)`.
pub(super) fn comm_pid(comm: &Text, pid: u32) -> String {
    format!("{}({pid})", name(comm))
}

/// `name(pid)`, followed by the name of the thread if it has one of its own.
pub(super) fn task(process: &Process) -> String {
    comm_pid(&process.comm, process.pid) + &thread_name(process.thread_comm.as_ref())
}

/// ` thread name`; empty for a thread with the name of its process.
pub(super) fn thread_name(thread: Option<&Text>) -> String {
    thread.map_or_else(String::new, |thread| format!(" thread {}", name(thread)))
}

/// `bash(540) <- sshd(512) <- systemd(1)`. A truncated list ends with the number of generations, if it is known.
pub(crate) fn ancestors(process: &Process, ancestors: &[Ancestor], truncated: bool) -> String {
    let mut names: Vec<String> = ancestors.iter().map(|ancestor| comm_pid(&ancestor.comm, ancestor.pid)).collect();
    match (process.generations, process.descent) {
        (Some(number), Some(Descent::Unknown)) => names.push(format!("... more than {number} generations")),
        (Some(number), Some(Descent::Kernel)) => names.push(format!("... a kernel thread: {number} generations")),
        (Some(number), _) => names.push(format!("... {number} generations")),
        (None, _) if truncated => names.push("...".to_owned()),
        (None, _) => {}
    }
    names.join(" <- ")
}

/// Why the origin of a load is unknown.
pub(super) fn unknown_origin(process: &Process) -> String {
    match process.generations {
        Some(number) if process.descent == Some(Descent::Unknown) => {
            format!(
                "no request was seen: more than {number} generations, so it is unknown whether the kernel started it"
            )
        }
        _ => "no request was seen: it is unknown whether the kernel started it".to_owned(),
    }
}

/// Ids, user, login, executable and unit of a process.
pub(crate) fn who(process: &Process) -> String {
    let mut words = format!("pid {}", process.pid);
    if process.tid != process.pid {
        let own_name = process.thread_comm.as_ref().map(|thread| format!(" {}", name(thread))).unwrap_or_default();
        words.push_str(&format!(" (thread {}{own_name})", process.tid));
    }
    words.push_str(&format!(", {}", user(process.user.as_ref(), process.uid)));
    if process.euid != process.uid {
        words.push_str(&format!(", effective uid {}", process.euid));
    }
    match process.loginuid {
        Some(loginuid) => words.push_str(&format!(", logged in as {}", user(process.login_user.as_ref(), loginuid))),
        None if process.no_login && !process.kthread => words.push_str(", no login"),
        None => {}
    }
    if process.kthread {
        words.push_str(", kernel thread");
    }
    if process.io_worker {
        words.push_str(", worker of io_uring");
    }
    if let Some(exe) = &process.exe {
        let cut = if process.exe_truncated { "..." } else { "" };
        let deleted = if process.exe_deleted { " (deleted)" } else { "" };
        words.push_str(&format!(", {cut}{}{deleted}", name(exe)));
    }
    if let Some(container) = &process.container {
        words.push_str(&format!(", container {}", escape_str(container)));
        if let Some(pod) = &process.pod {
            words.push_str(&format!(", pod {}", escape_str(pod)));
        }
    } else if let Some(unit) = &process.unit {
        words.push_str(&format!(", unit {}", escape_str(unit)));
    }
    words
}

/// A failed system call.
pub(super) fn attempt(attempt: &Attempt) -> String {
    let what = match (&attempt.module, &attempt.file) {
        (Some(name_of), Some(file)) => format!(" of {} ({})", module(name_of), name(file)),
        (Some(name_of), None) => format!(" of {}", module(name_of)),
        (None, Some(file)) => format!(" of {}", name(file)),
        (None, None) => String::new(),
    };
    let process = &attempt.process;
    format!(
        "{}{what} by {}: {}{}",
        escape_str(&attempt.syscall),
        comm_pid(&process.comm, process.pid),
        errno(attempt.ret),
        doubt(&attempt.attribution)
    )
}

/// The name of a negative errno, or its number if it has none.
pub(super) fn errno(ret: i32) -> String {
    crate::kernel::errno::name(ret.saturating_neg()).map_or_else(|| format!("error {ret}"), str::to_owned)
}

/// Why a module is part of a chain.
pub(super) const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Asked => "asked for",
        Reason::Alias => "provides the alias",
        Reason::Dependency => "dependency",
        Reason::Softdep => "soft dependency",
    }
}

/// The colour class of an outcome.
pub(super) const fn meaning(status: Status) -> Meaning {
    match status {
        Status::Loaded | Status::AlreadyLoaded => Meaning::Good,
        Status::NotWaited | Status::Unknown | Status::NotFound | Status::BuiltIn => Meaning::Doubt,
        Status::Blocklisted
        | Status::HelperFailed
        | Status::Denied
        | Status::NoModprobe
        | Status::Throttled
        | Status::Interrupted
        | Status::NoModules
        | Status::Failed => Meaning::Bad,
    }
}

/// What a `walk-cut` loss means: no event is missing.
pub(super) fn walk_cut(number: u64) -> String {
    let processes = count(number, "process", "processes");
    format!("{processes} with more than {GENERATIONS} generations: it is unknown whether the kernel started them")
}

/// The stage of a loss.
pub(super) const fn stage(stage: LossStage) -> &'static str {
    match stage {
        LossStage::Probe => "in the kernel",
        LossStage::Missed => "not run by the kernel",
        LossStage::Decode => "not understood",
        LossStage::Write => "not written",
    }
}

/// The uncertainty of an attribution; empty if it is exact.
pub(crate) fn doubt(attribution: &Attribution) -> String {
    match (attribution.attribution, &attribution.rule) {
        (Certainty::Exact, _) => String::new(),
        (Certainty::Inferred, Some(rule)) => format!(" (inferred: {})", escape_str(rule)),
        (Certainty::Inferred, None) => " (inferred)".to_owned(),
        (Certainty::Unknown, _) => " (attribution unknown)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    /// The unit changes at 1000, and decimals are dropped from three digits on.
    #[test]
    fn duration_unit_and_digits_follow_the_magnitude() {
        for (ns, shown) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.0 us"),
            (99_949, "99.9 us"),
            (100_000, "100 us"),
            (38_412_345, "38.4 ms"),
            (5_020_000_000, "5.0 s"),
            (125_000_000_000, "125 s"),
        ] {
            assert_eq!(duration(ns), shown);
        }
    }
}
