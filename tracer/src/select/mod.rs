//! Which chains are meant: fields of a chain against patterns. One engine serves every verb's filters and policies.
//!
//! Pure: the data of alias families is all it knows beyond the chain.

mod pattern;
mod seen;
mod sieve;
mod subject;

use std::collections::BTreeMap;

pub use crate::glob::Match;
pub use pattern::{Pattern, PatternError};
pub use seen::Seen;
pub use sieve::{Sieve, Sifted};
pub use subject::Subject;

use crate::{chain::Item, event::Body};

/// What can be asked of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Field {
    /// A module that arrived, could not be loaded or left.
    Module,
    /// The alias as asked.
    Alias,
    /// Its family, as `kmodtrace explain` names it.
    Family,
    /// Name of the one who asked or loaded, or who is behind it.
    Comm,
    /// Its executable: the whole path, or for a pattern without `/` the last component. Of an ancestor no more than the
    /// last component is known.
    Exe,
    /// Its process id, or that of one of its ancestors.
    Pid,
    /// Its real user: number or name.
    Uid,
    /// Path of its cgroup.
    Cgroup,
    /// Its container, with or without the runtime, or the beginning of its id.
    Container,
    /// Its systemd unit.
    Unit,
    /// How it ended.
    Result,
    /// What made the modules load.
    Origin,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Module,
        Self::Alias,
        Self::Family,
        Self::Comm,
        Self::Exe,
        Self::Pid,
        Self::Uid,
        Self::Cgroup,
        Self::Container,
        Self::Unit,
        Self::Result,
        Self::Origin,
    ];

    /// The name of its option and of its key in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Alias => "alias",
            Self::Family => "family",
            Self::Comm => "comm",
            Self::Exe => "exe",
            Self::Pid => "pid",
            Self::Uid => "uid",
            Self::Cgroup => "cgroup",
            Self::Container => "container",
            Self::Unit => "unit",
            Self::Result => "result",
            Self::Origin => "origin",
        }
    }
}

/// Patterns by field. A field holds when one of its patterns does and none of its negated ones; a selector
/// holds when all its fields do. Without patterns it holds for everything.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    fields: BTreeMap<Field, Vec<Pattern>>,
}

/// A selector in one argument that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorError {
    /// A part without `=`.
    #[error("{part:?} is not FIELD=GLOB: write e.g. module=nf_conntrack")]
    NoField {
        /// The part.
        part: String,
    },
    /// A field there is not.
    #[error("{field:?} is no field: it is one of {}", Field::ALL.map(Field::name).join(", "))]
    UnknownField {
        /// The name given.
        field: String,
    },
    /// A pattern that cannot be meant.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;

    /// Reads `FIELD=GLOB[,FIELD=GLOB...]`.
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut selector = Self::default();
        for part in text.split(',') {
            let no_field = || SelectorError::NoField { part: part.to_owned() };
            let (name, glob) = part.split_once('=').ok_or_else(no_field)?;
            let field = Field::ALL.into_iter().find(|field| field.name() == name);
            let field = field.ok_or_else(|| SelectorError::UnknownField { field: name.to_owned() })?;
            selector.add(Pattern::new(field, glob)?);
        }
        Ok(selector)
    }
}

impl Selector {
    /// Adds a pattern.
    pub fn add(&mut self, pattern: Pattern) {
        self.fields.entry(pattern.field()).or_default().push(pattern);
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All patterns, as `field=pattern`.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let patterns = self.fields.values().flatten();
        patterns.map(|pattern| format!("{}={pattern}", pattern.field().name())).collect()
    }

    /// Whether a subject is meant. What was not seen, or seen in part, leaves that open where it decides.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> Match {
        self.fields
            .iter()
            .map(|(field, patterns)| outcome(*field, patterns, subject).matches())
            .min()
            .unwrap_or(Match::Yes)
    }

    /// The fields that leave open whether a subject is meant.
    #[must_use]
    pub fn undecided(&self, subject: &Subject<'_>) -> Vec<Field> {
        let is_open =
            |(field, patterns): &(&Field, &Vec<Pattern>)| outcome(**field, patterns, subject).matches() == Match::Maybe;
        self.fields.iter().filter(is_open).map(|(field, _)| *field).collect()
    }

    /// Whether a subject is selected: what is wanted was seen, and what is refused was not.
    ///
    /// Where [`Selector::matches`] says [`Match::Maybe`], that is a choice and no knowledge: count those and say so.
    #[must_use]
    pub fn selects(&self, subject: &Subject<'_>) -> bool {
        self.fields.iter().all(|(field, patterns)| {
            let Outcome { wanted, refused } = outcome(*field, patterns, subject);
            wanted == Match::Yes && refused != Match::Yes
        })
    }

    /// Whether an item is meant, as [`Selector::matches`]. What tells of the stream itself (its header, a loss) always is.
    #[must_use]
    pub fn matches_item(&self, item: &Item) -> Match {
        subject_of(item).map_or(Match::Yes, |subject| self.matches(&subject))
    }

    /// Whether an item is selected, as [`Selector::selects`]. What tells of the stream itself (its header, a loss) always is.
    #[must_use]
    pub fn selects_item(&self, item: &Item) -> bool {
        subject_of(item).is_none_or(|subject| self.selects(&subject))
    }
}

/// What a selector looks at of an item; nothing of one that tells of the stream itself.
fn subject_of(item: &Item) -> Option<Subject<'_>> {
    match item {
        Item::Chain(chain) => Some(Subject::chain(chain)),
        Item::Event(event) => match &event.body {
            Body::Unload(unload) => Some(Subject::unload(unload)),
            Body::Attempt(attempt) => Some(Subject::failed_unload(attempt)),
            _ => None,
        },
    }
}

/// What the patterns of a field come to.
struct Outcome {
    /// One that is wanted is there; also where none is named.
    wanted: Match,
    /// One that is refused is there.
    refused: Match,
}

impl Outcome {
    fn matches(&self) -> Match {
        self.wanted.min(self.refused.negated())
    }
}

fn outcome(field: Field, patterns: &[Pattern], subject: &Subject<'_>) -> Outcome {
    let wanted = Match::certain(patterns.iter().all(Pattern::is_negated));
    let mut outcome = Outcome { wanted, refused: Match::No };
    let mut add = |pattern: &Pattern, found: Match| {
        let side = if pattern.is_negated() { &mut outcome.refused } else { &mut outcome.wanted };
        *side = found.max(*side);
    };
    let is_open = subject.values(field, &mut |seen| {
        patterns.iter().for_each(|pattern| add(pattern, pattern.compare(seen)));
    });
    if is_open {
        patterns.iter().filter(|pattern| pattern.may_be_unseen()).for_each(|pattern| add(pattern, Match::Maybe));
    }
    outcome
}

#[cfg(test)]
mod tests;
