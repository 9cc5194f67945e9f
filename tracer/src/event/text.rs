//! Names are bytes: an alias, a `comm` or an argument is whatever its author wrote.

use std::{
    borrow::Cow,
    cmp::Ordering,
    hash::{Hash, Hasher},
};

/// Bytes that are usually, but not always, UTF-8.
///
/// In JSON a `Text` is a field and its sibling: the text itself (invalid parts replaced by U+FFFD)
/// and, only when it was not valid UTF-8, the exact bytes in hexadecimal as `<field>_hex`.
/// [`Text::field`] and [`Text::hex`] give the two, [`Text::from_fields`] reads them back.
#[derive(Clone)]
pub struct Text(Bytes);

/// Names of up to this length need no allocation. With this value a `Text` is as large as a `Vec`.
const INLINE: usize = 22;

#[derive(Clone)]
enum Bytes {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

/// The pattern of `*_hex` fields.
pub(super) const HEX: &str = "^([0-9a-f]{2})*$";

/// Why a text and its `*_hex` do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// `*_hex` is not in the canonical hexadecimal form.
    #[error("expected an even number of lower-case hexadecimal digits")]
    Digits,
    /// The bytes are valid UTF-8, so `*_hex` must not be present.
    #[error("its bytes are valid UTF-8")]
    Utf8,
    /// The bytes differ from the text.
    #[error("its bytes differ from the text")]
    Differs,
    /// The text is missing.
    #[error("the text is missing")]
    Alone,
    /// The lists differ in length.
    #[error("the lists differ in length")]
    Count,
}

impl Text {
    /// The exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Bytes::Heap(bytes) => bytes,
        }
    }

    /// Returns whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The text as a `str`, with U+FFFD for what is not UTF-8. For JSON and comparisons, never for a
    /// terminal: control characters are still in it.
    #[must_use]
    pub fn field(&self) -> String {
        self.lossy().into_owned()
    }

    /// Like [`Text::field`], borrowed if nothing has to be replaced.
    pub(super) fn lossy(&self) -> Cow<'_, str> {
        // Nearly all names are UTF-8, and validation is faster than lossy conversion.
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(self.as_bytes()),
        }
    }

    /// The exact bytes in hexadecimal, when the text is not valid UTF-8.
    #[must_use]
    pub fn hex(&self) -> Option<String> {
        std::str::from_utf8(self.as_bytes()).is_err().then(|| self.to_hex())
    }

    /// The exact bytes in hexadecimal, for any text.
    pub(super) fn to_hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
        self.as_bytes().iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
    }

    /// Returns whether it is valid UTF-8 and so has no `*_hex`.
    pub(super) fn is_utf8(&self) -> bool {
        std::str::from_utf8(self.as_bytes()).is_ok()
    }

    /// Reads back what [`Text::field`] and [`Text::hex`] wrote.
    ///
    /// # Errors
    /// When `hex` is not the result of [`Text::hex`] for this text.
    pub fn from_fields(field: String, hex: Option<String>) -> Result<Self, TextError> {
        let text = Self::from(field);
        match hex {
            None => Ok(text),
            Some(hex) => text.exactly(&hex),
        }
    }

    /// The text with the bytes of `hex`, as returned by [`Text::hex`].
    pub(super) fn exactly(&self, hex: &str) -> Result<Self, TextError> {
        let exact = self.with_hex(hex)?;
        if exact.is_utf8() { Err(TextError::Utf8) } else { Ok(exact) }
    }

    /// The text with the bytes of `hex`; its [`Text::field`] must be this text.
    pub(super) fn with_hex(&self, hex: &str) -> Result<Self, TextError> {
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect();
        let bytes = bytes.filter(|_| rest.is_empty()).ok_or(TextError::Digits)?;
        if String::from_utf8_lossy(&bytes).as_bytes() != self.as_bytes() {
            return Err(TextError::Differs);
        }
        Ok(Self::from(bytes.as_slice()))
    }
}

