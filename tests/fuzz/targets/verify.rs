//! Arbitrary bytes as the files of a recording. The recovered part of each is intact, and recovering it again changes nothing.
#![no_main]

use kmodtrace::{capture::recover::recover, stream::Collector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let frame = zstd::encode_all(bytes, 1).unwrap_or_default();
    let _ = Collector::read_bytes(&[bytes, &frame, bytes]);
    for bytes in [bytes, &frame] {
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        if recover(bytes, &mut once).is_ok() && recover(once.as_slice(), &mut twice).is_ok() {
            assert_eq!(once, twice, "what was recovered is intact");
        }
    }
});
