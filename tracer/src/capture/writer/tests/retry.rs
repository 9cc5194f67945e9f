use super::{EIO, lost, modules};
use crate::{
    capture::{
        hash::{Hash, to_hex},
        testing::{MemoryDisk, at, begin, clock, end, lines, read, unload},
        writer::Policy,
    },
    event::{Body, Event, Loss, LossStage},
};

/// All intact events of files that may be torn at the end.
fn whole(disk: &MemoryDisk) -> Vec<Event> {
    disk.files().iter().flat_map(|file| lines(file)).collect()
}

/// The count of dropped events survives a file that is torn before the count is written.
#[test]
fn dropped_event_count_survives_torn_file() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy::default(), None);
    disk.0.borrow_mut().room = Some(10);
    disk.0.borrow_mut().cannot_truncate = true;
    // The first frame is torn; most of the rest is queued, and the remainder is counted.
    for number in 1..=5000 {
        writer.push(&unload(number)).unwrap();
    }
    assert!(writer.lost() > 0);
    // A new file begins and cannot be filled. With its header and baseline, more events are queued than before.
    disk.0.borrow_mut().room = None;
    disk.0.borrow_mut().write_error = Some(EIO);
    writer.tick(at(1), clock()).unwrap();
    disk.0.borrow_mut().write_error = None;
    writer.tick(at(2), clock()).unwrap();
    writer.finish(&end(5003)).unwrap();
    let events = whole(&disk);
    assert_eq!(modules(&events).len() as u64 + lost(&events), 5000);
    assert_eq!(lost(&events), writer.lost());
}

/// A loss event beyond the queue limit is included in the recorded count.
#[test]
fn loss_event_beyond_queue_limit_is_counted() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy::default(), None);
    disk.0.borrow_mut().write_error = Some(EIO);
    for number in 1..=5000 {
        writer.push(&unload(number)).unwrap();
    }
    let before = writer.lost();
    let loss = Loss { stage: LossStage::Probe, cause: "ring_full".to_owned(), count: 700 };
    writer.push(&Event { body: Body::Loss(loss), ..unload(5001) }).unwrap();
    assert_eq!(writer.lost(), before + 700);
    disk.0.borrow_mut().write_error = None;
    writer.tick(at(5002), clock()).unwrap();
    writer.finish(&end(5003)).unwrap();
    let events = whole(&disk);
    assert_eq!(modules(&events).len() as u64 + lost(&events), 5700);
}

/// The reported last seal is always contained in a file, also while the disk fails.
#[test]
fn last_seal_is_always_written() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy::default(), None);
    disk.0.borrow_mut().cannot_truncate = true;
    let is_written = |(seq, hash): (u64, Hash)| {
        let events = whole(&disk);
        let sealed =
            |event: &Event| event.seq == seq && matches!(&event.body, Body::Seal(seal) if seal.sha256 == to_hex(&hash));
        events.iter().any(sealed)
    };
    for (number, room) in [None, Some(10), Some(0), None].into_iter().enumerate() {
        let seconds = 2 * u64::try_from(number).unwrap();
        disk.0.borrow_mut().room = room;
        writer.push(&unload(seconds)).unwrap();
        writer.tick(at(seconds + 1), clock()).unwrap();
        assert!(is_written(writer.last_seal()), "{room:?} bytes");
    }
    writer.finish(&end(9)).unwrap();
    assert_eq!(read(&disk.files()).1[1].last_hash, Some(to_hex(&writer.last_seal().1)));
}
