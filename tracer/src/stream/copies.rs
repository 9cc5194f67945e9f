//! Detects duplicates by content, never by numbers alone.

use std::collections::HashSet;

/// What identifies the content of a unit: a sealed part, or a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Content {
    /// The first half of the hash of a sealed part.
    Sealed([u8; 16]),
    /// A keyed hash of a line.
    Line(u32),
}

/// Result of comparing a unit with earlier content at its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// There was none.
    New,
    /// It was the same.
    Same,
    /// It was different, or is no longer known.
    Different,
}

/// Maximum number of lines that are remembered for one stream: 64 MiB.
const LINES_MAX: usize = 16 << 20;

/// The content of one stream, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    /// Sealed parts by their first number, ascending.
    sealed: Vec<(u64, [u8; 16])>,
    /// Runs of lines: the number of the first, then a hash of each.
    lines: Vec<(u64, Vec<u32>)>,
    /// Lines with decreasing numbers.
    odd: HashSet<(u64, u32)>,
    line_count: usize,
}

impl Copies {
    /// Remembers a unit that begins with event `seq`; returns false if the limit is reached.
    pub(super) fn add(&mut self, seq: u64, content: Content) -> bool {
        match content {
            Content::Sealed(hash) => {
                let at = self.sealed.partition_point(|(first, _)| *first < seq);
                // Nearly always the insertion is at the end.
                if self.sealed.get(at).is_none_or(|(first, _)| *first != seq) {
                    self.sealed.insert(at, (seq, hash));
                }
                true
            }
            Content::Line(hash) => {
                if self.line_count >= LINES_MAX {
                    return false;
                }
                self.line_count += 1;
                let due = self.lines.last().map(|(first, run)| first.saturating_add(run.len() as u64));
                match self.lines.last_mut() {
                    Some((_, run)) if due == Some(seq) => run.push(hash),
                    Some(_) if due > Some(seq) => {
                        // An entry of the set costs as much as several lines.
                        self.line_count += 8;
                        self.odd.insert((seq, hash));
                    }
                    _ => {
                        self.line_count += 16;
                        self.lines.push((seq, vec![hash]));
                    }
                }
                true
            }
        }
    }

    /// Compares a unit that begins with event `seq`.
    #[must_use]
    pub(super) fn compare(&self, seq: u64, content: Content) -> Comparison {
        let known = match content {
            Content::Sealed(hash) => {
                let at = self.sealed.partition_point(|(first, _)| *first < seq);
                self.sealed.get(at).filter(|(first, _)| *first == seq).map(|(_, known)| *known == hash)
            }
            Content::Line(hash) => {
                let at = self.lines.partition_point(|(first, _)| *first <= seq);
                let run = at.checked_sub(1).and_then(|at| self.lines.get(at));
                let known = run.and_then(|(first, run)| run.get(usize::try_from(seq - first).ok()?));
                let is_odd = !self.odd.is_empty() && self.odd.contains(&(seq, hash));
                known.map(|known| *known == hash || is_odd).or(is_odd.then_some(true))
            }
        };
        match known {
            None => Comparison::New,
            Some(true) => Comparison::Same,
            Some(false) => Comparison::Different,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Content, Copies};

    /// Units of both kinds are found by number and content, also across gaps.
    #[test]
    fn units_compare_by_number_and_content() {
        let mut copies = Copies::default();
        for seq in [0, 1, 2, 10, 11] {
            assert!(copies.add(seq, Content::Line(u32::try_from(seq).unwrap())));
        }
        assert!(copies.add(1, Content::Line(77)), "a number that decreases");
        assert!(copies.add(64, Content::Sealed([1; 16])));
        for (seq, content, wanted) in [
            (2, Content::Line(2), Comparison::Same),
            (2, Content::Line(3), Comparison::Different),
            (1, Content::Line(1), Comparison::Same),
            (1, Content::Line(77), Comparison::Same),
            (1, Content::Line(78), Comparison::Different),
            (3, Content::Line(3), Comparison::New),
            (11, Content::Line(11), Comparison::Same),
            (64, Content::Sealed([1; 16]), Comparison::Same),
            (64, Content::Sealed([2; 16]), Comparison::Different),
            (65, Content::Sealed([1; 16]), Comparison::New),
        ] {
            assert_eq!(copies.compare(seq, content), wanted, "{seq} {content:?}");
        }
    }
}
