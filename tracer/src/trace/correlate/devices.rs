//! Devices for which udev may be loading a module: announced by the kernel and not yet processed.
//!
//! A udev worker processes one device at a time and does not report which. Known are the devices that were not processed
//! yet when a module was loaded, and the modules that each device's alias leads to. If exactly one device fits, it is the
//! inferred cause; if several fit, none is claimed.

use std::collections::VecDeque;

use crate::{event::Text, kernel::uevent::Announcement};

/// Number of devices kept.
const LIMIT: usize = 4096;

/// udev aborts an event after this time (`event_timeout`, systemd-udevd(8)).
const TIMEOUT_NS: u64 = 180_000_000_000;

/// Time within which the record of a load is read that happened before udev was done.
const LATE_NS: u64 = 10_000_000_000;

/// The devices.
#[derive(Debug, Default)]
pub(super) struct Devices {
    open: VecDeque<Open>,
    /// When announcements were last missed.
    last_missed_ns: Option<u64>,
    /// Earlier announcements were not received.
    since_ns: u64,
    /// A message of udev was received. udev sends them to its own network namespace only; in another one it is unknown which
    /// devices are processed.
    hears_udev: bool,
}

/// A device that udev is processing or has just processed.
#[derive(Debug)]
struct Open {
    announcement: Announcement,
    modalias: Text,
    heard_ns: u64,
    done_ns: Option<u64>,
}

impl Devices {
    /// Starts tracking. `was_idle`: when udev was seen idle, so that all later announcements are received; `None` if it
    /// was busy with devices that were possibly announced before.
    pub(super) fn begin(&mut self, now_ns: u64, was_idle: Option<u64>) {
        self.since_ns = was_idle.unwrap_or(now_ns);
        if was_idle.is_none() {
            self.missed(now_ns);
        }
    }

    /// Stops tracking.
    pub(super) fn end(&mut self) {
        self.open.clear();
        self.since_ns = u64::MAX;
    }

    /// Handles an announcement.
    pub(super) fn announced(&mut self, now_ns: u64, announcement: Announcement) {
        self.open.retain(|open| match open.done_ns {
            Some(done_ns) => now_ns.saturating_sub(done_ns) < LATE_NS,
            None => now_ns.saturating_sub(open.heard_ns) < TIMEOUT_NS,
        });
        // udev loads nothing for a removed device.
        if announcement.action.as_bytes() == b"remove" {
            return;
        }
        let Some(modalias) = announcement.modalias.clone() else { return };
        if self.open.len() >= LIMIT {
            self.open.pop_front();
            self.missed(now_ns);
        }
        self.open.push_back(Open { announcement, modalias, heard_ns: now_ns, done_ns: None });
    }

    /// Handles udev's completion message for an announcement.
    pub(super) fn done(&mut self, now_ns: u64, seqnum: u64) {
        self.hears_udev = true;
        let of_number = |open: &&mut Open| open.announcement.seqnum == seqnum && open.done_ns.is_none();
        for open in self.open.iter_mut().filter(of_number) {
            open.done_ns = Some(now_ns);
        }
    }

    /// Notes that announcements were missed.
    pub(super) fn missed(&mut self, now_ns: u64) {
        self.last_missed_ns = Some(now_ns);
    }

