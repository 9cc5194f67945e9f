//! The complete engine: policies in TOML and events in, verdicts out.

use proptest::prelude::*;

use super::{Judge, Kernel, Learner, Lookup, Outcome, Policy, SkipReason, State, UnknownKernel, Verdict, parse};
use crate::{
    chain::{Chain, ChainKey, Item, samples},
    event::{Attribution, Baseline, Body, End, Event, Header, HeaderHook, Outcome as Ending, Process, Status, Text},
    stream::Pipeline,
};

mod files;
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

/// Incomplete evidence gives an error.
#[test]
fn gap_in_the_evidence_is_an_error() {
    let whole = || stream(&usual());
    let unknown = UnknownKernel(String::new());
    let verdict = |events: Vec<Event>| judge_events(policy("default='allow'"), events, &unknown);
    assert_eq!(verdict(whole()).outcome, Outcome::Holds);
    for at in 0..whole().len() {
        let mut events = whole();
        events.remove(at);
        assert_eq!(verdict(events).outcome, Outcome::Error, "without event {at}");
    }
    assert_eq!(verdict(Vec::new()).outcome, Outcome::Error);

    let with = |change: &dyn Fn(&mut Event)| {
        let mut events = whole();
        events.iter_mut().for_each(change);
        let verdict = verdict(events);
        (verdict.outcome, verdict.undetermined.join("; "))
    };
    let (outcome, undetermined) = with(&|event| {
        if matches!(event.body, Body::Baseline(_)) {
            let Item::Event(loss) = samples::loss() else { unreachable!("it is an event") };
            event.body = loss.body;
        }
    });
    assert!(outcome == Outcome::Error && undetermined.contains("3 records were lost in the kernel"), "{undetermined}");
    let (outcome, undetermined) = with(&|event| {
        if let Body::Load(load) = &mut event.body {
            load.attribution = Attribution::unknown();
        }
    });
    assert!(
        outcome == Outcome::Error && undetermined.contains("the cause of the load of \"x_tables\" is unknown"),
        "{undetermined}"
    );
    let hook = |hook: &str, attached: Option<&str>| HeaderHook {
        hook: hook.to_owned(),
        attached: attached.map(str::to_owned),
        target: String::new(),
        missing: attached.is_none().then(|| "the kernel refused".to_owned()),
    };
    for (hook, outcome) in [
        (hook("load", None), Outcome::Error),
        (hook("load", Some("kprobe")), Outcome::Holds),
        (hook("kthread", None), Outcome::Error),
        (hook("file", None), Outcome::Holds),
    ] {
        let hooks = || vec![hook.clone()];
        let found = with(&|event| {
            if matches!(event.body, Body::Header(_)) {
                event.body = header(&hooks());
            }
        });
        assert_eq!(found.0, outcome, "{hook:?}: {}", found.1);
    }
}

/// A filtered capture is no evidence, and loads of kernel threads out of scope are reported.
#[test]
fn filtered_capture_is_undetermined() {
    let judge = |change: &dyn Fn(&mut Event), strays: &[Event]| {
        let mut pipeline = Pipeline::new(Judge::new(policy("default='allow'")));
        let id = pipeline.begin("");
        for mut event in stream(&usual()) {
            change(&mut event);
            pipeline.event(id, event).unwrap();
        }
        strays.iter().for_each(|event| pipeline.consumer().out_of_scope(event));
        pipeline.finish().unwrap().0.finish(&UnknownKernel(String::new())).outcome
    };
    let filtered = |event: &mut Event| {
        if let Body::Header(header) = &mut event.body {
            header.filters = vec!["module=tipc".to_owned()];
        }
    };
    assert_eq!(judge(&filtered, &[]), Outcome::Error);
    // The same chain out of scope: by another process, by a kernel thread, and by one with a known creator.
    let out_of_scope = |change: &dyn Fn(&mut Process), behalf: bool| {
        let mut outage = chain(samples::outage());
        let request = outage.request.as_mut().unwrap();
        change(&mut request.process);
        if behalf {
            let nested = chain(samples::nested());
            request.behalf = nested.nested[1].request.as_ref().unwrap().behalf.clone();
        }
        let events = stream(&[outage]);
        events[2..events.len() - 1].to_vec()
    };
    let kthread = |process: &mut Process| process.kthread = true;
    assert_eq!(judge(&|_| {}, &out_of_scope(&|_| {}, false)), Outcome::Holds);
    assert_eq!(judge(&|_| {}, &out_of_scope(&kthread, false)), Outcome::Error);
    assert_eq!(judge(&|_| {}, &out_of_scope(&kthread, true)), Outcome::Holds);
}

