//! Test support: an in-memory disk with injectable failures, and recordings on it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    hash::RandomState,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use jiff::Timestamp;

use super::{
    batch::{Batcher, Content},
    section::Sections,
    segment::{Disk, Label, SegmentFile, Target},
    sign::Key,
    writer::{Policy, Writer},
};
use crate::{
    event::{Baseline, Body, Clock, End, Event, Header, Process, SCHEMA_VERSION, Text, Unload},
    stream::{Collector, FileSummary, Issue, IssueKind, Pipeline, Severity, read_inputs},
};

/// A second, in nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub(super) struct State {
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Free space, bytes; `None` is unlimited.
    pub room: Option<usize>,
    /// The error of every write.
    pub write_error: Option<i32>,
    /// The error of every file creation.
    pub create_error: Option<i32>,
    /// Syncing a directory fails.
    pub sync_directory_error: Option<i32>,
    /// Truncation fails.
    pub cannot_truncate: bool,
    /// The reported free space, bytes.
    pub free: u64,
    pub syncs: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct MemoryDisk(pub Rc<RefCell<State>>);

impl MemoryDisk {
    pub(super) fn new() -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().free = u64::MAX;
        disk
    }

    pub(super) fn files(&self) -> Vec<Vec<u8>> {
        self.0.borrow().files.values().cloned().collect()
    }
}

struct MemoryFile(Rc<RefCell<State>>, PathBuf);

impl SegmentFile for MemoryFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if let Some(code) = state.write_error {
            return Err(io::Error::from_raw_os_error(code));
        }
        let fits = state.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        if let Some(room) = &mut state.room {
            *room -= fits;
        }
        state.files.get_mut(&self.1).unwrap().extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.cannot_truncate {
            return Err(io::Error::from_raw_os_error(5));
        }
        let file = state.files.get_mut(&self.1).unwrap();
        let cut = file.len() - usize::try_from(bytes).unwrap();
        file.truncate(usize::try_from(bytes).unwrap());
        if let Some(room) = &mut state.room {
            *room += cut;
        }
        Ok(())
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.0.borrow().files.contains_key(&self.1))
    }

    fn sync(&mut self, _metadata: bool) -> io::Result<()> {
        self.0.borrow_mut().syncs += 1;
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let mut state = self.0.borrow_mut();
        if let Some(code) = state.create_error {
            return Err(io::Error::from_raw_os_error(code));
        }
        if state.files.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        state.files.insert(path.to_owned(), Vec::new());
        Ok(Box::new(MemoryFile(Rc::clone(&self.0), path.to_owned())))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let removed = state.files.remove(path).ok_or(io::ErrorKind::NotFound)?;
        if let Some(room) = &mut state.room {
            *room += removed.len();
        }
        Ok(())
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.0.borrow();
        let paths = state.files.keys().filter(|path| path.parent() == Some(directory));
        Ok(paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        Ok(self.0.borrow().free)
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        self.0.borrow().sync_directory_error.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }
}

/// A moment, seconds after boot.
pub(super) fn at(seconds: u64) -> (Timestamp, u64) {
    (Timestamp::from_second(1_795_000_000 + i64::try_from(seconds).unwrap()).unwrap(), seconds * SECOND)
}

/// The clocks, if they are not set.
pub(super) fn clock() -> Clock {
    Clock {
        realtime_minus_boot_ns: 1_795_000_000 * 1_000_000_000,
        boot_minus_monotonic_ns: 0,
        clock_uncertainty_ns: 100,
    }
}

pub(super) fn header() -> Header {
    Header {
        schema: SCHEMA_VERSION,
        tool: "kmodtrace 0.1.0".to_owned(),
        kernel: "6.1.0-56-amd64".to_owned(),
        kernel_version: "#1 SMP".to_owned(),
        arch: "x86_64".to_owned(),
        hostname: "host".to_owned(),
        boot_id: "7f0c".to_owned(),
        machine_id: None,
        modprobe: "/sbin/modprobe".to_owned(),
        realtime_minus_boot_ns: clock().realtime_minus_boot_ns,
        clock_uncertainty_ns: 100,
        boot_minus_monotonic_ns: Some(0),
        modules_dep_sha256: None,
        modules_alias_sha256: None,
        recording: None,
        segment: None,
        previous: None,
        filters: Vec::new(),
        hooks: Vec::new(),
    }
}

