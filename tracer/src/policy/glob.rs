//! Patterns of the selection engine, and relations between them that need no name to match.

use crate::{
    event::Text,
    select::{Field, Match, Pattern, PatternError, Seen},
};

/// A pattern, negated or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Pattern);

impl Glob {
    /// Parses a pattern.
    pub(super) fn new(field: Field, written: &str) -> Result<Self, PatternError> {
        Pattern::new(field, written).map(Self)
    }

    /// Whether it is negated.
    pub(super) fn is_negated(&self) -> bool {
        self.0.is_negated()
    }

    /// Whether a name matches; the caller applies the negation.
    pub(super) fn matches(&self, name: &Text) -> bool {
        self.0.fits(name.as_bytes())
    }

    /// The text without the negation.
    pub(super) fn text(&self) -> &str {
        self.0.text()
    }

    /// Compares the seen part of a name; the caller applies the negation.
    pub(super) fn compare(&self, seen: Seen<'_>) -> Match {
        self.0.compare(seen)
    }

    /// The name, if it has no wildcard.
    pub(super) fn literal(&self) -> Option<&str> {
        is_plain(self.0.text()).then_some(self.0.text())
    }

    /// A property of all patterns that this one subsumes.
    pub(super) fn affix(&self) -> Affix {
        let text = self.normal();
        let is_special = |byte: &u8| b"*?[]\\".contains(byte);
        let front = text.iter().position(is_special).unwrap_or(text.len());
        let back = text.iter().rposition(is_special).map_or(text.len(), |at| text.len() - at - 1);
        if front == text.len() {
            Affix::Name(text)
        } else if front > 0 {
            Affix::Beginning(text.get(..front.min(AFFIX_BYTES_MAX)).unwrap_or_default().to_vec())
        } else if back > 0 {
            let back = back.min(AFFIX_BYTES_MAX);
            Affix::End(text.get(text.len() - back..).unwrap_or_default().to_vec())
        } else {
            Affix::None
        }
    }

    /// The affixes of all patterns that can subsume this one.
    pub(super) fn affixes_that_hold(&self) -> Vec<Affix> {
        let text = self.normal();
        let lengths = 1..=text.len().min(AFFIX_BYTES_MAX);
        let beginnings = lengths.clone().filter_map(|len| Some(Affix::Beginning(text.get(..len)?.to_vec())));
        let ends = lengths.filter_map(|len| Some(Affix::End(text.get(text.len() - len..)?.to_vec())));
        let mut affixes: Vec<Affix> = beginnings.chain(ends).collect();
        affixes.extend([Affix::None, Affix::Name(text)]);
        affixes
    }

    /// The normalized text: names that are equal to the kernel have the same text.
    fn normal(&self) -> Vec<u8> {
        match self.0.field() {
            Field::Module | Field::Alias => self.0.text().replace('-', "_").into_bytes(),
            Field::Family => self.0.text().to_ascii_lowercase().into_bytes(),
            _ => self.0.text().as_bytes().to_vec(),
        }
    }

    /// Whether this pattern certainly matches everything that the other one matches.
    pub(super) fn subsumes(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.0.text(), other.0.text());
        if ours == theirs || ours == "*" {
            return true;
        }
        match self.0.field() {
            // A prefix of an id matches the full id.
            Field::Container => false,
            // Without a slash, only the last component is compared.
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

/// Length of the prefixes and suffixes by which patterns are indexed.
const AFFIX_BYTES_MAX: usize = 64;

/// The key by which to find patterns that can subsume another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Affix {
    /// The full text: there is no wildcard.
    Name(Vec<u8>),
    /// The text before the first wildcard.
    Beginning(Vec<u8>),
    /// The text after the last wildcard.
    End(Vec<u8>),
    /// It begins and ends with a wildcard.
    None,
}

fn is_plain(text: &str) -> bool {
    !text.contains(['*', '?', '[', ']', '\\'])
}

/// A pattern for exactly this name of a field. Bytes that a pattern cannot contain literally (invalid UTF-8, control
/// characters, `]`, a leading `!`, bytes that names of the field do not have) become `?`, which matches any byte; the
/// excess of a name that is too long becomes `*`.
pub(super) fn quote(field: Field, name: &Text) -> String {
    let bytes = name.as_bytes();
    let mut pattern = String::with_capacity(bytes.len());
    // Inside brackets, modprobe does not treat `-` as `_`.
    let has_bracket = bytes.iter().any(|byte| matches!(byte, b'[' | b']'));
    let mut used = 0;
    'name: for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let len = character.len_utf8();
            if used + len > field.bytes_max() {
                pattern.push('*');
                break 'name;
            }
            used += len;
            match character {
                _ if !field.may_have(bytes, used - len) => pattern.extend(std::iter::repeat_n('?', len)),
                '*' | '?' => pattern.extend(['[', character, ']']),
                '[' => pattern.push_str("[[]"),
                '!' if pattern.is_empty() => pattern.push('?'),
                ']' | '\\' => pattern.push('?'),
                '-' if has_bracket => pattern.push('?'),
                _ if character.is_control() => pattern.extend(std::iter::repeat_n('?', len)),
                _ => pattern.push(character),
            }
        }
        let invalid = chunk.invalid().len().min(field.bytes_max() - used);
        used += invalid;
        pattern.extend(std::iter::repeat_n('?', invalid));
        if invalid < chunk.invalid().len() {
            pattern.push('*');
            break;
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Glob, quote};
    use crate::{event::Text, select::Field};

    proptest! {
        /// A quoted name matches itself, whatever it contains, and an ordinary one matches nothing else.
        #[test]
        fn quoted_name_matches_only_itself(
            name in proptest::collection::vec(any::<u8>(), 1..80),
            tricky in "[a*?!\\[\\]\\\\\n/, -]{1,20}(\\.ko(\\.xz)?)?",
            plain in "[a*?-]{1,8}",
            other in "[a*?-]{1,8}",
        ) {
            for name in [Text::from(name.as_slice()), Text::from(tricky.as_str())] {
                for field in Field::ALL.into_iter().filter(|field| ![Field::Exe, Field::Pid].contains(field)) {
                    if let Ok(glob) = Glob::new(field, &quote(field, &name)) {
                        prop_assert!(glob.matches(&name), "{} {:?}", glob, name);
                    } else {
                        prop_assert!(![Field::Module, Field::Comm].contains(&field), "{:?} {:?}", field, name);
                    }
                }
                let path = Text::from([b"/", name.as_bytes()].concat().as_slice());
                let glob = Glob::new(Field::Exe, &quote(Field::Exe, &path)).unwrap();
                prop_assert!(glob.matches(&path), "{} {:?}", glob, path);
            }
            let glob = Glob::new(Field::Comm, &quote(Field::Comm, &Text::from(plain.as_str()))).unwrap();
            prop_assert_eq!(glob.matches(&Text::from(other.as_str())), plain == other);
        }

        /// A pattern that subsumes another one matches everything that the other matches.
        #[test]
        fn pattern_that_subsumes_matches_all_of_the_other(ours in "[ab/*?]{1,5}", theirs in "[ab/*?]{1,5}", name in "[ab/]{0,6}") {
            for field in [Field::Comm, Field::Exe, Field::Module] {
                let (Ok(ours), Ok(theirs)) = (Glob::new(field, &ours), Glob::new(field, &theirs)) else { continue };
                let name = Text::from(name.as_str());
                if ours.subsumes(&theirs) && theirs.matches(&name) {
                    prop_assert!(ours.matches(&name), "{} {} {:?}", ours, theirs, name);
                }
            }
        }
    }
}
