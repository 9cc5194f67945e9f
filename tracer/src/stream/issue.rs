//! The issues of streams: one list with one wording and severity each, used by every verb.

use super::StreamId;
use crate::{
    event::{LossStage, WALK_CUT},
    text::{count, escape_str, sentence},
};

/// What an issue means for an answer that is based on the captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Severity {
    /// Informational: every answer is valid.
    Note,
    /// The stream itself reports that something was not observed, so absence cannot be concluded.
    Incomplete,
    /// The stream differs from what was written: events are missing, altered or contradictory.
    Broken,
}

/// An issue of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issue {
    /// The file, or another name of the source; empty for a live stream.
    pub source: String,
    /// The stream, if known.
    pub stream: Option<StreamId>,
    /// The host of the stream, from its header.
    pub host: String,
    /// The kind of issue.
    pub kind: IssueKind,
}

/// How a sealed part fails its check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alteration {
    /// The hash of its text differs from the seal.
    Text,
    /// Its seal does not refer to the previous seal.
    Order,
    /// Its seal covers other events.
    Range,
    /// Data is present that the hash does not cover.
    OutsideHash,
    /// The seal is not signed by the given key.
    Signature,
    /// The seal has no signature.
    Unsigned,
    /// It is larger than any part that the recorder seals, and was not checked.
    Unchecked,
}

/// The kinds of issues.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IssueKind {
    /// Events fail the check of their seal.
    Altered {
        /// The first event of the seal.
        first_seq: u64,
        /// The last one.
        last_seq: u64,
        /// How they fail.
        how: Alteration,
    },
    /// Nothing is sealed.
    Unsealed,
    /// This part is not sealed, but others are.
    UnsealedPart {
        /// Its first event.
        first_seq: u64,
    },
    /// Bytes that cannot be read.
    Damaged {
        /// Their offset in the file.
        offset: u64,
        /// The number of them.
        bytes: u64,
        /// The reason.
        why: &'static str,
    },
    /// The file ends inside a frame or line.
    Torn {
        /// The offset of its beginning.
        offset: u64,
    },
    /// Events are missing between others (a gap).
    MissingEvents {
        /// The number of them.
        events: u64,
        /// The number of gaps.
        places: u64,
        /// The first of them.
        first_seq: u64,
    },
    /// Events with decreasing numbers.
    OutOfOrder {
        /// The number of them.
        events: u64,
        /// The first of them.
        first_seq: u64,
    },
    /// Events that occur more than once in one file.
    Doubled {
        /// The number of them.
        events: u64,
    },
    /// Segments are missing between the given ones.
    MissingSegments {
        /// The first.
        first: u32,
        /// The last one.
        last: u32,
    },
    /// The recording began before the first given segment.
    MissingBeginning {
        /// The first given segment.
        segment: u32,
    },
    /// There is no header, so host, boot and hooks are unknown.
    NoHeader,
    /// There are no events.
    Empty,
    /// The end is missing: it is still being recorded, the recorder was killed, or the end was removed.
    NoEnd,
    /// Another stream has the same ids but different content.
    Contradiction {
        /// The source of the other stream.
        other: String,
        /// The first event that differs.
        seq: u64,
    },
    /// A total that the recorder wrote at the end differs from the events read.
    Total {
        /// The name of the total.
        what: &'static str,
        /// The recorder's count.
        recorded: u64,
        /// The reader's count.
        read: u64,
    },
    /// Events follow the end.
    AfterEnd {
        /// The first of them.
        seq: u64,
    },
    /// Lines that are no events.
    Malformed {
        /// The number of them.
        lines: u64,
        /// The first of them, from 1.
        line: u64,
        /// The reason.
        why: String,
    },
    /// Events of types unknown to this version.
    UnknownTypes {
        /// The number of them.
        events: u64,
    },
    /// Records that the recorder counted as lost.
    Lost {
        /// The stage.
        stage: LossStage,
        /// The reason.
        cause: String,
        /// The number of them.
        count: u64,
    },
    /// A required hook was not attached.
    MissingHook {
        /// Its name.
        hook: String,
        /// The reason.
        why: String,
    },
    /// Chains were filtered out while recording.
    Filtered {
        /// The filters.
        filters: String,
    },
    /// The ids of events are contradictory.
    Ambiguous {
        /// Details; names in it are in the debug form.
        why: String,
    },
    /// A load or request whose cause is unknown.
    Unattributed {
        /// Which one; names in it are in the debug form.
        what: String,
    },
    /// An incomplete chain.
    IncompleteChain {
        /// Which chain, and what is missing; names in it are in the debug form.
        what: String,
    },
    /// The source cannot be read.
    Unreadable {
        /// The reason.
        why: String,
    },
    /// A limit of this tool was reached.
    Limit {
        /// Which limit, and its consequence.
        what: String,
    },
}

