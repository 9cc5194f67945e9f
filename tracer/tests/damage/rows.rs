//! Kinds of damage with the expected issues.

use std::{path::PathBuf, sync::Arc};

use kmodtrace::capture::sign::Key;

use super::recording::{ALPHA, BETA, Frames, Spec, file, pack, record, reseal};

/// How much of a row can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Loads, including those of the needed module.
    Loads,
    /// No event.
    Nothing,
    /// No file is a capture.
    Unusable,
}

/// An entry in the directory of a row.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    File(Vec<u8>),
    Fifo,
    Link(PathBuf),
}

/// A kind of damage.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) entries: Vec<(String, Entry)>,
    /// Names of issues.
    pub(crate) issues: Vec<&'static str>,
    /// Names of issues if the key is given, for a signed capture.
    pub(crate) with_key: Option<Vec<&'static str>>,
    pub(crate) read: Read,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, files: &[Vec<u8>], issues: &[&'static str]) -> Self {
        let entries = (0..).zip(files).map(|(number, file)| (format!("{number}.jsonl.zst"), Entry::File(file.clone())));
        let (entries, issues) = (entries.collect(), issues.to_vec());
        Self { name: name.into(), entries, issues, with_key: None, read: Read::Loads }
    }

    fn read(self, read: Read) -> Self {
        Self { read, ..self }
    }

    fn with(mut self, name: &str, entry: Entry) -> Self {
        self.entries.push((name.to_owned(), entry));
        self
    }

    fn with_key(self, issues: &[&'static str]) -> Self {
        Self { with_key: Some(issues.to_vec()), ..self }
    }
}

/// A file for each segment.
fn files(segments: &[Frames]) -> Vec<Vec<u8>> {
    segments.iter().map(file).collect()
}

/// One file with all segments.
pub(crate) fn one(segments: &[Frames]) -> Vec<u8> {
    file(segments.iter().flatten())
}

/// The same, uncompressed.
pub(crate) fn plain(segments: &[Frames]) -> Vec<u8> {
    segments.concat().concat().into_bytes()
}

/// A changed copy.
fn edited(segments: &[Frames], edit: impl FnOnce(&mut Vec<Frames>)) -> Vec<Frames> {
    let mut segments = segments.to_vec();
    edit(&mut segments);
    segments
}

/// A copy with other text in one frame.
fn replaced(segments: &[Frames], (segment, frame): (usize, usize), from: &str, to: &str) -> Vec<Frames> {
    edited(segments, |segments| {
        let text = &mut segments[segment][frame];
        assert!(text.contains(from), "{from} is not in {text}");
        *text = text.replacen(from, to, 1);
    })
}

fn without_seal(text: &str) -> String {
    text.lines().filter(|line| !line.contains("\"type\":\"seal\"")).map(|line| format!("{line}\n")).collect()
}

/// All rows except those of truncated files.
pub(crate) fn rows(key: &Arc<Key>, other_key: &Arc<Key>) -> Vec<Row> {
    let alpha = record(&ALPHA);
    assert_eq!(reseal(&alpha, None), alpha, "resealing an unchanged recording changes nothing");
    let mut rows = vec![
        Row::new("intact", &files(&alpha), &[]),
        Row::new("intact, in one file", &[one(&alpha)], &[]),
        Row::new("not sealed", &[pack(&without_seal(&plain_text(&alpha)))], &["missing-events", "unsealed"]),
    ];
    rows.extend(frames(&alpha));
    rows.extend(segments(&alpha));
    rows.extend(clones(&alpha));
    rows.extend(seals(&alpha));
    rows.extend(signatures(key, other_key));
    rows.extend(lines(&alpha));
    rows.extend(copies(&alpha));
    rows.extend(other_files(&alpha));
    rows
}

fn plain_text(segments: &[Frames]) -> String {
    segments.concat().concat()
}

