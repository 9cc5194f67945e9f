//! Formats the events of a stream, with their numbers and times.

use std::fmt::Write as _;
use std::io;

use anyhow::{Context as _, Result};

use super::fixtures::{Place, Program};
use super::output::Line;
use super::random::Random;

/// Boot time of generated machines, in nanoseconds since 1970 (2026-03-01 00:00 UTC).
const BOOT_UNIX_NS: u64 = 1_772_323_200_000_000_000;

/// Namespaces of the machine itself.
const NAMESPACES: &str = r#""ns":{"pid":4026531836,"mnt":4026531841,"net":4026531840,"user":4026531837}"#;

/// A process identity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pid {
    pub(super) pid: u64,
    pub(super) start_ns: u64,
}

/// Consumes a line. Returns whether a seal took the next sequence number.
pub(super) type Out<'a> = &'a mut dyn FnMut(Line<'_>) -> io::Result<bool>;

/// A stream of events.
pub(super) struct Stream<'a> {
    out: Out<'a>,
    line: String,
    pub(super) random: Random,
    pub(super) seq: u64,
    pub(super) boot_ns: u64,
    next_pid: u64,
    pub(super) requests: u64,
    pub(super) loads: u64,
    pub(super) unloads: u64,
    pub(super) lost: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(seed: u64, out: Out<'a>) -> Self {
        Self {
            out,
            line: String::new(),
            random: Random::new(seed),
            seq: 0,
            boot_ns: 5_000_000_000,
            next_pid: 400,
            requests: 0,
            loads: 0,
            unloads: 0,
            lost: 0,
        }
    }

    /// Advances the clock by a random time, and returns this time.
    pub(super) fn wait(&mut self, from_ns: u64, to_ns: u64) -> u64 {
        let by_ns = self.random.range(from_ns, to_ns);
        self.boot_ns += by_ns;
        by_ns
    }

    /// Creates a process.
    pub(super) fn process(&mut self) -> Pid {
        self.next_pid = if self.next_pid >= 4_000_000 { 400 } else { self.next_pid + self.random.range(1, 4) };
        Pid { pid: self.next_pid, start_ns: self.boot_ns - self.random.range(1_000_000, 90_000_000) }
    }

    /// Writes an event. `members` follow its type.
    pub(super) fn event(&mut self, request: Option<&str>, kind: &str, members: &str) -> Result<()> {
        self.line.clear();
        let (seq, boot_ns) = (self.seq, self.boot_ns);
        let time = time(BOOT_UNIX_NS + boot_ns);
        write!(self.line, r#"{{"seq":{seq},"time":"{time}","boot_ns":{boot_ns},"#)?;
        if let Some(request) = request {
            write!(self.line, r#""request":"{request}","#)?;
        }
        writeln!(self.line, r#""type":"{kind}",{members}}}"#)?;
        let is_urgent = matches!(kind, "loss" | "end");
        let line = Line { seq, boot_ns, time: &time, is_urgent, text: &self.line };
        let is_followed = (self.out)(line).context("cannot write the capture")?;
        self.seq += 1 + u64::from(is_followed);
        Ok(())
    }
}

/// RFC 3339 without trailing zeroes in the fraction, as the tracer writes it.
fn time(unix_ns: u64) -> String {
    let (seconds, ns) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    let fraction = format!(".{ns:09}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// The date of a day since 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    for (month, length) in (1..).zip([31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if days < length {
            return (year, month, days + 1);
        }
        days -= length;
    }
    (year, 12, 31)
}

/// The member `process` for a program.
pub(super) fn program(program: &Program, place: &Place, id: Pid) -> String {
    let argv: Vec<String> = program.argv.iter().map(|argument| format!("\"{argument}\"")).collect();
    let caps = if place.uid == 0 { "000001ffffffffff" } else { "0000000000000000" };
    let login = match place.uid {
        1000 | 1001 => format!(r#""loginuid":{},"login_user":"{}","session":3,"#, place.uid, place.user),
        _ => r#""no_login":true,"#.to_owned(),
    };
    let mut json = process(program.comm, program.exe, &argv.join(","), place, id, &login, caps);
    json.insert_str(json.len() - 1, &format!(",{NAMESPACES}"));
    json
}

/// The member `process` for modprobe.
pub(super) fn tool(argv: &[&str], place: &Place, id: Pid) -> String {
    let argv: Vec<String> = argv.iter().map(|argument| format!("\"{argument}\"")).collect();
    let caps = "000001ffffffffff";
    let no_login = r#""no_login":true,"#;
    let mut json = process("modprobe", "/usr/bin/kmod", &argv.join(","), place, id, no_login, caps);
    json.insert_str(json.len() - 1, &format!(",{NAMESPACES}"));
    json
}

fn process(comm: &str, exe: &str, argv: &str, place: &Place, id: Pid, login: &str, caps: &str) -> String {
    let Place { uid, user, unit, container, cgroup } = place;
    let (pid, start_ns) = (id.pid, id.start_ns);
    let mut json = format!(
        r#"{{"pid":{pid},"tid":{pid},"start_ns":{start_ns},"comm":"{comm}","exe":"{exe}","argv":[{argv}],"uid":{uid},"euid":{uid},"user":"{user}","gid":{uid},{login}"caps":"{caps}","cgroup":"{cgroup}","cgroup_id":{}"#,
        4000 + cgroup.len()
    );
    for (name, value) in [("unit", unit), ("container", container)] {
        if !value.is_empty() {
            json.push_str(&format!(r#","{name}":"{value}""#));
        }
    }
    json.push('}');
    json
}

#[cfg(test)]
mod tests {
    use super::time;

    /// Dates around leap days and fractions are formatted correctly.
    #[test]
    fn times_are_formatted() {
        for (ns, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_500_000_000, "2000-02-29T00:00:00.5Z"),
            (1_772_323_200_000_000_001, "2026-03-01T00:00:00.000000001Z"),
            (1_798_761_599_000_000_000, "2026-12-31T23:59:59Z"),
        ] {
            assert_eq!(time(ns), shown);
        }
    }
}
