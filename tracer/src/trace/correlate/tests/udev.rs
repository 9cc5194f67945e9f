//! The device for which udev loads a module.

use super::{arrives, tracker};
use crate::{
    event::{Attribution, Body, DEVPATHS_MAX, Reason, Text},
    kernel::{
        devices::PresentDevice,
        uevent::{Announcement, Uevent},
    },
    probe::{Received, Record},
};

fn announced(seqnum: u64, path: &str) -> Received {
    Received::Uevent(Uevent::Announced(Announcement {
        seqnum,
        action: Text::from("add"),
        devpath: Text::from(path),
        subsystem: Some(Text::from("acpi")),
        modalias: Some(Text::from("acpi:BTN:")),
    }))
}

/// A load by udev is attributed to the only device whose alias leads to the module, to none of several, and never if
/// another process loads it.
#[test]
fn load_by_udev_is_attributed_to_the_only_fitting_device() {
    let mut tracker = tracker();
    tracker.environment.udev.insert(7);
    tracker.environment.provided = Some(("acpi:BTN:", "button"));
    tracker.device(800, Received::Uevent(Uevent::Done { seqnum: 0 }));
    let mut device = |messages: Vec<Received>, record: Record| {
        messages.into_iter().for_each(|message| tracker.device(900, message));
        tracker.record(record);
        let found = tracker.take_events().into_iter().find_map(|event| match event.body {
            Body::Load(load) => Some((load.device, load.reason)),
            _ => None,
        });
        found.unwrap()
    };
    assert_eq!(device(vec![], arrives(7, 1_000, "button")), (None, None));
    assert_eq!(device(vec![announced(1, "/a")], arrives(7, 1_000, "other")), (None, None));
    assert_eq!(device(vec![], arrives(8, 1_000, "button")), (None, None));
    let (one, reason) = device(vec![], arrives(7, 1_000, "button"));
    let one = one.unwrap();
    assert_eq!((one.devpath, one.candidates), (Some(Text::from("/a")), 1));
    assert_eq!((one.attribution, reason), (Attribution::inferred("uevent-modalias"), Some(Reason::Alias)));
    let several = device(vec![announced(2, "/b")], arrives(7, 1_000, "button")).0.unwrap();
    assert_eq!((several.devpath, several.candidates), (None, 2));
    assert_eq!((several.modalias, several.attribution), (Some(Text::from("acpi:BTN:")), Attribution::unknown()));
    let done = Received::Uevent(Uevent::Done { seqnum: 1 });
    assert_eq!(device(vec![done], arrives(7, 1_000, "button")).0.unwrap().devpath, Some(Text::from("/b")));
    assert_eq!(device(vec![Received::Overflow], arrives(7, 1_000, "button")).0, None);
}

/// No device is claimed if udev was busy when tracking began, for loads before that, and after tracking has stopped.
#[test]
fn load_outside_tracking_has_no_device() {
    let claimed = |is_busy, boot_ns, is_over| {
        let mut tracker = tracker();
        tracker.environment.udev.insert(7);
        tracker.environment.udev_is_busy = is_busy;
        tracker.environment.provided = Some(("acpi:BTN:", "button"));
        tracker.push(450, Body::Header(Box::default()));
        tracker.device(800, Received::Uevent(Uevent::Done { seqnum: 0 }));
        tracker.device(900, announced(1, "/a"));
        if is_over {
            tracker.stop_devices();
        }
        tracker.record(arrives(7, boot_ns, "button"));
        let device = |body| if let Body::Load(load) = body { load.device } else { None };
        tracker.take_events().into_iter().any(|event| device(event.body).is_some())
    };
    assert!(claimed(false, 1_000, false));
    assert!(!claimed(true, 1_000, false), "udev may be processing earlier announcements");
    assert!(!claimed(false, 499, false), "recorded before tracking began");
    assert!(!claimed(false, 1_000, true), "tracking has stopped");
}

/// A load whose announcement may have been missed is attributed to the only present device whose alias leads to the module;
/// several are listed. While announcements are complete, devices that udev does not process are no candidates.
#[test]
fn load_at_boot_is_attributed_to_present_devices() {
    let device = |paths: &[&str], is_busy: bool| {
        let mut tracker = tracker();
        tracker.environment.udev.insert(7);
        tracker.environment.udev_is_busy = is_busy;
        tracker.environment.provided = Some(("acpi:BTN:", "button"));
        let present = |path: &&str| PresentDevice {
            devpath: Text::from(*path),
            modalias: Text::from(if path.starts_with("/other") { "acpi:OTHER:" } else { "acpi:BTN:" }),
            subsystem: Text::from("acpi"),
        };
        tracker.environment.present = Some(paths.iter().map(present).collect());
        tracker.push(450, Body::Header(Box::default()));
        tracker.device(800, Received::Uevent(Uevent::Done { seqnum: 0 }));
        tracker.record(arrives(7, 1_000, "button"));
        let device = |body| if let Body::Load(load) = body { load.device } else { None };
        tracker.take_events().into_iter().find_map(|event| device(event.body))
    };
    let one = device(&["/other1", "/a", "/other2"], true).unwrap();
    assert_eq!((one.devpath, one.candidates, one.devpaths.len()), (Some(Text::from("/a")), 1, 0));
    assert_eq!((one.action, one.attribution), (None, Attribution::inferred("sysfs-modalias")));
    let several = device(&["/a", "/other1", "/b"], true).unwrap();
    assert_eq!((several.devpath, several.candidates), (None, 2));
    assert_eq!((several.devpaths, several.attribution), (vec!["/a".into(), "/b".into()], Attribution::unknown()));
    let many: Vec<String> = (0..99).map(|number| format!("/{number}")).collect();
    let many = device(&many.iter().map(String::as_str).collect::<Vec<_>>(), true).unwrap();
    assert_eq!((many.candidates, many.devpaths.len()), (99, DEVPATHS_MAX));
    assert_eq!(device(&["/other1"], true), None);
    assert_eq!(device(&["/a"], false), None);
}