/// Missing or misplaced frames.
fn frames(alpha: &[Frames]) -> Vec<Row> {
    let dropped = |segment: usize, frame: usize| {
        edited(alpha, |alpha| {
            alpha[segment].remove(frame);
        })
    };
    vec![
        Row::new("a frame is dropped", &files(&dropped(1, 1)), &["missing-events"]),
        Row::new(
            "the first frame is dropped",
            &[one(&dropped(0, 0))],
            &["missing-beginning", "missing-events", "no-end", "no-header"],
        ),
        Row::new("the last frame is dropped", &[one(&dropped(2, 2))], &["no-end"]),
        Row::new(
            "frames are reordered",
            &files(&edited(alpha, |alpha| alpha[1].swap(1, 2))),
            &["altered", "missing-events", "out-of-order"],
        ),
        Row::new(
            "a frame is doubled",
            &files(&edited(alpha, |alpha| {
                let frame = alpha[1][1].clone();
                alpha[1].insert(1, frame);
            })),
            &["doubled"],
        ),
    ]
}

/// Missing segments, and segments of another recording.
fn segments(alpha: &[Frames]) -> Vec<Row> {
    let [first, middle, last] = [0, 1, 2].map(|number| file(&alpha[number]));
    let beta = record(&BETA);
    let mut damaged_header = middle.clone();
    let header_bytes = pack(&alpha[1][0]).len();
    damaged_header[header_bytes / 2] ^= 0xff;
    vec![
        Row::new("the first segment is missing", &[middle.clone(), last.clone()], &["missing-beginning"]),
        Row::new(
            "a middle segment is missing",
            &[first.clone(), last.clone()],
            &["missing-events", "missing-segments"],
        ),
        Row::new("the last segment is missing", &[first.clone(), middle.clone()], &["no-end"]),
        Row::new(
            "the header of a middle segment is damaged",
            &[first.clone(), damaged_header, last.clone()],
            &["damaged", "missing-events", "no-end", "no-header"],
        ),
        Row::new(
            "two hosts are spliced by number",
            &[first.clone(), file(&beta[1]), file(&beta[2])],
            &["missing-beginning", "no-end"],
        ),
        Row::new(
            "two hosts are spliced in one file",
            &[[first.clone(), file(&beta[1]), file(&beta[2])].concat()],
            &["missing-beginning", "no-end"],
        ),
        Row::new("another host in between", &[first.clone(), one(&beta), middle.clone(), last.clone()], &[]),
        Row::new("another host in between, in one file", &[[first, one(&beta), middle, last].concat()], &[]),
        Row::new("two recordings in sequence in one file", &[[one(alpha), one(&beta)].concat()], &[]),
    ]
}

/// Recordings with the same ids.
fn clones(alpha: &[Frames]) -> Vec<Row> {
    let other = record(&Spec { modules: "x", ..ALPHA });
    let elsewhere = record(&Spec { modules: "x", host: "alpha-2", ..ALPHA });
    let forked = reseal(&replaced(alpha, (1, 0), "m6", "x6"), None);
    assert_eq!((&forked[0], forked[1] == alpha[1]), (&alpha[0], false));
    let both = |one: &[Frames], other: &[Frames]| [files(one), files(other)].concat();
    vec![
        Row::new("a clone", &both(alpha, &other), &["contradiction"]),
        Row::new("a clone, read first", &both(&other, alpha), &["contradiction"]),
        Row::new(
            "a clone, segment by segment",
            &files(&[0, 1, 2].map(|number| [&alpha[number][..], &other[number]].concat())),
            &["contradiction"],
        ),
        Row::new("a clone in one file", &[[one(alpha), one(&other)].concat()], &["contradiction"]),
        Row::new("a clone with another name", &both(alpha, &elsewhere), &["contradiction"]),
        Row::new("a clone with another name, read first", &both(&elsewhere, alpha), &["contradiction"]),
        Row::new("a clone that shares the first segment", &both(alpha, &forked), &["contradiction"]),
        Row::new("a clone that shares the first segment, read first", &both(&forked, alpha), &["contradiction"]),
        Row::new(
            "a copy with one changed frame",
            &both(alpha, &replaced(alpha, (1, 1), "m8", "x8")),
            &["altered", "contradiction", "no-end"],
        ),
        Row::new("two first segments", &[files(alpha), files(&other[..1])].concat(), &["contradiction", "no-end"]),
        Row::new(
            "two first segments, the true one last",
            &[files(&other[..1]), files(alpha)].concat(),
            &["contradiction", "no-end"],
        ),
    ]
}

