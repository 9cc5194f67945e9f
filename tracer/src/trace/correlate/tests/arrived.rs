//! Requests that modprobe reports as successful: whether the requested module was loaded.

use super::{World, arrives_for, asks, handed_over, returns, tracker};
use crate::{
    event::{Attribution, Body, Outcome, Reason, Status},
    modprobe::{Command, Planned, Resolution, Unresolved},
};

fn planned(module: &str, reason: Reason) -> Planned {
    Planned { module: module.to_owned(), reason, command: None }
}

/// A request for `fs-udf` for which modules are loaded: its outcome and the number of reported loads.
fn asked_for_udf(world: World, modules: &[&str]) -> (Outcome, usize) {
    let mut tracker = tracker();
    tracker.environment = world;
    tracker.record(asks(7, 1_000, "fs-udf"));
    tracker.record(handed_over(7, 1_000));
    for module in modules {
        arrives_for(7, 1_000, 8, 1_010, module).into_iter().for_each(|record| tracker.record(record));
    }
    tracker.record(returns(7, 1_000, 0));
    let events = tracker.take_events();
    let loads = events.iter().filter(|event| event.request.is_some() && matches!(event.body, Body::Load(_))).count();
    let end = events.into_iter().find_map(|event| if let Body::Result(end) = event.body { Some(end) } else { None });
    (end.unwrap(), loads)
}

/// If a command runs instead of a module, loaded dependencies are reported but the request does not count as loaded,
/// unless the command loaded the module.
#[test]
fn loaded_dependencies_alone_are_not_the_requested_module() {
    let world = || World {
        plan: Some(Resolution::Install {
            module: "udf".to_owned(),
            command: Command::new("/bin/true"),
            before: vec![planned("crc_itu_t", Reason::Dependency), planned("cdrom", Reason::Dependency)],
        }),
        ..World::default()
    };
    let (end, loads) = asked_for_udf(world(), &["crc_itu_t", "cdrom"]);
    assert_eq!((end.status, end.attribution), (Status::Blocklisted, Attribution::inferred("modprobe-config")));
    assert_eq!(end.detail.as_deref(), Some("install udf /bin/true in the configuration of modprobe"));
    assert_eq!(loads, 2);
    let (end, _) = asked_for_udf(world(), &["crc_itu_t", "cdrom", "udf"]);
    assert_eq!((end.status, end.attribution), (Status::Loaded, Attribution::exact()));
}

/// A module that the name leads to counts as loaded, its dependencies alone do not.
#[test]
fn alias_counts_as_loaded_by_its_target_only() {
    let world = || World {
        plan: Some(Resolution::Modules(vec![planned("cdrom", Reason::Dependency), planned("udf", Reason::Alias)])),
        ..World::default()
    };
    assert_eq!(asked_for_udf(world(), &["cdrom", "udf"]).0.status, Status::Loaded);
    let (end, loads) = asked_for_udf(world(), &["cdrom"]);
    assert_eq!((end.status, end.attribution, loads), (Status::Unknown, Attribution::unknown(), 1));
}

/// Without a resolution or configuration, only a module with the requested name or alias counts as loaded.
#[test]
fn request_without_resolution_counts_by_name_or_alias_only() {
    for unresolved in [None, Some(Unresolved::Config("no modprobe".to_owned()))] {
        let world = || World { unresolved: unresolved.clone(), ..World::default() };
        let (end, _) = asked_for_udf(world(), &["cdrom", "udf"]);
        assert_eq!((end.status, end.attribution), (Status::Unknown, Attribution::unknown()));
        assert!(end.detail.unwrap().contains("cdrom, udf"));
        assert_eq!(asked_for_udf(world(), &["fs_udf"]).0.status, Status::Loaded);
        let known = World { carriers: vec!["udf"], ..world() };
        let (end, _) = asked_for_udf(known, &["cdrom", "udf"]);
        assert_eq!((end.status, end.attribution), (Status::Loaded, Attribution::exact()));
    }
}
