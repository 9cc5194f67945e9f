//! Parses the text of ftrace's `module:*` events, as printed by kernels from 5.10 on.

use anyhow::{Context as _, Result, bail};

/// Width of the column with the task's name.
const COMM_COLUMN_BYTES: usize = 16;

/// One event that the kernel reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Name of the task, if it was still in the kernel's cache.
    pub comm: Option<String>,
    /// Thread id of the task.
    pub tid: u32,
    /// Microseconds since boot, on the same clock as `CLOCK_BOOTTIME`.
    pub boot_us: u64,
    /// The kind of event.
    pub kind: EventKind,
}

/// A module event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// `module_request`: the kernel requests a module from user space.
    Request {
        /// The requested alias.
        name: String,
        /// Whether the requester waits for the outcome.
        wait: bool,
        /// The calling function.
        call_site: String,
    },
    /// `module_load`: a module was loaded, and its init function runs next.
    Load {
        /// Its name.
        module: String,
        /// Its taint flags, one letter each.
        taints: String,
    },
    /// `module_free`: a module was removed.
    Free {
        /// Its name.
        module: String,
    },
}

/// Parses the `trace` file. Comment lines are skipped; any other line must be valid.
pub(super) fn parse_trace(text: &[u8]) -> Result<Vec<Event>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#") && !line.is_empty());
    let odd = |line| format!("the oracle cannot parse {:?}", String::from_utf8_lossy(line));
    lines.map(|line| parse_line(line).with_context(|| odd(line))).collect()
}

/// The sum of the loss counters in `per_cpu/cpuN/stats`.
pub(super) fn lost_events(stats: &str) -> Result<u64> {
    let mut lost = 0;
    let mut seen = 0;
    for line in stats.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if matches!(name, "overrun" | "commit overrun" | "dropped events") {
            lost += value.trim().parse::<u64>().with_context(|| format!("invalid statistics line {line:?}"))?;
            seen += 1;
        }
    }
    if seen < 3 {
        bail!("the ftrace statistics have only {seen} of the three loss counters");
    }
    Ok(lost)
}

/// `        modprobe-88      [000] .....     5.074147: module_load: dummy `
fn parse_line(line: &[u8]) -> Result<Event> {
    let (comm, tid, rest) = split_task(line).context("no task")?;
    let rest = String::from_utf8_lossy(rest);
    // Flags, time, event name, and the event's own text, which may contain any bytes.
    let (flags_and_time, rest) = rest.split_once(": ").context("no time")?;
    let time = flags_and_time.split_whitespace().last().context("no time")?;
    let (event, text) =
        rest.split_once(": ").or_else(|| rest.strip_suffix(':').map(|e| (e, ""))).context("no event")?;
    let comm = (comm != "<...>").then_some(comm);
    Ok(Event { comm, tid, boot_us: parse_time(time)?, kind: parse_kind(event, text)? })
}

/// Splits `comm-tid   [cpu] ` off a line.
///
/// A name can contain dashes, spaces and brackets, but the kernel prints it in a column of fixed width.
fn split_task(line: &[u8]) -> Option<(String, u32, &[u8])> {
    let (comm, rest) = line.split_at_checked(COMM_COLUMN_BYTES)?;
    let rest = rest.strip_prefix(b"-")?;
    let open = rest.iter().position(|byte| *byte == b'[')?;
    let tid = std::str::from_utf8(&rest[..open]).ok()?.trim_end().parse().ok()?;
    let close = rest.iter().position(|byte| *byte == b']')?;
    let cpu = rest.get(open + 1..close)?;
    let comm = String::from_utf8_lossy(comm).trim_start().to_owned();
    cpu.iter().all(u8::is_ascii_digit).then_some((comm, tid, &rest[close + 1..]))
}

/// `5.074147` in microseconds.
fn parse_time(time: &str) -> Result<u64> {
    let (seconds, micros) = time.split_once('.').with_context(|| format!("invalid time {time:?}"))?;
    if micros.len() != 6 {
        bail!("invalid time {time:?}: expected microseconds");
    }
    let seconds: u64 = seconds.parse().with_context(|| format!("invalid time {time:?}"))?;
    let micros: u64 = micros.parse().with_context(|| format!("invalid time {time:?}"))?;
    Ok(seconds * 1_000_000 + micros)
}

