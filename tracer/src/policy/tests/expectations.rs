//! Expectations: reasons for unmet ones, unknown kernels, several hosts and boots.

use super::{
    Judge, Kernel, Lookup, Outcome, SkipReason, State, UnknownKernel, judge_events, policy, state, stream, usual,
};
use crate::{event::Body, stream::Pipeline};

/// A kernel with a built-in module, a loadable one and a blocked one.
pub(super) struct Small;

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
