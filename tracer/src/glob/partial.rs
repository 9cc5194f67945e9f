//! Matches patterns on truncated names, and checks whether any name can match a pattern.

use super::{match_one, match_set, matches};

/// A three-valued match result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Match {
    /// No match.
    No,
    /// Depends on the unknown part.
    Maybe,
    /// A match.
    Yes,
}

impl Match {
    /// Converts a definite result.
    #[must_use]
    pub const fn certain(is_match: bool) -> Self {
        if is_match { Self::Yes } else { Self::No }
    }

    /// Negates the result.
    #[must_use]
    pub const fn negated(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }
}

/// Length of the pattern's first token: a star, a set, an escaped byte, or one byte.
fn token_len(pattern: &[u8]) -> usize {
    match pattern {
        [b'\\', _, ..] => 2,
        [b'[', set @ ..] => match_set(set, 0).map_or(1, |(used, _)| 1 + used),
        _ => 1,
    }
}

/// Returns whether the first token, which is no star, matches one of the allowed bytes.
fn takes(pattern: &[u8], allowed: &dyn Fn(u8) -> bool) -> bool {
    match pattern {
        [b'\\', byte, ..] => allowed(*byte),
        [b'?' | b'[', ..] => (0..=u8::MAX).any(|byte| allowed(byte) && match_one(pattern, byte).is_some()),
        [byte, ..] => allowed(*byte),
        [] => false,
    }
}

/// The state set of the pattern automaton after the input so far.
#[derive(Clone, Debug)]
pub(crate) struct Places<'a> {
    pattern: &'a [u8],
    at: Vec<bool>,
}

impl<'a> Places<'a> {
    /// The initial state.
    pub(crate) fn start(pattern: &'a [u8]) -> Self {
        let mut places = Self { pattern, at: vec![false; pattern.len() + 1] };
        places.set(0);
        places
    }

    /// The state after any absolute path up to a `/`.
    fn directory(pattern: &'a [u8]) -> Self {
        Self { pattern, at: path_places(pattern).0 }
    }

    /// Adds a position and those after directly following stars, which may match nothing.
    fn set(&mut self, mut place: usize) {
        while let Some(at) = self.at.get_mut(place) {
            *at = true;
            if self.pattern.get(place) != Some(&b'*') {
                break;
            }
            place += 1;
        }
    }

    /// Reads one byte.
    pub(crate) fn byte(&mut self, byte: u8) {
        let before = std::mem::replace(&mut self.at, vec![false; self.pattern.len() + 1]);
        for place in (0..before.len()).filter(|place| before.get(*place) == Some(&true)) {
            let rest = self.pattern.get(place..).unwrap_or_default();
            if rest.first() == Some(&b'*') {
                self.set(place);
            } else if let Some(used) = match_one(rest, byte) {
                self.set(place + used);
            }
        }
    }

    /// Reads several bytes.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        bytes.iter().for_each(|byte| self.byte(*byte));
        self
    }

    /// Reads zero or more allowed bytes.
    pub(crate) fn any(mut self, allowed: &dyn Fn(u8) -> bool) -> Self {
        for place in 0..self.pattern.len() {
            let rest = self.pattern.get(place..).unwrap_or_default();
            if self.at.get(place) == Some(&true) && rest.first() != Some(&b'*') && takes(rest, allowed) {
                self.set(place + token_len(rest));
            }
        }
        self
    }

    /// Returns whether the input so far is a complete match.
    pub(crate) fn is_end(&self) -> bool {
        self.at.last() == Some(&true)
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte != b'/' && byte != 0
}

/// The states after an absolute path that ends in `/`, and after one that ends in a name.
fn path_places(pattern: &[u8]) -> (Vec<bool>, Vec<bool>) {
    let is_slash = |byte| byte == b'/';
    let none = || vec![false; pattern.len() + 1];
    let (mut front, mut slash, mut name) = (none(), none(), none());
    let set = |places: &mut Vec<bool>, place: usize| {
        if let Some(at) = places.get_mut(place) {
            *at = true;
        }
    };
    let is = |places: &Vec<bool>, place: usize| places.get(place) == Some(&true);
    set(&mut front, 0);
    for place in 0..pattern.len() {
        let rest = pattern.get(place..).unwrap_or_default();
        if rest.first() == Some(&b'*') {
            // A star matches everything that can follow.
            if is(&front, place) {
                set(&mut front, place + 1);
                set(&mut slash, place);
            }
            if is(&slash, place) || is(&name, place) {
                set(&mut name, place);
                set(&mut slash, place);
                set(&mut slash, place + 1);
                set(&mut name, place + 1);
            }
            continue;
        }
        let next = place + token_len(rest);
        if takes(rest, &is_slash) && (is(&front, place) || is(&name, place)) {
            set(&mut slash, next);
        }
        if takes(rest, &is_name_byte) && (is(&slash, place) || is(&name, place)) {
            set(&mut name, next);
        }
    }
    (slash, name)
}

