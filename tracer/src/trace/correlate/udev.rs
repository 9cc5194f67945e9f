//! The tracker's device part: the device for which udev loaded a module.

use std::collections::HashMap;

use super::{Tracker, environment::Environment};
use crate::{
    event::{Attribution, Device, Reason, Text},
    kernel::uevent::{Announcement, Uevent},
    probe::Received,
};

/// The rule that links a module loaded by udev to a device.
const RULE: &str = "uevent-modalias";

impl<K: Environment> Tracker<K> {
    /// Starts tracking devices: after the socket was opened, and before any record is read.
    pub(super) fn start_devices(&mut self, now_ns: u64) {
        let was_idle = self.environment.udev_was_idle();
        if was_idle.is_none() {
            log::info!(
                "udev is busy with earlier announcements: the device for which it loads a module is unknown until it is idle"
            );
        }
        self.devices.begin(now_ns, was_idle);
    }

    /// Stops tracking devices: no more announcements will be received.
    pub fn stop_devices(&mut self) {
        self.devices.end();
    }

    /// Handles a message about a device. Messages that were received before a record was read must be passed first.
    pub fn device(&mut self, now_ns: u64, received: Received) {
        match received {
            Received::Uevent(Uevent::Announced(announcement)) => self.devices.announced(now_ns, announcement),
            Received::Uevent(Uevent::Done { seqnum }) => self.devices.done(now_ns, seqnum),
            Received::Overflow => {
                log::warn!("uevents were lost: the device for which udev loads a module is unknown");
                self.devices.missed(now_ns);
            }
        }
    }

    /// The device for which udev loaded a module, and the reason why the module belongs to the device's alias.
    pub(super) fn device_of(&mut self, module: &str, boot_ns: u64) -> (Option<Device>, Option<Reason>) {
        let Self { devices, environment, .. } = self;
        let mut reasons: HashMap<Text, Option<Reason>> = HashMap::new();
        let causes = devices.causes(boot_ns, |modalias| {
            let reason = reasons
                .entry(modalias.clone())
                .or_insert_with(|| environment.resolve(modalias).and_then(|plan| plan.reason(module)));
            reason.is_some()
        });
        let Some((first, others)) = causes.as_deref().and_then(<[_]>::split_first) else { return (None, None) };
        let common = |field: fn(&Announcement) -> Option<&Text>| {
            field(first).filter(|value| others.iter().all(|other| field(other) == Some(value))).cloned()
        };
        let modalias = common(|device| device.modalias.as_ref());
        let reason = modalias.as_ref().and_then(|modalias| reasons.get(modalias).copied().flatten());
        let device = Device {
            devpath: others.is_empty().then(|| first.devpath.clone()),
            modalias,
            subsystem: common(|device| device.subsystem.as_ref()),
            action: common(|device| Some(&device.action)),
            candidates: u32::try_from(others.len()).unwrap_or(u32::MAX).saturating_add(1),
            attribution: if others.is_empty() { Attribution::inferred(RULE) } else { Attribution::unknown() },
        };
        (Some(device), reason)
    }
}
