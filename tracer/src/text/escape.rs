//! Escaping of foreign bytes in human-readable output.

use std::{borrow::Cow, fmt::Write};

use super::unicode::{columns_of, is_unsafe};
use crate::event::Text;

/// Escapes bytes for terminals and logs, without ambiguity.
///
/// Control characters, format characters (bidi controls, zero-width characters), characters without a width of their own
/// (combining characters, emoji modifiers), spaces other than U+0020, line and paragraph separators, private-use characters
/// and invalid UTF-8 become `\n`, `\xNN` or `\u{N}`; a backslash becomes `\\`. Two different inputs never look alike,
/// except for similar letters of different scripts: names of modules and aliases, which are usually ASCII, are therefore
/// written by [`module`] and [`alias`].
#[must_use]
pub fn escape(text: &Text) -> String {
    let mut out = String::with_capacity(text.as_bytes().len());
    push(&mut out, text.as_bytes(), |_| false);
    out
}

/// Like [`escape`], for a `str`.
#[must_use]
pub fn escape_str(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push(&mut out, text.as_bytes(), |_| false);
    out
}

/// Like [`escape`], for a sentence with names that are already escaped: a backslash is unchanged.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, piece) in text.split('\\').enumerate() {
        if number > 0 {
            out.push('\\');
        }
        push(&mut out, piece.as_bytes(), |_| false);
    }
    out
}

/// Like [`escape`], for a command argument: quoted if a shell needs quotes.
#[must_use]
pub fn argument(text: &Text) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=,+@%^".contains(byte) || *byte >= 0x80;
    let bytes = text.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return escape(text);
    }
    enclosed(bytes, '\'')
}

/// Like [`escape`], for a name in a sentence: quoted if it is ambiguous there.
#[must_use]
pub fn name(text: &Text) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"'\"\\<>,;`".contains(byte) || *byte >= 0x80;
    let bytes = text.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return escape(text);
    }
    enclosed(bytes, '\'')
}

/// Like [`escape`], always in double quotes.
#[must_use]
pub fn quoted(text: &Text) -> String {
    enclosed(text.as_bytes(), '"')
}

/// Like [`name`], for a module name, which is usually ASCII: other letters are escaped, since they can look like ASCII.
#[must_use]
pub fn module(text: &Text) -> String {
    ascii(&name(text)).into_owned()
}

/// Like [`quoted`], for an alias, with other letters escaped as in [`module`].
#[must_use]
pub fn alias(text: &Text) -> String {
    ascii(&quoted(text)).into_owned()
}

/// Escapes all non-ASCII characters of escaped text, for a locale that is not UTF-8.
#[must_use]
pub fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            code(&mut out, character);
        }
    }
    Cow::Owned(out)
}

fn enclosed(bytes: &[u8], quote: char) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(quote);
    push(&mut out, bytes, |character| character == quote);
    out.push(quote);
    out
}

fn code(out: &mut String, character: char) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
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
                _ if is_unsafe(character) || joins(character) || also(character) => code(out, character),
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

