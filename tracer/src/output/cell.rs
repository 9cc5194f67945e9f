//! Cells of tables: display width, truncation, padding.
//!
//! Text is already escaped, so every character has a width, and a cell has at most four bytes per column.

use std::borrow::Cow;

use crate::text::unicode::columns_of;

/// Maximum columns of a cell, so that one long name does not widen every row of a table.
pub(crate) const CELL_COLUMNS_LIMIT: usize = 256;

/// Marks truncated text.
const CUT: &str = "...";

/// Display width of a text.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// The text, truncated to the maximum width of a cell.
pub(crate) fn cell(text: &str) -> Cow<'_, str> {
    cut(text, CELL_COLUMNS_LIMIT)
}

/// Truncates a text that is too wide: a path at its beginning, since its end is the name, others at their end.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if fits(text, width) {
        return Cow::Borrowed(text);
    }
    let kept = width.saturating_sub(CUT.len());
    if text.starts_with('/') || text.starts_with(".../") {
        let at = text.len() - taken(text.chars().rev(), kept);
        return Cow::Owned(format!("{CUT}{}", text.get(at..).unwrap_or_default()));
    }
    let at = taken(text.chars(), kept);
    Cow::Owned(format!("{}{CUT}", text.get(..at).unwrap_or_default()))
}

/// Whether a text fits. Reads only as much of it as has room.
fn fits(text: &str, width: usize) -> bool {
    let mut used: usize = 0;
    text.chars().all(|character| {
        used = used.saturating_add(columns_of(character));
        used <= width
    })
}

/// Number of bytes of the characters that fit.
fn taken(characters: impl Iterator<Item = char>, width: usize) -> usize {
    let (mut used, mut bytes): (usize, usize) = (0, 0);
    for character in characters {
        used = used.saturating_add(columns_of(character));
        if used > width {
            break;
        }
        bytes += character.len_utf8();
    }
    bytes
}

/// Left-aligns a text. `format!` counts characters instead of columns, and panics beyond a width of 65,535.
pub(crate) fn left(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    let mut out = String::with_capacity(text.len() + missing);
    out.push_str(text);
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// Right-aligns a text.
pub(crate) fn right(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    let mut out = String::with_capacity(text.len() + missing);
    out.extend(std::iter::repeat_n(' ', missing));
    out.push_str(text);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CELL_COLUMNS_LIMIT, cell, columns, cut, left, right};

    /// Wide characters count as two columns and are never split.
    #[test]
    fn cell_wide_characters_take_two_columns() {
        assert_eq!((columns("ab"), columns("漢字"), columns("🦀")), (2, 4, 2));
        assert_eq!(left("漢字", 6), "漢字  ");
        assert_eq!(right("漢", 3), " 漢");
        assert_eq!(cut("漢字漢字", 6), "漢...");
        assert_eq!(cut("/usr/漢字", 6), "...字");
    }

    /// A text of any length becomes a cell, and no width panics.
    #[test]
    fn cell_long_text_is_truncated() {
        for length in [256, 257, 65_535, 65_536, 5_000_000] {
            let text = "a".repeat(length);
            assert_eq!(columns(&cell(&text)), CELL_COLUMNS_LIMIT);
        }
        assert_eq!(left("a", 100_000).len(), 100_000);
        assert_eq!(right("a", 100_000).len(), 100_000);
    }

    proptest! {
        /// Truncated text fits, text that fits is unchanged, and padding fills the width.
        #[test]
        fn cell_truncated_text_fits(text in "[a-z/漢🦀é]{0,40}", width in 3_usize..30) {
            let shown = cut(&text, width);
            prop_assert!(columns(&shown) <= width);
            prop_assert!(columns(&text) > width || shown == text);
            prop_assert_eq!(columns(&left(&shown, width)), width);
            prop_assert_eq!(columns(&right(&shown, width)), width);
        }
    }
}
