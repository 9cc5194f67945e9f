//! Arbitrary bytes, and captures truncated or altered anywhere: readers never panic, and agree on the intact parts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use kmodtrace::{
    capture::recover::recover,
    report::{Engine, ReportQuery},
    stream::{Collector, FileSummary, IssueKind, Pipeline, read_inputs},
};
use proptest::{prelude::*, sample::Index};

/// A real capture with sealed frames.
fn capture() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/captures/versions/v1.jsonl.zst");
    std::fs::read(path).unwrap()
}

/// The issues that `report` finds in bytes, as sentences.
fn report(bytes: &[u8]) -> Vec<String> {
    let mut pipeline = Pipeline::new(Engine::new(ReportQuery::default(), Vec::new()));
    read_inputs([("any".to_owned(), bytes)], None, &mut pipeline).unwrap();
    let (_, issues) = pipeline.finish().unwrap();
    issues.iter().map(ToString::to_string).collect()
}

fn read(bytes: &[u8]) -> (Collector, FileSummary) {
    let (collector, mut files) = Collector::read_bytes(&[bytes]).unwrap();
    (collector, files.remove(0))
}

/// Checks the properties that hold for any bytes, and returns the copy by `recover`.
fn check(bytes: &[u8]) -> Result<Vec<u8>, TestCaseError> {
    let (collector, file) = read(bytes);
    prop_assert_eq!(collector.events.len() as u64, file.events);
    prop_assert_eq!(report(bytes).len(), collector.issues.len());
    let mut copy = Vec::new();
    let Ok(recovered) = recover(bytes, &mut copy) else { return Ok(Vec::new()) };
    prop_assert_eq!(recovered.copied_bytes, copy.len() as u64);
    // The recovered copy is read like the original, and recovering it again does not change it.
    let (again, again_file) = read(&copy);
    prop_assert_eq!(again.events.len(), collector.events.len());
    prop_assert_eq!(again_file.seals, file.seals);
    let mut twice = Vec::new();
    if recover(copy.as_slice(), &mut twice).is_ok() {
        prop_assert_eq!(&twice, &copy);
    }
    Ok(copy)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Arbitrary bytes, alone, in a frame, and after a capture's first bytes, do not panic.
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        check(&bytes)?;
        check(&zstd::encode_all(bytes.as_slice(), 1).unwrap())?;
        check(&[&b"{"[..], &bytes].concat())?;
        check(&[&[0x28, 0xb5, 0x2f, 0xfd][..], &bytes].concat())?;
        check(&[capture(), bytes].concat())?;
    }

    /// Of a capture that is truncated anywhere, every intact frame is read and the rest is reported.
    #[test]
    fn truncated_capture_yields_intact_frames(at in any::<Index>()) {
        let whole = capture();
        let cut = at.index(whole.len());
        let copy = check(&whole[..cut])?;
        let (collector, file) = read(&whole[..cut]);
        prop_assert!(!file.has_end);
        let is_torn = collector.issues.iter().any(|issue| matches!(issue.kind, IssueKind::Torn { .. }));
        prop_assert_eq!(is_torn, copy.len() < cut, "{:?}", collector.issues);
        let is_complete = collector.issues.iter().all(|issue| issue.kind.severity() == kmodtrace::stream::Severity::Note);
        prop_assert!(!is_complete, "a capture without its end is not complete");
    }

    /// One flipped bit affects only its frame and is reported.
    #[test]
    fn flipped_bit_is_reported(at in any::<Index>(), bit in 0_u8..8) {
        let whole = capture();
        let (intact, _) = read(&whole);
        let mut bytes = whole;
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let (collector, _) = read(&bytes);
        prop_assert!(collector.events.len() + 65 >= intact.events.len(), "byte {}: {:?}", at, collector.issues);
        if collector.events != intact.events {
            prop_assert!(!collector.broken().is_empty(), "byte {}", at);
        }
        check(&bytes)?;
    }

    /// Captures with inserted, removed and changed bytes, in frames and in text, do not panic.
    #[test]
    fn mutated_capture_does_not_panic(
        at in any::<Index>(),
        taken in 0_usize..64,
        put in proptest::collection::vec(any::<u8>(), 0..64),
        is_text in any::<bool>(),
    ) {
        let whole = capture();
        let mut bytes = if is_text { zstd::decode_all(whole.as_slice()).unwrap() } else { whole };
        let original = bytes.clone();
        let from = at.index(bytes.len());
        let to = (from + taken).min(bytes.len());
        bytes.splice(from..to, put);
        check(&bytes)?;
        let is_blank = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_whitespace);
        if is_text && bytes != original && !(bytes.starts_with(&original) && is_blank(&bytes[original.len()..])) {
            prop_assert!(!read(&bytes).0.broken().is_empty(), "a change of the text was not found");
        }
    }

    /// Events with arbitrary numbers and names, given repeatedly, do not panic.
    #[test]
    fn arbitrary_values_do_not_panic(seq in any::<u64>(), boot_ns in any::<u64>(), segment in any::<u32>(), count in any::<u64>()) {
        let line = |seq: u64, body: &str| {
            format!(r#"{{"seq":{seq},"time":"2026-11-23T10:00:00Z","boot_ns":{boot_ns},{body}}}"#) + "\n"
        };
        let header = format!(
            r#""type":"header","schema":1,"tool":"t","kernel":"k","kernel_version":"","arch":"","hostname":"h","boot_id":"b","modprobe":"","realtime_minus_boot_ns":{},"clock_uncertainty_ns":{count},"recording":"r","segment":{segment},"hooks":[]"#,
            i64::MIN
        );
        let loss = format!(r#""type":"loss","stage":"probe","cause":"c","count":{count}"#);
        let lines = [line(seq, &header), line(seq, &loss), line(u64::MAX, &loss), line(0, &loss)];
        let bytes = lines.concat();
        check(bytes.as_bytes())?;
        let (once, _) = Collector::read_bytes(&[bytes.as_bytes()]).unwrap();
        let (thrice, _) = Collector::read_bytes(&[bytes.as_bytes(); 3]).unwrap();
        prop_assert_eq!(thrice.events.len(), once.events.len());
    }
}