/// An unseen field makes a rule undetermined only if that changes the result.
#[test]
fn unseen_field_matters_only_if_it_decides() {
    // The executable of the loader was not seen.
    let mut by_hand = chain(samples::by_hand());
    by_hand.modules.iter_mut().for_each(|module| module.load.process.exe = None);
    for (rules, outcome) in [
        ("[[rule]]\naction='deny'\nexe='/bin/evil'\n[[rule]]\naction='allow'\n", Outcome::Error),
        ("[[rule]]\naction='allow'\nexe='/bin/good'\n[[rule]]\naction='allow'\n", Outcome::Holds),
        ("[[rule]]\naction='allow'\n[[rule]]\naction='deny'\nexe='/bin/evil'\n", Outcome::Holds),
        ("[[rule]]\naction='deny'\nexe='/bin/evil'\nmodule='tipc'\n[[rule]]\naction='allow'\n", Outcome::Holds),
        ("[[rule]]\naction='allow'\nexe='/bin/good'\n", Outcome::Error),
        ("[[rule]]\naction='deny'\nexe='/bin/evil'\n", Outcome::Violated),
    ] {
        let verdict = judge(rules, std::slice::from_ref(&by_hand));
        assert_eq!(verdict.outcome, outcome, "{rules}: {:?}", verdict.undetermined);
    }
}

/// A kernel with a built-in module, a loadable one and a blocked one.
struct Small;

impl Kernel for Small {
    fn look_up(&self, name: &str) -> Lookup {
        match name {
            "ext4" | "fs-ext4" => Lookup::BuiltIn,
            "tipc" | "net-pf-30" => Lookup::Modules(vec!["tipc".to_owned()]),
            "fs-loop" => Lookup::Modules(vec!["loop".to_owned()]),
            "sctp" => Lookup::Blocked("install sctp /bin/false in modprobe.d".to_owned()),
            _ => Lookup::Missing,
        }
    }
}

/// The reason of an unmet expectation distinguishes built-in, loaded before, missing and not requested.
#[test]
fn unmet_expectation_has_a_reason() {
    let skipped = |skip_reason, why: &str| State::Skipped { skip_reason, why: why.to_owned() };
    let unmet = |why: &str| State::Unmet { why: why.to_owned() };
    for (rule, wanted) in [
        ("module='nf_conntrack'", State::Held),
        ("alias='iptable_nat'", State::Held),
        ("module='ext4'", skipped(SkipReason::BuiltIn, "ext4 is built into the kernel")),
        ("alias='fs-ext4'", skipped(SkipReason::BuiltIn, "fs-ext4 is built into the kernel")),
        ("module='loop'", skipped(SkipReason::AlreadyLoaded, "loop was loaded before tracing began")),
        ("module='lo*'", skipped(SkipReason::AlreadyLoaded, "loop was loaded before tracing began")),
        ("alias='fs-loop'", skipped(SkipReason::AlreadyLoaded, "fs-loop: loop was loaded before tracing began")),
        ("module='tipc'", unmet("it was not requested")),
        ("alias='net-pf-30'\nskip=['missing']", unmet("it was not requested")),
        ("module='ext4'\nskip=[]", unmet("ext4 is built into the kernel")),
        ("module='gone'", unmet("this kernel has no module for gone")),
        ("module='gone'\nskip=['missing']", skipped(SkipReason::Missing, "this kernel has no module for gone")),
        ("alias='fs-nosuchfs'", unmet("the request for fs-nosuchfs ended not-found (no module provides it)")),
        ("alias='fs-nosuchfs'\nresult='not-found'", State::Held),
        (
            "module='sctp'",
            unmet("it was not requested, and sctp is blocked on this system: install sctp /bin/false in modprobe.d"),
        ),
    ] {
        let rules = format!("default='allow'\n[[rule]]\nname='it'\naction='expect'\n{rule}\n");
        let verdict = judge_events(policy(&rules), stream(&usual()), &Small);
        assert_eq!(state(&verdict, "it"), &wanted, "{rule}");
        let outcome = if matches!(wanted, State::Unmet { .. }) { Outcome::Violated } else { Outcome::Holds };
        assert_eq!(verdict.outcome, outcome, "{rule}");
    }
}