/// Generates the name and severity of each kind, and the list of all kinds, from one table.
macro_rules! kinds {
    ($($kind:ident => $name:literal, $severity:ident;)*) => {
        impl IssueKind {
            /// The name and severity of every kind, in the order of the documentation.
            pub const ALL: &'static [(&'static str, Severity)] = &[$(($name, Severity::$severity)),*];

            /// Its severity.
            #[must_use]
            pub const fn severity(&self) -> Severity {
                match self {
                    $(Self::$kind { .. } => Severity::$severity,)*
                }
            }

            /// Its name in the output.
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

/// The human-readable stage of a loss.
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
                    Alteration::Text => write!(f, "altered: {events} do not match the hash in their seal"),
                    Alteration::Order => {
                        write!(f, "altered before event {first_seq}: the seal does not continue the previous one")
                    }
                    Alteration::Range => write!(f, "altered: the seal of {events} follows other events"),
                    Alteration::OutsideHash => {
                        write!(f, "altered: the seal of {events} contains text that its hash does not cover")
                    }
                    Alteration::Signature => write!(f, "altered: the seal of {events} is not signed by this key"),
                    Alteration::Unsigned => write!(f, "the seal of {events} is not signed"),
                    Alteration::Unchecked => {
                        write!(f, "altered: the seal of {events} covers more text than a recorder seals")
                    }
                }
            }
            Self::Unsealed => f.write_str("not sealed: its content cannot be verified"),
            Self::UnsealedPart { first_seq } => {
                write!(f, "event {first_seq} and later events are not sealed, although other parts are")
            }
            Self::Damaged { offset, bytes, why } => {
                write!(f, "damaged: {} unreadable at offset {offset} ({why})", are(*bytes, "byte"))
            }
            Self::Torn { offset } => write!(
                f,
                "truncated in the frame or line at offset {offset}: the recorder was killed, the disk was full, or it is \
                 still being written"
            ),
            Self::MissingEvents { events, places, first_seq } => write!(
                f,
                "{} missing in {}; the first is event {first_seq}",
                are(*events, "event"),
                count(*places, "place", "places")
            ),
            Self::OutOfOrder { events, first_seq } => {
                write!(f, "{} out of order; the first is event {first_seq}", are(*events, "event"))
            }
            Self::Doubled { events } => write!(f, "{} duplicated", are(*events, "event")),
            Self::MissingSegments { first, last } if first == last => {
                write!(f, "segment {first} of the recording is missing")
            }
            Self::MissingSegments { first, last } => {
                write!(f, "segments {first} to {last} of the recording are missing")
            }
            Self::MissingBeginning { segment: 1 } => {
                f.write_str("begins with segment 1 of the recording: segment 0 is missing")
            }
            Self::MissingBeginning { segment } => write!(
                f,
                "begins with segment {segment} of the recording: segments 0 to {} are missing",
                segment.saturating_sub(1)
            ),
            Self::NoHeader => f.write_str("no header: the beginning is missing, and host and boot are unknown"),
            Self::Empty => f.write_str("empty: it has no events, so it proves nothing"),
            Self::NoEnd => {
                f.write_str("no end: it is still being recorded, the recorder was killed, or the end was removed")
            }
            Self::Contradiction { other, seq } => write!(
                f,
                "contradicts {} from event {seq} on, with the same ids: one is from a cloned host or was altered",
                quoted(other)
            ),
            Self::Total { what, recorded, read } => {
                write!(f, "the recorder counted {recorded} {what}, but {read} were read")
            }
            Self::AfterEnd { seq } => write!(f, "event {seq} follows the end of the stream"),
            Self::Malformed { lines, line, why } => {
                write!(f, "{} not an event; the first is line {line}: {}", are(*lines, "line"), escape_str(why))
            }
            Self::UnknownTypes { events } => {
                write!(f, "{} of types unknown to this version", are(*events, "event"))
            }
            Self::Lost { stage: LossStage::Probe, cause, count } if cause == WALK_CUT => {
                let processes = self::count(*count, "process", "processes");
                write!(
                    f,
                    "{processes} with an ancestry that was not followed to its top: the kernel may have started them"
                )
            }
            Self::Lost { stage: at, cause, count } => {
                write!(f, "{} {} ({})", were(*count, "record"), stage(*at), escape_str(cause))
            }
            Self::MissingHook { hook, why } => {
                write!(f, "the hook {} was not attached: {}", quoted(hook), escape_str(why))
            }
            Self::Filtered { filters } => {
                write!(f, "recorded with filters, so chains are missing: {}", quoted(filters))
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
