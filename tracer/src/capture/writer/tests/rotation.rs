use super::{EIO, ENOSPC, events, modules, numbered, write_past_a_torn_frame};
use crate::capture::{
    testing::{MemoryDisk, at, begin, clock, end, problems, read, recording, unload},
    writer::{OnFull, Policy},
};
use crate::stream::IssueKind;

/// Check that no file is begun after the end, whichever frame makes the last one as large as it may be.
#[test]
fn the_last_file_has_the_end() {
    for max_bytes in (100..1500).step_by(10) {
        let disk = MemoryDisk::new();
        recording(&disk, Policy { max_bytes: Some(max_bytes), ..Policy::default() }, 3);
        let (collector, files) = read(&disk.files());
        assert!(files.last().is_some_and(|file| file.has_end), "{max_bytes} bytes: {files:?}");
        assert!(!collector.issues.iter().any(|issue| issue.kind == IssueKind::NoEnd), "{max_bytes} bytes");
    }
}

/// Check that a directory that cannot be made to last is told, and that files are begun in it all the same.
#[test]
fn a_directory_that_does_not_last_is_told() {
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
    assert!(news.len() > 2 && news.iter().all(|line| line.contains("may not outlast a crash")), "{news:?}");
}

/// Check that such a directory does not keep a recording from going on behind a torn file.
#[test]
fn a_torn_file_is_followed_in_such_a_directory() {
    let disk = MemoryDisk::new();
    disk.0.borrow_mut().sync_directory_error = Some(EIO);
    write_past_a_torn_frame(&disk);
    let files = disk.files();
    assert_eq!(files.len(), 2);
    assert!(read(&files).1[1].has_end && problems(&files).len() == 1, "{:?}", problems(&files));
}

/// Check that a file that cannot be followed by another is as large again before that is tried again: it is not told, and
/// no frame closed, with every event.
#[test]
fn a_file_that_goes_on_is_full_later() {
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

/// Check that captures are removed where that makes room, and not because the disk fails.
#[test]
fn captures_are_removed_for_room_alone() {
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
