//! The one way for foreign bytes to get into human output.

use std::fmt::Write;

use crate::event::Text;

/// Makes bytes safe for any terminal and any line of a log, without ambiguity.
///
/// Control characters, what changes the direction or the look of text (bidi controls, zero-width and
/// other format characters), line and paragraph separators, private-use characters and invalid UTF-8
/// become `\n`, `\xNN` or `\u{N}`; a backslash becomes `\\`. Two different inputs never look alike.
#[must_use]
pub fn escape(text: &Text) -> String {
    let mut out = String::with_capacity(text.as_bytes().len());
    push(&mut out, text.as_bytes(), |_| false);
    out
}

/// Like [`escape`], for one argument of a command: quoted where a shell would need quotes.
#[must_use]
pub fn argument(text: &Text) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=,+@%^".contains(byte) || *byte >= 0x80;
    let bytes = text.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return escape(text);
    }
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('\'');
    push(&mut out, bytes, |character| character == '\'');
    out.push('\'');
    out
}

fn push(out: &mut String, bytes: &[u8], also: impl Fn(char) -> bool) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                _ if character.is_ascii_control() || (also(character) && character.is_ascii()) => {
                    hex(out, &[u8::try_from(character).unwrap_or(b'?')]);
                }
                _ if is_unsafe(character) || also(character) => {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
                }
                _ => out.push(character),
            }
        }
        hex(out, chunk.invalid());
    }
}

fn hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Characters that hide, move or reorder what stands beside them, or that no font shows
/// (Unicode general categories Cc, Cf, Zl, Zp, Co, and the invisible letters of Hangul).
fn is_unsafe(character: char) -> bool {
    matches!(u32::from(character),
        0x80..=0x9f | 0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2
        | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x2028..=0x202e
        | 0x2060..=0x206f | 0x3164 | 0xe000..=0xf8ff | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xffff
        | 0x110bd | 0x110cd | 0x13430..=0x1345f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
        | 0xe0000..=0x10_ffff)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::{argument, escape, is_unsafe};
    use crate::event::Text;

    /// Check what an attacker would try: line breaks, cursor moves, direction marks, broken UTF-8.
    #[test]
    fn attacks_become_visible() {
        for (attack, shown) in [
            (&b"x\nLOAD fake"[..], "x\\nLOAD fake"),
            (b"\x1b[2J", "\\x1b[2J"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"\\n", "\\\\n"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("net-pf-30".as_bytes(), "net-pf-30"),
            ("Grüße".as_bytes(), "Grüße"),
        ] {
            assert_eq!(escape(&Text::from(attack)), shown);
        }
    }

    /// Check that arguments are quoted when a shell would split or lose them.
    #[test]
    fn arguments_are_quoted() {
        for (raw, shown) in [("nat", "nat"), ("", "''"), ("a b", "'a b'"), ("it's", "'it\\x27s'"), ("$x", "'$x'")] {
            assert_eq!(argument(&Text::from(raw)), shown);
        }
    }

    proptest! {
        /// Check that nothing unsafe ever comes out.
        #[test]
        fn output_is_safe(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for shown in [escape(&Text::from(bytes.as_slice())), argument(&Text::from(bytes.as_slice()))] {
                prop_assert!(shown.chars().all(|c| !c.is_control() && !is_unsafe(c)), "{:?}", shown);
            }
        }

        /// Check that different inputs look different.
        #[test]
        fn inputs_stay_apart(inputs in proptest::collection::hash_set(
            proptest::collection::vec(prop_oneof![Just(b'\\'), Just(b'n'), Just(b'\n'), Just(b'x'), Just(0x1b), Just(b'1'), Just(b'b'), any::<u8>()], 0..6), 2..20)) {
            let mut seen = HashMap::new();
            for input in inputs {
                let shown = escape(&Text::from(input.as_slice()));
                prop_assert_eq!(seen.insert(shown, input.clone()), None);
            }
        }
    }
}
