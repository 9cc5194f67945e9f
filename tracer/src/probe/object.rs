//! The eBPF object inside this binary.

/// The object, aligned for its parser; empty in a binary that was built without an eBPF toolchain.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/kmodtrace-probes"));

/// Whether this binary contains the eBPF object.
#[must_use]
pub fn is_built_in() -> bool {
    !OBJECT.is_empty()
}

/// The object, if this binary contains it.
pub(super) fn object() -> Option<&'static [u8]> {
    is_built_in().then_some(OBJECT)
}
