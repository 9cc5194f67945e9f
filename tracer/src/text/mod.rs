//! Human-readable text: escaping of foreign bytes, and numbers with nouns.

mod escape;
pub(crate) mod unicode;

pub use escape::{alias, argument, ascii, escape, escape_str, module, name, quoted, sentence};

/// `1 event`, `2 events`.
#[must_use]
pub fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
