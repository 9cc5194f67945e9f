//! Parses events: the only parser of the contract.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{
    Attempt, Baseline, Body, Clock, End, Event, Header, Helper, Init, Load, Loss, Outcome, Request, RequestId,
    SCHEMA_VERSION, Seal, TextError, Unload,
    json::{Json, Place},
    members::{Field, Object, Optional, OtherMembers, Read, Required, Unknown},
};

/// Boxed: an error is larger than most values, and rare.
pub(super) type Result<T, E = Box<ParseError>> = std::result::Result<T, E>;

/// Input text in an error is truncated to this number of characters.
const MAX_QUOTED: usize = 64;

/// The content of a line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Parsed {
    /// Generates an event.
    Event(Event),
    /// An event of an unknown type, written by a later version.
    Unknown {
        /// Its number in the stream.
        seq: u64,
    },
}

/// Why a text is not an event. Positions are in bytes, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The text is not UTF-8.
    #[error("invalid UTF-8 at byte {0}")]
    Utf8(usize),
    /// The text is not JSON.
    #[error("invalid JSON at byte {0}")]
    Json(usize),
    /// The text ends inside of a value.
    #[error("invalid JSON: truncated at byte {0}")]
    CutOff(usize),
    /// More text follows the object.
    #[error("unexpected text after the event, at byte {0}")]
    Trailing(usize),
    /// Values are nested too deeply.
    #[error("invalid JSON: nested too deeply at byte {0}")]
    Depth(usize),
    /// The text is JSON, but not an object.
    #[error("invalid event: expected a JSON object")]
    NotAnObject,
    /// A required member is absent.
    #[error("missing member \"{0}\"")]
    Missing(String),
    /// A member occurs twice: parsers differ in which of the two they use.
    #[error("duplicate member \"{0}\"")]
    Duplicate(String),
    /// The value of a member has a wrong form.
    #[error("invalid member \"{member}\": expected {expected}")]
    Invalid {
        /// Its name, preceded by those of the enclosing members.
        member: String,
        /// The expected form.
        expected: &'static str,
    },
    /// A member and its `_hex` differ, so readers of one see another name than readers of the other.
    #[error("member \"{member}_hex\" contradicts \"{member}\": {why}")]
    Contradiction {
        /// Name of the member without `_hex`.
        member: String,
        /// How they differ.
        why: TextError,
    },
    /// The header is of a later version of the format.
    #[error(
        "version {schema} of the format, and this kmodtrace knows version {SCHEMA_VERSION}: read it with {tool}, or newer"
    )]
    Version {
        /// The version.
        schema: u64,
        /// The tool that wrote it.
        tool: String,
    },
}

impl ParseError {
    /// The same error for a value inside of the member `name`.
    #[cold]
    pub(super) fn within(mut self: Box<Self>, name: &str) -> Box<Self> {
        if let Self::Missing(member)
        | Self::Duplicate(member)
        | Self::Invalid { member, .. }
        | Self::Contradiction { member, .. } = &mut *self
        {
            *member = if member.is_empty() { name.to_owned() } else { format!("{name}.{member}") };
        }
        self
    }

    /// A required member is absent.
    #[cold]
    pub(super) fn missing(name: &str) -> Box<Self> {
        Box::new(Self::Missing(name.to_owned()))
    }

    /// A member of this name occurs twice.
    #[cold]
    pub(super) fn duplicate(name: &str) -> Box<Self> {
        Box::new(Self::Duplicate(quoted(name)))
    }

    /// A member differs from its `_hex`.
    #[cold]
    pub(super) fn contradiction(name: &str, why: TextError) -> Box<Self> {
        Box::new(Self::Contradiction { member: name.to_owned(), why })
    }

    /// A header of a later version.
    #[cold]
    fn version(schema: u64, tool: &str) -> Box<Self> {
        Box::new(Self::Version { schema, tool: quoted(tool) })
    }

    /// Returns whether the text is JSON, but has a shape that this version does not support.
    const fn is_of_shape(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Duplicate(_) | Self::Invalid { .. } | Self::Contradiction { .. })
    }
}