/// Returns whether an absolute path can match the pattern: `/`, or names after single slashes.
pub(crate) fn can_be_path(pattern: &[u8]) -> bool {
    path_places(pattern).1.last() == Some(&true) || matches(pattern, b"/")
}

/// Returns whether a 32-bit number, written without sign and leading zeros, can match the pattern.
pub(crate) fn can_be_number(pattern: &[u8]) -> bool {
    let max = u32::MAX.to_string();
    // Numbers with fewer digits, and those with a smaller first digit, may have any further digits.
    let digit = |byte: u8| byte.is_ascii_digit();
    if Places::start(pattern).bytes(b"0").is_end() {
        return true;
    }
    let digits_after = |places: &Places<'_>, count: usize| {
        let mut after = places.clone();
        for number in 0..=count {
            if after.is_end() {
                return true;
            }
            if number < count {
                after = after.one_of(&digit);
            }
        }
        false
    };
    let first = Places::start(pattern).one_of(&|byte| (b'1'..=b'9').contains(&byte));
    if digits_after(&first, max.len() - 2) {
        return true;
    }
    // Of the same length: equal to the largest number up to some digit, and smaller there.
    let mut same = Places::start(pattern);
    for (at, own) in max.bytes().enumerate() {
        let lowest = if at == 0 { b'1' } else { b'0' };
        let smaller = same.clone().one_of(&|byte| (lowest..own).contains(&byte));
        let left = max.len() - at - 1;
        let all = (0..left).fold(smaller, |places, _| places.one_of(&digit));
        if all.is_end() {
            return true;
        }
        same.byte(own);
    }
    same.is_end()
}

impl Places<'_> {
    /// Reads one allowed byte.
    fn one_of(self, allowed: &dyn Fn(u8) -> bool) -> Self {
        let mut next = Self { pattern: self.pattern, at: vec![false; self.pattern.len() + 1] };
        for place in (0..self.at.len()).filter(|place| self.at.get(*place) == Some(&true)) {
            let rest = self.pattern.get(place..).unwrap_or_default();
            if rest.first() == Some(&b'*') {
                next.set(place);
            } else if takes(rest, allowed) {
                next.set(place + token_len(rest));
            }
        }
        next
    }
}

/// Minimum length of a matching name.
pub(crate) fn shortest(mut pattern: &[u8]) -> usize {
    let mut count = 0;
    while let Some(first) = pattern.first() {
        count += usize::from(*first != b'*');
        pattern = pattern.get(token_len(pattern)..).unwrap_or_default();
    }
    count
}

/// Returns whether the last token is a star.
fn ends_open(mut pattern: &[u8]) -> bool {
    let mut is_star = false;
    while let Some(first) = pattern.first() {
        is_star = *first == b'*';
        pattern = pattern.get(token_len(pattern)..).unwrap_or_default();
    }
    is_star
}

/// Matches the beginning of a name, after which `more` bytes may follow.
pub(crate) fn match_beginning(pattern: &[u8], begin: &[u8], more: &dyn Fn(u8) -> bool) -> Match {
    if ends_open(pattern) && matches(pattern, begin) {
        return Match::Yes;
    }
    let is_possible = Places::start(pattern).bytes(begin).any(more).is_end();
    if is_possible { Match::Maybe } else { Match::No }
}

