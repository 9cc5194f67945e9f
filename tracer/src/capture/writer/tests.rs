use super::{Flush, OnFull, Policy, WriteError};
use crate::{
    capture::testing::{MemoryDisk, at, begin, clock, end, lines, problems, read, recording, unload},
    event::{Body, Clock, Event, LossStage},
};

mod retry;
mod rotation;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;

/// All events of all files, which must be intact.
fn events(disk: &MemoryDisk) -> Vec<Event> {
    assert_eq!(problems(&disk.files()), Vec::<String>::new());
    disk.files().iter().flat_map(|file| lines(file)).collect()
}

fn modules(events: &[Event]) -> Vec<String> {
    let unloads = events.iter().filter_map(|event| match &event.body {
        Body::Unload(unload) => Some(unload.module.field()),
        _ => None,
    });
    unloads.collect()
}

fn numbered(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|number| format!("module{number}")).collect()
}

/// Number of events lost in writing, as recorded in the capture.
fn lost(events: &[Event]) -> u64 {
    let losses = events.iter().filter_map(|event| match &event.body {
        Body::Loss(loss) if loss.stage == LossStage::Write => Some(loss.count),
        _ => None,
    });
    losses.sum()
}

/// Frames are closed at 64 events and after a second, and then written to the disk.
#[test]
fn frame_is_closed_at_its_limits() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy::default(), None);
    for number in 1..=63 {
        writer.push(&unload(number)).unwrap();
    }
    assert!(modules(&events(&disk)).is_empty());
    writer.push(&unload(64)).unwrap();
    assert_eq!(modules(&events(&disk)), numbered(1..=64));
    writer.push(&unload(65)).unwrap();
    writer.tick(at(65), clock()).unwrap();
    assert_eq!(modules(&events(&disk)), numbered(1..=64));
    writer.tick(at(66), clock()).unwrap();
    assert_eq!(modules(&events(&disk)), numbered(1..=65));
}

/// No event is lost by a disk that is full, fails or is read-only for a while.
#[test]
fn events_are_queued_while_disk_fails() {
    for code in [ENOSPC, EIO, EROFS] {
        let disk = MemoryDisk::new();
        let mut writer = begin(&disk, Policy::default(), None);
        disk.0.borrow_mut().write_error = Some(code);
        for number in 1..=200 {
            writer.push(&unload(number)).unwrap();
            writer.tick(at(number), clock()).unwrap();
        }
        assert!(modules(&events(&disk)).is_empty());
        disk.0.borrow_mut().write_error = None;
        writer.tick(at(201), clock()).unwrap();
        writer.finish(&end(202)).unwrap();
        let events = events(&disk);
        assert_eq!((modules(&events), lost(&events)), (numbered(1..=200), 0), "errno {code}");
        assert!(matches!(events.iter().rev().nth(1).map(|event| &event.body), Some(Body::End(_))));
        let news = writer.take_news();
        assert!(news[0].contains("events are buffered") && news.contains(&"writing resumed".to_owned()), "{news:?}");
    }
}

/// Events beyond the queue limit are counted exactly in the capture.
#[test]
fn events_beyond_queue_limit_are_counted() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy::default(), None);
    disk.0.borrow_mut().write_error = Some(EIO);
    for number in 1..=5000 {
        writer.push(&unload(number)).unwrap();
    }
    assert!(writer.lost() > 0);
    disk.0.borrow_mut().write_error = None;
    writer.tick(at(5001), clock()).unwrap();
    writer.finish(&end(5002)).unwrap();
    let events = events(&disk);
    assert_eq!(modules(&events).len() as u64 + lost(&events), 5000);
    assert_eq!(lost(&events), writer.lost());
}

/// A disk that is full at any byte of a frame leaves only intact frames.
#[test]
fn frame_on_full_disk_is_complete_or_absent() {
    for room in 0..400 {
        let disk = MemoryDisk::new();
        let mut writer = begin(&disk, Policy::default(), None);
        disk.0.borrow_mut().room = Some(room);
        for number in 1..=3 {
            writer.push(&unload(number)).unwrap();
            writer.tick(at(number + 1), clock()).unwrap();
        }
        // Every file is intact.
        let before = modules(&events(&disk)).len();
        disk.0.borrow_mut().room = None;
        writer.tick(at(6), clock()).unwrap();
        writer.finish(&end(7)).unwrap();
        assert_eq!(modules(&events(&disk)), numbered(1..=3), "{room} bytes, {before} before");
    }
}

