//! Outcomes: what arrived decides, and the configuration only explains the rest.

use proptest::prelude::*;

use super::{World, arrives, arrives_for, asks, handed_over, init_done, key, returns, tracker};
use crate::{
    event::{Attribution, Baseline, Body, Outcome, Reason, RequestId, Status},
    modprobe::{Command, Place, Planned, Resolution, Unresolved},
    probe::Record,
    trace::correlate::Tracker,
};

const UDF: (u32, u64) = (7, 1_000);

fn planned(module: &str, reason: Reason, command: Option<&str>) -> Planned {
    Planned { module: module.to_owned(), reason, command: command.map(Command::new) }
}

fn loads(modules: &[&str]) -> Resolution {
    Resolution::Modules(modules.iter().map(|module| planned(module, Reason::Alias, None)).collect())
}

fn install(command: &str) -> Resolution {
    Resolution::Install { module: "udf".to_owned(), command: Command::new(command), before: Vec::new() }
}

/// All ways in which the configuration can be wrong about what arrives.
fn plans() -> Vec<Resolution> {
    vec![
        Resolution::NotFound,
        Resolution::Off { line: "alias fs_udf off".to_owned(), place: Place::Elsewhere },
        Resolution::Blacklisted { module: "udf".to_owned(), place: Place::Elsewhere },
        Resolution::BuiltIn { module: "udf".to_owned() },
        install("/bin/false"),
        loads(&["other"]),
    ]
}

fn with(world: World, loaded: &[&str]) -> Tracker<World> {
    let mut tracker = tracker();
    tracker.environment = world;
    let modules = loaded.iter().map(|name| (*name).to_owned()).chain(["ext4".to_owned()]).collect();
    tracker.push(0, Body::Baseline(Baseline { modules }));
    tracker.environment.now_loaded.extend(["ext4"]);
    tracker
}

/// A request for fs-udf that ends with this value after these records.
fn asked(tracker: &mut Tracker<World>, records: impl IntoIterator<Item = Record>, ret: i32) -> Outcome {
    let (pid, asked_ns) = UDF;
    tracker.record(asks(pid, asked_ns, "fs-udf"));
    tracker.record(handed_over(pid, asked_ns));
    records.into_iter().for_each(|record| tracker.record(record));
    tracker.record(returns(pid, asked_ns, ret));
    outcome_of(tracker, UDF)
}

fn outcome_of(tracker: &mut Tracker<World>, (tid, boot_ns): (u32, u64)) -> Outcome {
    let id = RequestId { boot_ns, tid };
    let result = tracker.take_events().into_iter().find_map(|event| match event.body {
        Body::Result(outcome) if event.request == Some(id) => Some(outcome),
        _ => None,
    });
    result.unwrap()
}

fn udf_arrives() -> [Record; 2] {
    arrives_for(UDF.0, UDF.1, 8, 1_010, "udf")
}

/// The init of a module of the request fails.
fn fails(module: &str) -> Vec<Record> {
    let [load, _] = arrives_for(UDF.0, UDF.1, 8, 1_010, module);
    let mut done = init_done(8, 1_011, module, -19);
    if let Record::InitDone(done) = &mut done {
        done.owner.request = key(UDF.0, UDF.1);
    }
    vec![load, done]
}

/// A module that carries the alias arrived: the request loaded it, whatever the configuration and the exit code say.
#[test]
fn module_that_arrived_counts_whatever_the_plan_says() {
    for plan in plans() {
        for ret in [0, 256, 9] {
            let world = World { plan: Some(plan.clone()), carriers: vec!["udf"], ..World::default() };
            let end = asked(&mut with(world, &[]), udf_arrives(), ret);
            assert_eq!((end.status, end.attribution), (Status::Loaded, Attribution::exact()), "{plan:?}, {ret}");
            assert_eq!(end.code, Some(ret));
            assert_eq!(end.detail.is_some(), ret != 0, "{:?}", end.detail);
        }
    }
}

/// If one of two modules with the alias arrived and the other one failed, the request loaded it, and the failure is listed.
#[test]
fn failure_of_another_carrier_is_a_detail() {
    for ret in [0, 256] {
        let world = World { plan: Some(loads(&["udf", "udf2"])), ..World::default() };
        let records = udf_arrives().into_iter().chain(fails("udf2"));
        let end = asked(&mut with(world, &[]), records, ret);
        assert_eq!(end.status, Status::Loaded);
        assert_eq!(end.detail.as_deref(), Some("nevertheless the init of udf2: ENODEV"));
        // A module that did not stay has not arrived.
        let world = World { plan: Some(loads(&["udf2"])), carriers: vec!["udf2"], ..World::default() };
        let end = asked(&mut with(world, &[]), fails("udf2"), ret);
        assert_eq!((end.status, end.attribution), (Status::Failed, Attribution::exact()));
    }
}

