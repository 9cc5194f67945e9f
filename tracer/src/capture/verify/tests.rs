use std::io::Read;

use super::{FileReport, Verifier};
use crate::capture::{
    lines::LineError,
    reader::Reader,
    testing::{MemoryDisk, recording},
    writer::Policy,
};

fn capture(events: u64) -> Vec<u8> {
    let disk = MemoryDisk::new();
    recording(&disk, Policy::default(), events);
    disk.files().remove(0)
}

fn verify(bytes: &[u8]) -> Result<FileReport, LineError> {
    Verifier::new(None).file(bytes)
}

/// Check that a whole recording has nothing wrong with it.
#[test]
fn a_whole_capture_is_good() {
    let bytes = capture(5);
    let report = verify(&bytes).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    // Header, baseline, five events, end: the first two share a frame.
    assert_eq!((report.events, report.seals, report.range), (8, 7, Some((0, 13))));
    assert!(report.ended && !report.unsealed);
    assert_eq!(report.good_bytes, bytes.len() as u64);
}

/// Check that its text alone, taken out of the frames, has seals that hold as well.
#[test]
fn the_text_alone_can_be_verified() {
    let text = zstd::decode_all(capture(5).as_slice()).unwrap();
    let report = verify(&text).unwrap();
    assert_eq!((report.problems.len(), report.seals, report.ended), (0, 7, true), "{report:?}");
    assert_eq!(report.good_bytes, text.len() as u64);
    let altered = String::from_utf8(text).unwrap().replace("module3", "module4");
    assert!(verify(altered.as_bytes()).unwrap().problems[0].contains("was altered"));
}

/// Check that a capture cut at any byte gives its clean prefix, whole frames, and never panics.
#[test]
fn any_cut_leaves_the_clean_prefix() {
    let bytes = capture(5);
    let whole = verify(&bytes).unwrap();
    let mut seen = 0;
    for cut in 0..bytes.len() {
        let Ok(report) = verify(&bytes[..cut]) else { panic!("cut at {cut}") };
        let good = usize::try_from(report.good_bytes).unwrap();
        assert!(good <= cut);
        // What is left is good, and no frame that is whole was given up.
        let again = verify(&bytes[..good]).unwrap();
        assert_eq!((again.problems.len(), again.events), (0, report.events), "cut at {cut}");
        assert_eq!(report.problems.is_empty(), good == cut, "cut at {cut}: {:?}", report.problems);
        assert!(!report.ended);
        assert!(report.events >= seen && report.events < whole.events);
        seen = report.events;
        // The reader hands on the same events.
        let read = Reader::new(&bytes[..cut]).unwrap().take_while(Result::is_ok).count() as u64;
        assert_eq!(read, report.events + report.seals, "cut at {cut}");
    }
    assert_eq!(seen, whole.events - 1);
}

/// Check that the flip of any bit is found, but for those that change nothing of the text: zstd has bits that no decoder
/// looks at, and several ways to say the same.
#[test]
fn any_flipped_bit_is_found() {
    let bytes = capture(1);
    let text = zstd::decode_all(bytes.as_slice()).unwrap();
    let mut harmless = 0;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if verify(&flipped).is_ok_and(|report| report.problems.is_empty()) {
            assert!(zstd::decode_all(flipped.as_slice()).unwrap() == text, "byte {}, bit {}", bit / 8, bit % 8);
            harmless += 1;
        }
    }
    assert!(harmless < bytes.len() / 10, "{harmless} of {} bits", bytes.len() * 8);
    // Of the text itself, every bit counts.
    for bit in 0..text.len() * 8 {
        let mut flipped = text.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = verify(&flipped).map_or(true, |report| !report.problems.is_empty());
        assert!(found, "byte {}, bit {}", bit / 8, bit % 8);
    }
}

/// Check that a frame that is left out, doubled or moved is found.
#[test]
fn frames_stay_where_they_were() {
    let bytes = capture(4);
    let mut starts: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&[0x28, 0xb5, 0x2f, 0xfd])).collect();
    starts.push(bytes.len());
    let frames: Vec<&[u8]> = starts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
    assert_eq!(frames.len(), 6);
    for left_out in 0..frames.len() - 1 {
        let rest: Vec<&[u8]> =
            frames.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, frame)| *frame).collect();
        assert_ne!(verify(&rest.concat()).unwrap().problems, Vec::<String>::new(), "without {left_out}");
    }
    let mut moved = frames.clone();
    moved.swap(2, 3);
    assert_ne!(verify(&moved.concat()).unwrap().problems, Vec::<String>::new());
    let mut doubled = frames;
    doubled.insert(2, doubled[2]);
    assert_ne!(verify(&doubled.concat()).unwrap().problems, Vec::<String>::new());
}

/// Check that a file missing between two of a recording is told.
#[test]
fn segments_follow_each_other() {
    let disk = MemoryDisk::new();
    recording(&disk, Policy { max_bytes: Some(600), ..Policy::default() }, 6);
    let files = disk.files();
    assert!(files.len() > 3, "{}", files.len());
    let mut verifier = Verifier::new(None);
    for file in &files {
        assert_eq!(verifier.file(file.as_slice()).unwrap().problems, Vec::<String>::new());
    }
    let mut verifier = Verifier::new(None);
    verifier.file(files[0].as_slice()).unwrap();
    let problems = verifier.file(files[2].as_slice()).unwrap().problems;
    assert!(problems[0].contains("segments 1 to 1"), "{problems:?}");
}

/// Check that a recording without an end is counted, whatever was recorded after it.
#[test]
fn recordings_without_an_end_are_counted() {
    let (killed, whole) = (capture(3), capture(2));
    let good = usize::try_from(verify(&killed[..killed.len() - 1]).unwrap().good_bytes).unwrap();
    let other = zstd::decode_all(whole.as_slice()).unwrap();
    let other = String::from_utf8(other).unwrap().replace("\"recording\":\"ab12\"", "\"recording\":\"cd34\"");
    let mut verifier = Verifier::new(None);
    verifier.file(&killed[..good]).unwrap();
    assert_eq!(verifier.unended(), 1);
    verifier.file(other.as_bytes()).unwrap();
    assert!(verifier.unended() >= 1, "what came after does not end the one that was killed");
    let mut verifier = Verifier::new(None);
    verifier.file(whole.as_slice()).unwrap();
    assert_eq!(verifier.unended(), 0);
}

/// Check that what is small on the disk and huge in memory is refused, in bounded memory.
#[test]
fn bombs_are_refused() {
    let bomb = zstd::encode_all(Read::take(std::io::repeat(b'x'), 64 << 20), 3).unwrap();
    assert!(bomb.len() < 64 << 10);
    let refused = verify(&bomb).unwrap();
    assert!(refused.problems[0].contains("4 MiB"), "{refused:?}");
    assert_eq!((refused.events, refused.good_bytes), (0, 0));
}
