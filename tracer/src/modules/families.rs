//! The families of names that the kernel requests, and what causes each request; from a data file.

use std::{cmp::Reverse, collections::HashMap, sync::LazyLock};

use serde::Serialize;

use super::pattern::Pattern;
use crate::event::Text;

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    rows(include_str!("../../data/alias-families.tsv")).filter_map(|row| Family::parse(&row)).collect()
});

/// Each pattern with its family: what says most of a name literally comes first, else what stands first in the file.
static PATTERNS: LazyLock<Vec<(&Pattern, &Family)>> = LazyLock::new(|| {
    let patterns = FAMILIES.iter().flat_map(|family| family.patterns.iter().map(move |pattern| (pattern, family)));
    let mut patterns: Vec<_> = patterns.collect();
    patterns.sort_by_key(|(pattern, _)| Reverse(pattern.literal_bytes()));
    patterns
});

static NUMBERS: LazyLock<HashMap<(&str, &str), &str>> = LazyLock::new(|| {
    let rows = rows(include_str!("../../data/alias-numbers.tsv"));
    rows.filter_map(|row| match row.as_slice() {
        [table, number, name] => Some(((*table, *number), *name)),
        _ => None,
    })
    .collect()
});

/// The rows of a data file, without comments.
pub(super) fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// Who can cause a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Access {
    /// Root only, or hardware.
    Root,
    /// Whoever has access to a device node.
    DeviceNode,
    /// Root of a user namespace: any user, if unprivileged user namespaces are allowed.
    UserNamespace,
    /// Any user.
    Anyone,
}

impl Access {
    /// A description for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Root => "root, or hardware that appears",
            Self::DeviceNode => "whoever may open the device node",
            Self::UserNamespace => "root of a user namespace",
            Self::Anyone => "anyone",
        }
    }
}

/// A family of aliases.
#[derive(Debug)]
pub struct Family {
    patterns: Vec<Pattern>,
    /// The patterns, as in the kernel source.
    pub pattern: &'static str,
    /// What its aliases stand for.
    pub name: &'static str,
    /// The action that causes the request, with `{...}` for values.
    action: &'static str,
    /// Who can cause it.
    pub access: Access,
    /// Kernel file and function.
    pub source: &'static str,
    /// Versions and examples.
    pub notes: &'static str,
}

impl Family {
    fn parse(row: &[&'static str]) -> Option<Self> {
        let [pattern, name, action, access, source, notes] = row else { return None };
        let access = match *access {
            "yes" => Access::Anyone,
            "userns" => Access::UserNamespace,
            "unknown" => Access::DeviceNode,
            "no" => Access::Root,
            _ => return None,
        };
        let patterns = pattern.split('|').map(Pattern::parse).collect::<Option<_>>()?;
        Some(Self { patterns, pattern, name, action, access, source, notes })
    }

    /// All families.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &FAMILIES
    }
}

/// An alias and the family it belongs to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The family.
    pub family: &'static Family,
    /// The action that causes a request for this alias.
    pub action: String,
}

/// Finds the family of an alias: of several matches, the one with the most literal bytes. `None` if the kernel has no such
/// family: for example if a module is requested by its own name.
#[must_use]
pub fn find(alias: &Text) -> Option<Explanation> {
    let (family, values) = family_and_values(alias)?;
    Some(Explanation { family, action: fill(family.action, alias, &values) })
}

/// The family of an alias, as [`find`].
#[must_use]
pub fn family(alias: &Text) -> Option<&'static Family> {
    family_and_values(alias).map(|(family, _)| family)
}

fn family_and_values(alias: &Text) -> Option<(&'static Family, Vec<&[u8]>)> {
    PATTERNS.iter().find_map(|(pattern, family)| Some((*family, pattern.values(alias.as_bytes())?)))
}

/// The action that causes a request for an alias: `socket(AF_TIPC): ...`.
#[must_use]
pub fn explain(alias: &Text) -> Option<String> {
    find(alias).map(|explanation| format!("{} ({})", explanation.action, explanation.family.name))
}

/// Inserts values into an action: `{0}` is the alias, `{1}` the first value, `{1:af}` its name in a table of numbers.
fn fill(action: &str, alias: &Text, values: &[&[u8]]) -> String {
    let mut sentence = String::new();
    let mut rest = action;
    while let Some((before, place, after)) = next_place(rest) {
        sentence.push_str(before);
        let (index, table) = place.split_once(':').map_or((place, None), |(index, table)| (index, Some(table)));
        let value = match index.parse::<usize>().ok().map(|index| index.checked_sub(1)) {
            Some(None) => Some(printable(alias.as_bytes())),
            Some(Some(index)) => values.get(index).map(|value| printable(value)),
            None => None,
        };
        let value = value.unwrap_or_else(|| "?".to_owned());
        let name = table.and_then(|table| NUMBERS.get(&(table, value.as_str())));
        sentence.push_str(name.unwrap_or(&value.as_str()));
        rest = after;
    }
    sentence.push_str(rest);
    sentence
}

