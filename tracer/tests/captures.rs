//! Captures of every version of the format remain readable, with this tool and with standard tools.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kmodtrace::{
    capture::{files, frame::FrameMaker, sign::Key},
    event::{Body, Event},
    stream::{Collector, Pipeline, Severity, follow},
};

fn fixtures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/captures/versions");
    files::list(&[directory]).files
}

/// The seals of a followed capture are valid for any growth pattern, compressed or not.
#[test]
fn seals_of_followed_capture_are_valid() {
    let stored =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/captures/outage-6.1.jsonl"));
    let stored = String::from_utf8(stored.unwrap()).unwrap();
    let events: Vec<Event> = stored.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut maker = FrameMaker::new(None).unwrap();
    let mut frames = Vec::new();
    for some in events.chunks(9) {
        for event in some {
            maker.push(event).unwrap();
        }
        frames.push(maker.close().unwrap().unwrap().bytes);
    }
    let plain: Vec<u8> = frames.iter().flat_map(|frame| zstd::stream::decode_all(frame.as_slice()).unwrap()).collect();
    let altered = String::from_utf8(plain.clone()).unwrap().replacen("nf_conntrack", "nf_conntracy", 1).into_bytes();
    for (text, pieces, wanted) in [
        (&plain, 1, &[][..]),
        (&plain, 7, &[]),
        (&plain, 40, &[]),
        (&frames.concat(), 7, &[]),
        (&altered, 40, &["altered"]),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("live.jsonl");
        let mut rest = text.chunks(text.len().div_ceil(pieces));
        std::fs::write(&path, rest.next().unwrap()).unwrap();
        let mut grow = || {
            let Some(more) = rest.next() else { return false };
            let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(more).unwrap();
            true
        };
        let mut pipeline = Pipeline::new(Collector::default());
        follow(std::slice::from_ref(&path), &mut pipeline, &mut grow).unwrap();
        let (collector, _) = pipeline.finish().unwrap();
        let broken = collector.issues.iter().filter(|issue| issue.kind.severity() == Severity::Broken);
        let broken: Vec<&str> = broken.map(|issue| issue.kind.name()).collect();
        assert_eq!((broken.as_slice(), collector.events.len()), (wanted, events.len()), "{pieces} pieces");
        let others = collector.issues.iter().any(|issue| issue.kind.name().starts_with("unsealed"));
        assert!(!others, "{pieces} pieces: {:?}", collector.issues);
    }
}

/// Captures of each earlier version are read completely.
#[test]
fn captures_of_earlier_versions_are_read() {
    for path in fixtures() {
        let (collector, files) = Collector::read(std::slice::from_ref(&path)).unwrap();
        assert_eq!(collector.broken(), Vec::<String>::new(), "{}", path.display());
        assert!(files[0].has_end && files[0].seals > 0, "{}", path.display());
        let events = collector.events;
        assert!(matches!(events[0].body, Body::Header(_)), "{}", path.display());
        assert!(events.iter().any(|event| matches!(event.body, Body::Request(_))), "{}", path.display());
    }
}

/// `zstdcat FILE | jq` reads the same requests as this tool.
#[test]
fn standard_tools_read_captures() {
    for path in fixtures() {
        let mut text = Command::new("zstdcat").arg(&path).stdout(Stdio::piped()).spawn().expect("zstd is installed");
        let filter = "select(.type == \"request\") | .name";
        let jq = Command::new("jq").args(["-r", filter]).stdin(text.stdout.take().unwrap()).output();
        let jq = jq.expect("jq is installed");
        assert!(text.wait().unwrap().success() && jq.status.success(), "{}", path.display());
        let names: Vec<String> = String::from_utf8(jq.stdout).unwrap().lines().map(str::to_owned).collect();
        let (collector, _) = Collector::read(std::slice::from_ref(&path)).unwrap();
        let ours: Vec<String> = collector
            .events
            .into_iter()
            .filter_map(|event| match event.body {
                Body::Request(request) => Some(request.name.field()),
                _ => None,
            })
            .collect();
        assert!(!ours.is_empty());
        assert_eq!(names, ours, "{}", path.display());
    }
}

/// A key created with the command in docs/capture-format.md is accepted, and its public key is written.
#[test]
fn documented_key_command_creates_valid_key() {
    let page = include_str!("../../docs/capture-format.md");
    let (_, rest) = page.split_once("\n`(umask").unwrap();
    let command = format!("(umask{}", rest.split_once('`').unwrap().0);
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new("sh").args(["-ec", &command]).current_dir(directory.path()).status().unwrap();
    assert!(made.success(), "{command}");
    let path = directory.path().join("kmodtrace.key");
    Key::load(&path).unwrap();
    assert_eq!(std::fs::read_to_string(path.with_extension("key.pub")).unwrap().trim().len(), 64);
}
