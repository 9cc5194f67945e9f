//! Patterns of alias families: printf forms and globs.

use std::collections::HashSet;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// As it stands; `-` equals `_`, as for modprobe.
    Literal(u8),
    /// `%d`, `%i`, `%u`: a decimal number.
    Decimal,
    /// `%x`, `%04x`, `%02X`: a hexadecimal number.
    Hexadecimal,
    /// `%s`: anything but nothing.
    Text,
    /// `*`: anything.
    Any,
}

/// A pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Part>);

impl Pattern {
    /// Reads a printf form. `None` for one that is not known.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            parts.push(match byte {
                b'*' => Part::Any,
                // Width and precision do not matter.
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

    /// How much of a name it says.
    pub(super) fn literal_bytes(&self) -> usize {
        self.0.iter().filter(|part| matches!(part, Part::Literal(_))).count()
    }

    /// The values of a name of this pattern, in order; those of `*` too. `None` when it is not of this pattern.
    pub(super) fn values<'a>(&self, name: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        // Most patterns are not of this name, and most of those differ from it where they begin.
        if let (Some(Part::Literal(literal)), first) = (self.0.first(), name.first())
            && first.is_none_or(|first| normal(*first) != *literal)
        {
            return None;
        }
        let mut search = Search { parts: &self.0, name, values: Vec::new(), dead: HashSet::new() };
        search.run(0, 0).then_some(search.values)
    }

    /// A name of this pattern.
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
    /// Places (part, byte) that lead nowhere: without them ten stars would take for ever.
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
        // The longest first: `net-pf-%d` of `net-pf-30` is 30.
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

    /// Each kind of part takes what it should.
    #[test]
    fn takes_values() {
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

    /// Many stars on a name that almost fits end at once.
    #[test]
    fn many_stars_end() {
        let name = format!("usb:{}", "vpdcs".repeat(40));
        assert_eq!(values("usb:v*p*d*dc*dsc*dp*ic*isc*ip*in*", &name), None);
    }

    /// A form that is not known is no pattern, rather than one that matches by chance.
    #[test]
    fn refuses_unknown_forms() {
        assert!(Pattern::parse("a-%q").is_none());
        assert!(Pattern::parse("a-%").is_none());
        assert!(Pattern::parse("").is_none());
    }
}