/// Characters that combine with the previous one: terminals disagree on their width, and two spellings look alike.
fn joins(character: char) -> bool {
    !character.is_ascii() && (columns_of(character) == 0 || matches!(u32::from(character), 0x1f3fb..=0x1f3ff))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::{alias, argument, ascii, escape, escape_str, is_unsafe, module, name, quoted, sentence};
    use crate::{event::Text, text::unicode::columns_of};

    /// Line breaks, cursor movement, direction marks and invalid UTF-8 are escaped.
    #[test]
    fn escape_attacks_are_visible() {
        for (attack, shown) in [
            (&b"x\nLOAD fake"[..], "x\\nLOAD fake"),
            (b"\x1b[2J", "\\x1b[2J"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"\\n", "\\\\n"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("a\u{a0}b\u{3000}".as_bytes(), "a\\u{a0}b\\u{3000}"),
            ("net-pf-30".as_bytes(), "net-pf-30"),
            ("Grüße".as_bytes(), "Grüße"),
        ] {
            assert_eq!(escape(&Text::from(attack)), shown);
        }
    }

    /// Arguments that a shell would split or drop are quoted.
    #[test]
    fn argument_with_special_characters_is_quoted() {
        for (raw, shown) in [("nat", "nat"), ("", "''"), ("a b", "'a b'"), ("it's", "'it\\x27s'"), ("$x", "'$x'")] {
            assert_eq!(argument(&Text::from(raw)), shown);
        }
    }

    /// Ambiguous names are quoted, common names are unchanged.
    #[test]
    fn name_that_is_ambiguous_is_quoted() {
        for (raw, shown) in [
            ("(udev-worker)", "(udev-worker)"),
            ("kworker/u4:1", "kworker/u4:1"),
            ("tmux: server", "'tmux: server'"),
            ("a(1)<-b", "'a(1)<-b'"),
            ("", "''"),
        ] {
            assert_eq!(name(&Text::from(raw)), shown);
        }
        assert_eq!(quoted(&Text::from("x\" loaded")), "\"x\\x22 loaded\"");
    }

    /// Unescaped characters of a sentence are escaped, escaped ones are unchanged.
    #[test]
    fn sentence_is_escaped_once() {
        for (raw, shown) in [
            ("cannot read a\n\x1b[2Jb", "cannot read a\\n\\x1b[2Jb"),
            ("of \\x1b and \\\\", "of \\x1b and \\\\"),
            ("unknown field `\u{202e}`", "unknown field `\\u{202e}`"),
        ] {
            assert_eq!(sentence(raw), shown);
        }
    }

    /// Non-ASCII letters in names of modules and aliases are escaped.
    #[test]
    fn module_non_ascii_letters_are_escaped() {
        for (raw, shown) in [
            ("nf_conntrack", "nf_conntrack"),
            ("nf_\u{441}onntrack", "nf_\\u{441}onntrack"),
            ("模块 x", "'\\u{6a21}\\u{5757} x'"),
        ] {
            assert_eq!(module(&Text::from(raw)), shown);
        }
        assert_eq!(alias(&Text::from("fs-\u{445}fs")), "\"fs-\\u{445}fs\"");
        assert_eq!(ascii("Grüße \\x1b"), "Gr\\u{fc}\\u{df}e \\x1b");
    }

    /// Combining characters are escaped, so that composed and decomposed letters differ.
    #[test]
    fn escape_combining_characters_are_visible() {
        assert_eq!(escape_str("é e\u{301}"), "é e\\u{301}");
        assert_eq!(escape_str("👍\u{1f3fd}"), "👍\\u{1f3fd}");
        assert_eq!(escape_str("漢字"), "漢字");
    }

    /// Random bytes, mostly those used in escapes.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let tricky: Vec<u8> = b"\\\\nx'1b{} \n\x1b\x7f\xc2\xff".to_vec();
        proptest::collection::vec(prop_oneof![2 => proptest::sample::select(tricky), 1 => any::<u8>()], 0..6)
    }

    proptest! {
        /// No input results in control or format characters.
        #[test]
        fn escape_output_is_safe(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in any::<String>()) {
            let (bytes, text) = (Text::from(bytes.as_slice()), Text::from(text));
            for shown in [&bytes, &text].into_iter().flat_map(|text| {
                [escape(text), argument(text), name(text), quoted(text), escape_str(&text.field()), sentence(&text.field())]
            }) {
                prop_assert!(shown.chars().all(|c| !c.is_control() && !is_unsafe(c) && columns_of(c) > 0), "{:?}", shown);
            }
        }

        /// Different names have different escaped forms.
        #[test]
        fn names_that_differ_look_different(inputs in proptest::collection::hash_set(bytes(), 2..40)) {
            let mut seen = HashMap::new();
            for input in inputs {
                let text = Text::from(input.as_slice());
                let shown = (escape(&text), name(&text), quoted(&text));
                for (way, shown) in [shown.0, shown.1, shown.2].into_iter().enumerate() {
                    prop_assert_eq!(seen.insert((way, shown), input.clone()), None);
                }
            }
        }

        /// Different command lines have different escaped forms.
        #[test]
        fn command_lines_that_differ_look_different(
            inputs in proptest::collection::hash_set(proptest::collection::vec(bytes(), 1..4), 2..40),
        ) {
            let mut seen = HashMap::new();
            for input in inputs {
                let shown: Vec<String> = input.iter().map(|bytes| argument(&Text::from(bytes.as_slice()))).collect();
                prop_assert_eq!(seen.insert(shown.join(" "), input.clone()), None);
            }
        }
    }
}
