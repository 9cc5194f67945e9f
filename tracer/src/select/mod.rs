//! Selection of chains: fields of a chain are matched against patterns. All verbs use the same engine for filters and
//! policies.
//!
//! Pure: besides the chain, it uses only the data of alias families.

mod buffered;
mod pattern;
mod seen;
mod subject;

use std::collections::BTreeMap;

pub use crate::glob::Match;
pub use buffered::{ChainFilter, Selected};
pub use pattern::{Pattern, PatternError};
pub use seen::Seen;
pub use subject::Subject;

use crate::{chain::Item, event::Body};

/// The login of a process without one. A user of this name has only a number.
pub(crate) const NO_LOGIN: &str = "none";

/// A field of a chain that can be matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Field {
    /// A module that was loaded, failed to load or was unloaded.
    Module,
    /// The requested alias.
    Alias,
    /// The alias family, as named by `kmodtrace explain`.
    Family,
    /// Name of the requester or loader, or of the process behind it.
    Comm,
    /// Its executable: the full path, or for a pattern without `/` the last component. Of an ancestor, only the last
    /// component is known.
    Exe,
    /// Its process id, or that of one of its ancestors.
    Pid,
    /// Its real user: number or name.
    Uid,
    /// The user who logged in (audit login uid): number, name, or `none`.
    Login,
    /// Path of its cgroup.
    Cgroup,
    /// Its container, with or without the runtime, or the beginning of its id.
    Container,
    /// Its systemd unit.
    Unit,
    /// The outcome.
    Result,
    /// The origin of the load.
    Origin,
}

impl Field {
    /// All fields.
    pub const ALL: [Self; 13] = [
        Self::Module,
        Self::Alias,
        Self::Family,
        Self::Comm,
        Self::Exe,
        Self::Pid,
        Self::Uid,
        Self::Login,
        Self::Cgroup,
        Self::Container,
        Self::Unit,
        Self::Result,
        Self::Origin,
    ];

    /// The name of its option, and of its key in a policy.
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
            Self::Login => "login",
            Self::Cgroup => "cgroup",
            Self::Container => "container",
            Self::Unit => "unit",
            Self::Result => "result",
            Self::Origin => "origin",
        }
    }
}

/// Patterns by field. A field matches if one of its patterns and none of its negated patterns does; a selector matches if
/// all its fields do. An empty selector matches everything.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    fields: BTreeMap<Field, Vec<Pattern>>,
}

/// An invalid selector argument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorError {
    /// A part without `=`.
    #[error("invalid selector {part:?}: expected FIELD=GLOB, e.g. module=nf_conntrack")]
    NoField {
        /// The part.
        part: String,
    },
    /// An unknown field.
    #[error("unknown field {field:?}: expected one of {}", Field::ALL.map(Field::name).join(", "))]
    UnknownField {
        /// The name.
        field: String,
    },
    /// An invalid pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;

    /// Parses `FIELD=GLOB[,FIELD=GLOB...]`.
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

    /// Whether the selector matches everything.
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

    /// Whether a subject matches. [`Match::Maybe`] if the result depends on values that were not seen or seen in part.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> Match {
        self.fields
            .iter()
            .map(|(field, patterns)| outcome(*field, patterns, subject).matches())
            .min()
            .unwrap_or(Match::Yes)
    }

    /// The fields because of which the result is undetermined.
    #[must_use]
    pub fn undecided(&self, subject: &Subject<'_>) -> Vec<Field> {
        let is_open =
            |(field, patterns): &(&Field, &Vec<Pattern>)| outcome(**field, patterns, subject).matches() == Match::Maybe;
        self.fields.iter().filter(is_open).map(|(field, _)| *field).collect()
    }

    /// Whether a subject is selected: wanted values were seen, and refused values were not.
    ///
    /// If [`Selector::matches`] returns [`Match::Maybe`], this is a choice, not a fact: count these subjects and report
    /// the count.
    #[must_use]
    pub fn selects(&self, subject: &Subject<'_>) -> bool {
        self.fields.iter().all(|(field, patterns)| {
            let Outcome { wanted, refused } = outcome(*field, patterns, subject);
            wanted == Match::Yes && refused != Match::Yes
        })
    }

    /// Whether an item matches, as [`Selector::matches`]. Items about the stream itself (its header, a loss) always match.
    #[must_use]
    pub fn matches_item(&self, item: &Item) -> Match {
        subject_of(item).map_or(Match::Yes, |subject| self.matches(&subject))
    }

    /// Whether an item is selected, as [`Selector::selects`]. Items about the stream itself (its header, a loss) always
    /// are.
    #[must_use]
    pub fn selects_item(&self, item: &Item) -> bool {
        subject_of(item).is_none_or(|subject| self.selects(&subject))
    }
}

/// The subject of an item; `None` for an item about the stream itself.
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

/// The result of the patterns of a field.
struct Outcome {
    /// A wanted pattern matches, or there is none.
    wanted: Match,
    /// A refused pattern matches.
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
