//! Arbitrary patterns and names, matched as modprobe matches aliases: matching terminates, and a name without special
//! characters matches itself.
#![no_main]

use kmodtrace::glob::{matches, normalize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (pattern, name) = (input.0.get(..64).unwrap_or(input.0), input.1.get(..256).unwrap_or(input.1));
    let _ = matches(pattern, name);
    assert!(matches(b"*", name));
    if !name.iter().any(|byte| b"*?[\\".contains(byte)) {
        assert!(matches(name, name));
    }
    if let Some(normal) = normalize(name) {
        assert_eq!(normalize(&normal).as_ref(), Some(&normal));
    }
});
