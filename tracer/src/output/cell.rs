//! Cells of tables and columns: how wide a text is, where it is cut, and how it is padded.
//!
//! Text comes here escaped: no character of it is without a width, so that a cell has at most four bytes a column.

use std::borrow::Cow;

use crate::text::unicode::columns_of;

/// Columns that a cell has at most, on a terminal or not: one name cannot make every row of a table as wide as itself.
pub(crate) const CELL_COLUMNS_LIMIT: usize = 256;

/// What stands for what was cut off.
const CUT: &str = "...";

/// Columns of a text.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// The text, cut to the width that a cell has at most.
pub(crate) fn cell(text: &str) -> Cow<'_, str> {
    cut(text, CELL_COLUMNS_LIMIT)
}

/// A text that is too wide loses its end, and shows that; a path loses its front, since its end is the name.
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

/// Reads no more of a text than has room.
fn fits(text: &str, width: usize) -> bool {
    let mut used: usize = 0;
    text.chars().all(|character| {
        used = used.saturating_add(columns_of(character));
        used <= width
    })
}

/// Bytes of the characters that have room.
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

/// The text with spaces behind it. The width of `format!` counts characters, and panics beyond 65,535.
pub(crate) fn left(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    let mut out = String::with_capacity(text.len() + missing);
    out.push_str(text);
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// The text with spaces in front of it.
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

    /// Check that wide characters count twice, and that a cut never leaves half of one.
    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!((columns("ab"), columns("漢字"), columns("🦀")), (2, 4, 2));
        assert_eq!(left("漢字", 6), "漢字  ");
        assert_eq!(right("漢", 3), " 漢");
        assert_eq!(cut("漢字漢字", 6), "漢...");
        assert_eq!(cut("/usr/漢字", 6), "...字");
    }

    /// Check that a text of any length becomes a cell, and that no width panics.
    #[test]
    fn cells_have_a_maximal_width() {
        for length in [256, 257, 65_535, 65_536, 5_000_000] {
            let text = "a".repeat(length);
            assert_eq!(columns(&cell(&text)), CELL_COLUMNS_LIMIT);
        }
        assert_eq!(left("a", 100_000).len(), 100_000);
        assert_eq!(right("a", 100_000).len(), 100_000);
    }

    proptest! {
        /// Check that a cut is as wide as it may be or as wide as the text, and that padding fills the rest.
        #[test]
        fn cuts_fit(text in "[a-z/漢🦀é]{0,40}", width in 3_usize..30) {
            let shown = cut(&text, width);
            prop_assert!(columns(&shown) <= width);
            prop_assert!(columns(&text) > width || shown == text);
            prop_assert_eq!(columns(&left(&shown, width)), width);
            prop_assert_eq!(columns(&right(&shown, width)), width);
        }
    }
}
