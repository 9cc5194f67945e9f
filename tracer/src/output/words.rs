//! Words shared by the human formats.

use jiff::{Timestamp, tz::TimeZone};

use super::escape::{argument, escape};
use crate::event::{Ancestor, Process, Text};

/// A duration with a unit that leaves one to four digits.
pub(super) fn duration(ns: u64) -> String {
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

/// A time of day, to the millisecond.
pub(super) fn time_of_day(time: Timestamp, utc: bool) -> String {
    let zone = if utc { TimeZone::UTC } else { TimeZone::system() };
    time.to_zoned(zone).strftime("%H:%M:%S%.3f").to_string()
}

/// What was run: its arguments, or its name in brackets when they are not known.
pub(super) fn command(process: &Process) -> String {
    if process.argv.is_empty() {
        return format!("[{}]", escape(&process.comm));
    }
    let arguments: Vec<String> = process.argv.iter().map(argument).collect();
    let cut = if process.argv_truncated { " ..." } else { "" };
    format!("{}{cut}", arguments.join(" "))
}

/// `name (uid)`, or the number alone.
pub(super) fn user(user: Option<&Text>, uid: u32) -> String {
    match user {
        Some(name) => format!("{} ({uid})", escape(name)),
        None => format!("uid {uid}"),
    }
}

/// `bash(540) <- sshd(512) <- systemd(1)`.
pub(super) fn ancestors(ancestors: &[Ancestor], truncated: bool) -> String {
    let mut names: Vec<String> =
        ancestors.iter().map(|ancestor| format!("{}({})", escape(&ancestor.comm), ancestor.pid)).collect();
    if truncated {
        names.push("...".to_owned());
    }
    names.join(" <- ")
}

/// Programs of kmod: they load what someone else wants.
pub(super) fn is_kmod_tool(comm: &Text, exe: Option<&Text>) -> bool {
    const TOOLS: [&[u8]; 4] = [b"modprobe", b"insmod", b"rmmod", b"kmod"];
    let base = exe.and_then(|exe| exe.as_bytes().rsplit(|byte| *byte == b'/').next());
    TOOLS.contains(&comm.as_bytes()) || base.is_some_and(|base| TOOLS.contains(&base))
}

#[cfg(test)]
mod tests {
    use super::duration;

    /// Check the unit and the digits at each border.
    #[test]
    fn durations() {
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
