//! What can be wrong with a stream: one list, one wording, one severity each, for every verb.

use super::StreamId;
use crate::{
    event::LossStage,
    text::{count, escape_str, sentence},
};

/// What an issue means for an answer that is given on the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing; every answer stands.
    Note,
    /// Something was not seen, and the stream itself says so: a "nothing happened" cannot be given.
    Incomplete,
    /// The stream is not what was written: something is missing, altered, or contradicts itself.
    Broken,
}

/// Something that is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issue {
    /// The file it was read from, or another name of the source; empty for a live stream.
    pub source: String,
    /// The stream, where it is known.
    pub stream: Option<StreamId>,
    /// The host that the stream is of, as its header says.
    pub host: String,
    /// What is wrong.
    pub kind: IssueKind,
}

/// How a sealed part differs from what was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alteration {
    /// Its text does not have the hash of the seal.
    Text,
    /// Its seal does not name the seal before.
    Order,
    /// Its seal is for other events.
    Range,
    /// Something stands where the hash does not reach.
    OutsideHash,
    /// The seal is not signed by the key that was given.
    Signature,
    /// The seal has no signature.
    Unsigned,
    /// It is larger than what the recorder seals, and was not checked.
    Unchecked,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IssueKind {
    /// Events differ from what was sealed.
    Altered {
        /// The first event that the seal is for.
        first_seq: u64,
        /// The last.
        last_seq: u64,
        /// How.
        how: Alteration,
    },
    /// Nothing is sealed.
    Unsealed,
    /// Some parts are sealed, this one is not.
    UnsealedPart {
        /// Its first event.
        first_seq: u64,
    },
    /// Bytes that cannot be read.
    Damaged {
        /// Where they begin in the file.
        offset: u64,
        /// How many.
        bytes: u64,
        /// Why.
        why: &'static str,
    },
    /// The file ends inside a frame or line.
    Torn {
        /// Where that begins in the file.
        offset: u64,
    },
    /// Events are missing between others.
    MissingEvents {
        /// How many.
        events: u64,
        /// In how many places.
        places: u64,
        /// The first of them.
        first_seq: u64,
    },
    /// Events whose numbers go back.
    OutOfOrder {
        /// How many.
        events: u64,
        /// The first of them.
        first_seq: u64,
    },
    /// Events that stand in one file more than once.
    Doubled {
        /// How many.
        events: u64,
    },
    /// Segments between those that were given are missing.
    MissingSegments {
        /// The first.
        first: u32,
        /// The last.
        last: u32,
    },
    /// The recording began before the first segment that was given.
    MissingBeginning {
        /// The segment that was given first.
        segment: u32,
    },
    /// There is no header: host, boot and hooks are not known.
    NoHeader,
    /// There is no event at all.
    Empty,
    /// The end is missing: it is still being recorded, the recorder was killed, or the end was removed.
    NoEnd,
    /// Another stream has the same ids and other content.
    Contradiction {
        /// Where the other was read from.
        other: String,
        /// The first event that differs.
        seq: u64,
    },
    /// A total that the recorder wrote at the end differs from what was read.
    Total {
        /// What was counted.
        what: &'static str,
        /// What the recorder counted.
        recorded: u64,
        /// What was read.
        read: u64,
    },
    /// Events follow the end.
    AfterEnd {
        /// The first of them.
        seq: u64,
    },
    /// Lines that are no events.
    Malformed {
        /// How many.
        lines: u64,
        /// The first of them, from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// Events of types that this version does not know.
    UnknownTypes {
        /// How many.
        events: u64,
    },
    /// Records that the recorder counted as lost.
    Lost {
        /// Where.
        stage: LossStage,
        /// Why.
        cause: String,
        /// How many.
        count: u64,
    },
    /// A hook that a verdict needs was not attached.
    MissingHook {
        /// Its name.
        hook: String,
        /// Why.
        why: String,
    },
    /// Chains were left out when it was recorded.
    Filtered {
        /// By these filters.
        filters: String,
    },
    /// Events cannot be attributed to a chain without contradiction.
    Ambiguous {
        /// How; names in it are in the debug form.
        why: String,
    },
    /// A load or request whose cause is unknown.
    Unattributed {
        /// Which; names in it are in the debug form.
        what: String,
    },
    /// A chain of which something is missing.
    IncompleteChain {
        /// Which, and what; names in it are in the debug form.
        what: String,
    },
    /// The source cannot be read at all.
    Unreadable {
        /// Why.
        why: String,
    },
    /// A limit of this program was reached.
    Limit {
        /// Which, and what it means for the answer.
        what: String,
    },
}

/// Makes name and severity of each kind, and the list of all, from one table.
macro_rules! kinds {
    ($($kind:ident => $name:literal, $severity:ident;)*) => {
        impl IssueKind {
            /// The public name and the severity of every kind, in the order of the documentation.
            pub const ALL: &'static [(&'static str, Severity)] = &[$(($name, Severity::$severity)),*];

            /// What it means for an answer.
            #[must_use]
            pub const fn severity(&self) -> Severity {
                match self {
                    $(Self::$kind { .. } => Severity::$severity,)*
                }
            }

            /// Its public name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind { .. } => $name,)*
                }
            }
        }
    };
}

