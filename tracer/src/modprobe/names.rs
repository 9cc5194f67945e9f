//! Names of modules, aliases and files as text, without merging different ones.

/// The first of 256 private-use characters that stand for single bytes.
const FIRST: u32 = 0xF700;

/// Text for bytes of any kind: valid UTF-8 as it is, and every other byte as the private-use character U+F700 plus its value.
/// Text that contains such characters itself is treated as single bytes there, so different bytes never become equal text. All
/// output escapes private-use characters.
pub(crate) fn lossless(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if (FIRST..FIRST + 256).contains(&u32::from(character)) {
                push_bytes(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(character);
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    text.extend(bytes.iter().filter_map(|byte| char::from_u32(FIRST + u32::from(*byte))));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::lossless;

    /// Valid UTF-8 is unchanged, except for the characters that stand for bytes.
    #[test]
    fn valid_text_is_unchanged() {
        for text in ["", "net_pf_38", "a\rb\t", "ä€🦀", "\u{e000}"] {
            assert_eq!(lossless(text.as_bytes()), text);
        }
        assert_eq!(lossless(b"a\xff"), "a\u{f7ff}");
        assert_ne!(lossless("a\u{f7ff}".as_bytes()), lossless(b"a\xff"));
    }

    proptest! {
        /// Different bytes become different text.
        #[test]
        fn different_bytes_stay_different(
            one in proptest::collection::vec(prop_oneof![Just(0xEF_u8), Just(0x9C), Just(0x9F), Just(0xBF), any::<u8>()], 0..6),
            two in proptest::collection::vec(prop_oneof![Just(0xEF_u8), Just(0x9C), Just(0x9F), Just(0xBF), any::<u8>()], 0..6),
        ) {
            prop_assert_eq!(lossless(&one) == lossless(&two), one == two);
        }
    }
}
