//! The families of names that the kernel requests, and what causes each request; from a data file.

use std::{cmp::Reverse, collections::HashMap, sync::LazyLock};

use serde::Serialize;

use super::pattern::Pattern;
use crate::event::{Frame, Text};

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    rows(include_str!("../../data/alias-families.tsv")).filter_map(|row| Family::parse(&row)).collect()
});

/// Each pattern with its family: patterns with the most literal bytes first, then in the order of the file.
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

/// The users that can cause a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Access {
    /// Root only, or hardware.
    Root,
    /// Users with access to a device node.
    DeviceNode,
    /// Root of a user namespace: any user, if unprivileged user namespaces are allowed.
    UserNamespace,
    /// Any user.
    Anyone,
}

impl Access {
    /// A description.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Root => "root, or new hardware",
            Self::DeviceNode => "users who may open the device node",
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
    /// The meaning of its aliases.
    pub name: &'static str,
    /// The action that causes the request, with `{...}` for values.
    action: &'static str,
    /// The users that can cause it.
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

    /// The kernel functions that make its requests.
    fn callers(&self) -> impl Iterator<Item = &'static str> {
        self.source
            .split([';', ' '])
            .filter_map(|place| place.split_once(".c:"))
            .flat_map(|(_, names)| names.split(','))
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

/// What is known about the family of a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Membership {
    /// It belongs to this family.
    Of(&'static Family),
    /// It belongs to no family.
    None,
    /// Its name alone does not say, and the function that made it is unknown.
    Unknown,
}

/// Frames of a request's kernel stack that are compared with the functions of a family: the compiler merges functions.
const CALLER_FRAMES: usize = 4;

/// The functions that try the name of a network interface as the name of a module: net/core/dev_ioctl.c, `dev_load`, which the
/// compiler merges into `dev_ioctl`.
const INTERFACE_CALLERS: [&str; 2] = ["dev_load", "dev_ioctl"];

/// The reason for a request that one of [`INTERFACE_CALLERS`] makes without a prefix.
const INTERFACE: &str = "an interface name that does not exist, tried as a module name (needs CAP_SYS_MODULE): ioctl of ip, ifconfig and others";

/// The family of a request with this kernel stack, innermost frame first. A name without a prefix says nothing by itself: any
/// function may ask for a module by its name.
#[must_use]
pub fn membership(alias: &Text, stack: &[Frame]) -> Membership {
    let Some((family, pattern, _)) = matching(alias) else { return Membership::None };
    if !pattern.is_literal() {
        return Membership::Of(family);
    }
    let callers: Vec<&str> = stack.iter().take(CALLER_FRAMES).filter_map(function).collect();
    let Some(caller) = callers.first() else { return Membership::Unknown };
    // The requests of some families are made by many drivers.
    let is_of_any = family.callers().next().is_none() && !INTERFACE_CALLERS.contains(caller);
    let is_of_family = is_of_any || family.callers().any(|of_family| callers.contains(&of_family));
    if is_of_family { Membership::Of(family) } else { Membership::None }
}

/// The action that caused a request with this kernel stack, innermost frame first.
#[must_use]
pub fn explain_request(alias: &Text, stack: &[Frame]) -> Option<String> {
    let is_prefixed =
        matching(alias).is_some_and(|(family, ..)| family.callers().any(|of_family| of_family == "dev_load"));
    let caller = stack.first().and_then(function);
    if caller.is_some_and(|caller| INTERFACE_CALLERS.contains(&caller)) && !is_prefixed && !alias.is_empty() {
        return Some(INTERFACE.to_owned());
    }
    match membership(alias, stack) {
        Membership::Of(_) => explain(alias),
        Membership::None | Membership::Unknown => None,
    }
}

/// The function of a frame, without the suffixes of the compiler (`.isra.0`).
fn function(frame: &Frame) -> Option<&str> {
    frame.symbol.as_deref().and_then(|symbol| symbol.split('.').next())
}

fn family_and_values(alias: &Text) -> Option<(&'static Family, Vec<&[u8]>)> {
    matching(alias).map(|(family, _, values)| (family, values))
}

fn matching(alias: &Text) -> Option<(&'static Family, &'static Pattern, Vec<&[u8]>)> {
    PATTERNS.iter().find_map(|(pattern, family)| Some((*family, *pattern, pattern.values(alias.as_bytes())?)))
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

    use super::{
        Access, FAMILIES, Family, Membership, NUMBERS, explain, explain_request, find, membership, next_place, rows,
    };
    use crate::event::{Frame, Text};

    /// Every line of both files is parsed.
    #[test]
    fn every_row_of_the_data_is_parsed() {
        let families = rows(include_str!("../../data/alias-families.tsv")).count();
        assert_eq!(FAMILIES.len(), families);
        assert!(families > 150, "{families}");
        let numbers = rows(include_str!("../../data/alias-numbers.tsv")).count();
        assert_eq!(NUMBERS.len(), numbers, "a number has two names, or a line is invalid");
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

    fn stack(functions: &[&str]) -> Vec<Frame> {
        let frame = |function: &&str| Frame {
            address: "0xffffffff81000000".to_owned(),
            symbol: Some((*function).to_owned()),
            offset: Some(1),
            module: None,
        };
        functions.iter().map(frame).collect()
    }

    /// A name without a prefix belongs to a family only if a function of the family made the request.
    #[test]
    fn plain_name_needs_a_function_of_its_family() {
        let reason = |alias: &str, functions: &[&str]| explain_request(&Text::from(alias), &stack(functions));
        for (alias, right, part) in [
            ("br_netfilter", "physdev_mt_check", "physdev"),
            ("bridge", "br_ioctl_call.isra.0", "brctl"),
            ("bridge", "sock_ioctl", "brctl"),
            ("8021q", "sock_ioctl", "vconfig"),
        ] {
            assert!(reason(alias, &[right, "x"]).is_some_and(|found| found.contains(part)), "{alias} by {right}");
            assert!(reason(alias, &["x", right]).is_some_and(|found| found.contains(part)), "{alias} by {right}");
            assert_eq!(reason(alias, &["some_driver_probe"]), None);
            assert_eq!(reason(alias, &[]), None);
            assert!(matches!(membership(&Text::from(alias), &[]), Membership::Unknown));
            assert!(matches!(membership(&Text::from(alias), &stack(&["x"])), Membership::None));
        }
        assert!(reason("net-pf-30", &["x"]).is_some_and(|found| found.contains("AF_TIPC")));
    }

    /// A name that `dev_load` tries is an interface name, whatever family it looks like.
    #[test]
    fn name_tried_by_dev_load_is_an_interface_name() {
        for alias in ["br_netfilter", "8021q", "bridge", "ip_tables", "eth99", "tcp_x", "fb0"] {
            for function in ["dev_load", "dev_ioctl"] {
                let found = explain_request(&Text::from(alias), &stack(&[function, "sock_ioctl"])).unwrap();
                assert!(found.starts_with("an interface name that does not exist"), "{alias}: {found}");
            }
        }
        let prefixed = explain_request(&Text::from("netdev-eth99"), &stack(&["dev_ioctl"])).unwrap();
        assert!(prefixed.contains("\"eth99\""), "{prefixed}");
    }

    /// A family with a name without a prefix names the functions that make its requests, unless many drivers do; none of these
    /// is `dev_load`.
    #[test]
    fn family_with_a_plain_name_has_callers() {
        let plain = Family::all().iter().filter(|family| family.patterns.iter().any(super::Pattern::is_literal));
        let sources = plain.filter(|family| family.callers().next().is_none()).map(|family| family.source);
        assert_eq!(sources.filter(|source| !source.contains("/*")).collect::<Vec<_>>(), Vec::<&str>::new());
        let tuner = Text::from("tuner");
        assert!(matches!(membership(&tuner, &stack(&["some_probe"])), Membership::Of(_)));
        assert!(matches!(membership(&tuner, &stack(&["dev_ioctl"])), Membership::None));
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