impl From<&[u8]> for Text {
    fn from(from: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        match (bytes.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(start), Ok(len)) => {
                start.copy_from_slice(from);
                Self(Bytes::Inline { len, bytes })
            }
            _ => Self(Bytes::Heap(from.into())),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::from("")
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// Defines a module for `#[serde(flatten, with = "...")]` that writes a [`Text`] as `field` and `field_hex`. Its
/// `Fields` provide the schema of both; the doc comment of the field becomes its description.
macro_rules! text_field {
    ($(#[$doc:meta])+ $module:ident, $field:ident, $hex:ident) => {
        mod $module {
            use std::borrow::Cow;

            use schemars::JsonSchema;
            use serde::{Serialize, Serializer};

            use crate::event::Text;

            #[derive(Serialize, JsonSchema)]
            pub(super) struct Fields<'a> {
                $(#[$doc])+
                $field: Cow<'a, str>,
                #[doc = concat!("The exact bytes of `", stringify!($field), "`, only when they are not UTF-8.")]
                #[serde(default, skip_serializing_if = "Option::is_none")]
                #[schemars(regex(pattern = crate::event::text::HEX))]
                $hex: Option<String>,
            }

            pub(super) fn serialize<S: Serializer>(text: &Text, serializer: S) -> Result<S::Ok, S::Error> {
                Fields { $field: text.lossy(), $hex: text.hex() }.serialize(serializer)
            }
        }
    };
}

/// Like [`text_field`], for an optional `Text`: if it is absent, neither field is written.
macro_rules! optional_text_field {
    ($(#[$doc:meta])+ $module:ident, $field:ident, $hex:ident) => {
        mod $module {
            use std::borrow::Cow;

            use schemars::JsonSchema;
            use serde::{Serialize, Serializer};

            use crate::event::Text;

            #[derive(Serialize, JsonSchema)]
            pub(super) struct Fields<'a> {
                $(#[$doc])+
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $field: Option<Cow<'a, str>>,
                #[doc = concat!("The exact bytes of `", stringify!($field), "`, only when they are not UTF-8.")]
                #[serde(default, skip_serializing_if = "Option::is_none")]
                #[schemars(regex(pattern = crate::event::text::HEX))]
                $hex: Option<String>,
            }

            pub(super) fn serialize<S: Serializer>(text: &Option<Text>, serializer: S) -> Result<S::Ok, S::Error> {
                let text = text.as_ref();
                Fields { $field: text.map(Text::lossy), $hex: text.and_then(Text::hex) }.serialize(serializer)
            }
        }
    };
}

/// Like [`text_field`], for a list: `<field>_hex` contains all members if one of them is not UTF-8.
macro_rules! text_list_field {
    ($(#[$doc:meta])+ $module:ident, $field:ident, $hex:ident) => {
        mod $module {
            use std::borrow::Cow;

            use schemars::JsonSchema;
            use serde::{Serialize, Serializer};

            use crate::event::Text;

            #[derive(Serialize, JsonSchema)]
            pub(super) struct Fields<'a> {
                $(#[$doc])+
                #[serde(default)]
                $field: Vec<Cow<'a, str>>,
                #[doc = concat!("The exact bytes of all `", stringify!($field), "`, only when one of them is not UTF-8.")]
                #[serde(default, skip_serializing_if = "Option::is_none")]
                #[schemars(inner(regex(pattern = crate::event::text::HEX)))]
                $hex: Option<Vec<String>>,
            }

            pub(super) fn serialize<S: Serializer>(texts: &[Text], serializer: S) -> Result<S::Ok, S::Error> {
                let any_hex = texts.iter().any(|text| text.hex().is_some());
                Fields {
                    $field: texts.iter().map(Text::lossy).collect(),
                    $hex: any_hex.then(|| texts.iter().map(Text::to_hex).collect()),
                }
                .serialize(serializer)
            }
        }
    };
}
pub(super) use {optional_text_field, text_field, text_list_field};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Text;

    proptest! {
        /// Any bytes survive a round trip through their JSON fields.
        #[test]
        fn any_bytes_survive_json_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = Text::from(bytes.as_slice());
            let back = Text::from_fields(text.field(), text.hex()).unwrap();
            prop_assert_eq!(back.as_bytes(), bytes.as_slice());
        }
    }

    /// Short and long texts compare like their bytes, and a `Text` is not larger than a `Vec`.
    #[test]
    fn texts_of_any_length_compare_like_their_bytes() {
        let texts: Vec<Vec<u8>> = (0..48).flat_map(|len| [vec![b'a'; len], vec![b'b'; len]]).collect();
        for left in &texts {
            for right in &texts {
                let (left_text, right_text) = (Text::from(left.as_slice()), Text::from(right.as_slice()));
                assert_eq!(left_text.as_bytes(), left);
                assert_eq!(left_text.cmp(&right_text), left.cmp(right));
                assert_eq!(left_text == right_text, left == right);
            }
        }
        assert_eq!(size_of::<Option<Text>>(), size_of::<Vec<u8>>());
    }

    /// Valid UTF-8 has no hexadecimal sibling, invalid has, and broken digits are refused.
    #[test]
    fn hex_is_present_only_for_invalid_utf8() {
        assert_eq!(Text::from("net-pf-30").hex(), None);
        assert_eq!(Text::from(&b"a\xff"[..]).hex().as_deref(), Some("61ff"));
        for broken in ["6", "6g", "+1", "", "61"] {
            assert!(Text::from_fields(String::new(), Some(broken.to_owned())).is_err(), "{broken}");
        }
    }
}