/// A command that loads nothing keeps the module out, whatever its form; one that names a loader has failed.
#[test]
fn command_that_loads_nothing_is_a_block() {
    for command in [
        "/usr/local/bin/disabled-sctp",
        "/usr/bin/logger -t x \"blocked\"; /bin/false",
        "/usr/bin/logger -t x \"blocked\"; exit 0",
        "/bin/sh -c 'exit 1'",
        "/bin/echo no; false",
        "exec /bin/false",
        "env false",
        "{ false; }",
        "test -e /nosuch",
        "/bin/false # CIS 3.2.1",
    ] {
        for ret in [0, 256, 127 << 8] {
            let plan = install(command);
            let world = World { plan: Some(plan.clone()), ..World::default() };
            let end = asked(&mut with(world, &[]), [], ret);
            assert_eq!((end.status, end.attribution), (Status::Blocklisted, Attribution::inferred("modprobe-config")));
            assert_eq!(end.detail, Some(plan.detail()), "{command}");
            let dependency = planned("cdrom", Reason::Dependency, Some(command));
            let plan = Resolution::Modules(vec![dependency, planned("udf", Reason::Alias, None)]);
            let end = asked(&mut with(World { plan: Some(plan), ..World::default() }, &[]), [], ret);
            assert_eq!(end.status, Status::Blocklisted, "{command} for a dependency");
        }
    }
    for command in ["/sbin/modprobe -i udf && true", "sh -c 'insmod /x.ko'; true"] {
        for ret in [0, 256] {
            let end = asked(&mut with(World { plan: Some(install(command)), ..World::default() }, &[]), [], ret);
            assert_eq!((end.status, end.attribution), (Status::Failed, Attribution::inferred("modprobe-config")));
        }
    }
}

/// A command that loaded another module, or tried to, is no block.
#[test]
fn command_that_acts_is_not_a_block() {
    let world = || World { plan: Some(install("/opt/load-it")), ..World::default() };
    let other = || arrives_for(UDF.0, UDF.1, 8, 1_010, "isofs");
    let end = asked(&mut with(world(), &[]), other(), 256);
    assert_eq!(end.status, Status::Failed);
    let end = asked(&mut with(world(), &[]), other(), 0);
    assert_eq!((end.status, end.attribution), (Status::Unknown, Attribution::unknown()));
    assert!(end.detail.unwrap().contains("loaded isofs"));
    assert_eq!(asked(&mut with(world(), &[]), fails("isofs"), 256).attribution, Attribution::exact());
}

/// Of a name that only has a command, the modules that the command loads are the requested ones.
#[test]
fn name_without_a_module_means_what_its_command_loads() {
    let plan = install("/sbin/modprobe snd-card-0");
    let world = || World { plan: Some(plan.clone()), virtual_modules: vec!["udf"], ..World::default() };
    let loads = || arrives_for(UDF.0, UDF.1, 8, 1_010, "snd_hda");
    let end = asked(&mut with(world(), &[]), loads(), 0);
    assert_eq!((end.status, end.attribution), (Status::Loaded, Attribution::inferred("modprobe-config")));
    assert_eq!(asked(&mut with(world(), &[]), loads(), 256).status, Status::Failed);
    assert_eq!(asked(&mut with(world(), &[]), [], 0).status, Status::Unknown);
}

/// A request inside another one's command: what it loads counts for both.
#[test]
fn load_of_a_nested_request_counts_for_its_parent() {
    let (inner, inner_ns) = (9, 1_005);
    let nested = |modules: &[&str]| {
        let Record::Request(mut request) = asks(inner, inner_ns, "fs-inner") else { unreachable!("it is a request") };
        request.owner.request = key(UDF.0, UDF.1);
        let loads = modules.iter().flat_map(|module| arrives_for(inner, inner_ns, 10, 1_020, module));
        let mut records = vec![Record::Request(request), handed_over(inner, inner_ns)];
        records.extend(loads);
        records.push(returns(inner, inner_ns, 0));
        records
    };
    let world = || World { plan: Some(install("mount -t inner none /mnt")), ..World::default() };
    for ret in [0, 256] {
        let mut tracker = with(world(), &[]);
        tracker.environment.carriers.push("udf");
        assert_eq!(asked(&mut tracker, nested(&["udf"]), ret).status, Status::Loaded);
        let mut tracker = with(world(), &[]);
        let end = asked(&mut tracker, nested(&["isofs"]), ret);
        assert_ne!(end.status, Status::Blocklisted, "the command has loaded something");
        assert_eq!(asked(&mut with(world(), &[]), nested(&[]), ret).status, Status::Blocklisted);
    }
    // The nested request itself.
    let mut tracker = with(World { carriers: vec!["isofs"], ..world() }, &[]);
    let (pid, asked_ns) = UDF;
    tracker.record(asks(pid, asked_ns, "fs-udf"));
    tracker.record(handed_over(pid, asked_ns));
    nested(&["isofs"]).into_iter().for_each(|record| tracker.record(record));
    assert_eq!(outcome_of(&mut tracker, (inner, inner_ns)).status, Status::Loaded);
}

