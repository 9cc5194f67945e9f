//! The tracker's device part: the device for which udev loaded a module.

use std::collections::HashMap;

use super::{Tracker, environment::Environment};
use crate::{
    event::{Attribution, DEVPATHS_MAX, Device, Reason, Text},
    kernel::{
        devices::PresentDevice,
        uevent::{Announcement, Uevent},
    },
    probe::Received,
};

/// The rule that links a module loaded by udev to the only device that udev was processing.
const ANNOUNCED: &str = "uevent-modalias";

/// The rule that links a module loaded by udev to the only present device whose alias leads to it.
const PRESENT: &str = "sysfs-modalias";

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
    ///
    /// If announcements may have been missed, the candidates are all devices that are present, as for most loads at boot.
    pub(super) fn device_of(&mut self, module: &str, boot_ns: u64) -> (Option<Device>, Option<Reason>) {
        let Self { devices, environment, .. } = self;
        let mut reasons: HashMap<Text, Option<Reason>> = HashMap::new();
        let mut leads = |modalias: &Text, environment: &mut K| {
            let reason = reasons
                .entry(modalias.clone())
                .or_insert_with(|| environment.resolve(modalias).ok().and_then(|plan| plan.reason(module)));
            reason.is_some()
        };
        let announced = devices.causes(boot_ns, |modalias| leads(modalias, environment));
        let (candidates, rule) = match announced {
            Some(announced) => (announced.into_iter().map(Candidate::from).collect::<Vec<_>>(), ANNOUNCED),
            None => {
                let Some(present) = environment.present_devices(boot_ns) else { return (None, None) };
                let present = present.iter().filter(|device| leads(&device.modalias, environment));
                (present.map(Candidate::from).collect(), PRESENT)
            }
        };
        let Some((first, others)) = candidates.split_first() else { return (None, None) };
        let common = |field: fn(&Candidate) -> Option<&Text>| {
            field(first).filter(|value| others.iter().all(|other| field(other) == Some(value))).cloned()
        };
        let modalias = common(|device| device.modalias.as_ref());
        let reason = modalias.as_ref().and_then(|modalias| reasons.get(modalias).copied().flatten());
        let is_known = others.is_empty();
        let paths = candidates.iter().map(|device| device.devpath.clone());
        let device = Device {
            devpath: is_known.then(|| first.devpath.clone()),
            modalias,
            subsystem: common(|device| device.subsystem.as_ref()),
            action: common(|device| device.action.as_ref()),
            candidates: u32::try_from(others.len()).unwrap_or(u32::MAX).saturating_add(1),
            devpaths: if is_known { Vec::new() } else { paths.take(DEVPATHS_MAX).collect() },
            attribution: if is_known { Attribution::inferred(rule) } else { Attribution::unknown() },
        };
        (Some(device), reason)
    }
}

/// A device for which udev may have loaded a module.
struct Candidate {
    devpath: Text,
    modalias: Option<Text>,
    subsystem: Option<Text>,
    action: Option<Text>,
}

impl From<&Announcement> for Candidate {
    fn from(device: &Announcement) -> Self {
        let Announcement { devpath, modalias, subsystem, action, .. } = device.clone();
        Self { devpath, modalias, subsystem, action: Some(action) }
    }
}

impl From<&PresentDevice> for Candidate {
    fn from(device: &PresentDevice) -> Self {
        let PresentDevice { devpath, modalias, subsystem } = device.clone();
        Self { devpath, modalias: Some(modalias), subsystem: Some(subsystem), action: None }
    }
}