/// An unmet expectation is undetermined if it is unknown whether the kernel could meet it, and violated if the rule has no
/// skip reasons.
#[test]
fn expectation_of_unknown_kernel_is_undetermined() {
    let open = "it was not requested, and it is unknown whether this kernel has ext4: it is not here";
    for (rule, outcome) in [
        ("module='ext4'", Outcome::Error),
        ("alias='ext4'", Outcome::Error),
        ("module='ext4'\nskip=[]", Outcome::Violated),
        ("module='ext*'", Outcome::Violated),
        ("module='loop'", Outcome::Holds),
        ("module='nf_conntrack'", Outcome::Holds),
    ] {
        let rules = format!("default='allow'\n[[rule]]\nname='it'\naction='expect'\n{rule}\n");
        let verdict = judge_events(policy(&rules), stream(&usual()), &UnknownKernel("it is not here".to_owned()));
        assert_eq!(verdict.outcome, outcome, "{rule}: {:?}", verdict.undetermined);
        let is_open = *state(&verdict, "it") == State::Undetermined { why: open.to_owned() };
        assert_eq!(is_open, outcome == Outcome::Error, "{rule}");
        assert_eq!(verdict.undetermined.iter().any(|reason| reason.contains(open)), is_open, "{rule}");
    }
}

