//! Answers on fixture trees.

use std::{
    fs::{self, File, FileTimes},
    path::Path,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

use super::{Answer, Journal, LookUp, Mark, Recorded, Sources, State, answer, journal};
use crate::{
    chain::samples,
    event::Text,
    kernel::{modules, sysinfo::SystemInfo},
    modules::Machine,
    stream::Pipeline,
};

const BOOT: i64 = 1_795_400_000;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A system on which iptable_nat was loaded with its dependencies, 500 s after the boot.
fn outage() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let lines = "iptable_nat 1 0 - Live 0x0\nnf_nat 1 1 iptable_nat, Live 0x0\nnf_conntrack 1 1 nf_nat, Live 0x0\nxfs 1 2 - Live 0x0\n";
    write(root.path(), "proc/modules", lines);
    write(root.path(), "proc/stat", &format!("cpu 1\nbtime {BOOT}\n"));
    write(root.path(), "proc/sys/kernel/random/boot_id", "b1\n");
    write(root.path(), "dev/kmsg", "6,1,500100000,-;nf-conntrack: \x1b[2J hello\n6,2,7,-;other: x\n");
    for (name, seconds) in [("iptable_nat", 502), ("nf_nat", 501), ("nf_conntrack", 501), ("xfs", 3)] {
        let path = root.path().join("sys/module").join(name);
        fs::create_dir_all(&path).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(BOOT as u64 + seconds);
        File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }
    root
}

fn ask(
    root: &Path,
    name: &str,
    recorded: &LookUp<'_>,
    journal: &dyn Fn(Timestamp, Timestamp, &str) -> Journal,
) -> Answer {
    let sysinfo = SystemInfo::new(root);
    let loaded = modules::load(root).map_err(|error| error.to_string());
    let sources = Sources {
        sysinfo: &sysinfo,
        loaded: loaded.as_ref().map_err(String::as_str),
        indexes: Err("no modprobe"),
        machine: &Machine::default(),
        recorded,
        journal,
        now: Timestamp::from_second(BOOT + 1000).unwrap(),
    };
    answer(&Text::from(name), &sources)
}

fn nothing_recorded(_: &Text, _: Option<&str>) -> Result<Recorded, String> {
    Err("nothing was recording on this host".to_owned())
}

fn empty_journal(_: Timestamp, _: Timestamp, _: &str) -> Journal {
    Journal::default()
}

/// Without a recorder nothing is called recorded, and each source gives its finding with its rule and time.
#[test]
fn answer_without_recorder_is_logged_and_inferred() {
    let root = outage();
    let line = r#"{"__REALTIME_TIMESTAMP":"1795400499000000","MESSAGE":"alice : COMMAND=/usr/sbin/iptables -t nat -L","_COMM":"sudo"}"#;
    let asked = std::cell::Cell::new(None);
    let journal = |from: Timestamp, to: Timestamp, module: &str| {
        asked.set(Some((from.as_second() - BOOT, to.as_second() - BOOT)));
        Journal { entries: journal::parse(line.as_bytes(), module), note: None }
    };
    let found = ask(root.path(), "nf-conntrack", &nothing_recorded, &journal);
    assert_eq!((found.state, found.module.as_deref()), (State::Loaded, Some("nf_conntrack")));
    let findings: Vec<(Mark, &str, Option<i64>, &str)> = found
        .findings
        .iter()
        .map(|finding| {
            (finding.mark, finding.rule, finding.time.map(|time| time.as_second() - BOOT), finding.text.as_str())
        })
        .collect();
    assert_eq!(
        findings,
        [
            (Mark::Logged, "journal-sudo", Some(499), "sudo: alice : COMMAND=/usr/sbin/iptables -t nat -L"),
            (Mark::Logged, "kernel-log", Some(500), "kernel: nf-conntrack: \\x1b[2J hello"),
            (Mark::Inferred, "order-of-modules", None, "loaded after \"xfs\" and before \"nf_nat\""),
            (
                Mark::Inferred,
                "dependency-order",
                None,
                "as a dependency of \"iptable_nat\", which needs it and arrived with it"
            ),
            (Mark::Inferred, "sysfs-time", Some(501), "it was there: times of directories in sysfs"),
        ]
    );
    // From the module before it to the message of the kernel, which is earlier than the times of sysfs.
    assert_eq!(asked.get(), Some((1, 502)));
    assert_eq!(found.holders[0].text, "module nf_nat");
    assert_eq!(found.removal.unwrap().command.as_deref(), Some("modprobe -r iptable_nat nf_nat nf_conntrack"));
    assert!(found.notes.iter().any(|note| note == "nothing was recording on this host"), "{:?}", found.notes);
    assert!(found.next.iter().any(|next| next.command == "kmodtrace block nf_conntrack"));
}

/// A recorded chain comes first, with requester, login and attribution.
#[test]
fn answer_with_recorder_shows_chain() {
    let root = outage();
    let recorded = |name: &Text, module: Option<&str>| {
        let mut found = Recorded::new(name, module);
        let mut pipeline = Pipeline::new(&mut found);
        let id = pipeline.begin("x.jsonl");
        for event in samples::events() {
            pipeline.event(id, event).unwrap();
        }
        pipeline.finish().unwrap();
        Ok(found)
    };
    let found = ask(root.path(), "nf_conntrack", &recorded, &empty_journal);
    let first = &found.findings[0];
    assert_eq!((first.mark, first.rule), (Mark::Recorded, "chain"), "{found:?}");
    for part in
        ["/usr/sbin/xtables-legacy-multi (pid 557, ", "made the kernel ask for \"iptable_nat\"", "parents bash(540)"]
    {
        assert!(first.text.contains(part), "{part}: {}", first.text);
    }
    assert!(!found.next.iter().any(|next| next.command.contains("systemctl")));
    // An alias without a known module is looked for by its name.
    let found = ask(root.path(), "fs-nosuch", &recorded, &empty_journal);
    assert!(found.findings.iter().all(|finding| finding.mark == Mark::Recorded), "{found:?}");
}

/// Missing files are notes, and names that no module can have are in no command.
#[test]
fn answer_without_sources_is_notes() {
    let root = tempfile::tempdir().unwrap();
    for name in ["", "x\u{1b}[2J", "../../etc/passwd", "nf_conntrack", "-r", "[", &"a".repeat(4096)] {
        let found = ask(root.path(), name, &nothing_recorded, &empty_journal);
        assert_eq!((found.findings.len(), found.state), (0, State::Unknown), "{name:?}");
        assert!(!found.is_known(), "{name:?}");
        assert!(found.notes.len() >= 2, "{:?}", found.notes);
        assert!(!found.next.iter().any(|next| next.command.contains(['\u{1b}', '/', '['])), "{:?}", found.next);
    }
    let root = outage();
    // Without the indexes of the modules, it may be an alias of a module that is loaded.
    let found = ask(root.path(), "net-pf-38", &nothing_recorded, &empty_journal);
    assert!(found.state == State::Unknown && !found.is_known() && found.removal.is_none(), "{found:?}");
    assert!(ask(root.path(), "xfs", &nothing_recorded, &empty_journal).is_known());
}
