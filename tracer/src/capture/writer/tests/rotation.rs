use super::{EIO, ENOSPC, events, modules, numbered, write_past_a_torn_frame};
use crate::capture::{
    testing::{MemoryDisk, at, begin, clock, end, problems, read, recording, unload},
    writer::{OnFull, Policy},
};
use crate::stream::IssueKind;

/// No file is created after the end, even if the last frame reaches the rotation size.
#[test]
fn last_file_contains_the_end() {
    for max_bytes in (100..1500).step_by(10) {
        let disk = MemoryDisk::new();
        recording(&disk, Policy { max_bytes: Some(max_bytes), ..Policy::default() }, 3);
        let (collector, files) = read(&disk.files());
        assert!(files.last().is_some_and(|file| file.has_end), "{max_bytes} bytes: {files:?}");
        assert!(!collector.issues.iter().any(|issue| issue.kind == IssueKind::NoEnd), "{max_bytes} bytes");
    }
}

/// A directory that cannot be synced is reported, and files are still created in it.
#[test]
fn unsyncable_directory_is_reported() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy { max_bytes: Some(600), ..Policy::default() }, None);
    disk.0.borrow_mut().sync_directory_error = Some(EIO);
    for number in 1..=6 {
        writer.push(&unload(number)).unwrap();
        writer.tick(at(number + 1), clock()).unwrap();
    }
    writer.finish(&end(8)).unwrap();
    assert_eq!(modules(&events(&disk)), numbered(1..=6));
    let news = writer.take_news();
    assert_eq!(disk.files().len(), news.len() + 1, "{news:?}");
    assert!(news.len() > 2 && news.iter().all(|line| line.contains("a crash of the machine may lose")), "{news:?}");
}

/// In a directory that cannot be synced, a recording continues after a torn file.
#[test]
fn torn_file_in_unsyncable_directory_is_followed() {
    let disk = MemoryDisk::new();
    disk.0.borrow_mut().sync_directory_error = Some(EIO);
    write_past_a_torn_frame(&disk);
    let files = disk.files();
    assert_eq!(files.len(), 2);
    assert!(read(&files).1[1].has_end && problems(&files).len() == 1, "{:?}", problems(&files));
}

/// A failed rotation is retried only after the file has grown by its size again, without a message or a closed frame
/// for each event.
#[test]
fn failed_rotation_is_retried_after_growth() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy { max_bytes: Some(1000), ..Policy::default() }, None);
    disk.0.borrow_mut().create_error = Some(EIO);
    for number in 1..=640 {
        writer.push(&unload(number)).unwrap();
    }
    let news = writer.take_news();
    let most = disk.files()[0].len() / 1000;
    assert!(!news.is_empty() && news.len() <= most, "{} lines, {most} at most: {news:?}", news.len());
    disk.0.borrow_mut().create_error = None;
    writer.finish(&end(641)).unwrap();
    assert_eq!(modules(&events(&disk)), numbered(1..=640));
}

/// Captures are removed only if that frees space, not for other disk errors.
#[test]
fn captures_are_removed_only_to_free_space() {
    for (code, min_free_bytes, is_removed) in
        [(Some(ENOSPC), None, true), (None, Some(1000), true), (Some(EIO), None, false)]
    {
        let disk = MemoryDisk::new();
        let policy = Policy { max_bytes: Some(600), on_full: OnFull::Rotate, min_free_bytes, ..Policy::default() };
        let mut writer = begin(&disk, policy, None);
        for number in 1..=8 {
            writer.push(&unload(number)).unwrap();
            writer.tick(at(number + 1), clock()).unwrap();
        }
        let before = disk.files().len();
        disk.0.borrow_mut().write_error = code;
        disk.0.borrow_mut().free = 999;
        writer.push(&unload(9)).unwrap();
        writer.tick(at(10), clock()).unwrap();
        assert_eq!(disk.files().len() < before, is_removed, "errno {code:?}: {:?}", writer.take_news());
    }
}