/// An expectation applies to each host and boot: events on another host do not meet it, and streams of the same host and
/// boot are judged together.
#[test]
fn expectation_applies_to_each_host_and_boot() {
    type Part<'a> = (&'a str, &'a str, &'a [&'a str], bool);
    let judge = |parts: &[Part<'_>], skip: &str| {
        let rules = format!("default='allow'\n[[rule]]\nname='it'\naction='expect'\nmodule='nf_conntrack'\n{skip}\n");
        let mut pipeline = Pipeline::new(Judge::new(policy(&rules)));
        for (host, boot, loaded, does) in parts {
            let id = pipeline.begin(host);
            let chains = if *does { usual() } else { Vec::new() };
            for mut event in stream(&chains) {
                match &mut event.body {
                    Body::Header(header) => {
                        (header.hostname, header.boot_id) = ((*host).to_owned(), (*boot).to_owned());
                    }
                    Body::Baseline(baseline) => {
                        baseline.modules = loaded.iter().map(|name| (*name).to_owned()).collect();
                    }
                    _ => {}
                }
                pipeline.event(id, event).unwrap();
            }
        }
        let verdict = pipeline.finish().unwrap().0.finish(&Small);
        (verdict.outcome, state(&verdict, "it").clone())
    };
    let unmet = |why: &str| State::Unmet { why: why.to_owned() };
    let (a, b, c) = (("a", "1", &[][..], true), ("b", "1", &[][..], false), ("c", "1", &["nf_conntrack"][..], false));
    let missing = "this kernel has no module for nf_conntrack";
    let had = "nf_conntrack was loaded before tracing began";
    let skipped = || State::Skipped { skip_reason: SkipReason::AlreadyLoaded, why: had.to_owned() };
    for (parts, skip, wanted) in [
        (&[a][..], "", State::Held),
        (&[b], "", unmet(missing)),
        (&[a, b], "", unmet(&format!("on host \"b\": {missing}"))),
        (&[b, a], "", unmet(&format!("on host \"b\": {missing}"))),
        (&[b, c], "", unmet(&format!("on host \"b\": {missing}"))),
        (&[c], "", skipped()),
        (&[c, ("d", "1", &["nf_conntrack"], false)], "", skipped()),
        (&[a, c], "", State::Held),
        (&[c], "skip=[]", unmet(had)),
        (&[("a", "1", &[], false), a], "", State::Held),
        (&[("a", "1", &["nf_conntrack"], false), ("a", "1", &[], false)], "", skipped()),
        (&[a, ("a", "2", &[], false)], "", unmet(&format!("on host \"a\", boot \"2\": {missing}"))),
        (&[a, ("x\u{1b}[2J", "1", &[], false)], "", unmet(&format!("on host \"x\\u{{1b}}[2J\": {missing}"))),
    ] {
        let (outcome, state) = judge(parts, skip);
        assert_eq!(state, wanted, "{parts:?} {skip}");
        let is_unmet = matches!(wanted, State::Unmet { .. });
        assert_eq!(outcome, if is_unmet { Outcome::Violated } else { Outcome::Holds }, "{parts:?}");
    }
    let names: Vec<String> = (0..25).map(|number| format!("h{number:02}")).collect();
    let many: Vec<Part<'_>> = names.iter().map(|name| (name.as_str(), "1", &[][..], false)).collect();
    let (_, state) = judge(&many, "");
    let State::Unmet { why } = state else { panic!("{state:?}") };
    assert!(why.contains("on host \"h09\"") && !why.contains("h10") && why.ends_with("; and on 15 more"), "{why}");
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

/// A learned policy holds for its source, has no redundant rule, and names requesters.
#[test]
fn learned_policy_holds_and_is_minimal() {
    let mut learner = Learner::default();
    let chains = [usual(), vec![chain(samples::nested())]].concat();
    chains.iter().for_each(|chain| learner.chain(chain));
    let text = learner.policy(false);
    let learned = || parse(&text, NAME).unwrap();
    let unknown = UnknownKernel(String::new());
    let whole = judge_events(learned(), stream(&chains), &unknown);
    assert_eq!(whole.outcome, Outcome::Holds, "{text}\n{:?}", whole.undetermined);
    assert!(text.contains("exe = \"/usr/sbin/xtables-legacy-multi\""), "{text}");
    for spared in 0..learned().rules.len() {
        let mut policy = learned();
        policy.rules.remove(spared);
        assert_eq!(judge_events(policy, stream(&chains), &unknown).outcome, Outcome::Violated, "without rule {spared}");
    }
    let strict = parse(&learner.policy(true), NAME).unwrap();
    assert_eq!(judge_events(strict.clone(), stream(&chains), &unknown).outcome, Outcome::Holds);
    assert_eq!(judge_events(strict, stream(&usual()), &Small).outcome, Outcome::Violated);
}

fn hostile_text() -> impl Strategy<Value = Text> {
    let tricky: Vec<u8> = b"*?[]\\!\"'\n\xff\x00a#-_/ ,.ko\xe2\x80\xae".to_vec();
    proptest::collection::vec(prop_oneof![3 => proptest::sample::select(tricky), 1 => any::<u8>()], 1..70)
        .prop_map(|bytes| Text::from(bytes.as_slice()))
}

proptest! {
    /// A learned policy can be parsed and holds, whatever names modules and requesters have.
    #[test]
    fn learned_policy_of_any_name_holds(module in hostile_text(), exe in hostile_text(), comm in hostile_text(), has_exe: bool, is_path: bool) {
        let exe = if is_path { Text::from([b"/", exe.as_bytes()].concat().as_slice()) } else { exe };
        let mut outage = chain(samples::outage());
        outage.modules[0].load.module = module.clone();
        outage.modules[0].init.as_mut().unwrap().module = module;
        let process = &mut outage.request.as_mut().unwrap().process;
        *process = Process { exe: has_exe.then_some(exe), comm, kthread: !has_exe, ..process.clone() };
        let mut learner = Learner::default();
        learner.chain(&outage);
        let text = learner.policy(true);
        let policy = parse(&text, NAME).unwrap();
        let verdict = judge_events(policy, stream(&[outage]), &UnknownKernel(String::new()));
        prop_assert_eq!(verdict.outcome, Outcome::Holds, "{}\n{:?}", text, verdict.undetermined);
    }

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
