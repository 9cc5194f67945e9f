use super::{EIO, lost, modules};
use crate::{
    capture::{
        hash::{Hash, to_hex},
        testing::{MemoryDisk, at, begin, clock, end, lines, read, unload},
        writer::Policy,
    },
    event::{Body, Event, Loss, LossStage},
};

/// All whole events of files that may end torn.
fn whole(disk: &MemoryDisk) -> Vec<Event> {
    disk.files().iter().flat_map(|file| lines(file)).collect()
}

/// Check that the count of what was dropped outlasts a file that is torn as well before the count is written.
#[test]
fn a_count_is_not_dropped() {
    let disk = MemoryDisk::new();
    let mut writer = begin(&disk, Policy::default(), None);
    disk.0.borrow_mut().room = Some(10);
    disk.0.borrow_mut().cannot_truncate = true;
    // The first frame is torn; nearly all the rest waits, and what does not is counted.
    for number in 1..=5000 {
        writer.push(&unload(number)).unwrap();
    }
    assert!(writer.lost() > 0);
    // A new file begins, and cannot be filled: with its header and baseline, more waits than before.
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

/// Check that a loss that finds no place while the disk does not write is told with all that was lost.
#[test]
fn a_loss_is_not_lost() {
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

/// Check that the seal that is told to others is one that a file has, while the disk does not write and after.
#[test]
fn only_written_seals_are_told() {
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