fn parse_kind(event: &str, text: &str) -> Result<EventKind> {
    match event {
        "module_request" => {
            // The name comes first and may contain any bytes, so the fixed parts are split off from the end.
            let (rest, call_site) = text.rsplit_once(" call_site=").context("no call site")?;
            let (name, wait) = rest.rsplit_once(" wait=").context("no wait flag")?;
            let wait = match wait {
                "1" => true,
                "0" => false,
                other => bail!("invalid wait flag {other:?}"),
            };
            let call_site = call_site.split_whitespace().next().unwrap_or_default();
            Ok(EventKind::Request { name: name.to_owned(), wait, call_site: call_site.to_owned() })
        }
        "module_load" => {
            let (module, taints) = text.split_once(' ').unwrap_or((text, ""));
            Ok(EventKind::Load { module: module.to_owned(), taints: taints.trim().to_owned() })
        }
        "module_free" => Ok(EventKind::Free { module: text.trim().to_owned() }),
        other => bail!("unexpected event {other:?}: it was not enabled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACES: [&str; 3] = [
        include_str!("../../fixtures/trace/5.10.txt"),
        include_str!("../../fixtures/trace/6.1.txt"),
        include_str!("../../fixtures/trace/7.txt"),
    ];

    fn names(events: &[Event]) -> Vec<&str> {
        super::super::loads(events)
    }

    /// Traces of three kernels are parsed completely. The oldest prints one column less.
    #[test]
    fn real_traces_are_parsed() {
        for text in TRACES {
            let events = parse_trace(text.as_bytes()).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(events.len(), lines);
            assert_eq!(names(&events)[0], "dummy");
            assert_eq!(names(&events).last(), Some(&"bridge"));
            assert_eq!(events[1].kind, EventKind::Free { module: "dummy".into() });
            assert!(events.is_sorted_by_key(|event| event.boot_us));
        }
    }

    /// The outage in the 6.1 trace: the requester, the call site, and the modules in load order.
    #[test]
    fn outage_trace_is_parsed() {
        let events = parse_trace(TRACES[1].as_bytes()).unwrap();
        let request = events.iter().find(|event| event.comm.as_deref() == Some("iptables-legacy")).unwrap();
        assert_eq!((request.tid, request.boot_us), (94, 5_531_009));
        let site = "xt_request_find_table_lock".to_owned();
        assert_eq!(request.kind, EventKind::Request { name: "iptable_nat".into(), wait: true, call_site: site });
        let loaded: Vec<&str> = events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Load { module, .. } if event.tid == 96 => Some(module.as_str()),
                _ => None,
            })
            .collect();
        let wanted = ["crc32c_intel", "crc32c_generic", "libcrc32c", "nf_defrag_ipv4", "nf_defrag_ipv6"];
        assert_eq!(loaded[..5], wanted);
        assert_eq!(loaded[5..], ["nf_conntrack", "nf_nat", "iptable_nat"]);
    }

    /// Task names and aliases that look like other parts of the line are parsed correctly.
    #[test]
    fn hostile_names_are_parsed() {
        let line = b"   a-1 [000] b-2-77      [001] d..2.    12.000001: module_request: x wait=0 call_site=y wait=0 call_site=z [m]";
        let event = parse_line(line).unwrap();
        assert_eq!((event.comm.as_deref(), event.tid), (Some("a-1 [000] b-2"), 77));
        let name = "x wait=0 call_site=y".to_owned();
        assert_eq!(event.kind, EventKind::Request { name, wait: false, call_site: "z".into() });
    }

    /// A task whose name is no longer cached, and a tainting module.
    #[test]
    fn uncached_name_and_taints_are_parsed() {
        let event = parse_line(b"           <...>-512     [000] .....     9.000000: module_load: mine OE").unwrap();
        assert_eq!((event.comm, event.tid), (None, 512));
        assert_eq!(event.kind, EventKind::Load { module: "mine".into(), taints: "OE".into() });
    }

    /// An unknown line is an error; it is never skipped.
    #[test]
    fn unknown_line_is_an_error() {
        assert!(parse_trace(b"        modprobe-1       [000] .....     1.000000: module_put: x\n").is_err());
        assert!(parse_trace(b"CPU:0 [LOST 12 EVENTS]\n").is_err());
    }

    /// Each kind of loss is counted, and statistics without them are an error.
    #[test]
    fn losses_are_counted() {
        assert_eq!(lost_events("entries: 3\noverrun: 0\ncommit overrun: 0\ndropped events: 0\n").unwrap(), 0);
        assert_eq!(lost_events("overrun: 2\ncommit overrun: 1\ndropped events: 4\n").unwrap(), 7);
        assert!(lost_events("entries: 3\n").is_err());
    }

    proptest! {
        /// The id, time and event are parsed for any task name.
        #[test]
        fn any_task_name_is_parsed(comm in "[a-z\\-\\[\\]0-9 ]{1,15}", tid in 1u32..4_000_000, alias in "[a-z0-9\\-=:]{1,40}") {
            let line = format!("{comm:>16}-{tid:<7} [000] .....     5.074147: module_request: {alias} wait=1 call_site=f");
            let event = parse_line(line.as_bytes()).unwrap();
            prop_assert_eq!(event.tid, tid);
            prop_assert_eq!(event.kind, EventKind::Request { name: alias, wait: true, call_site: "f".into() });
        }
    }
}
