//! Verdicts on incomplete evidence: gaps, filters, loads out of scope, unseen fields.

use super::{Judge, Outcome, UnknownKernel, chain, header, judge, judge_events, policy, stream, usual};
use crate::{
    chain::{Item, samples},
    event::{Attribution, Body, Event, HeaderHook, Process},
    stream::Pipeline,
};

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
