//! Maps members of JSON objects to fields: one line per field, in the same form for all bodies and nested objects.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{
    Deserialize,
    de::value::{Error, StrDeserializer},
};

use super::{
    Attribution, Certainty, Descent, LossStage, Origin, Reason, RequestId, Status, Text,
    json::{Json, Place},
    parse::{ParseError, Result},
    text::TextError,
};

/// A value that is read from JSON.
pub(super) trait Read<'a>: Sized {
    fn read(json: &mut Json<'a>) -> Result<Self>;
}

/// A value that is an object.
pub(super) trait Object<'a>: Sized {
    /// Reads the remaining members of an object. Unknown members are passed to `others`.
    fn read_members(json: &mut Json<'a>, place: Place, others: &mut impl OtherMembers<'a>) -> Result<Self>;
}

/// Handles the members of an object that its type does not have.
pub(super) trait OtherMembers<'a> {
    /// Handles a member, whose value is next.
    fn member(&mut self, name: Cow<'a, str>, json: &mut Json<'a>) -> Result<()>;

    /// The object has ended.
    fn finish(&mut self) -> Result<()>;
}

/// Members unknown to this version: ignored, but none may occur twice.
#[derive(Default)]
pub(super) struct Unknown<'a>(Vec<Cow<'a, str>>);

impl<'a> OtherMembers<'a> for Unknown<'a> {
    fn member(&mut self, name: Cow<'a, str>, json: &mut Json<'a>) -> Result<()> {
        self.0.push(name);
        json.skip()
    }

    fn finish(&mut self) -> Result<()> {
        self.0.sort_unstable();
        match self.0.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ParseError::duplicate(&pair[0])),
            None => Ok(()),
        }
    }
}

impl<'a, T: Object<'a>> Read<'a> for T {
    fn read(json: &mut Json<'a>) -> Result<Self> {
        let place = json.open_object()?;
        Self::read_members(json, place, &mut Unknown::default())
    }
}

/// Implements [`Object`] and `Deserialize` for structs: `field: Kind`, or `field / sibling: Kind` for a field with two
/// members.
///
/// A missing field is a compile error. Members in the order of the list, without white space, need no search by name:
/// list them in the order of the struct, which is the order of writing.
macro_rules! members {
    ($($type:ident { $($field:ident $(/ $sibling:ident)?: $kind:ident),* $(,)? })+) => {$(
        impl<'a> $crate::event::members::Object<'a> for $type {
            fn read_members(
                json: &mut $crate::event::json::Json<'a>,
                mut place: $crate::event::json::Place,
                others: &mut impl $crate::event::members::OtherMembers<'a>,
            ) -> $crate::event::parse::Result<Self> {
                use $crate::event::members::Field as _;

                $(let mut $field = $crate::event::members::$kind::default();)*
                // Fast path: members in the order of writing.
                $(
                    if json.eat_name(&mut place, concat!("\"", stringify!($field), "\":")) {
                        $field.read(json).map_err(|error| error.within(stringify!($field)))?;
                    }
                    $(if json.eat_name(&mut place, concat!("\"", stringify!($sibling), "\":")) {
                        $field.read_sibling(json).map_err(|error| error.within(stringify!($sibling)))?;
                    })?
                )*
                // Remaining members in any order.
                while let Some(name) = json.next_name(&mut place)? {
                    match &*name {
                        $(
                            stringify!($field) => $field.read(json),
                            $(stringify!($sibling) => $field.read_sibling(json),)?
                        )*
                        _ => {
                            others.member(name, json)?;
                            continue;
                        }
                    }
                    .map_err(|error| error.within(&name))?;
                }
                others.finish()?;
                Ok(Self { $($field: $field.finish(stringify!($field))?),* })
            }
        }

        /// Uses the parser of events.
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::event::parse::deserialize(deserializer, |json| $crate::event::members::Read::read(json))
            }
        }
    )+};
}
pub(super) use members;

/// A required member.
pub(super) struct Required<T>(Option<T>);

/// An optional member with its type's default.
pub(super) struct Optional<T>(Required<T>);

// Not derived, since that would require `T: Default`.
impl<T> Default for Required<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Self(Required::default())
    }
}

/// The state of a field while the members of its object are read.
pub(super) trait Field<'a>: Default {
    type Value;

    fn read(&mut self, json: &mut Json<'a>) -> Result<()>;

    /// The object has ended; `name` is the member's.
    fn finish(self, name: &str) -> Result<Self::Value>;
}

impl<'a, T: Read<'a>> Field<'a> for Required<T> {
    type Value = T;

    fn read(&mut self, json: &mut Json<'a>) -> Result<()> {
        if self.0.is_some() {
            return Err(ParseError::duplicate(""));
        }
        self.0 = Some(T::read(json)?);
        Ok(())
    }

    fn finish(self, name: &str) -> Result<T> {
        self.0.ok_or_else(|| ParseError::missing(name))
    }
}

impl<'a, T: Read<'a> + Default> Field<'a> for Optional<T> {
    type Value = T;

    fn read(&mut self, json: &mut Json<'a>) -> Result<()> {
        self.0.read(json)
    }

    fn finish(self, _name: &str) -> Result<T> {
        Ok(self.0.0.unwrap_or_default())
    }
}

