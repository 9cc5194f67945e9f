//! The patterns of a rule for one field, and their result if not everything is known.

use super::{field::Field, glob::Glob, value::FieldValue};
use crate::select::{Match, PatternError};

/// Patterns of one key of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternSet {
    wanted: Vec<Glob>,
    refused: Vec<Glob>,
}

impl PatternSet {
    /// Parses the patterns of a key.
    pub(super) fn parse(field: Field, patterns: &[String]) -> Result<Self, PatternError> {
        if patterns.is_empty() {
            return Err(PatternError::Empty);
        }
        let globs = patterns.iter().map(|pattern| Glob::new(field.selects(), pattern));
        let globs = globs.collect::<Result<Vec<_>, _>>()?;
        let (refused, wanted): (Vec<Glob>, Vec<Glob>) = globs.into_iter().partition(Glob::is_negated);
        let takes_out = |wanted: &Glob| refused.iter().any(|refused| refused.subsumes(wanted));
        match wanted.first() {
            Some(first) if wanted.iter().all(takes_out) => Err(PatternError::Impossible {
                field: field.name(),
                pattern: first.to_string(),
                expected: "a pattern with `!` that does not exclude everything",
            }),
            _ => Ok(Self { wanted, refused }),
        }
    }

    /// Whether a value of the field matches. An unseen value may be wanted or refused.
    pub(super) fn test(&self, value: &FieldValue) -> Match {
        let any = |globs: &[Glob]| {
            let open = if value.is_open() && !globs.is_empty() { Match::Maybe } else { Match::No };
            let seen = value.known().iter().flat_map(|known| globs.iter().map(|glob| glob.compare(known.seen())));
            seen.fold(open, Match::max)
        };
        let wanted = if self.wanted.is_empty() { Match::Yes } else { any(&self.wanted) };
        wanted.min(any(&self.refused).negated())
    }

    /// Whether this set certainly matches everything that the other one matches.
    pub(super) fn subsumes(&self, other: &Self) -> bool {
        let covered = |theirs: &Glob| self.wanted.iter().any(|ours| ours.subsumes(theirs));
        let no_less = self.wanted.is_empty() || (!other.wanted.is_empty() && other.wanted.iter().all(covered));
        // The other set must also exclude everything that this set excludes.
        no_less && self.refused.iter().all(|ours| other.refused.iter().any(|theirs| theirs.subsumes(ours)))
    }

    /// Whether it matches nothing if there is no value.
    pub(super) const fn wants_a_value(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Wanted patterns without wildcards.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().filter_map(Glob::literal)
    }

    /// Wanted patterns.
    pub(super) fn wanted(&self) -> &[Glob] {
        &self.wanted
    }

    /// All patterns.
    pub(super) fn globs(&self) -> impl Iterator<Item = &Glob> {
        self.wanted.iter().chain(&self.refused)
    }
}

impl std::fmt::Display for PatternSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, glob) in self.globs().enumerate() {
            write!(f, "{}{glob}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, FieldValue, Match, PatternSet};
    use crate::event::Text;

    fn set(patterns: &[&str]) -> PatternSet {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        PatternSet::parse(Field::Comm, &patterns).unwrap()
    }

    /// Lists, exceptions, and missing or unseen values have the expected result.
    #[test]
    fn pattern_set_of_lists_and_exceptions_matches() {
        let both = || ["kworker", "ss"].map(|name| Text::from(name).into()).to_vec();
        for (patterns, value, truth) in [
            (&["nf_*", "!nf_tables"][..], FieldValue::is("nf_nat"), Match::Yes),
            (&["nf_*", "!nf_tables"], FieldValue::is("nf_tables"), Match::No),
            (&["!nf_tables"], FieldValue::is("tipc"), Match::Yes),
            (&["!nf_tables"], FieldValue::default(), Match::Yes),
            (&["nf_*"], FieldValue::default(), Match::No),
            (&["*"], FieldValue::unseen(), Match::Maybe),
            (&["!a"], FieldValue::unseen(), Match::Maybe),
            (&["ss"], FieldValue::of(both(), false), Match::Yes),
            (&["!ss"], FieldValue::of(both(), false), Match::No),
            (&["ss"], FieldValue::of(both(), true), Match::Yes),
            (&["!ss"], FieldValue::of(both(), true), Match::No),
            (&["ss", "!x"], FieldValue::of(both(), true), Match::Maybe),
        ] {
            assert_eq!(set(patterns).test(&value), truth, "{patterns:?} {value:?}");
        }
        assert!(PatternSet::parse(Field::Comm, &[]).is_err());
    }

    /// A set subsumes another one only if it matches everything that the other matches.
    #[test]
    fn pattern_set_subsumes_narrower_sets() {
        for (ours, theirs, holds) in [
            (&["nf_*"][..], &["nf_nat", "nf_tables"][..], true),
            (&["nf_*"], &["nf_nat", "tipc"], false),
            (&["nf_*", "!nf_tables"], &["nf_*"], false),
            (&["nf_*", "!nf_tables"], &["nf_*", "!nf_t*"], true),
            (&["!x"], &["*", "!x"], true),
            (&["a"], &["!b"], false),
        ] {
            assert_eq!(set(ours).subsumes(&set(theirs)), holds, "{ours:?} {theirs:?}");
        }
    }
}