/// Wrong seals, and incomplete headers and totals.
fn seals(alpha: &[Frames]) -> Vec<Row> {
    let text = &alpha[1][1];
    let last_seal = text.lines().last().unwrap();
    let noted =
        edited(alpha, |alpha| alpha[1][1] = text.replace(last_seal, &last_seal.replace("\"}", "\",\"note\":\"x\"}")));
    let unsealed = edited(alpha, |alpha| alpha[1][1] = without_seal(text));
    let behind = edited(alpha, |alpha| {
        let load = without_seal(&alpha[1][2]);
        alpha[1][1] += load.lines().next().unwrap();
        alpha[1][1].push('\n');
    });
    vec![
        Row::new("text is edited, its seal is unchanged", &files(&replaced(alpha, (1, 1), "m8", "x8")), &["altered"]),
        Row::new(
            "text is edited in the first frame",
            &files(&replaced(alpha, (0, 0), "\"m0\"", "\"x0\"")),
            &["altered"],
        ),
        Row::new("text after the hashed part of a seal", &files(&noted), &["altered"]),
        Row::new("a frame without its seal", &files(&unsealed), &["missing-events", "unsealed-part"]),
        Row::new("a frame that was never sealed", &files(&reseal(&unsealed, None)), &["unsealed-part"]),
        Row::new("lines after a seal", &files(&behind), &["out-of-order", "unsealed-part"]),
        Row::new("valid lines after a seal", &files(&reseal(&behind, None)), &["unsealed-part"]),
        Row::new(
            "forged totals",
            &files(&reseal(&replaced(alpha, (2, 2), "\"loads\":18", "\"loads\":19"), None)),
            &["total"],
        ),
        Row::new("no hooks", &files(&record(&Spec { has_hooks: false, ..ALPHA })), &["missing-hook"]),
        Row::new("filtered", &files(&record(&Spec { filters: &["--module", "x"], ..ALPHA })), &["filtered"]),
    ]
}

/// Signed captures.
fn signatures(key: &Arc<Key>, other_key: &Arc<Key>) -> Vec<Row> {
    let signed = record(&Spec { key: Some(Arc::clone(key)), ..ALPHA });
    let foreign = record(&Spec { key: Some(Arc::clone(other_key)), ..ALPHA });
    let mixed = edited(&signed, |signed| signed[1] = foreign[1].clone());
    let stripped = edited(&signed, |signed| signed[1][1] = record(&ALPHA)[1][1].clone());
    let note = edited(&signed, |signed| {
        let text = &mut signed[1][1];
        text.truncate(text.len() - 2);
        text.push_str(",\"note\":\"x\"}\n");
    });
    vec![
        Row::new("signed", &files(&signed), &[]).with_key(&[]),
        Row::new("signed by another key", &files(&foreign), &[]).with_key(&["altered"]),
        Row::new("signed by another key in part", &files(&mixed), &[]).with_key(&["altered"]),
        Row::new("a signature is removed", &files(&stripped), &[]).with_key(&["altered"]),
        Row::new("all signatures are removed", &files(&record(&ALPHA)), &[]).with_key(&["altered"]),
        Row::new("text after a signature", &files(&note), &["altered"]).with_key(&["altered"]),
        Row::new(
            "signed, and not sealed",
            &[pack(&without_seal(&plain_text(&signed)))],
            &["missing-events", "unsealed"],
        )
        .with_key(&["missing-events", "unsealed"]),
    ]
}

