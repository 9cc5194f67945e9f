//! A recorder that is killed with SIGKILL at any time: intact frames survive, and `verify` reports the rest.
//!
//! Runs without libtest, since the test executes itself as the recorder. `KMODTRACE_ROUNDS` is the number of rounds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use jiff::Timestamp;
use kmodtrace::{
    capture::{
        files,
        segment::{Label, SystemDisk, Target},
        writer::{Flush, Policy, Writer},
    },
    event::{Baseline, Body, Clock, Event, Header, Process, SCHEMA_VERSION, Unload},
    stream::{Collector, IssueKind, Severity},
};

/// Environment variable with the number of rounds.
const ROUNDS: &str = "KMODTRACE_ROUNDS";

/// First argument of a recorder; the directory and the number of the round follow.
const RECORDER: &str = "--recorder";

/// Distance of the first numbers of two rounds.
const STRIDE: u64 = 1_000_000;

/// Maximum run time of a recorder, microseconds.
const LIFE_US: u64 = 60_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [RECORDER, directory, round] => record(Path::new(directory), round.parse().unwrap()),
        ["--list", ..] => println!("killed_recorder_leaves_intact_frames: test"),
        _ => {
            let rounds = std::env::var(ROUNDS).map_or(20, |text| text.parse().unwrap());
            let torn = (0..rounds).fold((tempfile::tempdir().unwrap(), 0), |(directory, torn), round| {
                let is_torn = killed(directory.path(), round);
                (directory, torn + u32::from(is_torn))
            });
            println!("{rounds} recorders were killed, {} in the middle of a frame: whole frames last", torn.1);
        }
    }
}

/// Incompressible bytes: writing a frame then takes long enough that some frames are torn.
fn noise(seed: u64) -> String {
    let mut state = seed | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + u8::try_from(state % 64).unwrap() + u8::from(state % 64 >= 2))
    };
    (0..8000).map(|_| step()).collect()
}

/// Records events as fast as possible and prints the number of written ones, until it is killed.
fn record(directory: &Path, round: u64) {
    let at = |number: u64| (Timestamp::from_nanosecond(i128::from(number)).unwrap(), number);
    let label = Label {
        // Names sort chronologically.
        time: format!("20261123T{round:06}Z"),
        boot: "7f0c0000".to_owned(),
        recording: format!("{round:08x}"),
    };
    let mut policy = Policy::default();
    (policy.flush, policy.max_bytes) = (Flush::None, Some(1 << 20));
    let header = Header { schema: SCHEMA_VERSION, tool: "kmodtrace 0.1.0".to_owned(), ..Header::default() };
    let start = (header, Baseline { modules: Vec::new() });
    let target = Target::Directory(directory.to_owned());
    let first = round * STRIDE;
    let mut writer = Writer::begin(SystemDisk, (target, label), policy, None, start, at(first)).unwrap();
    let clock = Clock { realtime_minus_boot_ns: 0, boot_minus_monotonic_ns: 0, clock_uncertainty_ns: 0 };
    let mut out = std::io::stdout();
    for number in first.. {
        let process = Process { argv: vec![noise(number).as_str().into()], ..Process::default() };
        let module = format!("module{number}").as_str().into();
        let body = Body::Unload(Box::new(Unload { module, process, ancestors: Vec::new(), init_failed: false }));
        let (time, boot_ns) = at(number);
        writer.push(&Event { seq: 0, time, boot_ns, request: None, body }).unwrap();
        writer.tick(at(number), clock).unwrap();
        if number % 7 == 0 && writer.settle(number).unwrap() {
            writeln!(out, "{number}").unwrap();
        }
        assert_eq!(writer.take_news(), Vec::<String>::new());
    }
}

/// The captures with their bytes.
fn captures(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let found = files::list(&[directory.to_owned()]).files;
    found.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Kills one recorder and checks its files; returns whether the last one is torn.
fn killed(directory: &Path, round: u64) -> bool {
    let before = captures(directory);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([RECORDER, directory.to_str().unwrap(), &round.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, acknowledgements) = channel::<u64>();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        // Writes of such short lines to a pipe are atomic.
        for line in stdout.split(b'\n').map_while(Result::ok) {
            let number = String::from_utf8(line).unwrap().parse().unwrap();
            sender.send(number).unwrap();
        }
    });
    // The recorder is running, so the kill does not hit its start-up.
    let Ok(mut acknowledged) = acknowledgements.recv_timeout(Duration::from_secs(60)) else {
        panic!("round {round}: no recorder")
    };
    let random = RandomState::new().build_hasher().finish() % LIFE_US;
    thread::sleep(Duration::from_micros(random));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    acknowledged = acknowledgements.try_iter().last().unwrap_or(acknowledged);

    let after = captures(directory);
    for (path, bytes) in &before {
        assert!(after.get(path) == Some(bytes), "round {round}: {} is not as it was", path.display());
    }
    let new: Vec<&Vec<u8>> =
        after.iter().filter(|(path, _)| !before.contains_key(*path)).map(|(_, bytes)| bytes).collect();
    assert!(!new.is_empty(), "round {round}: no new file");
    let inputs: Vec<&[u8]> = new.iter().map(|bytes| bytes.as_slice()).collect();
    let (collector, _) = Collector::read_bytes(&inputs).unwrap();
    // Only the current file can be torn. One without an intact frame ends inside of its first frame.
    let last = (new.len() - 1).to_string();
    let mut is_torn = false;
    for issue in collector.issues.iter().filter(|issue| issue.kind.severity() == Severity::Broken) {
        let is_end = matches!(issue.kind, IssueKind::Torn { .. } | IssueKind::Empty) && issue.source == last;
        assert!(is_end, "round {round}: {:?}", collector.broken());
        is_torn = true;
    }
    let mut numbers = Vec::new();
    for event in collector.events {
        if let Body::Unload(unload) = event.body {
            numbers.push(unload.module.field().trim_start_matches("module").parse::<u64>().unwrap());
        }
    }
    let first = round * STRIDE;
    let wanted: Vec<u64> = (first..first + numbers.len() as u64).collect();
    assert_eq!(numbers, wanted, "round {round}");
    assert!(numbers.last() >= Some(&acknowledged), "round {round}: {acknowledged} was reported as written");
    is_torn
}
