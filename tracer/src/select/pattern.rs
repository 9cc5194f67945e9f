//! A pattern of a field: a glob, perhaps negated, checked when it is given and not when it fails to match.

use super::Field;
use crate::{
    event::{Origin, Status, Text},
    explain::families::Family,
    glob,
};

/// A pattern that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing to match.
    #[error("an empty pattern matches nothing: give a name or a glob (*, ?, [a-z]), or !PATTERN for all others")]
    Empty,
    /// A `[` without `]` or the other way round.
    #[error("{pattern:?} has an unbalanced bracket: write [[] for a bracket itself")]
    Bracket {
        /// The pattern.
        pattern: String,
    },
    /// A process id that is no number.
    #[error("{pattern:?} is not a process id: give a number")]
    NotANumber {
        /// The pattern.
        pattern: String,
    },
    /// A name of which no value is.
    #[error("{pattern:?} is no {field}: it is one of {}", known.join(", "))]
    Unknown {
        /// The field.
        field: &'static str,
        /// The pattern.
        pattern: String,
        /// What there is.
        known: Vec<&'static str>,
    },
}

/// A glob on a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    field: Field,
    is_negated: bool,
    /// As given, without the negation.
    text: String,
    /// As it is compared.
    glob: Vec<u8>,
}

impl Pattern {
    /// Reads `[!]GLOB`.
    ///
    /// # Errors
    /// When no value of the field could ever match, with what to write instead.
    pub fn new(field: Field, text: &str) -> Result<Self, PatternError> {
        let (is_negated, glob) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        if glob.is_empty() {
            return Err(PatternError::Empty);
        }
        let unbalanced = || PatternError::Bracket { pattern: text.to_owned() };
        let normal = glob::normalize(glob.as_bytes()).ok_or_else(unbalanced)?;
        let pattern = Self {
            field,
            is_negated,
            text: glob.to_owned(),
            glob: match field {
                Field::Module | Field::Alias => normal,
                Field::Family => glob.to_ascii_lowercase().into_bytes(),
                _ => glob.as_bytes().to_vec(),
            },
        };
        pattern.check()?;
        Ok(pattern)
    }

    fn check(&self) -> Result<(), PatternError> {
        let known = match self.field {
            Field::Pid if !self.text.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(PatternError::NotANumber { pattern: self.text.clone() });
            }
            Field::Result => Status::ALL.iter().map(|status| status.name()).collect(),
            Field::Origin => Origin::ALL.iter().map(|origin| origin.name()).collect(),
            Field::Family => {
                let mut names: Vec<&str> = Family::all().iter().map(|family| family.name).collect();
                names.sort_unstable();
                names.dedup();
                names
            }
            _ => return Ok(()),
        };
        if known.iter().any(|name| self.fits(name.as_bytes())) {
            return Ok(());
        }
        Err(PatternError::Unknown { field: self.field.name(), pattern: self.text.clone(), known })
    }

    /// What it asks.
    #[must_use]
    pub const fn field(&self) -> Field {
        self.field
    }

    /// Whether it is for all others.
    #[must_use]
    pub const fn is_negated(&self) -> bool {
        self.is_negated
    }

    /// As given, without the negation.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a value is of the glob; the negation is left to the selector.
    #[must_use]
    pub fn fits(&self, value: &[u8]) -> bool {
        match self.field {
            // Modules and aliases are the same with `-` and `_`, as everywhere in modprobe.
            Field::Module | Field::Alias => {
                let normal = glob::normalize(value);
                glob::matches(&self.glob, normal.as_deref().unwrap_or(value))
            }
            Field::Family => glob::matches(&self.glob, &value.to_ascii_lowercase()),
            Field::Exe if !self.glob.contains(&b'/') => {
                let base = value.rsplit(|byte| *byte == b'/').next().unwrap_or(value);
                glob::matches(&self.glob, base)
            }
            Field::Container => self.fits_container(value),
            _ => glob::matches(&self.glob, value),
        }
    }

    /// `runtime:id`, the id alone, or its first twelve digits as the engines print them.
    fn fits_container(&self, value: &[u8]) -> bool {
        let id = value.split(|byte| *byte == b':').next_back().unwrap_or(value);
        let is_short = self.glob.len() >= SHORT_ID_BYTES && id.starts_with(&self.glob);
        is_short || glob::matches(&self.glob, value) || glob::matches(&self.glob, id)
    }
}

/// Digits of a container id that engines print.
const SHORT_ID_BYTES: usize = 12;

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.is_negated { "!" } else { "" }, Text::from(self.text.as_str()).field())
    }
}
