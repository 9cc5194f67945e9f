//! Sample verdicts for the tests of all formats.

use proptest::prelude::*;

use crate::{
    chain::{Chain, ChainKey, Item, samples},
    event::{Body, End, Event, Process, Text},
    policy::{Judge, Kernel, Lookup, Verdict, parse},
    stream::Pipeline,
};

const POLICY: &str = "version = 1
[[rule]]
name = 'no conntrack'
action = 'deny'
module = 'nf_conntrack'
reason = 'it costs memory'
[[rule]]
name = 'nat'
action = 'allow'
alias = 'iptable_nat'
[[rule]]
name = 'nothing'
action = 'allow'
module = 'tipc'
[[rule]]
name = 'tables'
action = 'expect'
module = 'loop'
[[rule]]
name = 'sctp'
action = 'expect'
module = 'sctp'
[[rule]]
name = 'by mount'
action = 'ignore'
comm = 'mount'
";

fn chains() -> Vec<Chain> {
    [samples::by_hand(), samples::outage(), samples::not_found()]
        .into_iter()
        .filter_map(|item| match item {
            Item::Chain(chain) => Some(*chain),
            Item::Event(_) => None,
        })
        .collect()
}

/// A kernel that has every module.
struct Loadable;

impl Kernel for Loadable {
    fn look_up(&self, name: &str) -> Lookup {
        Lookup::Modules(vec![name.to_owned()])
    }
}

fn judge(policy: &str, name: &str, chains: &[Chain]) -> Verdict {
    let mut pipeline = Pipeline::new(Judge::new(parse(policy, name).unwrap()));
    let stream = pipeline.begin("");
    let mut bodies = vec![
        (
            None,
            serde_json::from_str(
                r#"{"type":"header","schema":1,"tool":"","kernel":"","kernel_version":"","arch":"","hostname":"",
                "boot_id":"","modprobe":"","realtime_minus_boot_ns":0,"clock_uncertainty_ns":0,"hooks":[{"hook":"request","attached":"kprobe","target":""},{"hook":"helper","attached":"kprobe","target":""},
                {"hook":"load","attached":"kprobe","target":""},{"hook":"init","attached":"fexit","target":""},
                {"hook":"result","attached":"fexit","target":""}]}"#,
            )
            .unwrap(),
        ),
        (None, serde_json::from_str(r#"{"type":"baseline","modules":["loop"]}"#).unwrap()),
    ];
    for chain in chains {
        let (id, loader) = match chain.key {
            ChainKey::Request(id) => (Some(id), None),
            ChainKey::Loader(loader) => (None, Some(loader)),
        };
        bodies.extend(chain.request.clone().map(|request| (id, Body::Request(Box::new(request)))));
        for module in &chain.modules {
            bodies.push((id, Body::Load(Box::new(module.load.clone()))));
            bodies.extend(module.init.clone().map(|init| (id, Body::Init(init))));
        }
        bodies
            .extend(chain.result.clone().map(|result| (id, Body::Result(crate::event::Outcome { loader, ..result }))));
    }
    let count = |is: fn(&Body) -> bool| bodies.iter().filter(|(_, body)| is(body)).count() as u64;
    let requests = count(|body| matches!(body, Body::Request(_)));
    let loads = count(|body| matches!(body, Body::Load(_)));
    bodies.push((None, Body::End(End { requests, loads, ..End::default() })));
    for (seq, (request, body)) in (0..).zip(bodies) {
        let event = Event { seq, time: "2026-03-01T12:04:31.201Z".parse().unwrap(), boot_ns: seq, request, body };
        pipeline.event(stream, event).unwrap();
    }
    pipeline.finish().unwrap().0.finish(&Loadable)
}

/// A verdict with every kind of rule, violated.
pub(super) fn mixed() -> Verdict {
    judge(POLICY, "autoload.toml", &chains())
}

fn text() -> impl Strategy<Value = Text> {
    let tricky = [
        "\nnot ok 1 x",
        "ok 2",
        "# SKIP",
        "#",
        "- ",
        "::error::",
        "##[error]",
        "%0A",
        "]]>",
        "<",
        "&",
        "\"",
        "'",
        "\u{1b}[2J",
        "\u{0}",
        "\u{ffff}",
        "\u{fffe}",
        "\u{202e}",
        ",",
        "=",
        ":",
        "    ",
        "KTAP version 1",
        "1..9",
        "a",
    ];
    let piece = prop_oneof![
        4 => proptest::sample::select(tricky.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
    ];
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| Text::from(pieces.concat().as_slice()))
}

prop_compose! {
    /// Verdicts with names, including rule names, that attack a format.
    pub(super) fn hostile()(
        names in proptest::collection::vec(text(), 8),
        rule in text(),
        file in text(),
        lost: bool,
        denied: bool,
    ) -> Verdict {
        let mut chains = chains();
        let mut names = names.into_iter();
        let mut next = || names.next().unwrap();
        let request = chains[1].request.as_mut().unwrap();
        request.name = next();
        request.explanation = Some(next().field());
        request.ancestors[0].comm = next();
        request.process = Process { comm: next(), exe: Some(next()), argv: vec![next()], ..request.process.clone() };
        chains[1].modules[0].load.module = next();
        chains[1].modules[0].init = None;
        chains[2].result.as_mut().unwrap().detail = Some(next().field());
        let action = if denied { "deny" } else { "allow" };
        let rule = toml::Value::from(rule.field());
        let rules = format!(
            "version = 1\ndefault_unloaded = \"deny\"\n[[rule]]\nname = {rule}\nreason = {rule}\naction = \"{action}\"\norigin = \"request\"\nresult = \"loaded\"\n\
             [[rule]]\naction = \"expect\"\nmodule = \"loop\"\n"
        );
        // Empty rule names are invalid.
        let rules = if rule.as_str().is_some_and(|name| name.trim().is_empty()) { rules.replacen(&rule.to_string(), "'x'", 1) } else { rules };
        let mut verdict = judge(&rules, &file.field(), &chains);
        if !lost {
            // The unfinished init of the sample is irrelevant here.
            verdict.undetermined.clear();
        } else {
            verdict.undetermined.push(file.field());
        }
        verdict
    }
}