kinds! {
    Altered => "altered", Broken;
    Unsealed => "unsealed", Note;
    UnsealedPart => "unsealed-part", Broken;
    Damaged => "damaged", Broken;
    Torn => "torn", Broken;
    MissingEvents => "missing-events", Broken;
    OutOfOrder => "out-of-order", Broken;
    Doubled => "doubled", Broken;
    MissingSegments => "missing-segments", Broken;
    MissingBeginning => "missing-beginning", Incomplete;
    NoHeader => "no-header", Broken;
    Empty => "empty", Broken;
    NoEnd => "no-end", Incomplete;
    Contradiction => "contradiction", Broken;
    Total => "total", Broken;
    AfterEnd => "after-end", Broken;
    Malformed => "malformed", Broken;
    UnknownTypes => "unknown-types", Incomplete;
    Lost => "lost", Incomplete;
    MissingHook => "missing-hook", Incomplete;
    Filtered => "filtered", Incomplete;
    Ambiguous => "ambiguous", Broken;
    Unattributed => "unattributed", Incomplete;
    IncompleteChain => "incomplete-chain", Incomplete;
    Unreadable => "unreadable", Broken;
    Limit => "limit", Incomplete;
}

/// The stage of a loss, in words.
const fn stage(stage: LossStage) -> &'static str {
    match stage {
        LossStage::Probe => "lost in the kernel",
        LossStage::Missed => "missed: the kernel did not run the probe",
        LossStage::Decode => "not decoded",
        LossStage::Write => "not written",
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", escape_str(name))
}

fn were(number: u64, noun: &str) -> String {
    count(number, &format!("{noun} was"), &format!("{noun}s were"))
}

fn are(number: u64, noun: &str) -> String {
    count(number, &format!("{noun} is"), &format!("{noun}s are"))
}

impl std::fmt::Display for IssueKind {
    /// One sentence; names in it are escaped.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Altered { first_seq, last_seq, how } => {
                let events = format!("events {first_seq} to {last_seq}");
                match how {
                    Alteration::Text => write!(f, "altered: {events} do not have the hash of their seal"),
                    Alteration::Order => {
                        write!(f, "altered before event {first_seq}: the seal does not follow the one before")
                    }
                    Alteration::Range => write!(f, "altered: the seal of {events} stands behind other events"),
                    Alteration::OutsideHash => {
                        write!(f, "altered: the seal of {events} has text that its hash does not cover")
                    }
                    Alteration::Signature => write!(f, "altered: the seal of {events} is not signed by this key"),
                    Alteration::Unsigned => write!(f, "the seal of {events} is not signed"),
                    Alteration::Unchecked => {
                        write!(f, "altered: the seal of {events} covers more text than the recorder ever seals")
                    }
                }
            }
            Self::Unsealed => f.write_str("not sealed: its content cannot be verified"),
            Self::UnsealedPart { first_seq } => {
                write!(f, "event {first_seq} and those behind it are not sealed, although other parts are")
            }
            Self::Damaged { offset, bytes, why } => {
                write!(f, "damaged: {} from byte {offset} cannot be read ({why})", count(*bytes, "byte", "bytes"))
            }
            Self::Torn { offset } => write!(
                f,
                "the file ends in the middle of what begins at byte {offset}: the recorder was killed, the disk was full, or \
                 it is still being written"
            ),
            Self::MissingEvents { events, places, first_seq } => write!(
                f,
                "{} missing in {}, the first is event {first_seq}",
                are(*events, "event"),
                count(*places, "place", "places")
            ),
            Self::OutOfOrder { events, first_seq } => {
                write!(f, "{} out of order, the first is event {first_seq}", are(*events, "event"))
            }
            Self::Doubled { events } => write!(f, "{} in the file more than once", are(*events, "event")),
            Self::MissingSegments { first, last } if first == last => {
                write!(f, "segment {first} of the recording is missing")
            }
            Self::MissingSegments { first, last } => {
                write!(f, "segments {first} to {last} of the recording are missing")
            }
            Self::MissingBeginning { segment: 1 } => {
                f.write_str("begins with segment 1 of the recording: segment 0 was not given")
            }
            Self::MissingBeginning { segment } => write!(
                f,
                "begins with segment {segment} of the recording: segments 0 to {} were not given",
                segment.saturating_sub(1)
            ),
            Self::NoHeader => f.write_str("no header: the beginning is missing, and host and boot are unknown"),
            Self::Empty => f.write_str("no event: an empty capture is no evidence"),
            Self::NoEnd => {
                f.write_str("no end: it is still being recorded, the recorder was killed, or the end was removed")
            }
            Self::Contradiction { other, seq } => write!(
                f,
                "shares its ids with {} and differs from event {seq} on: one of them is a clone's or was altered",
                quoted(other)
            ),
            Self::Total { what, recorded, read } => {
                write!(f, "the recorder counted {recorded} {what}, and {read} were read")
            }
            Self::AfterEnd { seq } => write!(f, "event {seq} follows the end of the stream"),
            Self::Malformed { lines, line, why } => {
                write!(f, "{} not an event, the first is line {line}: {}", are(*lines, "line"), escape_str(why))
            }
            Self::UnknownTypes { events } => {
                write!(f, "{} of types that this version does not know", are(*events, "event"))
            }
            Self::Lost { stage: at, cause, count } => {
                write!(f, "{} {} ({})", were(*count, "record"), stage(*at), escape_str(cause))
            }
            Self::MissingHook { hook, why } => {
                write!(f, "the hook {} was not attached: {}", quoted(hook), escape_str(why))
            }
            Self::Filtered { filters } => {
                write!(f, "filters left chains out when it was recorded: {}", quoted(filters))
            }
            Self::Unreadable { why } => f.write_str(&escape_str(why)),
            Self::Ambiguous { why: what } | Self::Unattributed { what } | Self::IncompleteChain { what } => {
                f.write_str(&sentence(what))
            }
            Self::Limit { what } => f.write_str(what),
        }
    }
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.source.is_empty() {
            write!(f, "{}", escape_str(&self.source))?;
            if !self.host.is_empty() {
                write!(f, " ({})", escape_str(&self.host))?;
            }
            f.write_str(": ")?;
        }
        self.kind.fmt(f)
    }
}