/// Reads files in this order.
pub(super) fn read(files: &[Vec<u8>]) -> (Collector, Vec<FileSummary>) {
    let mut pipeline = Pipeline::new(Collector::default());
    let inputs = (0..).zip(files).map(|(number, file)| (format!("{number}"), file.as_slice()));
    let summaries = read_inputs::<&[u8]>(inputs, None, &mut pipeline).unwrap();
    (pipeline.finish().unwrap().0, summaries)
}

/// The issues that break files, without totals, which these events do not affect.
pub(super) fn problems(files: &[Vec<u8>]) -> Vec<String> {
    let issues = read(files).0.issues;
    let is_problem =
        |issue: &&Issue| issue.kind.severity() == Severity::Broken && !matches!(issue.kind, IssueKind::Total { .. });
    issues.iter().filter(is_problem).map(ToString::to_string).collect()
}

/// The readable events and seals of a file.
pub(super) fn lines(file: &[u8]) -> Vec<Event> {
    let mut batcher = Batcher::new(None, RandomState::new(), false).unwrap();
    let mut sections = Sections::new(file);
    let mut events = Vec::new();
    while let Some(section) = sections.next_section(true).ok().flatten() {
        for part in batcher.batch(section).parts {
            events.extend(part.lines.into_iter().filter_map(|line| match line.content {
                Content::Event(event) => Some(event),
                _ => None,
            }));
            events.extend(part.seal.map(|sealed| Event {
                seq: sealed.seq,
                time: Timestamp::UNIX_EPOCH,
                boot_ns: 0,
                request: None,
                body: Body::Seal(sealed.seal),
            }));
        }
    }
    events
}

/// An event whose module name contains its number.
pub(super) fn unload(number: u64) -> Event {
    let module = Text::from(format!("module{number}").as_str());
    let unload = Unload { module, process: Process::default(), ancestors: Vec::new(), init_failed: false };
    let (time, boot_ns) = at(number);
    Event { seq: 0, time, boot_ns, request: None, body: Body::Unload(Box::new(unload)) }
}

pub(super) fn end(seconds: u64) -> Event {
    let (time, boot_ns) = at(seconds);
    Event { seq: 0, time, boot_ns, request: None, body: Body::End(End::default()) }
}

pub(super) fn begin(disk: &MemoryDisk, policy: Policy, key: Option<Key>) -> Writer<MemoryDisk> {
    let label = Label { time: "20261123T101502Z".to_owned(), boot: "7f0c".to_owned(), recording: "ab12".to_owned() };
    let target = Target::Directory(PathBuf::from("/captures"));
    let baseline = Baseline { modules: vec!["loop".to_owned()] };
    Writer::begin(disk.clone(), (target, label), policy, key.map(Into::into), (header(), baseline), at(0)).unwrap()
}

/// A complete recording with one event per frame.
pub(super) fn recording(disk: &MemoryDisk, policy: Policy, events: u64) {
    let mut writer = begin(disk, policy, None);
    for number in 1..=events {
        writer.push(&unload(number)).unwrap();
        writer.tick(at(number + 1), clock()).unwrap();
    }
    writer.finish(&end(events + 2)).unwrap();
    assert_eq!(writer.take_news(), Vec::<String>::new());
}

/// Lines without events are counted without storing each, and reported with the first of them.
#[test]
fn malformed_lines_are_counted_not_stored() {
    let mut text = b"{}\n".repeat(100_000);
    text.extend(b"\n{}\nx\n{\"seq\":7,\n{}\n");
    let mut sections = Sections::new(text.as_slice());
    let mut batcher = Batcher::new(None, RandomState::new(), false).unwrap();
    let (mut lines, mut entries) = (0, 0);
    while let Some(section) = sections.next_section(true).unwrap() {
        for line in batcher.batch(section).parts.into_iter().flat_map(|part| part.lines) {
            let Content::Malformed { more, .. } = line.content else { panic!("no line is an event") };
            entries += 1;
            lines += 1 + more;
        }
    }
    assert_eq!((lines, entries), (100_004, 3), "what is behind a blank line, and the numbered one, stand apart");
    let (collector, _) = read(&[text]);
    let malformed = collector.issues.iter().find_map(|issue| match &issue.kind {
        IssueKind::Malformed { lines, line, .. } => Some((*lines, *line)),
        _ => None,
    });
    assert_eq!(malformed, Some((100_004, 1)));
}
