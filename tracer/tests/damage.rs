//! Every verb that reads captures on every kind of damage: one table of issues, one rule for exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "damage/recording.rs"]
mod recording;
#[path = "damage/rows.rs"]
mod rows;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::{fed, kmodtrace, stderr};
use kmodtrace::{
    capture::sign::Key,
    stream::{Collector, IssueKind, Severity},
};
use recording::{ALPHA, NEEDED, NOT_NEEDED, pack, record};
use rows::{Entry, Read, Row, one, plain};

/// The kind of verb, which determines the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    /// Shows the available data.
    Report,
    /// Gives an answer that requires complete evidence.
    Judge,
    /// `impact` of a module that a process needed.
    Needed,
    Verify,
    /// `verify` that requires beginning and end.
    VerifyEnded,
}

/// In a copy with one changed frame, only the events that differ are counted again, with and without seals.
#[test]
fn changed_copy_counts_only_differences() {
    let alpha = record(&ALPHA);
    let changed = |segments: &[recording::Frames]| {
        let mut changed = segments.to_vec();
        changed[1][1] = changed[1][1].replacen("\"m8\"", "\"x8\"", 1);
        assert_ne!(changed[1][1], segments[1][1]);
        changed
    };
    let without_seals = |segments: &[recording::Frames]| -> Vec<u8> {
        let text = segments.concat().concat();
        let lines = text.lines().filter(|line| !line.contains("\"type\":\"seal\""));
        lines.flat_map(|line| format!("{line}\n").into_bytes()).collect()
    };
    for (what, whole, copy, twice) in [
        ("sealed", one(&alpha), one(&changed(&alpha)), alpha[1][1].lines().count() - 1),
        ("lines", without_seals(&alpha), without_seals(&changed(&alpha)), 1),
    ] {
        let events = |captures: &[&[u8]]| {
            let (collector, _) = Collector::read_bytes(captures).unwrap();
            let kinds: Vec<&str> = collector.issues.iter().map(|issue| issue.kind.name()).collect();
            (collector.events.len(), kinds.contains(&"contradiction"))
        };
        let (alone, _) = events(&[&whole]);
        assert_eq!(events(&[&whole, &whole]), (alone, false), "{what}");
        assert_eq!(events(&[&whole, &copy]), (alone + twice, true), "{what}");
    }
}

/// The expected exit code of a verb.
fn expected(verb: Verb, issues: &[&str], read: Read) -> i32 {
    let worst = issues.iter().map(|name| severity(name)).max();
    let is_broken = worst == Some(Severity::Broken) || issues.contains(&"unsealed");
    let is_cut = issues.contains(&"no-end") || issues.contains(&"missing-beginning");
    match (verb, read) {
        (_, Read::Unusable) | (Verb::Report, Read::Nothing) => 125,
        (Verb::Report, Read::Loads) => 0,
        (Verb::Needed, Read::Loads) => 1,
        (Verb::Judge | Verb::Needed, _) if worst > Some(Severity::Note) => 125,
        (Verb::Judge | Verb::Needed, _) => 0,
        (Verb::Verify, _) => i32::from(is_broken),
        (Verb::VerifyEnded, _) => i32::from(is_broken || is_cut),
    }
}

fn severity(name: &str) -> Severity {
    IssueKind::ALL.iter().find(|(known, _)| *known == name).unwrap().1
}

/// Keys, a policy, and a snapshot of the undamaged capture.
fn scratch() -> (tempfile::TempDir, Arc<Key>, Arc<Key>) {
    let scratch = tempfile::tempdir().unwrap();
    let key = |name: &str, secret: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, secret.repeat(32)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Arc::new(Key::load(&path).unwrap())
    };
    let (own, other) = (key("key", "11"), key("other", "22"));
    let policy = "version = 1\ndefault = \"allow\"\n\n[[rule]]\naction = \"deny\"\nmodule = \"tipc\"\n";
    fs::write(scratch.path().join("p.toml"), policy).unwrap();
    fs::write(scratch.path().join("whole.jsonl.zst"), one(&record(&ALPHA))).unwrap();
    (scratch, own, other)
}

