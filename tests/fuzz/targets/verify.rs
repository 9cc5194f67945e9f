//! Any bytes as files of a recording, and the clean prefix of each: it is good, and what it was.
#![no_main]

use kmodtrace::capture::verify::Verifier;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let frame = zstd::encode_all(bytes, 1).unwrap_or_default();
    let mut verifier = Verifier::new(None);
    for bytes in [bytes, &frame, bytes] {
        let _ = verifier.file(bytes);
        let Ok(report) = Verifier::new(None).file(bytes) else { continue };
        let good = usize::try_from(report.good_bytes).unwrap_or(usize::MAX);
        let prefix = bytes.get(..good).expect("the clean prefix is a prefix");
        if let Ok(again) = Verifier::new(None).file(prefix) {
            assert_eq!(again.good_bytes, report.good_bytes, "the clean prefix is clean");
        }
    }
});
