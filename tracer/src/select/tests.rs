use super::{ChainFilter, Field, Match, Pattern, PatternError, Selected, Selector, Subject};
use crate::{
    chain::{Item, samples},
    event::{Body, Event},
};

fn selector(patterns: &[(Field, &str)]) -> Selector {
    let mut selector = Selector::default();
    for (field, pattern) in patterns {
        selector.add(Pattern::new(*field, pattern).unwrap());
    }
    selector
}

fn selects(item: &Item, patterns: &[(Field, &str)]) -> bool {
    selector(patterns).selects_item(item)
}

/// Each field matches its values in the chain and in nested chains, and nothing else.
#[test]
fn field_of_each_kind_matches_its_values() {
    let cases = [
        (samples::outage(), Field::Module, "nf_conntrack", "nf_nat"),
        (samples::outage(), Field::Module, "nf-conn*", "xt_*"),
        (samples::nested(), Field::Module, "aesni_intel", "aes_x86_64"),
        (samples::nested(), Field::Module, "dm_broken", "dm_mod"),
        (samples::unload(), Field::Module, "nf_conntrack", "nf_nat"),
        (samples::failed_unload(), Field::Module, "nf_conntrack", "nf_nat"),
        (samples::failed_unload(), Field::Comm, "bash", "zsh"),
        (samples::outage(), Field::Alias, "iptable-nat", "iptable_filter"),
        (samples::nested(), Field::Alias, "crypto-*", "fs-*"),
        (samples::not_found(), Field::Alias, "fs-nosuch??", "nosuchfs"),
        (samples::outage(), Field::Family, "ipv4 table", "crypto*"),
        (samples::outage(), Field::Comm, "iptables", "ip6*"),
        (samples::by_hand(), Field::Comm, "iptables", "bash"),
        (samples::by_hand(), Field::Comm, "modprobe", "insmod"),
        (samples::outage(), Field::Exe, "xtables-legacy-multi", "iptables"),
        (samples::outage(), Field::Exe, "/usr/sbin/*", "/usr/bin/*"),
        (samples::outage(), Field::Pid, "557", "55"),
        (samples::outage(), Field::Pid, "512", "513"),
        (samples::outage(), Field::Uid, "root", "alice"),
        (samples::not_found(), Field::Uid, "1000", "0"),
        (samples::outage(), Field::Login, "alice", "none"),
        (samples::outage(), Field::Login, "1000", "0"),
        (samples::not_found(), Field::Login, "none", "root"),
        (samples::unload(), Field::Login, "n?ne", "alice"),
        (samples::not_found(), Field::Result, "not-found", "loaded"),
        (samples::outage(), Field::Origin, "request", "explicit"),
        (samples::by_hand(), Field::Origin, "explicit", "request"),
        (samples::unload(), Field::Origin, "explicit", "udev"),
        (samples::failed_unload(), Field::Origin, "explicit", "udev"),
    ];
    for (item, field, finds, misses) in cases {
        assert!(selects(&item, &[(field, finds)]), "{} {finds}", field.name());
        assert!(!selects(&item, &[(field, misses)]), "{} {misses}", field.name());
        assert!(!selects(&item, &[(field, &format!("!{finds}"))]), "{} !{finds}", field.name());
        assert!(selects(&item, &[(field, &format!("!{misses}"))]), "{} !{misses}", field.name());
    }
}