    /// The devices that may be the cause of a load at this time, each once: those whose alias `leads` accepts. `None` if
    /// an unknown device may be the cause as well.
    pub(super) fn causes(&self, boot_ns: u64, mut leads: impl FnMut(&Text) -> bool) -> Option<Vec<&Announcement>> {
        if !self.hears_udev
            || boot_ns < self.since_ns
            || self.last_missed_ns.is_some_and(|last_missed_ns| boot_ns.saturating_sub(last_missed_ns) < TIMEOUT_NS)
        {
            return None;
        }
        let mut causes: Vec<&Open> = Vec::new();
        for open in &self.open {
            // Both times are reception times, later than the actual ones, so they never exclude a true cause.
            let was_open = open.done_ns.is_none_or(|done_ns| done_ns >= boot_ns);
            if !was_open || !leads(&open.modalias) {
                continue;
            }
            // Of several announcements of one device, the last one before the load counts.
            let of_device = |cause: &&mut &Open| cause.announcement.devpath == open.announcement.devpath;
            match causes.iter_mut().find(of_device) {
                Some(cause) if open.heard_ns <= boot_ns => *cause = open,
                Some(_) => {}
                None => causes.push(open),
            }
        }
        let causes = causes.into_iter().map(|open| &open.announcement).collect();
        Some(causes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Devices, LATE_NS, LIMIT, TIMEOUT_NS};
    use crate::{event::Text, kernel::uevent::Announcement};

    fn device(seqnum: u64, path: &str, modalias: &str) -> Announcement {
        Announcement {
            seqnum,
            action: Text::from("add"),
            devpath: Text::from(path),
            subsystem: None,
            modalias: Some(Text::from(modalias)),
        }
    }

    /// Devices with one message of udev.
    fn heard() -> Devices {
        let mut devices = Devices::default();
        devices.done(0, 0);
        devices
    }

    fn paths(devices: &Devices, boot_ns: u64, modalias: &str) -> Vec<String> {
        let causes = devices.causes(boot_ns, |found| *found == Text::from(modalias)).unwrap();
        causes.into_iter().map(|cause| cause.devpath.field()).collect()
    }

    /// A device is a possible cause until udev is done with it, and only by its alias.
    #[test]
    fn device_until_done_is_a_cause() {
        let mut devices = heard();
        devices.announced(1_000, device(1, "/a", "acpi:A"));
        devices.announced(1_000, device(2, "/b", "acpi:B"));
        assert_eq!(paths(&devices, 1_500, "acpi:A"), ["/a"]);
        devices.done(2_000, 1);
        assert_eq!(paths(&devices, 2_000, "acpi:A"), ["/a"]);
        assert!(paths(&devices, 2_001, "acpi:A").is_empty());
        assert_eq!(paths(&devices, 2_001, "acpi:B"), ["/b"]);
    }

    /// A device that is announced twice counts once, with its last announcement before the load, even if a later
    /// announcement is received before the record of the load.
    #[test]
    fn device_announced_twice_counts_once() {
        let mut devices = heard();
        devices.announced(1_000, device(1, "/a", "acpi:A"));
        devices.announced(1_000, device(2, "/b", "acpi:A"));
        devices.announced(1_100, Announcement { action: Text::from("change"), ..device(3, "/a", "acpi:A") });
        for (boot_ns, numbers) in [(900, [1, 2]), (1_050, [1, 2]), (1_100, [3, 2])] {
            let causes = devices.causes(boot_ns, |_| true).unwrap();
            assert_eq!(causes.iter().map(|cause| cause.seqnum).collect::<Vec<_>>(), numbers, "{boot_ns}");
        }
    }

    /// Removed devices, devices without alias and devices that udev has aborted are no causes.
    #[test]
    fn device_that_loads_nothing_is_no_cause() {
        let mut devices = heard();
        devices.announced(1_000, Announcement { action: Text::from("remove"), ..device(1, "/a", "x") });
        devices.announced(1_000, Announcement { modalias: None, ..device(2, "/b", "x") });
        devices.announced(1_000, device(3, "/c", "x"));
        assert_eq!(paths(&devices, 1_500, "x"), ["/c"]);
        devices.announced(1_000 + TIMEOUT_NS, device(4, "/d", "y"));
        assert!(paths(&devices, 1_000 + TIMEOUT_NS, "x").is_empty());
        devices.done(2_000 + TIMEOUT_NS, 4);
        devices.announced(2_000 + TIMEOUT_NS + LATE_NS, device(5, "/e", "z"));
        assert_eq!(devices.open.len(), 1);
    }

    /// No device is claimed for loads before tracking began, while udev may process earlier announcements, and after
    /// tracking has stopped.
    #[test]
    fn load_outside_the_tracked_time_has_no_cause() {
        let claims = |devices: &Devices, boot_ns| devices.causes(boot_ns, |_| true).is_some();
        let mut devices = heard();
        devices.begin(1_000, Some(1_010));
        devices.announced(1_020, device(1, "/a", "x"));
        assert!(!claims(&devices, 1_009) && claims(&devices, 1_010));
        devices.begin(1_000, None);
        assert!(!claims(&devices, 1_010) && claims(&devices, 1_000 + TIMEOUT_NS));
        devices.end();
        assert!(!claims(&devices, 1_000 + TIMEOUT_NS));
    }

    /// No device is claimed before a message of udev was received: it may never be.
    #[test]
    fn device_without_messages_of_udev_is_not_claimed() {
        let mut devices = Devices::default();
        devices.announced(1_000, device(1, "/a", "x"));
        assert!(devices.causes(1_500, |_| true).is_none());
        devices.done(1_600, 1);
        devices.announced(1_700, device(2, "/b", "x"));
        assert_eq!(paths(&devices, 1_800, "x"), ["/b"]);
    }

    /// No device is claimed while a missed announcement may be the cause.
    #[test]
    fn missed_announcement_prevents_a_claim() {
        let mut devices = heard();
        devices.announced(1_000, device(1, "/a", "x"));
        devices.missed(2_000);
        assert!(devices.causes(3_000, |_| true).is_none());
        assert!(devices.causes(2_000 + TIMEOUT_NS, |_| true).is_some());
        for seqnum in 0..=u64::try_from(LIMIT).unwrap() {
            devices.announced(5_000 + TIMEOUT_NS, device(seqnum, "/x", "x"));
        }
        assert_eq!(devices.open.len(), LIMIT);
        assert!(devices.causes(5_000 + TIMEOUT_NS, |_| true).is_none());
    }
}
