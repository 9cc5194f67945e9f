//! Characters that must not be written as they are, whatever the format.

/// Characters that hide, move or reorder what stands beside them, or that no font shows
/// (Unicode general categories Cc, Cf, Zl, Zp, Zs but for the space, Co, variation selectors, and the blanks
/// of Hangul and Braille). Of the control characters those below U+0020 are left out: every format has its own way with them.
pub(crate) fn is_unsafe(character: char) -> bool {
    matches!(u32::from(character),
        0x7f..=0xa0 | 0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2
        | 0x115f..=0x1160 | 0x1680 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x2000..=0x200f | 0x2028..=0x202f
        | 0x205f..=0x206f | 0x2800 | 0x3000 | 0x3164 | 0xe000..=0xf8ff | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xffff
        | 0x110bd | 0x110cd | 0x13430..=0x1345f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
        | 0xe0000..=0x10_ffff)
}

/// A text in pieces: what can be written as it is, and the character behind it that is to be escaped.
pub(crate) fn pieces(text: &str, is_escaped: impl Fn(char) -> bool) -> impl Iterator<Item = (&str, Option<char>)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some(at) = text.find(&is_escaped) else { return Some((text, None)) };
        let (plain, from) = text.split_at(at);
        let mut characters = from.chars();
        let escaped = characters.next();
        rest = Some(characters.as_str());
        Some((plain, escaped))
    })
}

/// A string of TOML in which such characters stand as `\uXXXX`: the same value, and nothing that hides from a review.
pub(crate) fn toml_string(text: &str) -> String {
    let is_escaped = |character: char| is_unsafe(character) || character.is_control();
    if !text.contains(is_escaped) {
        return toml::Value::from(text).to_string();
    }
    let mut string = String::with_capacity(text.len() + 16);
    string.push('"');
    for (plain, escaped) in pieces(text, |character| is_escaped(character) || matches!(character, '"' | '\\')) {
        string.push_str(plain);
        match escaped {
            Some(character @ ('"' | '\\')) => string.extend(['\\', character]),
            Some('\n') => string.push_str("\\n"),
            Some(character) if u32::from(character) > 0xffff => {
                string.push_str(&format!("\\U{:08x}", u32::from(character)));
            }
            Some(character) => string.push_str(&format!("\\u{:04x}", u32::from(character))),
            None => {}
        }
    }
    string.push('"');
    string
}

/// Columns of a character on a terminal.
pub(crate) fn columns_of(character: char) -> usize {
    unicode_width::UnicodeWidthChar::width(character).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_unsafe, pieces, toml_string};

    /// Check that what reorders or hides text does not get into a TOML file, and that the rest stays as it is.
    #[test]
    fn strings_of_toml_hide_nothing() {
        for (text, written) in [
            ("plain", "\"plain\""),
            ("\u{202e}x", "\"\\u202ex\""),
            ("a\u{9b}31m", "\"a\\u009b31m\""),
            ("\u{e0001}\"\\\n\u{1}\u{7f}", "\"\\U000e0001\\\"\\\\\\n\\u0001\\u007f\""),
            ("Grüße", "\"Grüße\""),
        ] {
            assert_eq!(toml_string(text), written);
        }
    }

    proptest! {
        /// Check that any text reads back as it was and shows nothing unsafe.
        #[test]
        fn strings_of_toml_read_back(text in any::<String>(), tricky in "[\"'\\\\\n\r\t\u{202e}\u{9b}\u{feff}a\u{1f600}]{0,12}") {
            for text in [text, tricky] {
                let written = toml_string(&text);
                prop_assert!(!written.contains(is_unsafe), "{:?}", written);
                let read: toml::Table = format!("x = {written}\n").parse().unwrap();
                prop_assert_eq!(read["x"].as_str(), Some(text.as_str()));
            }
        }

        /// Check that the pieces are the text.
        #[test]
        fn pieces_are_the_text(text in "[ab\u{202e}]{0,12}") {
            let together: String = pieces(&text, is_unsafe).flat_map(|(plain, escaped)| plain.chars().chain(escaped)).collect();
            prop_assert_eq!(together, text);
        }
    }
}
