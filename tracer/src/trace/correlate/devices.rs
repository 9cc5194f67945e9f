//! Devices that udev may be loading a module for: announced by the kernel, and not yet dealt with.
//!
//! udev loads modules in a worker that works for one device at a time, and does not say for which. What can be known is
//! which devices it had not dealt with when a module arrived, and what the modules' aliases make of each. One such device
//! is the cause by inference; of several none is claimed.

use std::collections::VecDeque;

use crate::{event::Text, kernel::uevent::Announcement};

/// Devices that are remembered.
const LIMIT: usize = 4096;

/// udev gives an event up after this long (`event_timeout`, systemd-udevd(8)).
const TIMEOUT_NS: u64 = 180_000_000_000;

/// A module that arrived before udev was done is known of within this time.
const LATE_NS: u64 = 10_000_000_000;

/// The devices.
#[derive(Debug, Default)]
pub(super) struct Devices {
    open: VecDeque<Open>,
    /// When announcements were last missed.
    last_missed_ns: Option<u64>,
    /// What came before was not heard.
    since_ns: u64,
}

/// A device that udev deals with, or has dealt with a moment ago.
#[derive(Debug)]
struct Open {
    announcement: Announcement,
    modalias: Text,
    heard_ns: u64,
    done_ns: Option<u64>,
}

impl Devices {
    /// Begins to listen. `was_idle`: when udev was found to have nothing to do, so that all it deals with later is heard;
    /// `None` when it was busy with what may have been announced before.
    pub(super) fn begin(&mut self, now_ns: u64, was_idle: Option<u64>) {
        self.since_ns = was_idle.unwrap_or(now_ns);
        if was_idle.is_none() {
            self.missed(now_ns);
        }
    }

    /// Nothing is heard any more.
    pub(super) fn end(&mut self) {
        self.open.clear();
        self.since_ns = u64::MAX;
    }

    /// Takes note of an announcement.
    pub(super) fn announced(&mut self, now_ns: u64, announcement: Announcement) {
        self.open.retain(|open| match open.done_ns {
            Some(done_ns) => now_ns.saturating_sub(done_ns) < LATE_NS,
            None => now_ns.saturating_sub(open.heard_ns) < TIMEOUT_NS,
        });
        // udev loads nothing for a device that leaves.
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

    /// Takes note that udev has dealt with an announcement.
    pub(super) fn done(&mut self, now_ns: u64, seqnum: u64) {
        let of_number = |open: &&mut Open| open.announcement.seqnum == seqnum && open.done_ns.is_none();
        for open in self.open.iter_mut().filter(of_number) {
            open.done_ns = Some(now_ns);
        }
    }

    /// Takes note that announcements were missed.
    pub(super) fn missed(&mut self, now_ns: u64) {
        self.last_missed_ns = Some(now_ns);
    }

    /// The devices that may be the cause of what happened at a time, each once: those that `leads` says can be, by their
    /// alias. `None` when one that is not known may be the cause as well.
    pub(super) fn causes(&self, boot_ns: u64, mut leads: impl FnMut(&Text) -> bool) -> Option<Vec<&Announcement>> {
        if boot_ns < self.since_ns
            || self.last_missed_ns.is_some_and(|last_missed_ns| boot_ns.saturating_sub(last_missed_ns) < TIMEOUT_NS)
        {
            return None;
        }
        let mut causes: Vec<&Open> = Vec::new();
        for open in &self.open {
            // Both times are those of hearing, later than the true ones: a cause is never taken out by them.
            let was_open = open.done_ns.is_none_or(|done_ns| done_ns >= boot_ns);
            if !was_open || !leads(&open.modalias) {
                continue;
            }
            // Of several announcements of one device, what it was last announced as when the module arrived.
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

    fn paths(devices: &Devices, boot_ns: u64, modalias: &str) -> Vec<String> {
        let causes = devices.causes(boot_ns, |found| *found == Text::from(modalias)).unwrap();
        causes.into_iter().map(|cause| cause.devpath.field()).collect()
    }

    /// Check that a device is a cause until udev was done with it, as far as hearing can tell, and by its alias alone.
    #[test]
    fn a_device_is_a_cause_until_it_is_done() {
        let mut devices = Devices::default();
        devices.announced(1_000, device(1, "/a", "acpi:A"));
        devices.announced(1_000, device(2, "/b", "acpi:B"));
        assert_eq!(paths(&devices, 1_500, "acpi:A"), ["/a"]);
        devices.done(2_000, 1);
        assert_eq!(paths(&devices, 2_000, "acpi:A"), ["/a"]);
        assert!(paths(&devices, 2_001, "acpi:A").is_empty());
        assert_eq!(paths(&devices, 2_001, "acpi:B"), ["/b"]);
    }

    /// Check that a device that is announced twice counts once: as what it was last announced as before, also where what came
    /// after the module is heard of before the module is.
    #[test]
    fn a_device_counts_once() {
        let mut devices = Devices::default();
        devices.announced(1_000, device(1, "/a", "acpi:A"));
        devices.announced(1_000, device(2, "/b", "acpi:A"));
        devices.announced(1_100, Announcement { action: Text::from("change"), ..device(3, "/a", "acpi:A") });
        for (boot_ns, numbers) in [(900, [1, 2]), (1_050, [1, 2]), (1_100, [3, 2])] {
            let causes = devices.causes(boot_ns, |_| true).unwrap();
            assert_eq!(causes.iter().map(|cause| cause.seqnum).collect::<Vec<_>>(), numbers, "{boot_ns}");
        }
    }

    /// Check that what leaves, what has no alias and what udev has given up is no cause.
    #[test]
    fn what_cannot_be_a_cause_is_none() {
        let mut devices = Devices::default();
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

    /// Check that nothing is claimed for what came before anything was heard, while udev may deal with what was announced
    /// before, and once nothing is heard any more.
    #[test]
    fn nothing_is_claimed_of_what_was_not_heard() {
        let claims = |devices: &Devices, boot_ns| devices.causes(boot_ns, |_| true).is_some();
        let mut devices = Devices::default();
        devices.begin(1_000, Some(1_010));
        devices.announced(1_020, device(1, "/a", "x"));
        assert!(!claims(&devices, 1_009) && claims(&devices, 1_010));
        devices.begin(1_000, None);
        assert!(!claims(&devices, 1_010) && claims(&devices, 1_000 + TIMEOUT_NS));
        devices.end();
        assert!(!claims(&devices, 1_000 + TIMEOUT_NS));
    }

    /// Check that nothing is claimed while what was missed may be the cause.
    #[test]
    fn what_was_missed_may_be_the_cause() {
        let mut devices = Devices::default();
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
