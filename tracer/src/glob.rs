//! Patterns of module aliases: fnmatch(3) without flags, and the name normalization of libkmod.

mod partial;

pub use partial::Match;
pub(crate) use partial::{Places, can_be_number, can_be_path, match_beginning, match_path_end, shortest};

/// Normalizes a name like libkmod: `-` becomes `_`, but not inside brackets. `None` if the brackets are not balanced,
/// which modprobe rejects.
#[must_use]
pub fn normalize(name: &[u8]) -> Option<Vec<u8>> {
    let mut in_brackets = false;
    let mut normal = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b']' if !in_brackets => return None,
            b']' => in_brackets = false,
            b'[' => in_brackets = true,
            _ => {}
        }
        normal.push(if *byte == b'-' && !in_brackets { b'_' } else { *byte });
    }
    (!in_brackets).then_some(normal)
}

/// Returns whether the complete name matches the pattern. Both must be normalized.
#[must_use]
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern_at, mut name_at) = (0, 0);
    // Backtracking position: if the rest after the last `*` does not match, that `*` takes one byte more.
    let mut retry = None;
    loop {
        let rest = pattern.get(pattern_at..).unwrap_or_default();
        if rest.first() == Some(&b'*') {
            pattern_at += 1;
            retry = Some((pattern_at, name_at));
            continue;
        }
        match name.get(name_at) {
            None if rest.is_empty() => return true,
            None => return false,
            Some(byte) => {
                if let Some(used) = match_one(rest, *byte) {
                    pattern_at += used;
                    name_at += 1;
                    continue;
                }
            }
        }
        let Some((after_star, taken)) = retry else { return false };
        retry = Some((after_star, taken + 1));
        (pattern_at, name_at) = (after_star, taken + 1);
    }
}

/// Length of the pattern token that matches this byte; `None` if it does not match.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', set @ ..] => match match_set(set, byte) {
            Some((used, is_in)) => is_in.then_some(1 + used),
            // Without an end it is a literal bracket.
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Length of the set including its `]`, and whether it contains the byte. `None` if the set has no end.
fn match_set(set: &[u8], byte: u8) -> Option<(usize, bool)> {
    let is_negated = matches!(set.first(), Some(b'!' | b'^'));
    let mut at = usize::from(is_negated);
    let first = at;
    let mut is_in = false;
    loop {
        let low = *set.get(at)?;
        // At the beginning of a set `]` is a member.
        if low == b']' && at > first {
            return Some((at + 1, is_in != is_negated));
        }
        match (set.get(at + 1), set.get(at + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                is_in |= (low..=*high).contains(&byte);
                at += 3;
            }
            _ => {
                is_in |= low == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{matches, normalize};

    /// Names are normalized only outside of brackets, and unbalanced brackets are rejected.
    #[test]
    fn normalize_replaces_dashes_outside_brackets() {
        assert_eq!(normalize(b"net-pf-30").as_deref(), Some(&b"net_pf_30"[..]));
        assert_eq!(normalize(b"usb:d[0-9]-x").as_deref(), Some(&b"usb:d[0-9]_x"[..]));
        assert_eq!(normalize(b"a]"), None);
        assert_eq!(normalize(b"a["), None);
    }

    /// Patterns match like fnmatch(3).
    #[test]
    fn glob_matches_like_fnmatch() {
        let cases: [(&str, &str, bool); 22] = [
            ("vfat", "vfat", true),
            ("vfat", "vfa", false),
            ("vfa", "vfat", false),
            ("*", "", true),
            ("pci:v*d*sv*", "pci:v8086d1234sv0", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("net_pf_?", "net_pf_9", true),
            ("net_pf_?", "net_pf_29", false),
            ("d[0-9]", "d7", true),
            ("d[0-9a-f]", "dc", true),
            ("d[!0-9]", "d7", false),
            ("d[^0-9]", "dx", true),
            ("[]a]", "]", true),
            ("[]a]", "a", true),
            ("[a-]", "-", true),
            ("[abc", "[abc", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("**x", "x", true),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    proptest! {
        /// A name without special bytes matches itself, also with an inserted star.
        #[test]
        fn glob_of_plain_name_matches_itself(front in "[a-z0-9_]{0,12}", middle in "[a-z]{0,6}", back in "[a-z0-9_]{0,12}") {
            let name = format!("{front}{middle}{back}");
            prop_assert!(matches(name.as_bytes(), name.as_bytes()));
            let pattern = format!("{front}*{back}");
            prop_assert!(matches(pattern.as_bytes(), name.as_bytes()));
        }

        /// Matching any pattern and name terminates.
        #[test]
        fn glob_of_any_form_terminates(pattern in "[ab*?\\[\\]!^\\\\-]{0,24}", name in "[ab\\[\\]-]{0,24}") {
            let _ = matches(pattern.as_bytes(), name.as_bytes());
        }
    }
}