/// A value that was not seen, or seen in part, is undetermined and counted: only a refusal selects it.
#[test]
fn unseen_value_is_undetermined() {
    let Item::Chain(mut by_hand) = samples::by_hand() else { unreachable!("it is a chain") };
    let unseen = |change: &dyn Fn(&mut crate::chain::Chain)| {
        let Item::Chain(mut chain) = samples::outage() else { unreachable!("it is a chain") };
        change(&mut chain);
        Item::Chain(chain)
    };
    for ancestor in &mut by_hand.modules[0].load.ancestors {
        ancestor.exe = Some("dash".into());
    }
    let by_hand = Item::Chain(by_hand);
    let no_exe = unseen(&|chain| chain.request.as_mut().unwrap().process.exe = None);
    let no_request = unseen(&|chain| chain.request = None);
    let no_end = unseen(&|chain| chain.result = None);
    let no_login_name = unseen(&|chain| chain.request.as_mut().unwrap().process.login_user = None);
    let no_login = unseen(&|chain| chain.request.as_mut().unwrap().process.loginuid = None);
    let Item::Chain(mut unset) = no_login else { unreachable!("it is a chain") };
    unset.request.as_mut().unwrap().process.no_login = false;
    let no_login = Item::Chain(unset);
    let named_none = unseen(&|chain| chain.request.as_mut().unwrap().process.login_user = Some("none".into()));
    for (item, field, pattern, matches, selects) in [
        (&no_login_name, Field::Login, "1000", Match::Yes, true),
        (&no_login_name, Field::Login, "0", Match::No, false),
        (&no_login_name, Field::Login, "none", Match::No, false),
        (&no_login_name, Field::Login, "alice", Match::Maybe, false),
        (&no_login, Field::Login, "none", Match::Maybe, false),
        (&no_login, Field::Login, "!0", Match::Maybe, true),
        (&named_none, Field::Login, "none", Match::No, false),
        (&named_none, Field::Login, "1000", Match::Yes, true),
        (&by_hand, Field::Exe, "/usr/bin/dash", Match::Maybe, false),
        (&by_hand, Field::Exe, "!/usr/bin/dash", Match::Maybe, true),
        (&by_hand, Field::Exe, "dash", Match::Yes, true),
        (&by_hand, Field::Exe, "!dash", Match::No, false),
        (&by_hand, Field::Exe, "/usr/bin/bash", Match::No, false),
        (&no_exe, Field::Exe, "/usr/bin/dash", Match::Maybe, false),
        (&no_exe, Field::Comm, "iptables", Match::Yes, true),
        (&no_request, Field::Alias, "iptable_nat", Match::Maybe, false),
        (&no_request, Field::Alias, "!iptable_nat", Match::Maybe, true),
        (&no_request, Field::Uid, "1000", Match::No, false),
        (&no_request, Field::Unit, "ssh.service", Match::Maybe, false),
        (&no_end, Field::Result, "loaded", Match::Maybe, false),
        (&no_end, Field::Result, "unknown", Match::Yes, true),
    ] {
        let selector = selector(&[(field, pattern)]);
        let found = (selector.matches_item(item), selector.selects_item(item));
        assert_eq!(found, (matches, selects), "{} {pattern}", field.name());
        let Item::Chain(chain) = item else { unreachable!("it is a chain") };
        let undecided = if matches == Match::Maybe { vec![field] } else { Vec::new() };
        assert_eq!(selector.undecided(&Subject::chain(chain)), undecided, "{} {pattern}", field.name());
    }
    let mut filter = ChainFilter::new(selector(&[(Field::Container, "docker:*")]));
    stream().into_iter().for_each(|event| filter.push(event));
    filter.finish();
    assert_eq!(filter.undecided(), 2);
}

/// A chain is attributed to the requester of its root, not to a helper that made a nested request.
#[test]
fn nested_requester_is_not_matched() {
    assert!(selects(&samples::nested(), &[(Field::Comm, "cryptsetup")]));
    assert!(!selects(&samples::nested(), &[(Field::Comm, "modprobe")]));
}

/// Repeated fields are ORed, different fields are ANDed, and refused patterns take precedence over wanted ones.
#[test]
fn patterns_of_several_fields_combine() {
    let outage = samples::outage();
    let (conntrack, other) = ((Field::Module, "nf_conntrack"), (Field::Module, "other"));
    let (iptables, mount) = ((Field::Comm, "iptables"), (Field::Comm, "mount"));
    assert!(selects(&outage, &[]));
    assert!(selects(&outage, &[conntrack, other]));
    assert!(selects(&outage, &[conntrack, iptables]));
    assert!(!selects(&outage, &[conntrack, mount]));
    assert!(selects(&outage, &[conntrack, (Field::Module, "!other")]));
    assert!(!selects(&outage, &[conntrack, (Field::Module, "!iptable_*")]));
}

/// A selector argument equals its parts, and an invalid one has an error with the reason.
#[test]
fn selector_argument_is_parsed() {
    let outage: Selector = "module=nf_conntrack,comm=iptables".parse().unwrap();
    assert!(outage.selects_item(&samples::outage()) && !outage.selects_item(&samples::nested()));
    for (text, error) in [
        ("nf_conntrack", "invalid selector \"nf_conntrack\": expected FIELD=GLOB, e.g. module=nf_conntrack"),
        ("mod=x", "unknown field \"mod\": expected one of module, alias, family,"),
        ("module=", "invalid pattern \"\": expected a name"),
    ] {
        let said = text.parse::<Selector>().unwrap_err().to_string();
        assert!(said.starts_with(error), "{said}");
    }
}

