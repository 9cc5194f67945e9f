//! Arbitrary bytes as a record of the ring buffer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = kmodtrace::probe::decode(bytes);
});