/// Matches the end of an absolute path. The preceding directories are unknown, and with `is_cut` also the end of the
/// last component.
pub(crate) fn match_path_end(pattern: &[u8], end: &[u8], is_cut: bool) -> Match {
    let mut possible = Places::directory(pattern).bytes(end);
    if is_cut {
        possible = possible.any(&is_name_byte);
    }
    if !possible.is_end() {
        return Match::No;
    }
    // A star matches any unknown prefix.
    let stars = |pattern: &[u8]| pattern.iter().take_while(|byte| **byte == b'*').count();
    let has_tail = |rest: &[u8], end: &[u8]| (0..=end.len()).any(|at| matches(rest, end.get(at..).unwrap_or_default()));
    let known = [b"/", end].concat();
    let is_certain = match pattern {
        [b'*', ..] => has_tail(pattern.get(stars(pattern)..).unwrap_or_default(), &known),
        [b'/', rest @ ..] if stars(rest) > 0 => has_tail(rest.get(stars(rest)..).unwrap_or_default(), end),
        _ => false,
    };
    if is_certain && (!is_cut || ends_open(pattern)) { Match::Yes } else { Match::Maybe }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        Match, Places, can_be_number, can_be_path, is_name_byte, match_beginning, match_path_end, matches, shortest,
    };

    /// The known end of a path is undecided only where the directories matter.
    #[test]
    fn path_end_is_undecided_only_by_directories() {
        for (pattern, end, is_cut, wanted) in [
            ("/usr/bin/dash", "dash", false, Match::Maybe),
            ("/dash", "dash", false, Match::Maybe),
            ("/usr/bin/bash", "dash", false, Match::No),
            ("/usr/bin/dash", "bin/dash", false, Match::Maybe),
            ("/usr/bin/dash", "sbin/dash", false, Match::No),
            ("/usr/bin/mydash", "dash", false, Match::No),
            ("*/dash", "dash", false, Match::Yes),
            ("*dash", "dash", false, Match::Yes),
            ("*/bin/dash", "dash", false, Match::Maybe),
            ("/*", "dash", false, Match::Yes),
            ("/*/dash", "dash", false, Match::Maybe),
            ("/*dash", "dash", false, Match::Yes),
            ("/usr/*", "dash", false, Match::Maybe),
            ("/usr//dash", "dash", false, Match::No),
            ("/opt/a-long-na?e", "a-long-na", true, Match::Maybe),
            ("/opt/b-long-name", "a-long-na", true, Match::No),
            ("/*/a-long-name/x", "a-long-na", true, Match::No),
            ("*/a-*", "a-long-na", true, Match::Yes),
            ("*/a-*e", "a-long-na", true, Match::Maybe),
            ("*/a-long-na", "a-long-na", true, Match::Maybe),
        ] {
            let found = match_path_end(pattern.as_bytes(), end.as_bytes(), is_cut);
            assert_eq!(found, wanted, "{pattern} {end} {is_cut}");
        }
    }

    /// Patterns that no path can match are detected.
    #[test]
    fn pattern_that_matches_no_path_is_detected() {
        for (pattern, can) in [
            ("/", true),
            ("/usr/bin/dash", true),
            ("*", true),
            ("*bin", true),
            ("[/]usr", true),
            ("??", true),
            ("usr/bin/dash", false),
            ("/usr//bin", false),
            ("/usr/", false),
            ("*/", true),
            ("", false),
            ("a*", false),
            ("/a/*/", false),
        ] {
            assert_eq!(can_be_path(pattern.as_bytes()), can, "{pattern}");
        }
    }

    proptest! {
        /// A definite result for the end of a path holds for every completion.
        #[test]
        fn definite_result_on_path_end_holds_for_completions(
            pattern in "[ab/*?]{1,7}",
            front in "(/[ab]{1,2}){0,2}/",
            end in "[ab]{1,2}(/[ab]{1,2})?",
            more in "[ab]{0,2}",
            is_cut: bool,
        ) {
            let whole = format!("{front}{end}{}", if is_cut { more.as_str() } else { "" });
            let answer = match_path_end(pattern.as_bytes(), end.as_bytes(), is_cut);
            let is_match = matches(pattern.as_bytes(), whole.as_bytes());
            prop_assert!(answer == Match::Maybe || answer == Match::certain(is_match), "{} {}: {:?}", pattern, whole, answer);
        }

        /// A definite result for a beginning holds for every completion, and an undecided one has a matching
        /// completion.
        #[test]
        fn definite_result_on_beginning_holds_for_completions(pattern in "[ab*?]{1,6}", begin in "[ab]{0,3}", more in "[ab]{0,3}") {
            let answer = match_beginning(pattern.as_bytes(), begin.as_bytes(), &is_name_byte);
            let is_match = matches(pattern.as_bytes(), format!("{begin}{more}").as_bytes());
            prop_assert!(answer == Match::Maybe || answer == Match::certain(is_match), "{} {}{}", pattern, begin, more);
        }

        /// The state set agrees with complete matching.
        #[test]
        fn states_agree_with_matching(pattern in "[ab*?\\[\\]!\\\\]{0,8}", name in "[ab\\[\\]]{0,6}") {
            let ends = Places::start(pattern.as_bytes()).bytes(name.as_bytes()).is_end();
            prop_assert_eq!(ends, matches(pattern.as_bytes(), name.as_bytes()));
        }

        /// A path or number that matches is reported as possible and is not shorter than the minimum length.
        #[test]
        fn matching_name_is_possible(
            pattern in "[/a0-9*?]{0,6}",
            path in "(/[a0-9]{1,3}){1,2}",
            number: u32,
            digits in "[0-9*?]{1,10}",
        ) {
            if matches(pattern.as_bytes(), path.as_bytes()) {
                prop_assert!(can_be_path(pattern.as_bytes()) && shortest(pattern.as_bytes()) <= path.len());
            }
            let text = number.to_string();
            for digits in [digits, format!("{}*", &text[..1]), text.clone()] {
                if matches(digits.as_bytes(), text.as_bytes()) {
                    prop_assert!(can_be_number(digits.as_bytes()), "{} {}", digits, number);
                }
            }
        }
    }

    /// Patterns that match no canonical 32-bit number are detected.
    #[test]
    fn pattern_that_matches_no_number_is_detected() {
        for (pattern, can) in [
            ("0", true),
            ("1000", true),
            ("4294967295", true),
            ("10??", true),
            ("1*", true),
            ("*", true),
            ("?", true),
            ("42949672??", true),
            ("00", false),
            ("0*0", false),
            ("0*", true),
            ("4294967296", false),
            ("429496730?", false),
            ("5?????????", false),
            ("99999999999", false),
            (" 1", false),
            ("1 ", false),
            ("+1", false),
            ("-1", false),
            ("1a", false),
            ("", false),
        ] {
            assert_eq!(can_be_number(pattern.as_bytes()), can, "{pattern:?}");
        }
    }
}
