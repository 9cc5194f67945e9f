//! The complete engine: policies in TOML and events in, verdicts out.

use proptest::prelude::*;

use super::{Judge, Kernel, Learner, Lookup, Outcome, Policy, SkipReason, State, UnknownKernel, Verdict, parse};
use crate::{
    chain::{Chain, ChainKey, Item, samples},
    event::{Attribution, Baseline, Body, End, Event, Header, HeaderHook, Outcome as Ending, Status, Text},
    stream::Pipeline,
};

mod evidence;
mod expectations;
mod files;
mod learning;
mod unseen;

const NAME: &str = "policy.toml";

fn policy(rules: &str) -> Policy {
    parse(&format!("version = 1\n{rules}"), NAME).unwrap()
}

/// A header with every hook that a verdict needs, and others.
fn header(others: &[HeaderHook]) -> Body {
    let is_other = |name: &str| others.iter().any(|other| other.hook == name);
    let needed = ["request", "helper", "load", "init", "result"].into_iter().filter(|name| !is_other(name));
    let hooks = needed.map(|name| HeaderHook {
        hook: name.to_owned(),
        attached: Some("kprobe".to_owned()),
        target: String::new(),
        missing: None,
    });
    let hooks = hooks.chain(others.iter().cloned()).collect();
    Body::Header(Box::new(Header {
        schema: 1,
        tool: "kmodtrace".to_owned(),
        kernel: "6.1.0".to_owned(),
        modprobe: "/sbin/modprobe".to_owned(),
        hooks,
        ..Header::default()
    }))
}

/// The events of chains, with header, baseline and end.
fn stream(chains: &[Chain]) -> Vec<Event> {
    let mut bodies = vec![
        (None, header(&[])),
        (None, Body::Baseline(Baseline { modules: vec!["loop".to_owned(), "x_tables".to_owned()] })),
    ];
    chains.iter().for_each(|chain| events(chain, &mut bodies));
    let count = |is: fn(&Body) -> bool| bodies.iter().filter(|(_, body)| is(body)).count() as u64;
    let requests = count(|body| matches!(body, Body::Request(_)));
    let loads = count(|body| matches!(body, Body::Load(_)));
    bodies.push((None, Body::End(End { requests, loads, ..End::default() })));
    let time = "2026-03-01T12:04:31.201Z".parse().unwrap();
    let event = |(seq, (request, body))| Event { seq, time, boot_ns: 1_000 + seq, request, body };
    (0..).zip(bodies).map(event).collect()
}

fn events(chain: &Chain, bodies: &mut Vec<(Option<crate::event::RequestId>, Body)>) {
    let (id, loader) = match chain.key {
        ChainKey::Request(id) => (Some(id), None),
        ChainKey::Loader(loader) => (None, Some(loader)),
    };
    bodies.extend(chain.request.clone().map(|request| (id, Body::Request(Box::new(request)))));
    bodies.extend(chain.helper.clone().map(|helper| (id, Body::Helper(helper))));
    for module in &chain.modules {
        bodies.push((id, Body::Load(Box::new(module.load.clone()))));
        bodies.extend(module.init.clone().map(|init| (id, Body::Init(init))));
    }
    chain.nested.iter().for_each(|nested| events(nested, bodies));
    let result = chain.result.clone().unwrap_or_else(|| Ending::new(Status::Loaded, Attribution::exact()));
    bodies.push((id, Body::Result(Ending { loader, ..result })));
}

fn chain(item: Item) -> Chain {
    match item {
        Item::Chain(chain) => Chain { incomplete: Vec::new(), ..*chain },
        Item::Event(_) => unreachable!("it is a chain"),
    }
}

/// iptables requests iptable_nat, which loads three modules; mount requests an unknown alias; a modprobe is started by a
/// user.
fn usual() -> Vec<Chain> {
    vec![chain(samples::by_hand()), chain(samples::outage()), chain(samples::not_found())]
}

fn judge_events(policy: Policy, events: Vec<Event>, kernel: &dyn Kernel) -> Verdict {
    let mut pipeline = Pipeline::new(Judge::new(policy));
    let stream = pipeline.begin("");
    events.into_iter().for_each(|event| pipeline.event(stream, event).unwrap());
    pipeline.finish().unwrap().0.finish(kernel)
}

fn judge(rules: &str, chains: &[Chain]) -> Verdict {
    judge_events(policy(rules), stream(chains), &UnknownKernel("unused".to_owned()))
}

fn state<'a>(verdict: &'a Verdict, rule: &str) -> &'a State {
    &verdict.rules.iter().find(|verdict| verdict.rule.name == rule).unwrap().state
}