/// A module counts as loaded already only if it was when the request began, not if it is now.
#[test]
fn module_is_already_loaded_only_if_it_was_when_asked_for() {
    for plan in [loads(&["udf"]), install("/bin/false")] {
        let world = || World { plan: Some(plan.clone()), now_loaded: vec!["udf"], ..World::default() };
        let before = asked(&mut with(world(), &["udf"]), [], 0);
        assert_eq!(
            (before.status, before.attribution),
            (Status::AlreadyLoaded, Attribution::inferred("modprobe-config"))
        );
        let mut tracker = with(world(), &[]);
        tracker.record(arrives(20, 500, "udf"));
        assert_eq!(asked(&mut tracker, [], 0).status, Status::AlreadyLoaded);
        // Its load was not recorded.
        let end = asked(&mut with(world(), &[]), [], 0);
        assert_eq!((end.status, end.attribution), (Status::Unknown, Attribution::unknown()), "{plan:?}");
    }
    // It was loaded then, but is not any more.
    let mut tracker = with(World { plan: Some(loads(&["udf"])), ..World::default() }, &["udf"]);
    tracker.history.removed("udf", 1_050);
    assert_eq!(asked(&mut tracker, [], 0).status, Status::AlreadyLoaded);
}

/// A module that another process loads while the request runs: modprobe finds it loaded, but a command may have loaded it.
#[test]
fn module_loaded_meanwhile_by_another_process_is_distinguished() {
    let meanwhile = || [arrives(20, 1_050, "udf")];
    let world = |plan| World { plan: Some(plan), now_loaded: vec!["udf"], ..World::default() };
    let end = asked(&mut with(world(loads(&["udf"])), &[]), meanwhile(), 0);
    assert_eq!((end.status, end.attribution), (Status::AlreadyLoaded, Attribution::inferred("modprobe-config")));
    assert_eq!(end.detail.as_deref(), Some("loaded meanwhile by a process outside of it"));
    for ret in [0, 256] {
        let end = asked(&mut with(world(install("/opt/deep")), &[]), meanwhile(), ret);
        assert_eq!((end.status, end.attribution), (Status::Unknown, Attribution::unknown()));
        assert!(end.detail.unwrap().contains("a process outside of it"));
    }
}

/// A built-in module that is requested has an outcome of its own.
#[test]
fn built_in_module_that_is_requested_has_its_own_outcome() {
    for ret in [0, 256] {
        let plan = Resolution::BuiltIn { module: "ipv6".to_owned() };
        let end = asked(&mut with(World { plan: Some(plan), ..World::default() }, &[]), [], ret);
        assert_eq!((end.status, end.attribution), (Status::BuiltIn, Attribution::inferred("modprobe-config")));
        assert!(end.detail.unwrap().starts_with("ipv6 is built into the kernel, but switched off"));
    }
}

/// Missing modules, indexes and files are named; without a known reason none is guessed.
#[test]
fn reason_on_disk_is_named() {
    let reboot = "/lib/modules/6.1.0 does not exist: the kernel was upgraded; reboot".to_owned();
    let depmod = "/lib/modules/6.1.0/modules.dep.bin does not exist: run `depmod`".to_owned();
    for (unresolved, status, attribution, detail) in [
        (Unresolved::NoModules(reboot.clone()), Status::NoModules, Attribution::inferred("modprobe-config"), reboot),
        (Unresolved::Index(depmod.clone()), Status::Failed, Attribution::inferred("modprobe-config"), depmod),
        (
            Unresolved::Config("x".to_owned()),
            Status::Failed,
            Attribution::unknown(),
            "modprobe exited with 1; its configuration is unknown: x".to_owned(),
        ),
    ] {
        let end = asked(&mut with(World { unresolved: Some(unresolved), ..World::default() }, &[]), [], 256);
        assert_eq!((end.status, end.attribution, end.detail), (status, attribution, Some(detail)));
    }
    let world = |problem| World { plan: Some(loads(&["udf"])), file_problem: problem, ..World::default() };
    let missing = asked(&mut with(world(Some(("udf", "/x/udf.ko does not exist"))), &[]), [], 256);
    assert_eq!((missing.status, missing.detail.as_deref()), (Status::Failed, Some("/x/udf.ko does not exist")));
    let open = asked(&mut with(world(None), &[]), [], 256);
    let detail = "modprobe exited with 1 before it called the kernel; the reason was not seen";
    assert_eq!((open.status, open.detail.as_deref()), (Status::Failed, Some(detail)));
}

