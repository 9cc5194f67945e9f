//! The file of a module.

use tracer_ebpf::wire::{self, Have, PathSegments};
use zerocopy::FromZeros;

use super::{World, arrives, header, init_done, process, tracker};
use crate::{
    event::{Body, Text},
    kernel::syscalls,
    probe::Record,
    trace::correlate::Tracker,
};

/// A thread is about to load a file below the root.
fn named((pid, tid): (u32, u32), file: &str) -> Record {
    let mut named = wire::ModuleFile::new_zeroed();
    named.header = header(pid, 900);
    named.header.tid = tid;
    named.path = path(file);
    Record::ModuleFile(Box::new(named))
}

/// A file below the root, as a record has it.
fn path(file: &str) -> PathSegments {
    let mut path = PathSegments::new_zeroed();
    path.bytes[..file.len()].copy_from_slice(file.as_bytes());
    path.len = u32::try_from(file.len()).unwrap();
    path
}

/// A system call that failed.
fn failed((pid, tid): (u32, u32), syscall: wire::Syscall) -> Record {
    let mut failed = wire::LoadExit::new_zeroed();
    failed.header = header(pid, 1_100);
    failed.header.tid = tid;
    failed.context.process = process(pid);
    (failed.ret, failed.syscall) = (-8, syscall as u32);
    Record::LoadExit(Box::new(failed))
}

/// The same load by a system call that takes the module from memory.
fn from_memory(record: Record) -> Record {
    let Record::Load(mut load) = record else { unreachable!("it is a load") };
    let number = (0..1_000).find(|number| syscalls::name_here(*number, false) == "init_module");
    load.context.syscall = i32::try_from(number.unwrap()).unwrap();
    load.context.have |= Have::SYSCALL;
    Record::Load(load)
}

/// The files of the reported loads and failed calls.
fn files(tracker: &mut Tracker<World>) -> Vec<Option<Text>> {
    let file = |body| match body {
        Body::Load(load) => Some(load.file),
        Body::Attempt(attempt) => Some(attempt.file),
        _ => None,
    };
    tracker.take_events().into_iter().filter_map(|event| file(event.body)).collect()
}

const A: Option<&str> = Some("/a.ko");

fn wanted(files: &[Option<&str>]) -> Vec<Option<Text>> {
    files.iter().map(|file| file.map(Text::from)).collect()
}

/// A module from memory does not get the file that the same thread loaded before, whether that load succeeded or its end
/// was not seen.
#[test]
fn file_belongs_to_one_load() {
    for is_end_seen in [true, false] {
        let mut tracker = tracker();
        tracker.record(named((9, 9), "a.ko"));
        tracker.record(arrives(9, 1_000, "a"));
        if is_end_seen {
            tracker.record(init_done(9, 1_010, "a", 0));
        }
        tracker.record(arrives(9, 1_020, "b"));
        assert_eq!(files(&mut tracker), wanted(&[A, None]));
    }
}

/// A system call without a file is reported without one, even if the end of the previous load was lost.
#[test]
fn load_from_memory_has_no_file() {
    let mut tracker = tracker();
    tracker.record(named((9, 9), "a.ko"));
    tracker.record(from_memory(arrives(9, 1_000, "b")));
    tracker.record(named((9, 9), "a.ko"));
    tracker.record(failed((9, 9), wire::Syscall::InitModule));
    assert_eq!(files(&mut tracker), wanted(&[None, None]));
}

/// A failed load is reported with its file once, whether its init or something before it failed; a failed unload is not.
#[test]
fn failed_load_is_reported_with_its_file() {
    let mut tracker = tracker();
    tracker.record(named((9, 9), "a.ko"));
    tracker.record(arrives(9, 1_000, "a"));
    tracker.record(init_done(9, 1_010, "a", -19));
    tracker.record(failed((9, 9), wire::Syscall::FinitModule));
    tracker.record(failed((9, 9), wire::Syscall::FinitModule));
    assert_eq!(files(&mut tracker), wanted(&[A, A, None]));
    tracker.record(named((9, 9), "a.ko"));
    tracker.record(failed((9, 9), wire::Syscall::DeleteModule));
    tracker.record(failed((9, 9), wire::Syscall::FinitModule));
    assert_eq!(files(&mut tracker), wanted(&[None, A]));
}

/// A thread does not get the file of another thread, or of another process with the same id.
#[test]
fn file_belongs_to_one_thread() {
    let mut tracker = tracker();
    tracker.record(named((8, 9), "a.ko"));
    tracker.record(named((9, 10), "a.ko"));
    tracker.record(arrives(9, 1_000, "b"));
    assert_eq!(files(&mut tracker), wanted(&[None]));
}