/// A rule for an alias applies to the dependencies that were loaded for it, and the first match decides.
#[test]
fn first_matching_rule_decides_on_every_module() {
    let rules = "[[rule]]\nname='ct'\naction='deny'\nmodule='nf-conntrack'\nreason='costs memory'\n\
        [[rule]]\nname='nat'\naction='allow'\nalias='iptable_nat'\n[[rule]]\naction='allow'\norigin='explicit'\n";
    let verdict = judge(rules, &usual());
    assert_eq!(verdict.outcome, Outcome::Violated);
    assert_eq!((verdict.counts.loads, verdict.counts.unloaded_requests), (5, 1));
    assert_eq!((verdict.counts.allowed, verdict.counts.denied), (5, 1));
    assert_eq!((state(&verdict, "ct"), state(&verdict, "nat")), (&State::Violated, &State::Held));
    let finding = &verdict.rules[0].findings[0];
    assert_eq!(finding.module, Some(Text::from("nf_conntrack")));
    assert_eq!(finding.requester.as_ref().unwrap().process.argv[0], Text::from("iptables"));
}

/// A failed unload, which unprivileged users may attempt, does not make a verdict undetermined.
#[test]
fn failed_unload_does_not_affect_the_verdict() {
    let Item::Event(failed) = samples::failed_unload() else { unreachable!("it is an event") };
    let mut events = stream(&usual());
    events.insert(2, *failed);
    (0..).zip(&mut events).for_each(|(seq, event)| event.seq = seq);
    let verdict = judge_events(policy("default='allow'"), events, &UnknownKernel(String::new()));
    assert_eq!((verdict.outcome, verdict.undetermined), (Outcome::Holds, Vec::new()));
}

/// By default, a load that no rule matches is denied, and a request that loaded nothing is allowed.
#[test]
fn policy_default_denies_loads_only() {
    let verdict = judge("", &usual());
    assert_eq!((verdict.outcome, verdict.counts.denied, verdict.counts.allowed), (Outcome::Violated, 5, 1));
    assert_eq!(judge("default='allow'", &usual()).outcome, Outcome::Holds);
    let verdict = judge("default='allow'\ndefault_unloaded='deny'", &usual());
    assert_eq!((verdict.outcome, verdict.counts.denied), (Outcome::Violated, 1));
    assert_eq!(judge("", &[chain(samples::not_found())]).outcome, Outcome::Holds);
}

/// Exceptions expire on their day, deny rules do not, and the message names what expired.
#[test]
fn exception_after_its_day_expires() {
    // The chains are from 2026-03-01.
    for (rule, outcome) in [
        ("action='allow'\nexpires=2026-03-01", Outcome::Holds),
        ("action='allow'\nexpires='2026-02-28'", Outcome::Violated),
        ("action='ignore'\nexpires=2026-02-28", Outcome::Violated),
    ] {
        let verdict = judge(&format!("[[rule]]\nname='old'\n{rule}\n"), &usual());
        assert_eq!(verdict.outcome, outcome, "{rule}");
        if outcome == Outcome::Violated {
            let default = verdict.rules.last().unwrap();
            assert_eq!(default.findings.iter().filter(|finding| finding.expired.as_deref() == Some("old")).count(), 5);
        }
    }
    let verdict = judge("default='allow'\n[[rule]]\naction='deny'\nmodule='nf_*'\nexpires=2026-02-28\n", &usual());
    assert_eq!(verdict.outcome, Outcome::Violated);
}

proptest! {
    /// The first rule always decides, the order of rules that do not match is irrelevant, and every load is counted once.
    #[test]
    fn first_rule_decides_and_counts_each_load_once(actions in proptest::collection::vec(0..3_usize, 0..6), modules in proptest::collection::vec(0..4_usize, 6)) {
        let names = ["nf_*", "x_tables", "*", "tipc"];
        let mut rules = String::new();
        for (action, module) in actions.iter().zip(&modules) {
            let action = ["allow", "deny", "ignore"][*action];
            rules.push_str(&format!("[[rule]]\naction='{action}'\nmodule='{}'\n", names[*module]));
        }
        let verdict = judge(&rules, &usual());
        let counts = verdict.counts;
        prop_assert_eq!(counts.allowed + counts.denied + counts.ignored, counts.loads + counts.unloaded_requests);
        let found: usize = verdict.rules.iter().map(|rule| rule.findings.len()).sum();
        prop_assert_eq!(u64::try_from(found).unwrap(), counts.loads + counts.unloaded_requests);
        let front = format!("[[rule]]\nname='front'\naction='deny'\nmodule='nf_conntrack'\n{rules}");
        prop_assert_eq!(judge(&front, &usual()).outcome, Outcome::Violated);
        let unrelated = format!("[[rule]]\nname='front'\naction='deny'\nmodule='no_such'\n{rules}");
        prop_assert_eq!(judge(&unrelated, &usual()).counts, counts);
    }
}
