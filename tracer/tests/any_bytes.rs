//! Any bytes as a capture, and captures cut and altered anywhere: what reads them never panics, and agrees on what is good.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use kmodtrace::{
    capture::{
        lines::Lines,
        reader::Reader,
        verify::{FileReport, Verifier},
    },
    report::{Engine, Plan},
};
use proptest::{prelude::*, sample::Index};

/// A real capture: sealed frames.
fn capture() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/captures/versions/v1.jsonl.zst");
    std::fs::read(path).unwrap()
}

/// What `report` makes of bytes: streams, and sentences on what is missing.
fn report(bytes: &[u8]) -> (usize, Vec<String>) {
    let mut engine = Engine::new(Plan::default(), Vec::new());
    engine.begin("any");
    let mut lines = Lines::new(bytes).unwrap();
    loop {
        match lines.next_block() {
            Ok(Some(block)) => {
                if engine.block(block).is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                engine.note(error.to_string());
                break;
            }
        }
    }
    engine.finish().unwrap();
    let whole = engine.whole();
    (whole.streams.len(), whole.streams.iter().flat_map(|stream| stream.missing(false)).collect())
}

fn verify(bytes: &[u8]) -> Option<FileReport> {
    Verifier::new(None).file(bytes).ok()
}

/// What must be so of any bytes at all; the clean prefix, which is what `recover` copies.
fn check(bytes: &[u8]) -> Result<usize, TestCaseError> {
    let read = Reader::new(bytes).unwrap().take_while(Result::is_ok).count() as u64;
    report(bytes);
    let Some(report) = verify(bytes) else { return Ok(0) };
    let good = usize::try_from(report.good_bytes).unwrap();
    prop_assert!(good <= bytes.len());
    if report.problems.is_empty() && !report.unsealed {
        prop_assert_eq!(read, report.events + report.seals);
    }
    // What was recovered is whole, and is recovered again as it is.
    let again = verify(&bytes[..good]);
    if let Some(again) = &again {
        prop_assert_eq!(again.good_bytes, report.good_bytes);
        prop_assert_eq!(again.seals, report.seals);
    }
    prop_assert!(good == 0 || again.is_some());
    Ok(good)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Check any bytes, alone, in a frame, and behind what makes them look like a capture.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        check(&bytes)?;
        check(&zstd::encode_all(bytes.as_slice(), 1).unwrap())?;
        check(&[&b"{"[..], &bytes].concat())?;
        check(&[&[0x28, 0xb5, 0x2f, 0xfd][..], &bytes].concat())?;
        check(&[capture(), bytes].concat())?;
    }

    /// Check a capture that ends anywhere: its clean prefix is one of whole frames, and the report says that it is torn.
    #[test]
    fn any_cut(at in any::<Index>()) {
        let whole = capture();
        let cut = at.index(whole.len());
        let good = check(&whole[..cut])?;
        let ended = verify(&whole[..cut]).is_some_and(|report| report.ended);
        prop_assert!(!ended);
        if good < cut {
            let (_, missing) = report(&whole[..cut]);
            prop_assert!(missing.iter().any(|sentence| sentence.contains("ends inside the frame")), "{:?}", missing);
        }
    }

    /// Check a capture with bytes put in, taken out and changed, in its frames and in its text.
    #[test]
    fn any_change(
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
        if is_text && bytes != original {
            let found = verify(&bytes).is_none_or(|report| !report.problems.is_empty());
            prop_assert!(found, "a change of the text was not found");
        }
    }

    /// Check lines of JSON whose numbers and names are anything.
    #[test]
    fn any_values(seq in any::<u64>(), boot_ns in any::<u64>(), segment in any::<u32>(), count in any::<u64>()) {
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
        let mut verifier = Verifier::new(None);
        for _ in 0..3 {
            let _ = verifier.file(bytes.as_bytes());
        }
    }
}
