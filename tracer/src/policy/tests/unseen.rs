//! Every key of a rule with seen, partly seen and unseen values: nothing passes or is allowed because it was not seen.

use super::super::field::Fields;
use super::{chain, judge_events, policy};
use crate::{
    chain::{Chain, ChainKey, samples},
    event::{Ancestor, Origin, Process, ProcessId, Status, Text},
    policy::{Action, Outcome, Subject, UnknownKernel, decide::Decision, field::Field},
    select::Match,
};

/// A change of a chain.
type Change = fn(&mut Chain);

/// A key, a chain and a change of it, and the expected results of patterns.
type Row<'a> = (Field, fn() -> Chain, Change, &'a [(&'a str, Match)]);

fn asker(chain: &mut Chain) -> &mut Process {
    &mut chain.request.as_mut().unwrap().process
}

/// iptables, in a systemd unit.
fn requested() -> Chain {
    let mut outage = chain(samples::outage());
    outage.modules.truncate(1);
    let process = asker(&mut outage);
    process.cgroup = Some(Text::from("/system.slice/docker-0.scope"));
    process.unit = Some("docker-0.scope".to_owned());
    process.container = Some("docker:0123456789abcdef".to_owned());
    process.ns.user = 0xefff_fffd;
    outage
}

/// dash, which started modprobe.
fn ran() -> Chain {
    let mut by_hand = chain(samples::by_hand());
    by_hand.modules.truncate(1);
    let load = &mut by_hand.modules[0].load;
    load.ancestors = ["dash", "sshd"].map(ancestor).to_vec();
    by_hand
}

fn ancestor(name: &str) -> Ancestor {
    Ancestor { pid: 1, comm: Text::from(name), exe: Some(Text::from(name)), ..Ancestor::default() }
}

fn through() -> Chain {
    let mut chain = requested();
    let request = chain.request.as_mut().unwrap();
    let nested = super::chain(samples::nested());
    request.behalf = nested.nested[1].request.as_ref().unwrap().behalf.clone();
    request.behalf.as_mut().unwrap().comm = Text::from("cryptsetup");
    request.process.kthread = true;
    request.process.exe = None;
    request.process.comm = Text::from("cryptomgr");
    chain
}

/// Whether the only rule matches the first module of a chain, by the decision of the policy.
fn answer(chain: &Chain, key: &str, pattern: &str) -> Match {
    let mut answers = Vec::new();
    for action in [Action::Allow, Action::Deny] {
        let default = if action == Action::Allow { "deny" } else { "allow" };
        let rules = format!("default='{default}'\n[[rule]]\naction='{}'\n{key}='{pattern}'\n", action.name());
        let policy = policy(&rules);
        let mut found = None;
        Subject::for_each(chain, &mut |subject| {
            let decision = policy.decide(&subject.field_values(Fields::ALL), true, super::files::TODAY);
            found = found.take().or(Some(match decision {
                Decision::Rule(_) => Match::Yes,
                Decision::Default => Match::No,
                Decision::Undetermined(_) => Match::Maybe,
            }));
        });
        answers.push(found.unwrap());
    }
    assert_eq!(answers[0], answers[1], "{key}={pattern}: an allow and a deny see the same");
    answers[0]
}

/// Each key of a rule matches, does not match, or is undetermined as expected.
#[test]
fn key_with_unseen_value_is_undetermined() {
    use Match::{Maybe, No, Yes};
    let same: Change = |_| {};
    let rows: Vec<Row<'_>> = vec![
        (Field::Module, requested, same, &[("nf_defrag_ipv4", Yes), ("tipc", No), ("!tipc", Yes)]),
        (
            Field::Module,
            requested,
            |chain| chain.modules[0].load.module = Text::default(),
            &[("tipc", Maybe), ("!tipc", Maybe)],
        ),
        (
            Field::Alias,
            requested,
            same,
            &[("iptable_nat", Yes), ("iptable-nat", Yes), ("fs-xfs", No), ("!fs-xfs", Yes)],
        ),
        (Field::Alias, requested, |chain| chain.request = None, &[("iptable_nat", Maybe), ("!fs-xfs", Maybe)]),
        (
            Field::Alias,
            requested,
            |chain| chain.request.as_mut().unwrap().name = Text::default(),
            &[("iptable_nat", Maybe), ("!fs-xfs", Maybe)],
        ),
        (
            Field::Alias,
            requested,
            |chain| chain.request.as_mut().unwrap().name = Text::from("f".repeat(64)),
            &[("f*", Yes), ("f*g", Maybe), ("g*", No), ("!f*", No), ("!f*g", Maybe)],
        ),
        (Field::Alias, ran, same, &[("*", No), ("!x", Yes)]),
        (Field::Family, requested, same, &[("ipv4 table", Yes), ("ipv6 table", No)]),
        (Field::Family, requested, |chain| chain.request = None, &[("ipv4 table", Maybe), ("!ipv4 table", Maybe)]),
        (
            Field::Family,
            requested,
            |chain| chain.request.as_mut().unwrap().name = Text::from("f".repeat(64)),
            &[("ipv4 table", Maybe)],
        ),
        (Field::Result, requested, same, &[("loaded", Yes), ("failed", No), ("!failed", Yes)]),
        (Field::Result, requested, |chain| chain.modules[0].init = None, &[("loaded", Maybe), ("!failed", Maybe)]),
        (Field::Origin, requested, same, &[("request", Yes), ("udev", No)]),
        (
            Field::Origin,
            requested,
            |chain| chain.modules[0].load.origin = Origin::Unknown,
            &[("request", Maybe), ("!udev", Maybe)],
        ),
        (Field::Uid, requested, same, &[("0", Yes), ("1000", No), ("!1000", Yes)]),
        (Field::Uid, requested, |chain| chain.request = None, &[("0", Maybe), ("!0", Maybe)]),
        (Field::Uid, through, same, &[("0", Maybe), ("1000", Maybe), ("!0", Maybe)]),
        (Field::Uid, ran, |chain| chain.modules[0].load.ancestors[0].uid = 7, &[("0", Yes), ("7", Yes), ("8", No)]),
        (Field::User, requested, same, &[("root", Yes), ("alice", No), ("!alice", Yes)]),
        (Field::User, requested, |chain| asker(chain).user = None, &[("root", Maybe), ("!root", Maybe)]),
        (Field::User, through, same, &[("root", Maybe)]),
        (Field::User, ran, |chain| chain.modules[0].load.ancestors[0].uid = 7, &[("root", Yes), ("alice", Maybe)]),
        (Field::Login, requested, same, &[("alice", Yes), ("1000", Yes), ("none", No), ("!none", Yes)]),
        (
            Field::Login,
            requested,
            |chain| asker(chain).login_user = None,
            &[("alice", Maybe), ("1000", Yes), ("0", No), ("none", No)],
        ),
        (
            Field::Login,
            requested,
            |chain| {
                asker(chain).loginuid = None;
                asker(chain).no_login = false;
            },
            &[("0", Maybe), ("!none", Maybe)],
        ),
        (Field::Login, through, same, &[("none", Maybe)]),
        (
            Field::Exe,
            requested,
            same,
            &[("/usr/sbin/xtables-legacy-multi", Yes), ("xtables-*", Yes), ("/bin/dash", No), ("!/bin/dash", Yes)],
        ),
        (Field::Exe, requested, |chain| asker(chain).exe = None, &[("/bin/dash", Maybe), ("!/bin/dash", Maybe)]),
        (
            Field::Exe,
            requested,
            |chain| {
                asker(chain).exe = Some(Text::from("sbin/ss"));
                asker(chain).exe_truncated = true;
            },
            &[
                ("/usr/sbin/ss", Maybe),
                ("/sbin/ss", Maybe),
                ("/usr/bin/ss", No),
                ("ss", Yes),
                ("*/sbin/ss", Yes),
                ("!/usr/sbin/ss", Maybe),
                ("!/usr/bin/ss", Yes),
            ],
        ),
        (
            Field::Exe,
            requested,
            |chain| {
                asker(chain).kthread = true;
                asker(chain).exe = None;
            },
            &[("*", No), ("!/bin/dash", Yes)],
        ),
        (Field::Exe, through, same, &[("*", Maybe), ("!/bin/dash", Maybe)]),
        (
            Field::Exe,
            ran,
            same,
            &[
                ("/usr/bin/dash", Maybe),
                ("/usr/bin/bash", No),
                ("dash", Yes),
                ("*/dash", Yes),
                ("/usr/bin/kmod", Yes),
                ("!/usr/bin/dash", Maybe),
                ("!dash", No),
                ("!/usr/bin/bash", Yes),
            ],
        ),
        (Field::Exe, ran, |chain| chain.modules[0].load.ancestors[0].exe = None, &[("/usr/bin/bash", Maybe)]),
        (
            Field::Exe,
            ran,
            |chain| chain.modules[0].load.ancestors[0] = ancestor(&"n".repeat(31)),
            &[("n*", Yes), ("n*x", Maybe), ("/usr/bin/nn*x", Maybe), ("/usr/bin/m*", Maybe), ("/usr/bin/m", No)],
        ),
        (
            Field::Exe,
            ran,
            |chain| {
                chain.modules[0].load.ancestors = vec![ancestor("kmod"); 8];
                chain.modules[0].load.ancestors_truncated = true;
            },
            &[("/usr/bin/dash", Maybe), ("/usr/bin/kmod", Yes)],
        ),
        (Field::Comm, requested, same, &[("iptables", Yes), ("dash", No)]),
        (Field::Comm, requested, |chain| asker(chain).comm = Text::default(), &[("iptables", Maybe), ("!dash", Maybe)]),
        (Field::Comm, requested, |chain| asker(chain).exe = None, &[("iptables", Yes), ("dash", Maybe)]),
        (Field::Comm, through, same, &[("cryptsetup", Yes), ("cryptomgr", Yes), ("dash", No)]),
        (Field::Comm, ran, same, &[("dash", Yes), ("modprobe", Yes), ("sshd", No)]),
        (
            Field::Comm,
            ran,
            |chain| {
                chain.modules[0].load.ancestors.clear();
                chain.modules[0].load.ancestors_truncated = true;
            },
            &[("dash", Maybe), ("modprobe", Yes), ("!dash", Maybe)],
        ),
        (
            Field::Comm,
            ran,
            |chain| chain.modules[0].load.origin = Origin::Request,
            &[("modprobe", Maybe), ("!x", Maybe)],
        ),
        (Field::Cgroup, requested, same, &[("/system.slice/*", Yes), ("/user.slice/*", No), ("!/user.slice/*", Yes)]),
        (Field::Cgroup, requested, |chain| asker(chain).cgroup = None, &[("/system.slice/*", Maybe), ("!/x", Maybe)]),
        (
            Field::Cgroup,
            requested,
            |chain| asker(chain).cgroup = Some(Text::from("a.slice/b.scope")),
            &[("/user.slice/a.slice/b.scope", Maybe), ("/user.slice/b.slice/b.scope", No), ("*/b.scope", Yes)],
        ),
        (Field::Cgroup, through, same, &[("/system.slice/*", Maybe)]),
        (Field::Unit, requested, same, &[("docker-*.scope", Yes), ("ssh.service", No)]),
        (
            Field::Unit,
            requested,
            |chain| {
                asker(chain).cgroup = None;
                asker(chain).unit = None;
            },
            &[("ssh.service", Maybe), ("!ssh.service", Maybe)],
        ),
        (
            Field::Unit,
            requested,
            |chain| asker(chain).cgroup = Some(Text::from("b.slice/docker-0.scope")),
            &[("docker-*.scope", Maybe), ("ssh.service", Maybe), ("!ssh.service", Maybe)],
        ),
        (
            Field::Unit,
            requested,
            |chain| {
                asker(chain).cgroup = Some(Text::from("/"));
                asker(chain).unit = None;
            },
            &[("ssh.service", Maybe)],
        ),
        (Field::Unit, requested, |chain| asker(chain).unit = None, &[("ssh.service", No)]),
        // In cgroup v1, a unit may have no directory.
        (
            Field::Unit,
            requested,
            |chain| {
                asker(chain).cgroup_controller = Some("pids".to_owned());
                asker(chain).unit = None;
            },
            &[("ssh.service", Maybe), ("!ssh.service", Maybe)],
        ),
        (
            Field::Unit,
            requested,
            |chain| {
                asker(chain).cgroup_controller = Some("pids".to_owned());
                asker(chain).unit = Some("user@1000.service".to_owned());
            },
            &[("app.scope", Maybe), ("user@*", Yes)],
        ),
        (
            Field::Unit,
            requested,
            |chain| asker(chain).cgroup_controller = Some("pids".to_owned()),
            &[("docker-*.scope", Yes), ("ssh.service", No)],
        ),
        (Field::Container, requested, same, &[("docker:*", Yes), ("podman:*", No), ("0123456789ab", Yes)]),
        (
            Field::Container,
            requested,
            |chain| {
                asker(chain).cgroup = None;
                asker(chain).container = None;
            },
            &[("docker:*", Maybe), ("!docker:*", Maybe)],
        ),
        (
            Field::Container,
            requested,
            |chain| asker(chain).cgroup = Some(Text::from("b.slice/docker-0.scope")),
            &[("docker:*", Maybe), ("podman:*", Maybe)],
        ),
        (Field::Container, requested, |chain| asker(chain).container = None, &[("docker:*", No), ("!docker:*", Yes)]),
        (Field::UserNamespace, requested, same, &[("initial", Yes), ("other", No)]),
        (Field::UserNamespace, requested, |chain| asker(chain).ns.user = 0, &[("initial", Maybe), ("!other", Maybe)]),
        (Field::UserNamespace, requested, |chain| asker(chain).ns.user = 9, &[("initial", No), ("other", Yes)]),
        (Field::UserNamespace, through, same, &[("initial", Maybe), ("other", Maybe)]),
    ];
    for field in Field::ALL {
        let answers: Vec<Match> =
            rows.iter().filter(|row| row.0 == *field).flat_map(|row| row.3.iter().map(|(_, answer)| *answer)).collect();
        for wanted in [Yes, No, Maybe] {
            assert!(answers.contains(&wanted), "no row has {} {wanted:?}", field.name());
        }
    }
    for (number, (field, make, change, answers)) in rows.into_iter().enumerate() {
        let mut chain = make();
        change(&mut chain);
        for (pattern, wanted) in answers {
            assert_eq!(answer(&chain, field.name(), pattern), *wanted, "row {number}: {}={pattern}", field.name());
        }
    }
}

/// A rule on the path of the program that started modprobe is an error, not a silent pass, if only the end of the path is
/// known.
#[test]
fn path_with_unseen_beginning_is_an_error() {
    let verdict = |rules: &str| judge_events(policy(rules), super::stream(&[ran()]), &UnknownKernel(String::new()));
    let deny = |exe: &str| format!("default='allow'\n[[rule]]\naction='deny'\norigin='explicit'\nexe='{exe}'\n");
    let open = verdict(&deny("/usr/bin/dash"));
    assert_eq!(open.outcome, Outcome::Error);
    assert!(open.undetermined[0].contains("its exe was not seen"), "{:?}", open.undetermined);
    assert_eq!(verdict(&deny("dash")).outcome, Outcome::Violated);
    assert_eq!(verdict(&deny("/usr/bin/bash")).outcome, Outcome::Holds);
}

/// A load of a process that has executed another program is judged by that program.
#[test]
fn loader_is_judged_by_its_program_at_each_load() {
    let mut loads = chain(samples::by_hand());
    for (module, exe) in loads.modules.iter_mut().zip(["/usr/bin/good", "/tmp/evil"]) {
        let load = &mut module.load;
        load.ancestors.clear();
        (load.process.exe, load.process.comm) = (Some(Text::from(exe)), Text::from("x"));
    }
    assert!(matches!(loads.key, ChainKey::Loader(ProcessId { .. })));
    let policy = policy("default='allow'\n[[rule]]\naction='deny'\nexe='/tmp/evil'\n");
    let mut decisions = Vec::new();
    Subject::for_each(&loads, &mut |subject| {
        decisions.push(policy.decide(&subject.field_values(Fields::ALL), true, super::files::TODAY));
        assert_eq!(subject.status(), Status::Loaded);
    });
    assert_eq!(decisions, [Decision::Default, Decision::Rule(0)]);
    let verdict = judge_events(policy, super::stream(&[loads]), &UnknownKernel(String::new()));
    let requester = &verdict.rules[0].findings[0].requester.as_ref().unwrap().process;
    assert_eq!(requester.exe, Some(Text::from("/tmp/evil")));
}