/// Writes an event so that a frame is torn and cannot be truncated, and the disk has space later.
fn write_past_a_torn_frame(disk: &MemoryDisk) {
    let mut writer = begin(disk, Policy::default(), None);
    disk.0.borrow_mut().room = Some(10);
    disk.0.borrow_mut().cannot_truncate = true;
    writer.push(&unload(1)).unwrap();
    writer.tick(at(2), clock()).unwrap();
    disk.0.borrow_mut().room = None;
    writer.tick(at(3), clock()).unwrap();
    writer.finish(&end(4)).unwrap();
}

/// After a torn frame that cannot be truncated, the recording continues in a new file.
#[test]
fn torn_file_is_followed_by_new_file() {
    let disk = MemoryDisk::new();
    write_past_a_torn_frame(&disk);
    let files = disk.files();
    assert_eq!(files.len(), 2);
    assert_eq!(problems(&files).len(), 1);
    assert!(read(&files).1[1].has_end);
    let events = lines(&files[1]);
    assert!(matches!(events[0].body, Body::Header(_)), "a file begins with its header");
    assert_eq!((modules(&events), lost(&events)), (numbered(1..=1), 0));
}

/// Consecutive files torn at any byte lose no event, keep the order and form a valid chain of seals.
#[test]
fn consecutive_torn_files_lose_nothing() {
    for room in (0..600).step_by(5) {
        let disk = MemoryDisk::new();
        let mut writer = begin(&disk, Policy::default(), None);
        disk.0.borrow_mut().cannot_truncate = true;
        for number in 1..=6 {
            disk.0.borrow_mut().room = Some(room);
            writer.push(&unload(2 * number)).unwrap();
            writer.push(&unload(2 * number + 1)).unwrap();
            writer.tick(at(2 * number + 2), clock()).unwrap();
        }
        disk.0.borrow_mut().room = None;
        writer.tick(at(20), clock()).unwrap();
        writer.finish(&end(21)).unwrap();
        let files = disk.files();
        let problems = problems(&files);
        assert!(problems.len() < files.len(), "{room} bytes: {problems:?}");
        let recorded: Vec<Event> = files.iter().flat_map(|file| lines(file)).collect();
        assert_eq!(modules(&recorded), numbered(2..=13), "{room} bytes");
        assert_eq!(lost(&recorded), 0, "{room} bytes");
    }
}

/// Each full-disk policy behaves as documented.
#[test]
fn full_disk_policies_behave_as_documented() {
    let policy = |on_full| Policy { on_full, ..Policy::default() };
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, policy(OnFull::Exit), None);
    disk.0.borrow_mut().write_error = Some(ENOSPC);
    writer.push(&unload(1)).unwrap();
    assert!(matches!(writer.tick(at(2), clock()), Err(WriteError::Write { .. })));

    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, policy(OnFull::Stop), None);
    disk.0.borrow_mut().write_error = Some(ENOSPC);
    writer.push(&unload(1)).unwrap();
    writer.tick(at(2), clock()).unwrap();
    disk.0.borrow_mut().write_error = None;
    writer.push(&unload(3)).unwrap();
    writer.tick(at(5), clock()).unwrap();
    assert_eq!((modules(&events(&disk)).len(), writer.lost()), (0, 2));

    // The oldest files are removed.
    let disk = MemoryDisk::new();
    let policy = Policy { max_bytes: Some(600), ..policy(OnFull::Rotate) };
    let mut writer = begin(&disk, policy, None);
    disk.0.borrow_mut().room = Some(2000);
    for number in 1..=30 {
        writer.push(&unload(number)).unwrap();
        writer.tick(at(number + 1), clock()).unwrap();
    }
    writer.finish(&end(32)).unwrap();
    assert_eq!(writer.lost(), 0);
    let news = writer.take_news();
    assert!(!news.is_empty() && news.iter().all(|line| line.contains("to free disk space")), "{news:?}");
    let left = modules(&events(&disk));
    assert_eq!(left.last().map(String::as_str), Some("module30"));
}

/// A recording whose directory vanished continues when files can be created again.
#[test]
fn vanished_directory_is_retried() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy { max_age_ns: Some(10_000_000_000), ..Policy::default() }, None);
    disk.0.borrow_mut().create_error = Some(2);
    for number in 1..=25 {
        writer.push(&unload(number)).unwrap();
        writer.tick(at(number), clock()).unwrap();
    }
    disk.0.borrow_mut().create_error = None;
    writer.tick(at(40), clock()).unwrap();
    writer.finish(&end(41)).unwrap();
    assert_eq!(modules(&events(&disk)), numbered(1..=25));
    assert!(writer.take_news().iter().any(|line| line.contains("continuing in the old one")));
}

