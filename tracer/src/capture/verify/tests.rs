use std::{fs, io::Read, os::unix::fs::PermissionsExt};

use super::{FileReport, Verifier};
use crate::capture::{
    frame::{HASH_FIELD, find_last},
    hash::{hash, to_hex},
    lines::LineError,
    reader::Reader,
    sign::{Key, PublicKey},
    testing::{MemoryDisk, at, begin, clock, end, recording, unload},
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

/// Frames of a capture.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&[0x28, 0xb5, 0x2f, 0xfd])).collect();
    starts.push(bytes.len());
    starts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// A key, and its public half.
fn keys() -> (Key, PublicKey) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("key");
    fs::write(&path, "11".repeat(32)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let key = Key::load(&path).unwrap();
    (key, PublicKey::load(&path.with_extension("pub")).unwrap())
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
    let frames = frames(&bytes);
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

/// Check that a frame without a seal is not taken for the beginning of what is sealed, signed or not: its header could say
/// that any seal is the one before.
#[test]
fn an_unsealed_beginning_is_found() {
    let (key, public) = keys();
    for (key, public) in [(None, None), (Some(key), Some(public))] {
        let disk = MemoryDisk::new();
        let mut writer = begin(&disk, Policy::default(), key);
        for number in 1..=4 {
            writer.push(&unload(number)).unwrap();
            writer.tick(at(number + 1), clock()).unwrap();
        }
        writer.finish(&end(6)).unwrap();
        let bytes = disk.files().remove(0);
        let frames = frames(&bytes);
        assert_eq!(Verifier::new(public.clone()).file(bytes.as_slice()).unwrap().problems, Vec::<String>::new());
        // Header and baseline, then two events, and the seals that stood among them as further events.
        let text = zstd::decode_all(frames[..3].concat().as_slice()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let sealed = text.lines().next_back().unwrap().split("\"sha256\":\"").nth(1).unwrap();
        let start = format!("\"segment\":1,\"previous\":\"{}\"", &sealed[..64]);
        let other = "\"type\":\"clock\",\"realtime_minus_boot_ns\":0,\"boot_minus_monotonic_ns\":0,\"clock_uncertainty_ns\":0}\n";
        let lines = text.lines().map(|line| match line.split_once("\"type\":\"seal\"") {
            Some((before, _)) => format!("{before}{other}"),
            None => format!("{line}\n").replace("\"segment\":0", &start).replace("module1", "forged"),
        });
        let text: String = lines.collect();
        assert!(text.contains("forged") && text.contains(&start), "{text}");
        let forged = zstd::encode_all(text.as_bytes(), 3).unwrap();
        let report = Verifier::new(public).file([&[forged.as_slice()], &frames[3..]].concat().concat().as_slice());
        let problems = report.unwrap().problems;
        assert_eq!(problems, ["has a frame without a seal before event 7, which is sealed"]);
        // Alone, nothing vouches for it, as for any text.
        let report = verify(&forged).unwrap();
        assert!(report.problems.is_empty() && report.unsealed, "{report:?}");
    }
}

/// Check that a frame without a seal behind those that have one is told, and that what came before it is good.
#[test]
fn an_unsealed_end_is_found() {
    let bytes = capture(2);
    let text = zstd::decode_all(*frames(&bytes).last().unwrap()).unwrap();
    let whole = bytes.len() - frames(&bytes).last().unwrap().len();
    let unsealed = zstd::encode_all(text.split_inclusive(|byte| *byte == b'\n').next().unwrap(), 3).unwrap();
    let report = verify(&[&bytes[..whole], &unsealed].concat()).unwrap();
    assert_eq!(report.problems, ["has a frame without a seal"]);
    assert_eq!(report.good_bytes, whole as u64);
}

/// Check that a frame without a seal is told although it is larger than what is kept, and its end is read by itself.
#[test]
fn a_large_unsealed_frame_is_found() {
    let bytes = capture(2);
    let last_seq = verify(&bytes).unwrap().seals + verify(&bytes).unwrap().events;
    let line = |seq: u64| {
        let cause = "c".repeat(60_000);
        format!(
            r#"{{"seq":{seq},"time":"2026-11-23T10:00:00Z","boot_ns":1,"type":"loss","stage":"probe","cause":"{cause}","count":0}}"#
        ) + "\n"
    };
    let end = "{\"seq\":SEQ,\"time\":\"2026-11-23T10:00:00Z\",\"boot_ns\":1,\"type\":\"end\",\"requests\":0,\"loads\":0,\"unloads\":0,\"lost\":0}\n";
    let text: String = (last_seq..last_seq + 70).map(line).collect();
    let text = text + &end.replace("SEQ", &(last_seq + 70).to_string());
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    let whole = [bytes.as_slice(), &encoder.finish().unwrap()].concat();
    // The checksum, four bytes, comes when all the text is there.
    let (most, checksum) = whole.split_at(whole.len() - 4);
    let (most, last_block) = most.split_at(most.len() - 8);
    let report = Verifier::new(None).file(most.chain(last_block).chain(checksum)).unwrap();
    assert_eq!(report.problems, ["has a frame without a seal"]);
    assert_eq!(report.good_bytes, bytes.len() as u64);
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

/// Check that gaps and causes of loss without end are told in bounded memory, and that no loss is left out of the sum.
#[test]
fn what_is_told_has_a_limit() {
    let mut text = zstd::decode_all(frames(&capture(1))[0]).unwrap();
    let whole = text.iter().rposition(|byte| *byte == b'{').unwrap();
    text.truncate(whole);
    for number in 1..=1000_u64 {
        let seq = 2 * number;
        let cause = "c".repeat(1000);
        let line = format!(
            r#"{{"seq":{seq},"time":"2026-11-23T10:00:00Z","boot_ns":1,"type":"loss","stage":"probe","cause":"{number}{cause}","count":3}}"#
        );
        text.extend(line.bytes().chain([b'\n']));
    }
    let mut verifier = Verifier::new(None);
    let problems = verifier.file(text.as_slice()).unwrap().problems;
    assert_eq!((problems.len(), problems[63].as_str()), (64, "has more numbers that do not follow each other"));
    let losses = verifier.losses();
    assert!(losses.len() <= 68 && losses.keys().all(|(_, cause)| cause.len() <= 256), "{}", losses.len());
    assert_eq!(losses.values().sum::<u64>(), 3000);
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

/// A capture's text with every seal made anew.
fn sealed_anew(text: &str) -> String {
    let (mut out, mut begin, mut previous) = (String::new(), 0, "0".repeat(64));
    for line in text.split_inclusive('\n') {
        let Some((before, _)) = line.split_once("\"previous\":").filter(|_| line.contains("\"type\":\"seal\"")) else {
            out.push_str(line);
            continue;
        };
        let line = format!("{before}\"previous\":\"{previous}\",\"sha256\":");
        out.push_str(&line[..find_last(line.as_bytes(), HASH_FIELD).unwrap()]);
        previous = to_hex(&hash(&out.as_bytes()[begin..]));
        out.push_str(&format!(",\"sha256\":\"{previous}\"}}\n"));
        begin = out.len();
    }
    out
}

/// Check that events of types that a later version has are passed over: they have numbers like all others.
#[test]
fn unknown_types_are_passed_over() {
    let text = String::from_utf8(zstd::decode_all(capture(3).as_slice()).unwrap()).unwrap();
    assert_eq!(sealed_anew(&text), text);
    let later = sealed_anew(&text.replacen("\"type\":\"unload\"", "\"type\":\"rename\"", 2));
    let report = verify(later.as_bytes()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.events, report.unknown, report.seals, report.ended), (4, 2, 5, true));
    // One that is left out is missing.
    let gap: String = later.split_inclusive('\n').filter(|line| !line.contains("\"type\":\"rename\"")).collect();
    assert_eq!(verify(sealed_anew(&gap).as_bytes()).unwrap().problems[0], "events 3 to 3 are missing");
}