/// Writes the files of a row to a directory.
fn lay_out(directory: &Path, row: &Row) {
    for (name, entry) in &row.entries {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match entry {
            Entry::File(bytes) => fs::write(&path, bytes).unwrap(),
            Entry::Link(target) => symlink(target, &path).unwrap(),
            Entry::Fifo => {
                let mode = rustix::fs::Mode::RUSR;
                rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            }
        }
    }
}

/// Names of the issues in the JSON output of `verify`, and the sentences of those that invalidate a verdict.
fn found(output: &Output) -> (BTreeSet<String>, Vec<String>) {
    let mut names = BTreeSet::new();
    let mut sentences = Vec::new();
    for line in String::from_utf8(output.stdout.clone()).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for issue in line["issues"].as_array().unwrap() {
            let name = issue["issue"].as_str().unwrap().to_owned();
            if severity(&name) > Severity::Note {
                sentences.push(issue["text"].as_str().unwrap().to_owned());
            }
            names.insert(name);
        }
    }
    (names, sentences)
}

/// Runs all verbs on a row and returns the unexpected results.
fn try_row(root: &Path, number: usize, row: &Row) -> Vec<String> {
    let name = format!("row{number}/");
    let directory = root.join(&name);
    fs::create_dir(&directory).unwrap();
    lay_out(&directory, row);
    let mut wrong = Vec::new();
    let wanted: BTreeSet<String> = row.issues.iter().map(|name| (*name).to_owned()).collect();
    let output = kmodtrace(root, &["verify", "--json", &name]);
    let (names, sentences) = if row.read == Read::Unusable { (wanted.clone(), Vec::new()) } else { found(&output) };
    if names != wanted {
        wrong.push(format!("issues {names:?}, expected {wanted:?}: {sentences:#?}"));
    }
    let tries: &[(Verb, &[&str])] = &[
        (Verb::Report, &["report"]),
        (Verb::Report, &["report", "--json"]),
        (Verb::Report, &["report", "--tree"]),
        (Verb::Report, &["report", "--csv", "--by", "module"]),
        (Verb::Judge, &["check", "-p", "p.toml"]),
        (Verb::Judge, &["policy", "learn"]),
        (Verb::Judge, &["snapshot"]),
        (Verb::Judge, &["diff", "whole.jsonl.zst"]),
        (Verb::Judge, &["impact", NOT_NEEDED]),
        (Verb::Needed, &["impact", NEEDED]),
        (Verb::Verify, &["verify"]),
        (Verb::Verify, &["verify", "--json"]),
        (Verb::VerifyEnded, &["verify", "--ended"]),
    ];
    for (verb, arguments) in tries {
        let output = kmodtrace(root, &[arguments, &[name.as_str()][..]].concat());
        let text = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        let code = expected(*verb, &row.issues, row.read);
        if output.status.code() != Some(code) {
            wrong.push(format!("{arguments:?}: {:?}, expected {code}: {text}", output.status));
        }
        if *verb == Verb::Report && row.read == Read::Nothing && text.contains("none of its lines is an event") {
            // One error is enough.
            continue;
        }
        // The JSON output has escapes; the text is the same.
        for sentence in sentences.iter().filter(|sentence| !arguments.contains(&"--json") && !text.contains(*sentence))
        {
            wrong.push(format!("{arguments:?} does not report {sentence:?}: {text}"));
        }
    }
    if let Some(issues) = &row.with_key {
        for (verb, arguments) in [
            (Verb::Verify, &["verify", "--key", "key.pub"][..]),
            (Verb::Judge, &["check", "-p", "p.toml", "--key", "key.pub"]),
        ] {
            let output = kmodtrace(root, &[arguments, &[name.as_str()][..]].concat());
            let code = expected(verb, issues, row.read);
            if output.status.code() != Some(code) {
                wrong.push(format!("{arguments:?}: {:?}, expected {code}: {}", output.status, stderr(&output)));
            }
        }
    }
    if let [(_, Entry::File(bytes))] = row.entries.as_slice() {
        wrong.extend(try_file(root, &name, bytes, row));
    }
    wrong
}