/// Shortens and escapes input text for an error.
fn quoted(text: &str) -> String {
    let mut quoted: String = text.chars().take(MAX_QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        quoted.push_str("...");
    }
    quoted
}

/// Parses an event: a line of a capture, with or without its line end.
///
/// Members may be in any order; unknown ones are ignored.
///
/// # Errors
/// When the text is not a single JSON object, has a duplicate, missing or malformed member, or is a header of a later
/// version of the format.
pub fn parse(text: &[u8]) -> Result<Parsed, ParseError> {
    let text = std::str::from_utf8(text).map_err(|error| ParseError::Utf8(error.valid_up_to()))?;
    let mut envelope = Envelope::default();
    let parsed = read(text, &mut envelope).and_then(|body| envelope.around(body));
    match parsed {
        Ok(parsed) => Ok(parsed),
        // The header of a later version may differ in everything except the members that contain its version.
        Err(error) if error.is_of_shape() => Err(later_version(text).unwrap_or(*error)),
        Err(error) => Err(*error),
    }
}

/// Parses the body of an object; `None` if its type is unknown.
fn read<'a>(text: &'a str, envelope: &mut Envelope<'a>) -> Result<Option<Body>> {
    let mut json = Json::new(text);
    let body = read_body(&mut json, envelope)?;
    json.end()?;
    Ok(body)
}

fn read_body<'a>(json: &mut Json<'a>, envelope: &mut Envelope<'a>) -> Result<Option<Body>> {
    let mut place = json.open_object().map_err(|error| match *error {
        ParseError::Invalid { .. } => Box::new(ParseError::NotAnObject),
        _ => error,
    })?;
    let kind = kind(json, &mut place, envelope)?;
    body(&kind, json, place, envelope)
}

/// Reads up to the type of an event.
fn kind<'a>(json: &mut Json<'a>, place: &mut Place, envelope: &mut Envelope<'a>) -> Result<Cow<'a, str>> {
    envelope.read_in_order(json, place)?;
    if let Some(kind) = envelope.kind.get() {
        return Ok(kind.clone());
    }
    loop {
        let (mut ahead, mut ahead_place) = (json.clone(), *place);
        let Some(name) = ahead.next_name(&mut ahead_place)? else { return Err(ParseError::missing("type")) };
        if !Envelope::MEMBERS.contains(&&*name) {
            break;
        }
        envelope.member(name, &mut ahead)?;
        (*json, *place) = (ahead, ahead_place);
        if let Some(kind) = envelope.kind.get() {
            return Ok(kind.clone());
        }
    }
    // Another writer's order: the type follows the other members.
    let (mut ahead, mut place) = (json.clone(), *place);
    while let Some(name) = ahead.next_name(&mut place)? {
        if name == "type" {
            return Cow::read(&mut ahead).map_err(|error| error.within("type"));
        }
        ahead.skip()?;
    }
    Err(ParseError::missing("type"))
}

/// Reads the rest of an event of a known type.
fn body<'a>(kind: &str, json: &mut Json<'a>, place: Place, envelope: &mut Envelope<'a>) -> Result<Option<Body>> {
    Ok(Some(match kind {
        "header" => Body::Header(Box::new(Header::read_members(json, place, envelope)?)),
        "baseline" => Body::Baseline(Baseline::read_members(json, place, envelope)?),
        "request" => Body::Request(Box::new(Request::read_members(json, place, envelope)?)),
        "helper" => Body::Helper(Helper::read_members(json, place, envelope)?),
        "load" => Body::Load(Box::new(Load::read_members(json, place, envelope)?)),
        "init" => Body::Init(Init::read_members(json, place, envelope)?),
        "unload" => Body::Unload(Box::new(Unload::read_members(json, place, envelope)?)),
        "attempt" => Body::Attempt(Box::new(Attempt::read_members(json, place, envelope)?)),
        "result" => Body::Result(Outcome::read_members(json, place, envelope)?),
        "loss" => Body::Loss(Loss::read_members(json, place, envelope)?),
        "clock" => Body::Clock(Clock::read_members(json, place, envelope)?),
        "seal" => Body::Seal(Seal::read_members(json, place, envelope)?),
        "end" => Body::End(End::read_members(json, place, envelope)?),
        _ => {
            let mut place = place;
            while let Some(name) = json.next_name(&mut place)? {
                envelope.member(name, json)?;
            }
            envelope.finish()?;
            return Ok(None);
        }
    }))
}