/// A command for one of several modules explains the failure only if the others' files are fine.
#[test]
fn block_of_one_of_several_modules_is_named() {
    let plan = Resolution::Modules(vec![
        planned("udf", Reason::Alias, None),
        planned("udf2", Reason::Alias, Some("/bin/false")),
    ]);
    let world = World { plan: Some(plan), now_loaded: vec!["udf"], ..World::default() };
    let end = asked(&mut with(world, &["udf"]), [], 256);
    assert_eq!(end.status, Status::Blocklisted);
    assert!(end.detail.unwrap().contains("install udf2 /bin/false"));
}

/// A command for a dependency that is loaded already does not run, so it explains nothing.
#[test]
fn block_of_a_loaded_dependency_explains_nothing() {
    let dependency = planned("cdrom", Reason::Dependency, Some("/bin/false"));
    let plan = Resolution::Modules(vec![dependency, planned("udf", Reason::Alias, None)]);
    let world = || World { plan: Some(plan.clone()), now_loaded: vec!["cdrom"], ..World::default() };
    assert_eq!(asked(&mut with(world(), &["cdrom"]), [], 256).status, Status::Failed);
    assert_eq!(
        asked(&mut with(World { plan: Some(plan.clone()), ..World::default() }, &[]), [], 256).status,
        Status::Blocklisted
    );
}

/// A configuration that was changed while the request ran explains nothing.
#[test]
fn changed_configuration_explains_nothing() {
    for (changed_ns, expected) in [(1_050, Status::Failed), (900, Status::Blocklisted)] {
        let changed = Some(("/etc/modprobe.d/x.conf", changed_ns));
        let world = World { plan: Some(install("/bin/false")), changed, ..World::default() };
        let end = asked(&mut with(world, &[]), [], 256);
        assert_eq!(end.status, expected);
        assert_eq!(end.attribution == Attribution::unknown(), expected == Status::Failed);
    }
}

proptest! {
    /// Whatever the plan, the exit code and the other loads, the outcome never contradicts what arrived: `loaded` if and only if a
    /// module that carries the alias stayed, and no status that denies a load otherwise.
    #[test]
    fn outcome_never_contradicts_what_arrived(
        plan in 0_usize..6,
        ret in prop_oneof![Just(0), Just(256), Just(127 << 8)],
        arrived in proptest::sample::subsequence(vec!["udf", "isofs", "cdrom"], 0..=3),
        was_there in any::<bool>(),
    ) {
        let baseline: &[&str] = if was_there { &["udf"] } else { &[] };
        let is_new = arrived.contains(&"udf") && !was_there;
        let arrived: Vec<&str> = arrived.into_iter().filter(|module| *module != "udf" || is_new).collect();
        let mut now_loaded = arrived.clone();
        now_loaded.extend(baseline);
        let world = World { plan: plans().into_iter().nth(plan), carriers: vec!["udf"], now_loaded, ..World::default() };
        let records = arrived.iter().flat_map(|module| arrives_for(UDF.0, UDF.1, 8, 1_010, module));
        let end = asked(&mut with(world, baseline), records, ret);
        prop_assert_eq!(end.status == Status::Loaded, is_new, "{:?}", end);
        if end.status == Status::AlreadyLoaded {
            prop_assert!(was_there, "{:?}", end);
        }
    }
}

/// A failed module does not decide if another one arrived that may be the requested one: the configuration is unknown, for example
/// because it was changed while the request ran.
#[test]
fn failure_beside_a_module_of_unknown_names_is_unknown() {
    let world = || World { unresolved: Some(Unresolved::Config("x was changed".to_owned())), ..World::default() };
    let [load, done] = arrives_for(UDF.0, UDF.1, 8, 1_005, "dummy");
    let records = [vec![load, done], fails("other")].concat();
    let outcome = asked(&mut with(world(), &[]), records, 256);
    assert_eq!((outcome.status, outcome.attribution), (Status::Unknown, Attribution::unknown()));
    let detail = outcome.detail.unwrap();
    assert!(detail.contains("other: ENODEV") && detail.contains("whether dummy is the requested module"), "{detail}");
    let outcome = asked(&mut with(world(), &[]), fails("other"), 256);
    assert_eq!((outcome.status, outcome.attribution), (Status::Failed, Attribution::exact()));
}