/// Splits at the first `{...}`.
fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (place, after) = rest.split_once('}')?;
    Some((before, place, after))
}

/// Values come from an untrusted requester.
fn printable(value: &[u8]) -> String {
    value.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Access, FAMILIES, Family, NUMBERS, explain, find, next_place, rows};
    use crate::event::Text;

    /// Every line of both files is parsed.
    #[test]
    fn every_row_of_the_data_is_parsed() {
        let families = rows(include_str!("../../data/alias-families.tsv")).count();
        assert_eq!(FAMILIES.len(), families);
        assert!(families > 150, "{families}");
        let numbers = rows(include_str!("../../data/alias-numbers.tsv")).count();
        assert_eq!(NUMBERS.len(), numbers, "a number has two names, or a line is broken");
    }

    /// An alias created from each pattern belongs to a family with at least as many literal bytes, and its action has no
    /// unfilled place.
    #[test]
    fn example_of_every_family_is_explained() {
        for family in Family::all() {
            for pattern in &family.patterns {
                let alias = Text::from(pattern.example());
                let found = find(&alias).unwrap_or_else(|| panic!("{alias:?} of {}", family.pattern));
                let found_bytes = found.family.patterns.iter().map(super::Pattern::literal_bytes).max();
                assert!(found_bytes >= Some(pattern.literal_bytes()), "{alias:?}: {}", found.family.pattern);
                assert!(!found.action.contains(['{', '}']) && !found.action.contains("?"), "{}", found.action);
            }
            let mut rest = family.action;
            while let Some((_, place, after)) = next_place(rest) {
                let table = place.split_once(':').map(|(_, table)| table);
                assert!(table.is_none_or(|table| NUMBERS.keys().any(|key| key.0 == table)), "{table:?}");
                rest = after;
            }
        }
    }

    /// Numbers of well-known aliases are replaced by their names.
    #[test]
    fn well_known_alias_has_names_for_numbers() {
        let cases = [
            ("net-pf-30", "socket(AF_TIPC)"),
            ("net_pf_30", "socket(AF_TIPC)"),
            ("net-pf-2-proto-132-type-1", "socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP)"),
            ("net-pf-16-proto-12", "socket(AF_NETLINK, ..., NETLINK_NETFILTER)"),
            ("net-pf-16-proto-16-family-wireguard", "\"wireguard\""),
            ("net-pf-16-proto-4-type-2-6", "IPPROTO_TCP sockets of AF_INET"),
            ("net-pf-99", "socket(99)"),
            ("fs-vfat", "mount of the file system type \"vfat\""),
            ("iptable_nat", "iptables -t nat"),
            ("ip6table_nat", "ip6tables -t nat"),
            ("char-major-10-200", "/dev/net/tun"),
            ("char-major-21-3", "character device 21:3"),
            ("crypto-xts(aes)-all", "\"xts(aes)\""),
            ("crypto-xts(aes)", "\"xts(aes)\""),
            ("rtnl-link-dummy", "ip link add ... type dummy"),
            ("nfnetlink-subsys-10", "nf_tables"),
            ("tty-ldisc-3", "N_PPP"),
            ("usb:v1D6Bp0002d0510dc09dsc00dp01ic09isc00ip00in00", "device appears"),
        ];
        for (alias, part) in cases {
            let sentence = explain(&Text::from(alias)).unwrap_or_else(|| panic!("{alias}"));
            assert!(sentence.contains(part), "{alias}: {sentence}");
        }
    }

    /// A plain module name has no family, and access differs between families.
    #[test]
    fn plain_module_name_has_no_family() {
        assert_eq!(explain(&Text::from("no_such_module")), None);
        assert_eq!(explain(&Text::default()), None);
        assert_eq!(find(&Text::from("net-pf-30")).unwrap().family.access, Access::Anyone);
        assert_eq!(find(&Text::from("fs-vfat")).unwrap().family.access, Access::UserNamespace);
    }

    proptest! {
        /// Any alias is accepted, and the explanation is printable.
        #[test]
        fn any_alias_has_a_printable_explanation(front in "(fs-|crypto-|net-pf-|usb:|)", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut alias = front.into_bytes();
            alias.extend(bytes);
            if let Some(sentence) = explain(&Text::from(alias.as_slice())) {
                prop_assert!(sentence.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{sentence:?}");
            }
        }
    }
}