/// The members that every event has besides its body.
#[derive(Default)]
struct Envelope<'a> {
    seq: Required<u64>,
    time: Required<Timestamp>,
    boot_ns: Required<u64>,
    request: Optional<Option<RequestId>>,
    kind: Required<Cow<'a, str>>,
    unknown: Unknown<'a>,
}

macro_rules! envelope {
    ($($name:literal: $field:ident),+) => {
        impl<'a> Envelope<'a> {
            const MEMBERS: &'static [&'static str] = &[$($name),+];

            /// Reads the next members, as long as they are in the order of writing.
            fn read_in_order(&mut self, json: &mut Json<'a>, place: &mut Place) -> Result<()> {
                $(if json.eat_name(place, concat!("\"", $name, "\":")) {
                    self.$field.read(json).map_err(|error| error.within($name))?;
                })+
                Ok(())
            }
        }

        impl<'a> OtherMembers<'a> for Envelope<'a> {
            fn member(&mut self, name: Cow<'a, str>, json: &mut Json<'a>) -> Result<()> {
                match &*name {
                    $($name => self.$field.read(json),)+
                    _ => return self.unknown.member(name, json),
                }
                .map_err(|error| error.within(&name))
            }

            fn finish(&mut self) -> Result<()> {
                self.unknown.finish()
            }
        }
    };
}
envelope! { "seq": seq, "time": time, "boot_ns": boot_ns, "request": request, "type": kind }

impl Envelope<'_> {
    /// Builds the event from its body.
    fn around(self, body: Option<Body>) -> Result<Parsed> {
        let seq = self.seq.finish("seq")?;
        let time = self.time.finish("time")?;
        let boot_ns = self.boot_ns.finish("boot_ns")?;
        let request = self.request.finish("request")?;
        match body {
            Some(Body::Header(header)) if header.schema > SCHEMA_VERSION => {
                Err(ParseError::version(header.schema.into(), &header.tool))
            }
            Some(body) => Ok(Parsed::Event(Event { seq, time, boot_ns, request, body })),
            None => Ok(Parsed::Unknown { seq }),
        }
    }
}

/// Returns the error for a header of a later version, regardless of its other members.
fn later_version(text: &str) -> Option<ParseError> {
    let mut json = Json::new(text);
    let mut place = json.open_object().ok()?;
    let (mut is_header, mut schema, mut tool) = (false, None, None);
    while let Some(name) = json.next_name(&mut place).ok()? {
        let mut value = json.clone();
        json.skip().ok()?;
        match &*name {
            "type" => is_header = value.string().is_ok_and(|kind| kind == "header"),
            "schema" => schema = u64::read(&mut value).ok(),
            "tool" => tool = value.string().ok(),
            _ => {}
        }
    }
    json.end().ok()?;
    let schema = schema.filter(|schema| is_header && *schema > u64::from(SCHEMA_VERSION))?;
    Some(*ParseError::version(schema, tool.as_deref().unwrap_or("the kmodtrace that wrote it")))
}

/// Deserializes with `read`, from JSON text or from a value of `serde_json`.
pub(super) fn deserialize<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: impl FnOnce(&mut Json<'_>) -> Result<T>,
) -> Result<T, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    let mut json = Json::new(text.get());
    read(&mut json).map_err(de::Error::custom)
}

/// Uses [`parse`].
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match parse(text.get().as_bytes()).map_err(de::Error::custom)? {
            Parsed::Event(event) => Ok(event),
            Parsed::Unknown { .. } => Err(de::Error::custom("an event of an unknown type")),
        }
    }
}

/// Uses the parser of events.
impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = deserialize(deserializer, |json| read_body(json, &mut Envelope::default()))?;
        body.ok_or_else(|| de::Error::custom("an event of an unknown type"))
    }
}