/// A removed file is not written to any more; the recording continues in a new one as soon as it can be created.
#[test]
fn removed_file_is_followed_by_new_file() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy::default(), None);
    writer.push(&unload(1)).unwrap();
    writer.tick(at(2), clock()).unwrap();
    disk.0.borrow_mut().files.clear();
    disk.0.borrow_mut().create_error = Some(2);
    for number in 2..=20 {
        writer.push(&unload(number)).unwrap();
        writer.tick(at(number + 1), clock()).unwrap();
    }
    assert!(disk.files().is_empty());
    disk.0.borrow_mut().create_error = None;
    writer.tick(at(30), clock()).unwrap();
    writer.finish(&end(31)).unwrap();
    // Only the contents of the removed file are lost.
    let events = events(&disk);
    assert_eq!((modules(&events), lost(&events)), (numbered(2..=20), 0));
    let Some(Event { body: Body::Header(header), .. }) = events.first() else { panic!("no header") };
    assert!(header.segment == Some(1) && header.previous.is_some());
    let news = writer.take_news();
    assert!(news[0].contains("the file was removed; events are buffered") && news.len() == 2, "{news:?}");
}

/// The reserved free space is kept free.
#[test]
fn reserved_space_is_kept_free() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy { min_free_bytes: Some(1000), ..Policy::default() }, None);
    disk.0.borrow_mut().free = 999;
    writer.push(&unload(1)).unwrap();
    writer.tick(at(2), clock()).unwrap();
    assert!(writer.take_news()[0].contains("999 bytes are free"));
    disk.0.borrow_mut().free = 1000;
    writer.tick(at(3), clock()).unwrap();
    writer.finish(&end(4)).unwrap();
    assert_eq!(modules(&events(&disk)), numbered(1..=1));
}

/// Files are rotated by size and limited in number, and each has a header and a baseline.
#[test]
fn segments_rotate_by_size_and_are_limited() {
    let disk = MemoryDisk::new();
    recording(&disk, Policy { max_bytes: Some(600), keep: Some(3), ..Policy::default() }, 40);
    let files = disk.files();
    assert_eq!(files.len(), 3);
    for file in &files {
        let events = lines(file);
        let Body::Header(header) = &events[0].body else { panic!("no header") };
        assert!(header.segment > Some(0) && header.previous.is_some());
        assert!(matches!(events[1].body, Body::Baseline(_)));
    }
    assert_eq!(modules(&events(&disk)).last().map(String::as_str), Some("module40"));
}

/// The clocks are recorded in each minute with events, and a file that begins after a step has the clock of the step.
#[test]
fn clocks_are_recorded_periodically_and_after_a_step() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy { max_age_ns: Some(100_000_000_000), ..Policy::default() }, None);
    writer.tick(at(61), clock()).unwrap();
    writer.push(&unload(62)).unwrap();
    writer.tick(at(63), clock()).unwrap();
    let set = Clock { realtime_minus_boot_ns: clock().realtime_minus_boot_ns - 3_600_000_000_000, ..clock() };
    let (time, boot_ns) = at(64);
    writer.push(&Event { seq: 0, time, boot_ns, request: None, body: Body::Clock(set) }).unwrap();
    writer.tick(at(65), set).unwrap();
    writer.push(&unload(65)).unwrap();
    writer.tick(at(110), set).unwrap();
    writer.push(&unload(111)).unwrap();
    writer.finish(&end(112)).unwrap();
    let read = events(&disk);
    let recorded: Vec<Clock> =
        read.iter().filter_map(|event| if let Body::Clock(clock) = event.body { Some(clock) } else { None }).collect();
    assert_eq!(recorded, [clock(), set]);
    let differences: Vec<i64> = read
        .iter()
        .filter_map(
            |event| if let Body::Header(header) = &event.body { Some(header.realtime_minus_boot_ns) } else { None },
        )
        .collect();
    assert_eq!(differences, [clock().realtime_minus_boot_ns, set.realtime_minus_boot_ns]);
}

/// Frames are synced as often as the flush policy requires.
#[test]
fn frames_are_synced_by_flush_policy() {
    for (flush, least, most) in
        [(Flush::None, 0, 0), (Flush::Incremental, 1, 12), (Flush::Data, 11, 20), (Flush::Sync, 11, 20)]
    {
        let disk = MemoryDisk::new();
        recording(&disk, Policy { flush, ..Policy::default() }, 10);
        let syncs = disk.0.borrow().syncs;
        assert!((least..=most).contains(&syncs), "{flush:?}: {syncs}");
    }
}