/// Items about the stream itself are never filtered.
#[test]
fn loss_is_always_selected() {
    assert!(selects(&samples::loss(), &[(Field::Module, "nothing")]));
}

/// A pattern that can never match is rejected with a suggestion.
#[test]
fn pattern_that_never_matches_is_rejected() {
    assert_eq!(Pattern::new(Field::Comm, "!"), Err(PatternError::Empty));
    assert_eq!(Pattern::new(Field::Module, "[a"), Err(PatternError::Bracket { pattern: "[a".to_owned() }));
    assert_eq!(Pattern::new(Field::Pid, "1*"), Err(PatternError::NotANumber { pattern: "1*".to_owned() }));
    let unknown = Pattern::new(Field::Result, "success").unwrap_err().to_string();
    assert!(unknown.starts_with("invalid result \"success\": expected one of loaded, already-loaded,"), "{unknown}");
    assert!(Pattern::new(Field::Family, "nonsense").is_err());
    assert!(Pattern::new(Field::Origin, "[!e]*").is_ok());
}

/// A container matches by its full name, its id, and the digits that engines print.
#[test]
fn container_matches_by_short_id() {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let value = format!("docker:{id}");
    for (pattern, fits) in [
        (value.as_str(), true),
        (id, true),
        ("docker:*", true),
        ("0123456789ab", true),
        ("0123", false),
        ("web", false),
    ] {
        assert_eq!(Pattern::new(Field::Container, pattern).unwrap().fits(value.as_bytes()), fits, "{pattern}");
    }
}

/// The events of one request and the result of another, interleaved.
fn stream() -> Vec<Event> {
    let mut events = Vec::new();
    for (item, at) in [(samples::outage(), 1_000), (samples::not_found(), 3_000)] {
        let Item::Chain(chain) = item else { unreachable!("it is a chain") };
        let crate::chain::ChainKey::Request(id) = chain.key else { unreachable!("it is a request") };
        let event = |body| Event { seq: 0, time: chain.time, boot_ns: at, request: Some(id), body };
        events.push(event(Body::Request(Box::new(chain.request.unwrap()))));
        events.extend(chain.modules.into_iter().map(|module| event(Body::Load(Box::new(module.load)))));
        events.push(event(Body::Result(chain.result.unwrap())));
    }
    // Both are in flight at the same time.
    let last = events.len() - 1;
    events[1..last].rotate_right(1);
    let Item::Event(loss) = samples::loss() else { unreachable!("it is an event") };
    events.insert(2, *loss);
    (0..).zip(events).map(|(seq, event)| Event { seq, ..event }).collect()
}

fn filtered(selector: Selector) -> Vec<Selected> {
    let mut filter = ChainFilter::new(selector);
    stream().into_iter().for_each(|event| filter.push(event));
    filter.finish();
    std::iter::from_fn(|| filter.next_selected()).collect()
}

/// Without a selector, all events are returned in order, before their chain.
#[test]
fn filter_without_selector_returns_all_events_at_once() {
    let out = filtered(Selector::default());
    let events: Vec<Event> = out
        .iter()
        .filter_map(|selected| match selected {
            Selected::Event(event) => Some(event.as_ref().clone()),
            Selected::Item(_) => None,
        })
        .collect();
    assert_eq!(events, stream());
    assert_eq!(out.len() - events.len(), 3, "two chains and a loss");
}

/// With a selector, the events of selected chains are complete and in order, and losses are included.
#[test]
fn filter_with_selector_keeps_events_of_a_chain_together() {
    let out = filtered(selector(&[(Field::Comm, "mount")]));
    let kinds: Vec<&str> = out
        .iter()
        .map(|selected| match selected {
            Selected::Event(event) => match &event.body {
                Body::Loss(_) => "loss",
                Body::Request(_) => "request",
                Body::Result(_) => "result",
                _ => "other",
            },
            Selected::Item(Item::Chain(_)) => "chain",
            Selected::Item(Item::Event(_)) => "event",
        })
        .collect();
    assert_eq!(kinds, ["loss", "event", "request", "result", "chain"]);
}
