//! Entries of the systemd journal around a load: modules, audit records, sudo, units that were started.

use std::{path::Path, process::Command, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::kernel_log::mentions;
use crate::program::{Limits, ROOT_UID, check_trust, run};

/// Where journalctl is.
const PROGRAMS: [&str; 2] = ["/usr/bin/journalctl", "/bin/journalctl"];

/// Limits of the run. The entries of a minute are far below both.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), output_bytes: 8 << 20 };

/// Maximum number of entries that are read: the last ones of the window.
const ENTRIES_MAX: &str = "4000";

/// The fields of an entry that are used.
const FIELDS: &str = "MESSAGE,SYSLOG_IDENTIFIER,_TRANSPORT,_COMM,_PID,JOB_TYPE,JOB_RESULT,UNIT";

/// What an entry shows about a load, the most specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It names the module.
    Mention,
    /// It is about the loading of modules.
    Loading,
    /// A command of sudo.
    Sudo,
    /// A unit was started.
    Unit,
}

impl Kind {
    /// The rule by which the entry is shown.
    pub(super) const fn rule(self) -> &'static str {
        match self {
            Self::Mention => "journal-names-module",
            Self::Loading => "journal-module-loading",
            Self::Sudo => "journal-sudo",
            Self::Unit => "journal-unit-start",
        }
    }
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) time: Timestamp,
    pub(super) kind: Kind,
    /// Who wrote it, as it calls itself.
    pub(super) identifier: String,
    pub(super) message: String,
}

/// The entries of a window of time that may explain a load.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Journal {
    pub(super) entries: Vec<Entry>,
    /// Why there are none, or not all.
    pub(super) note: Option<String>,
}

impl Journal {
    /// Asks journalctl for the entries from `from` to `to`.
    #[must_use]
    pub fn read(from: Timestamp, to: Timestamp, module: &str) -> Self {
        let note = |note: String| Self { entries: Vec::new(), note: Some(note) };
        let Some(program) = PROGRAMS.into_iter().map(Path::new).find(|program| program.exists()) else {
            return note("no journalctl here".to_owned());
        };
        if let Err(why) = check_trust(Path::new("/"), program, ROOT_UID) {
            return note(format!("journalctl is not run: {why}"));
        }
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C.UTF-8").args(["--quiet", "--no-pager", "--output=json", "--utc"]);
        command.arg(format!("--output-fields={FIELDS}")).arg(format!("--lines={ENTRIES_MAX}"));
        command.arg(format!("--since=@{}", from.as_second())).arg(format!("--until=@{}", to.as_second()));
        match run(&mut command, LIMITS) {
            Ok(output) if output.status.success() => Self { entries: parse(&output.stdout, module), note: None },
            Ok(output) => note(format!("journalctl failed with {}", output.status)),
            Err(why) => note(format!("journalctl gave no answer: {why}")),
        }
    }
}

/// The telling entries of the output of `journalctl --output=json`.
pub(super) fn parse(output: &[u8], module: &str) -> Vec<Entry> {
    output.split(|byte| *byte == b'\n').filter_map(|line| entry(line, module)).collect()
}

fn entry(line: &[u8], module: &str) -> Option<Entry> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let field = |name: &str| text(value.get(name)?);
    let message = field("MESSAGE")?;
    let identifier = field("SYSLOG_IDENTIFIER").or_else(|| field("_COMM")).unwrap_or_default();
    let transport = field("_TRANSPORT").unwrap_or_default();
    let comm = field("_COMM").unwrap_or_default();
    let kind = if mentions(&message, module) {
        Kind::Mention
    } else if is_about_loading(&transport, &comm, &identifier, &message) {
        Kind::Loading
    } else if comm == "sudo" && message.contains("COMMAND=") {
        Kind::Sudo
    } else if comm == "systemd" && field("JOB_TYPE").is_some_and(|kind| kind == "start") {
        Kind::Unit
    } else {
        return None;
    };
    let microseconds: i64 = field("__REALTIME_TIMESTAMP")?.parse().ok()?;
    Some(Entry { time: Timestamp::from_microsecond(microseconds).ok()?, kind, identifier, message })
}

fn is_about_loading(transport: &str, comm: &str, identifier: &str, message: &str) -> bool {
    let is_audit = transport == "audit"
        && ["comm=\"modprobe\"", "comm=\"insmod\"", "comm=\"kmod\"", "KERN_MODULE"]
            .iter()
            .any(|it| message.contains(it));
    let is_tool =
        ["modprobe", "insmod", "systemd-modules-load", "kmod"].iter().any(|tool| comm == *tool || identifier == *tool);
    is_audit || is_tool
}

/// A field: a string, or the bytes of one that is not UTF-8.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(bytes) => {
            let bytes: Option<Vec<u8>> = bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Kind, parse};

    /// Entries that name the module or are about loading, sudo and started units are kept; others and malformed lines are not.
    #[test]
    fn telling_entries_are_kept() {
        let output = br#"{"__REALTIME_TIMESTAMP":"1795415443000000","MESSAGE":"Inserted module 'nf_conntrack'","SYSLOG_IDENTIFIER":"systemd-modules-load"}
{"__REALTIME_TIMESTAMP":"1795415443500000","MESSAGE":"SYSCALL arch=c000003e syscall=313 comm=\"modprobe\" exe=\"/usr/bin/kmod\"","_TRANSPORT":"audit"}
{"__REALTIME_TIMESTAMP":"1795415444000000","MESSAGE":"alice : PWD=/ ; USER=root ; COMMAND=/usr/sbin/iptables -t nat -L","SYSLOG_IDENTIFIER":"sudo","_COMM":"sudo"}
{"__REALTIME_TIMESTAMP":"1795415444000001","MESSAGE":"Started ssh","_COMM":"systemd","JOB_TYPE":"start"}
{"__REALTIME_TIMESTAMP":"1795415444000002","MESSAGE":"forged COMMAND=x","SYSLOG_IDENTIFIER":"sudo","_COMM":"logger"}
{"__REALTIME_TIMESTAMP":"1795415444000003","MESSAGE":[110,102,95,99,111,110,110,116,114,97,99,107,255]}
{"__REALTIME_TIMESTAMP":"x","MESSAGE":"nf_conntrack"}
{"MESSAGE":null}
[]
"#;
        let found = parse(output, "nf_conntrack");
        let kinds: Vec<Kind> = found.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [Kind::Mention, Kind::Loading, Kind::Sudo, Kind::Unit, Kind::Mention]);
        assert_eq!(found[0].time.as_second(), 1_795_415_443);
        assert_eq!(found[4].message, "nf_conntrack\u{fffd}");
    }

    proptest! {
        /// No output panics.
        #[test]
        fn any_output_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, "x");
        }
    }
}
