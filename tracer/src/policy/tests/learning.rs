//! Learned policies hold for their source, whatever the names in it.

use proptest::prelude::*;

use super::{Learner, NAME, Outcome, UnknownKernel, chain, expectations::Small, judge_events, stream, usual};
use crate::{
    chain::samples,
    event::{Process, Text},
    policy::parse,
};

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
}