impl<T> Required<T> {
    pub(super) const fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

/// A field whose exact bytes are in its sibling `<field>_hex` if they are not UTF-8.
#[derive(Default)]
pub(super) struct WithHex<F, H> {
    field: F,
    hex: Optional<Option<H>>,
}

pub(super) type RequiredText<'a> = WithHex<Required<Text>, Cow<'a, str>>;
pub(super) type OptionalText<'a> = WithHex<Optional<Option<Text>>, Cow<'a, str>>;
pub(super) type TextList<'a> = WithHex<Optional<Vec<Text>>, Vec<Cow<'a, str>>>;

impl<'a, F, H: Read<'a>> WithHex<F, H> {
    pub(super) fn read_sibling(&mut self, json: &mut Json<'a>) -> Result<()> {
        self.hex.read(json)
    }
}

impl<'a, F: Field<'a, Value: ExactBytes<H>>, H: Read<'a> + Default> Field<'a> for WithHex<F, H> {
    type Value = F::Value;

    fn read(&mut self, json: &mut Json<'a>) -> Result<()> {
        self.field.read(json)
    }

    fn finish(self, name: &str) -> Result<F::Value> {
        let value = self.field.finish(name)?;
        match self.hex.finish(name)? {
            None => Ok(value),
            Some(hex) => value.exact_bytes(&hex).map_err(|why| ParseError::contradiction(name, why)),
        }
    }
}

/// A value whose exact bytes may be in a hexadecimal sibling.
pub(super) trait ExactBytes<H>: Sized {
    /// Replaces the value by these bytes, whose lossy conversion it must be.
    fn exact_bytes(self, hex: &H) -> Result<Self, TextError>;
}

impl ExactBytes<Cow<'_, str>> for Text {
    fn exact_bytes(self, hex: &Cow<'_, str>) -> Result<Self, TextError> {
        self.exactly(hex)
    }
}

impl ExactBytes<Cow<'_, str>> for Option<Text> {
    fn exact_bytes(self, hex: &Cow<'_, str>) -> Result<Self, TextError> {
        self.ok_or(TextError::Alone)?.exact_bytes(hex).map(Some)
    }
}

impl ExactBytes<Vec<Cow<'_, str>>> for Vec<Text> {
    /// The sibling contains all members if one of them is not UTF-8.
    fn exact_bytes(self, hex: &Vec<Cow<'_, str>>) -> Result<Self, TextError> {
        if self.len() != hex.len() {
            return Err(TextError::Count);
        }
        let exact: Self = self.iter().zip(hex).map(|(text, hex)| text.with_hex(hex)).collect::<Result<_, _>>()?;
        if exact.iter().all(Text::is_utf8) { Err(TextError::Utf8) } else { Ok(exact) }
    }
}

/// An [`Attribution`] whose members are part of the enclosing object.
#[derive(Default)]
pub(super) struct InlineAttribution {
    attribution: Required<Certainty>,
    rule: Optional<Option<String>>,
}

impl InlineAttribution {
    pub(super) fn read_sibling(&mut self, json: &mut Json<'_>) -> Result<()> {
        self.rule.read(json)
    }
}

impl<'a> Field<'a> for InlineAttribution {
    type Value = Attribution;

    fn read(&mut self, json: &mut Json<'a>) -> Result<()> {
        self.attribution.read(json)
    }

    fn finish(self, name: &str) -> Result<Attribution> {
        Ok(Attribution { attribution: self.attribution.finish(name)?, rule: self.rule.finish("rule")? })
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<T> {
    fn read(json: &mut Json<'a>) -> Result<Self> {
        if json.null()? { Ok(None) } else { T::read(json).map(Some) }
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(json: &mut Json<'a>) -> Result<Self> {
        let mut place = json.open_array()?;
        let mut list = Self::new();
        while json.next_element(&mut place)? {
            list.push(T::read(json)?);
        }
        Ok(list)
    }
}

impl Read<'_> for bool {
    fn read(json: &mut Json<'_>) -> Result<Self> {
        json.bool()
    }
}

macro_rules! integers {
    ($($type:ty: $read:ident $expected:literal),+) => {$(
        impl Read<'_> for $type {
            fn read(json: &mut Json<'_>) -> Result<Self> {
                json.$read($expected)
            }
        }
    )+};
}
integers! {
    u32: unsigned "an unsigned 32-bit integer", u64: unsigned "an unsigned 64-bit integer",
    i32: signed "a signed 32-bit integer", i64: signed "a signed 64-bit integer"
}

impl<'a> Read<'a> for Cow<'a, str> {
    fn read(json: &mut Json<'a>) -> Result<Self> {
        json.string()
    }
}

impl Read<'_> for String {
    fn read(json: &mut Json<'_>) -> Result<Self> {
        json.string().map(Cow::into_owned)
    }
}

impl Read<'_> for Text {
    fn read(json: &mut Json<'_>) -> Result<Self> {
        json.string().map(|text| Self::from(&*text))
    }
}

impl Read<'_> for RequestId {
    fn read(json: &mut Json<'_>) -> Result<Self> {
        json.parsed("a request id", |text| text.parse().ok())
    }
}

impl Read<'_> for Timestamp {
    fn read(json: &mut Json<'_>) -> Result<Self> {
        json.parsed("a timestamp", |text| text.parse().ok())
    }
}

macro_rules! words {
    ($($type:ty),+) => {$(
        impl Read<'_> for $type {
            fn read(json: &mut Json<'_>) -> Result<Self> {
                json.parsed("a known value", |word| Self::deserialize(StrDeserializer::<Error>::new(word)).ok())
            }
        }
    )+};
}
words!(Certainty, Descent, LossStage, Origin, Reason, Status);
