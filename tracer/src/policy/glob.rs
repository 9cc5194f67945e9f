//! Patterns of the selecting engine, and what can be told of them without a name to match.

use crate::{
    event::Text,
    select::{Field, Pattern, PatternError},
};

/// A pattern, negated or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Pattern);

impl Glob {
    /// Reads a pattern.
    pub(super) fn new(field: Field, written: &str) -> Result<Self, PatternError> {
        Pattern::new(field, written).map(Self)
    }

    /// Whether it takes out what it matches.
    pub(super) fn is_negated(&self) -> bool {
        self.0.is_negated()
    }

    /// Whether a name is of the pattern; the negation is left to the caller.
    pub(super) fn matches(&self, name: &Text) -> bool {
        self.0.fits(name.as_bytes())
    }

    /// The name that it is, when it has no wildcard.
    pub(super) fn literal(&self) -> Option<&str> {
        is_plain(self.0.text()).then_some(self.0.text())
    }

    /// What names without wildcards that hold each other share.
    pub(super) fn key(&self) -> Option<String> {
        let name = self.literal()?;
        Some(match self.0.field() {
            Field::Module | Field::Alias => name.replace('-', "_"),
            Field::Family => name.to_ascii_lowercase(),
            _ => name.to_owned(),
        })
    }

    /// True when whatever the other matches is certain to be matched by this one.
    pub(super) fn holds(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.0.text(), other.0.text());
        if ours == theirs || ours == "*" {
            return true;
        }
        match self.0.field() {
            // The beginning of an id stands for the whole.
            Field::Container => false,
            // Without a slash it is about the last component alone.
            Field::Exe if ours.contains('/') != theirs.contains('/') => false,
            _ if is_plain(theirs) => self.matches(&Text::from(theirs)),
            _ => ours.strip_suffix('*').is_some_and(|front| is_plain(front) && theirs.starts_with(front)),
        }
    }
}

impl std::fmt::Display for Glob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

fn is_plain(text: &str) -> bool {
    !text.contains(['*', '?', '[', ']', '\\'])
}

/// A pattern for this very name. What a pattern cannot say literally (a byte that is not UTF-8, a control
/// character, a `]`, a `!` in front) becomes `?`, which matches any byte.
pub(super) fn quote(name: &Text) -> String {
    let mut pattern = String::with_capacity(name.as_bytes().len());
    // In brackets modprobe does not take `-` for `_`.
    let has_bracket = name.as_bytes().iter().any(|byte| matches!(byte, b'[' | b']'));
    for chunk in name.as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '*' | '?' => pattern.extend(['[', character, ']']),
                '[' => pattern.push_str("[[]"),
                '!' if pattern.is_empty() => pattern.push('?'),
                ']' | '\\' => pattern.push('?'),
                '-' if has_bracket => pattern.push('?'),
                _ if character.is_control() => pattern.extend(std::iter::repeat_n('?', character.len_utf8())),
                _ => pattern.push(character),
            }
        }
        pattern.extend(chunk.invalid().iter().map(|_| '?'));
    }
    pattern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Glob, quote};
    use crate::{event::Text, select::Field};

    proptest! {
        /// Check that a quoted name matches itself, whatever is in it, and that an ordinary one matches nothing else.
        #[test]
        fn quoted_names_match_themselves(
            name in proptest::collection::vec(any::<u8>(), 1..12),
            tricky in "[a*?!\\[\\]\\\\\n-]{1,8}",
            plain in "[a*?-]{1,8}",
            other in "[a*?-]{1,8}",
        ) {
            for name in [Text::from(name.as_slice()), Text::from(tricky.as_str())] {
                let glob = Glob::new(Field::Exe, &format!("/{}", quote(&name))).unwrap();
                prop_assert!(glob.matches(&Text::from([b"/", name.as_bytes()].concat().as_slice())), "{} {:?}", glob, name);
            }
            let glob = Glob::new(Field::Comm, &quote(&Text::from(plain.as_str()))).unwrap();
            prop_assert_eq!(glob.matches(&Text::from(other.as_str())), plain == other);
        }

        /// Check that a pattern said to hold another matches all that the other does.
        #[test]
        fn holding_is_sound(ours in "[ab/*?]{1,5}", theirs in "[ab/*?]{1,5}", name in "[ab/]{0,6}") {
            for field in [Field::Comm, Field::Exe, Field::Module] {
                let (ours, theirs) = (Glob::new(field, &ours).unwrap(), Glob::new(field, &theirs).unwrap());
                let name = Text::from(name.as_str());
                if ours.holds(&theirs) && theirs.matches(&name) {
                    prop_assert!(ours.matches(&name), "{} {} {:?}", ours, theirs, name);
                }
            }
        }
    }
}