/// Follows and recovers a single file.
fn try_file(root: &Path, name: &str, bytes: &[u8], row: &Row) -> Vec<String> {
    let mut wrong = Vec::new();
    let file = format!("{name}0.jsonl.zst");
    let code = expected(Verb::Report, &row.issues, row.read);
    // A pipe that has ended cannot grow.
    let followed = fed(bytes, &["report", "--tree", "--utc", "--follow", "-"]);
    if followed.status.code() != Some(code) {
        wrong.push(format!("report --follow: {:?}, expected {code}: {}", followed.status, stderr(&followed)));
    }
    let copy = format!("{}copy.jsonl.zst", name.trim_end_matches('/'));
    let recovered = kmodtrace(root, &["recover", &file, &copy]);
    if recovered.status.code() != Some(code) {
        wrong.push(format!("recover: {:?}, expected {code}: {}", recovered.status, stderr(&recovered)));
    }
    if code == 0 {
        let (names, sentences) = found(&kmodtrace(root, &["verify", "--json", &copy]));
        let is_left = |name: &&&str| names.contains(**name);
        if let Some(name) = ["damaged", "torn", "malformed"].iter().find(is_left) {
            wrong.push(format!("the recovered copy is {name}: {sentences:?}"));
        }
    }
    wrong
}

/// Runs all verbs on rows in parallel.
fn try_rows(root: &Path, rows: &[Row]) {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(row) = rows.get(number) else { return };
                    let found = try_row(root, number, row);
                    wrong.lock().unwrap().extend(found.into_iter().map(|text| format!("{}: {text}", row.name)));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Every verb applies the same rule to every kind of damage.
#[test]
fn every_verb_applies_one_rule_to_damage() {
    let (scratch, key, other_key) = scratch();
    try_rows(scratch.path(), &rows::rows(&key, &other_key));
}

/// The issues of a capture in memory.
fn issues(bytes: &[u8]) -> BTreeSet<&'static str> {
    let (collector, _) = Collector::read_bytes(&[bytes]).unwrap();
    collector.issues.iter().map(|issue| issue.kind.name()).collect()
}

/// The ends of the frames.
fn borders(frames: &[String]) -> Vec<usize> {
    let mut borders = vec![0];
    for frame in frames {
        borders.push(borders.last().unwrap() + pack(frame).len());
    }
    borders
}

/// The expected issues of a truncated compressed capture.
fn cut_frames(borders: &[usize], cut: usize) -> Vec<&'static str> {
    let is_border = borders.contains(&cut);
    match cut {
        0 => vec!["empty"],
        _ if cut == *borders.last().unwrap() => Vec::new(),
        _ if cut < borders[1] => vec!["empty", "torn"],
        _ if is_border => vec!["no-end"],
        _ => vec!["no-end", "torn"],
    }
}

/// A compressed capture that is truncated at any byte is torn there and has no other issues.
#[test]
fn truncated_compressed_capture_is_torn() {
    let bytes = one(&record(&ALPHA));
    let borders = borders(&record(&ALPHA).concat());
    assert_eq!(borders.last(), Some(&bytes.len()));
    let near = borders.iter().flat_map(|border| border.saturating_sub(5)..border + 20);
    for cut in near.chain((0..bytes.len()).step_by(37)).filter(|cut| *cut <= bytes.len()) {
        let wanted: BTreeSet<&str> = cut_frames(&borders, cut).into_iter().collect();
        assert_eq!(issues(&bytes[..cut]), wanted, "cut at {cut} of {borders:?}");
    }
}

