//! An index of module aliases that finds a name without matching each of tens of thousands of patterns.
//!
//! Any user can make the kernel request arbitrary names, so a lookup must be cheap.

use std::{cmp::Ordering, ops::Range};

use crate::glob;

/// Characters with a special meaning in a pattern.
const SPECIAL: [char; 4] = ['*', '?', '[', '\\'];

/// The position of a line, and the length of its literal prefix.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    end: u32,
    literal: u32,
}

/// Lines of `<pattern> <module>`; patterns are normalized.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases {
    /// A single text: separate strings need four times the memory.
    text: String,
    /// Sorted by the literal prefix of the pattern: a pattern only matches names with this prefix.
    order: Vec<Entry>,
}

impl Aliases {
    /// Builds the index. Lines without a module are ignored.
    pub(super) fn new<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut text = String::new();
        let mut order = Vec::new();
        for line in lines {
            let Some((pattern, _)) = line.rsplit_once(' ') else { continue };
            let literal = pattern.find(SPECIAL).unwrap_or(pattern.len());
            let start = text.len();
            // The aliases of a kernel are much smaller than 4 GiB.
            let places = (u32::try_from(start), u32::try_from(start + line.len()), u32::try_from(literal));
            let (Ok(start), Ok(end), Ok(literal)) = places else { break };
            order.push(Entry { start, end, literal });
            text.push_str(line);
            text.push('\n');
        }
        text.shrink_to_fit();
        order.shrink_to_fit();
        order.sort_by(|a, b| literal(&text, *a).cmp(literal(&text, *b)));
        Self { text, order }
    }

    /// Modules with an alias that matches a normalized name, in no order.
    pub(super) fn matching<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a str> + 'a {
        let candidates = (0..=name.len()).flat_map(|length| {
            let beginning = name.get(..length).unwrap_or_default();
            self.order.get(self.with_literal(beginning)).unwrap_or_default()
        });
        let rules = candidates.filter_map(|entry| self.line(*entry).rsplit_once(' '));
        rules.filter(|(pattern, _)| glob::matches(pattern.as_bytes(), name)).map(|(_, module)| module)
    }

    /// All patterns with their modules, in the order of the lines.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.lines().filter_map(|line| line.rsplit_once(' '))
    }

    fn line(&self, entry: Entry) -> &str {
        self.text.get(entry.start as usize..entry.end as usize).unwrap_or_default()
    }

    /// The entries with exactly this literal prefix.
    fn with_literal(&self, wanted: &[u8]) -> Range<usize> {
        let at = |entry: &Entry| literal(&self.text, *entry).cmp(wanted);
        let first = self.order.partition_point(|entry| at(entry) == Ordering::Less);
        let rest = self.order.get(first..).unwrap_or_default();
        first..first + rest.partition_point(|entry| at(entry) == Ordering::Equal)
    }
}

fn literal(text: &str, entry: Entry) -> &[u8] {
    let start = entry.start as usize;
    text.as_bytes().get(start..start + entry.literal as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Aliases;
    use crate::glob;

    proptest! {
        /// A lookup finds the same modules as matching every pattern.
        #[test]
        fn lookup_finds_the_same_as_matching_every_pattern(
            patterns in proptest::collection::vec("[ab:*?\\[\\]\\\\]{0,6}", 0..30),
            names in proptest::collection::vec("[ab:*]{0,8}", 1..10),
        ) {
            let lines: Vec<String> = patterns.iter().enumerate().map(|(n, pattern)| format!("{pattern} m{n}")).collect();
            let aliases = Aliases::new(lines.iter().map(String::as_str));
            prop_assert_eq!(aliases.iter().count(), patterns.len());
            for name in &names {
                let found: BTreeSet<String> = aliases.matching(name.as_bytes()).map(str::to_owned).collect();
                let tried = patterns.iter().enumerate();
                let tried = tried.filter(|(_, pattern)| glob::matches(pattern.as_bytes(), name.as_bytes()));
                prop_assert_eq!(found, tried.map(|(n, _)| format!("m{n}")).collect::<BTreeSet<_>>());
            }
        }
    }
}
