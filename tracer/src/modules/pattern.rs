//! Patterns of alias families: printf forms and globs.

use std::collections::HashSet;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A literal byte; `-` equals `_`, as in modprobe.
    Literal(u8),
    /// `%d`, `%i`, `%u`: a decimal number.
    Decimal,
    /// `%x`, `%04x`, `%02X`: a hexadecimal number.
    Hexadecimal,
    /// `%s`: any text that is not empty.
    Text,
    /// `*`: any text.
    Any,
}

/// A pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Part>);

impl Pattern {
    /// Parses a printf format. `None` for an unknown conversion.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            parts.push(match byte {
                b'*' => Part::Any,
                // Width and precision are ignored.
                b'%' => match bytes.find(|byte| !matches!(byte, b'0'..=b'9' | b'.'))? {
                    b'd' | b'i' | b'u' => Part::Decimal,
                    b'x' | b'X' => Part::Hexadecimal,
                    b's' => Part::Text,
                    _ => return None,
                },
                literal => Part::Literal(normal(literal)),
            });
        }
        (!parts.is_empty()).then_some(Self(parts))
    }

    /// Number of literal bytes.
    pub(super) fn literal_bytes(&self) -> usize {
        self.0.iter().filter(|part| matches!(part, Part::Literal(_))).count()
    }

    /// Whether only one name matches, apart from `-` and `_`.
    pub(super) fn is_literal(&self) -> bool {
        self.literal_bytes() == self.0.len()
    }

    /// The values in a matching name, in order, including those of `*`. `None` if the name does not match.
    pub(super) fn values<'a>(&self, name: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        // Most patterns do not match a name, and most of these differ in the first byte.
        if let (Some(Part::Literal(literal)), first) = (self.0.first(), name.first())
            && first.is_none_or(|first| normal(*first) != *literal)
        {
            return None;
        }
        let mut search = Search { parts: &self.0, name, values: Vec::new(), dead: HashSet::new() };
        search.run(0, 0).then_some(search.values)
    }

    /// A name that matches.
    #[cfg(test)]
    pub(super) fn example(&self) -> String {
        let example = |part: &Part| match part {
            Part::Literal(byte) => char::from(*byte).to_string(),
            Part::Decimal => "7".to_owned(),
            Part::Hexadecimal => "0a".to_owned(),
            Part::Text => "zzz".to_owned(),
            Part::Any => "z".to_owned(),
        };
        self.0.iter().map(example).collect()
    }
}

/// A search for the values of one name.
struct Search<'a, 'p> {
    parts: &'p [Part],
    name: &'a [u8],
    values: Vec<&'a [u8]>,
    /// Positions (part, byte) without a match: this keeps many wildcards from taking exponential time.
    dead: HashSet<(usize, usize)>,
}

impl Search<'_, '_> {
    fn run(&mut self, part_at: usize, at: usize) -> bool {
        let rest = self.name.get(at..).unwrap_or_default();
        let (least, most) = match self.parts.get(part_at) {
            None => return rest.is_empty(),
            Some(Part::Literal(literal)) => {
                return rest.first().is_some_and(|byte| normal(*byte) == *literal) && self.run(part_at + 1, at + 1);
            }
            Some(Part::Decimal) => (1, count(rest, u8::is_ascii_digit)),
            Some(Part::Hexadecimal) => (1, count(rest, u8::is_ascii_hexdigit)),
            Some(Part::Text) => (1, rest.len()),
            Some(Part::Any) => (0, rest.len()),
        };
        if self.dead.contains(&(part_at, at)) {
            return false;
        }
        let known = self.values.len();
        // The longest value first: `net-pf-%d` matches `net-pf-30` with 30.
        let found = (least..=most).rev().any(|len| {
            self.values.truncate(known);
            self.values.extend(self.name.get(at..at + len));
            self.run(part_at + 1, at + len)
        });
        if !found {
            self.dead.insert((part_at, at));
        }
        found
    }
}

fn count(name: &[u8], is_part: impl Fn(&u8) -> bool) -> usize {
    name.iter().take_while(|byte| is_part(byte)).count()
}

const fn normal(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn values(pattern: &str, name: &str) -> Option<Vec<String>> {
        let pattern = Pattern::parse(pattern).unwrap();
        let values = pattern.values(name.as_bytes())?;
        Some(values.into_iter().map(|value| String::from_utf8(value.to_vec()).unwrap()).collect())
    }

    fn some(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|text| (*text).to_owned()).collect())
    }

    /// Each kind of part matches its values.
    #[test]
    fn pattern_of_each_kind_gives_its_values() {
        assert_eq!(values("net-pf-%d", "net-pf-30"), some(&["30"]));
        assert_eq!(values("net-pf-%d", "net_pf_30"), some(&["30"]));
        assert_eq!(values("net-pf-%d", "net-pf-30-x"), None);
        assert_eq!(values("net-pf-%d", "net-pf-"), None);
        assert_eq!(values("binfmt-%04x", "binfmt-464c"), some(&["464c"]));
        assert_eq!(values("crypto-%s-all", "crypto-a-b-all"), some(&["a-b"]));
        assert_eq!(values("nft-expr-%u-%s", "nft-expr-2-ct"), some(&["2", "ct"]));
        assert_eq!(values("usb:v*p*", "usb:v1p"), some(&["1", ""]));
        assert_eq!(values("bridge", "bridge"), some(&[]));
    }

    /// Many wildcards on a name that almost matches terminate quickly.
    #[test]
    fn pattern_with_many_wildcards_terminates() {
        let name = format!("usb:{}", "vpdcs".repeat(40));
        assert_eq!(values("usb:v*p*d*dc*dsc*dp*ic*isc*ip*in*", &name), None);
    }

    /// An unknown conversion is rejected.
    #[test]
    fn pattern_with_unknown_conversion_is_rejected() {
        assert!(Pattern::parse("a-%q").is_none());
        assert!(Pattern::parse("a-%").is_none());
        assert!(Pattern::parse("").is_none());
    }
}