/// A plain capture that is truncated at any byte is torn there, and its last part is unsealed.
#[test]
fn truncated_plain_capture_is_torn_and_unsealed() {
    let text = String::from_utf8(plain(&record(&ALPHA))).unwrap();
    let mut begin = 0;
    let mut is_sealed = false;
    let mut seals = 0;
    for line in text.split_inclusive('\n') {
        // A line without its line end is still an event.
        for inside in [1, 7, line.len() / 2, line.len() - 2] {
            let wanted: BTreeSet<&str> = match (begin, seals) {
                (0, _) => ["empty", "torn"].into(),
                (_, 0) => ["no-end", "torn", "unsealed"].into(),
                _ if is_sealed => ["no-end", "torn"].into(),
                _ => ["no-end", "torn", "unsealed-part"].into(),
            };
            let mut issues = issues(&text.as_bytes()[..begin + inside]);
            // These depend on the last chain.
            issues.remove("incomplete-chain");
            if text[..begin].contains("\"type\":\"end\"") {
                issues.insert("no-end");
            }
            assert_eq!(issues, wanted, "cut in {inside} of {line}");
        }
        begin += line.len();
        is_sealed = line.contains("\"type\":\"seal\"");
        seals += u32::from(is_sealed);
        for end in [begin - 1, begin] {
            let issues = issues(&text.as_bytes()[..end]);
            let is_unsealed = issues.contains("unsealed") || issues.contains("unsealed-part");
            assert_eq!(is_unsealed, !is_sealed, "cut after {line}: {issues:?}");
            assert!(!issues.contains("torn") && !issues.contains("altered"), "cut after {line}: {issues:?}");
        }
    }
}

/// A flipped bit is detected and affects at most its frame.
#[test]
fn flipped_bit_affects_only_its_frame() {
    let alpha = record(&ALPHA).concat();
    let bytes = one(&record(&ALPHA));
    let borders = borders(&alpha);
    let all = Collector::read_bytes(&[&bytes]).unwrap().0.events.len();
    for at in (0..bytes.len()).step_by(13).chain(borders.iter().flat_map(|border| *border..border + 14)) {
        let mut flipped = bytes.clone();
        let Some(byte) = flipped.get_mut(at) else { continue };
        *byte ^= 1 << (at % 8);
        let (collector, _) = Collector::read_bytes(&[&flipped]).unwrap();
        let frame = borders.partition_point(|border| *border <= at) - 1;
        let of_frame = alpha[frame].lines().count() - 1;
        let is_broken = !collector.broken().is_empty();
        assert!(is_broken || collector.events.len() == all, "bit flipped at {at}: {:?}", collector.issues);
        assert!(collector.events.len() + of_frame >= all, "bit flipped at {at}: {:?}", collector.issues);
    }
}

/// Every verb applies the same rule to truncated captures and to captures with a flipped bit.
#[test]
fn every_verb_applies_one_rule_to_truncation_and_flipped_bits() {
    let (scratch, ..) = scratch();
    let bytes = one(&record(&ALPHA));
    let borders = borders(&record(&ALPHA).concat());
    let mut rows = Vec::new();
    for cut in [0, 1, 4, borders[1] - 1, borders[1], borders[1] + 1, borders[4], borders[4] + 200, bytes.len() - 1] {
        let read = if cut < borders[1] { Read::Nothing } else { Read::Loads };
        let row = Row::new(format!("cut at {cut}"), &[bytes[..cut].to_vec()], &cut_frames(&borders, cut));
        rows.push(Row { read, ..row });
    }
    for (frame, border) in borders.windows(2).enumerate() {
        let mut flipped = bytes.clone();
        flipped[(border[0] + border[1]) / 2] ^= 4;
        let issues: &[&str] = match frame {
            0 => &["damaged", "missing-beginning", "missing-events", "no-end", "no-header"],
            _ if frame + 2 == borders.len() => &["damaged", "no-end"],
            // It contains the header of segment 1; the next header is that of segment 2.
            3 => &["damaged", "missing-events", "missing-segments"],
            _ => &["damaged", "missing-events"],
        };
        rows.push(Row::new(format!("a bit of frame {frame} is flipped"), &[flipped], issues));
    }
    try_rows(scratch.path(), &rows);
}

/// The documentation lists exactly the existing issues with their severities.
#[test]
fn documentation_lists_exactly_the_issues() {
    let page = include_str!("../../docs/capture-format.md");
    let (_, section) = page.split_once("\n## What can be wrong\n").unwrap();
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    let documented: Vec<(String, String)> = rows.collect();
    let severity = |severity: &Severity| serde_json::to_value(severity).unwrap().as_str().unwrap().to_owned();
    let known: Vec<(String, String)> =
        IssueKind::ALL.iter().map(|(name, of)| ((*name).to_owned(), severity(of))).collect();
    assert_eq!(documented, known);
}