/// Lines that are not events or are of unknown types.
fn lines(alpha: &[Frames]) -> Vec<Row> {
    let added = |line: &str| {
        let frames = edited(alpha, |alpha| {
            let at = alpha[1][1].find('\n').unwrap();
            alpha[1][1].insert_str(at + 1, line);
        });
        files(&reseal(&frames, None))
    };
    let unknown = "{\"seq\":0,\"time\":\"2026-11-23T06:30:48Z\",\"boot_ns\":1,\"type\":\"future\"}\n";
    let text = plain_text(alpha);
    let blank_inside = text.replacen('\n', "\n\n", 1);
    let loose = without_seal(&text);
    let numbers = |text: &str| -> String {
        let lines = (0..).zip(text.lines());
        lines.map(|(seq, line)| format!("{{\"seq\":{seq},{}\n", line.split_once(',').unwrap().1)).collect()
    };
    let loose = numbers(&loose);
    vec![
        Row::new("an unknown type", &added(unknown), &["unknown-types"]),
        Row::new("a malformed line", &added("garbage\n"), &["malformed"]),
        Row::new("an object that is not an event", &added("{}\n"), &["malformed"]),
        Row::new(
            "a member twice",
            &files(&reseal(&replaced(alpha, (1, 1), "\"ret\":0", "\"ret\":0,\"ret\":0"), None)),
            &["malformed"],
        ),
        Row::new(
            "the type twice",
            &files(&reseal(&replaced(alpha, (1, 1), "\"type\":\"init\"", "\"type\":\"init\",\"type\":\"load\""), None)),
            &["malformed"],
        ),
        Row::new("blank lines at the end", &[(text.clone() + "\n \n\n").into_bytes()], &[]),
        Row::new("a blank line in a sealed frame", &[blank_inside.into_bytes()], &["altered"]),
        Row::new("blank lines, not sealed", &[loose.replace('\n', "\n\n").into_bytes()], &["unsealed"]),
        Row::new("plain", &[text.into_bytes()], &[]),
        Row::new("plain, not sealed", &[loose.into_bytes()], &["unsealed"]),
    ]
}

/// Duplicate inputs.
fn copies(alpha: &[Frames]) -> Vec<Row> {
    let whole = one(alpha);
    let text = plain(alpha);
    let lines: Vec<usize> = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let border = file(alpha[0].iter().chain(&alpha[1][..2])).len();
    let mut rows = vec![
        Row::new("the same file twice", &[whole.clone(), whole.clone()], &[]),
        Row::new("segments twice", &[files(alpha), files(alpha)].concat(), &[]),
        Row::new("segments, and all in one file", &[files(alpha), vec![whole.clone()]].concat(), &[]),
        Row::new("the same recording twice in one file", &[[whole.clone(), whole.clone()].concat()], &[]),
        Row::new("a plain copy", &[whole.clone(), text.clone()], &[]),
        Row::new("a plain copy, read first", &[text.clone(), whole.clone()], &[]),
    ];
    for (what, short) in [
        ("a frame", whole[..border].to_vec()),
        ("a line", text[..lines[lines.len() / 2]].to_vec()),
        ("its header", text[..lines[0]].to_vec()),
    ] {
        rows.push(Row::new(format!("a copy that ends with {what}"), &[whole.clone(), short.clone()], &[]));
        rows.push(Row::new(format!("a copy that ends with {what}, read first"), &[short, whole.clone()], &[]));
    }
    rows
}

/// Files that are not captures.
fn other_files(alpha: &[Frames]) -> Vec<Row> {
    let good = || Row::new("", &[one(alpha)], &[]);
    let with_capture = |name: &str, issues: &[&'static str], other: Entry| {
        let row = good().with("x.jsonl", other);
        Row { name: name.to_owned(), issues: issues.to_vec(), ..row }
    };
    let gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    vec![
        Row::new("an empty file", &[Vec::new()], &["empty"]).read(Read::Nothing),
        Row::new("only blank lines", &[b"\n\n \n".to_vec()], &["empty"]).read(Read::Nothing),
        Row::new("no line is an event", &[pack("hello\nworld\n")], &["empty", "malformed"]).read(Read::Nothing),
        Row::new("a file of another kind", std::slice::from_ref(&gzip), &["unreadable"]).read(Read::Unusable),
        with_capture("an empty file next to a capture", &["empty"], Entry::File(Vec::new())),
        with_capture("a file of another kind next to a capture", &["unreadable"], Entry::File(gzip)),
        with_capture("a file that cannot be read", &["unreadable"], Entry::Link("/proc/self/mem".into())),
        with_capture("a dangling link", &["unreadable"], Entry::Link("nowhere".into())),
        with_capture("a FIFO", &["unreadable"], Entry::Fifo),
        Row { name: "a directory named like a capture".to_owned(), ..good() }
            .with("x.jsonl/y.jsonl.zst", Entry::File(one(&record(&BETA)))),
    ]
}
