//! Characters that must be escaped in every format.

/// Characters that hide, move or reorder adjacent text, or are invisible
/// (Unicode general categories Cc, Cf, Zl, Zp, Zs but for the space, Co, variation selectors, and the blanks
/// of Hangul and Braille), except control characters below U+0020, for which each format has its own escapes.
pub(crate) fn is_unsafe(character: char) -> bool {
    matches!(u32::from(character),
        0x7f..=0xa0 | 0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2
        | 0x115f..=0x1160 | 0x1680 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x2000..=0x200f | 0x2028..=0x202f
        | 0x205f..=0x206f | 0x2800 | 0x3000 | 0x3164 | 0xe000..=0xf8ff | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xffff
        | 0x110bd | 0x110cd | 0x13430..=0x1345f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
        | 0xe0000..=0x10_ffff)
}

/// Splits a text into plain pieces, each with the character after it that must be escaped.
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

/// A TOML string in which unsafe characters are escaped as `\uXXXX`, so that they are visible in reviews.
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

/// Display width of a character.
pub(crate) fn columns_of(character: char) -> usize {
    unicode_width::UnicodeWidthChar::width(character).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_unsafe, pieces, toml_string};

    /// Unsafe characters are escaped, others are unchanged.
    #[test]
    fn toml_string_unsafe_characters_are_escaped() {
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
        /// Any text is equal after reading it back, and contains no unsafe characters in TOML.
        #[test]
        fn toml_string_read_back_is_equal(text in any::<String>(), tricky in "[\"'\\\\\n\r\t\u{202e}\u{9b}\u{feff}a\u{1f600}]{0,12}") {
            for text in [text, tricky] {
                let written = toml_string(&text);
                prop_assert!(!written.contains(is_unsafe), "{:?}", written);
                let read: toml::Table = format!("x = {written}\n").parse().unwrap();
                prop_assert_eq!(read["x"].as_str(), Some(text.as_str()));
            }
        }

        /// The joined pieces are the text.
        #[test]
        fn pieces_joined_are_the_text(text in "[ab\u{202e}]{0,12}") {
            let together: String = pieces(&text, is_unsafe).flat_map(|(plain, escaped)| plain.chars().chain(escaped)).collect();
            prop_assert_eq!(together, text);
        }
    }
}
