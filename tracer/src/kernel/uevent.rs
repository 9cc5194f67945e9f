//! Uevents: the kernel's announcements of devices, and udev's completion messages.

use crate::event::Text;

/// A message about a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Uevent {
    /// The kernel's announcement, which udev will process.
    Announced(Announcement),
    /// udev has processed the announcement with this number.
    Done {
        /// The number.
        seqnum: u64,
    },
}

/// The kernel's announcement of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announcement {
    /// Number of the announcement, in order.
    pub seqnum: u64,
    /// The action: `add`, `change`, `bind`, ...
    pub action: Text,
    /// The device, below `/sys`.
    pub devpath: Text,
    /// Its subsystem.
    pub subsystem: Option<Text>,
    /// The alias of the modules for it, if its bus has aliases.
    pub modalias: Option<Text>,
}

/// The sender; each has its own multicast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sender {
    /// The kernel; no process can forge this.
    Kernel,
    /// A process with CAP_NET_ADMIN: udev.
    Udev,
}

impl Sender {
    /// Its multicast group.
    #[must_use]
    pub const fn group(self) -> u32 {
        match self {
            Self::Kernel => 1,
            Self::Udev => 2,
        }
    }

    /// The sender of a message, by its port and group.
    #[must_use]
    pub const fn of(port: u32, groups: u32) -> Option<Self> {
        match (port, groups) {
            (0, 1) => Some(Self::Kernel),
            (1.., 2) => Some(Self::Udev),
            _ => None,
        }
    }
}

/// Parses a message; `None` if it is irrelevant or invalid.
#[must_use]
pub fn parse(sender: Sender, message: &[u8]) -> Option<Uevent> {
    match sender {
        Sender::Kernel => announcement(message).map(Uevent::Announced),
        Sender::Udev => done(message),
    }
}

/// `add@/devices/pci0000:00/...`, then `NAME=value`, each ended by a NUL (lib/kobject_uevent.c).
fn announcement(message: &[u8]) -> Option<Announcement> {
    let (_, properties) = split_at_nul(message)?;
    let mut found = Announcement::default();
    let mut numbered = false;
    for (name, value) in fields(properties) {
        match name {
            b"ACTION" => found.action = Text::from(value),
            b"DEVPATH" => found.devpath = Text::from(value),
            b"SUBSYSTEM" => found.subsystem = Some(Text::from(value)),
            b"MODALIAS" => found.modalias = Some(Text::from(value)),
            b"SEQNUM" => {
                found.seqnum = number(value)?;
                numbered = true;
            }
            _ => {}
        }
    }
    (numbered && !found.devpath.is_empty()).then_some(found)
}

/// `struct monitor_netlink_header` and the properties (systemd, src/libsystemd/sd-device/device-monitor.c).
fn done(message: &[u8]) -> Option<Uevent> {
    const PREFIX: &[u8] = b"libudev\0";
    const MAGIC: u32 = 0xfeed_cafe;
    let header = message.strip_prefix(PREFIX)?;
    let word = |at: usize| header.get(4 * at..4 * at + 4)?.try_into().ok();
    if u32::from_be_bytes(word(0)?) != MAGIC {
        return None;
    }
    let size = |at: usize| usize::try_from(u32::from_ne_bytes(word(at)?)).ok();
    let (offset, len) = (size(2)?, size(3)?);
    let properties = message.get(offset..offset.checked_add(len)?)?;
    let seqnum = fields(properties).find_map(|(name, value)| if name == b"SEQNUM" { number(value) } else { None })?;
    Some(Uevent::Done { seqnum })
}

fn split_at_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn fields(properties: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    properties.split(|byte| *byte == 0).filter_map(|field| {
        let at = field.iter().position(|byte| *byte == b'=')?;
        Some((&field[..at], &field[at + 1..]))
    })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Announcement, Sender, Uevent, parse};
    use crate::event::Text;

    const ADD: &[u8] = b"add@/devices/LNXSYSTM:00/LNXPWRBN:00\0ACTION=add\0DEVPATH=/devices/LNXSYSTM:00/LNXPWRBN:00\0\
        SUBSYSTEM=acpi\0SYNTH_UUID=0\0MODALIAS=acpi:LNXPWRBN:\0SEQNUM=1234\0";

    fn from_udev(properties: &[u8]) -> Vec<u8> {
        let mut message = b"libudev\0".to_vec();
        message.extend(0xfeed_cafe_u32.to_be_bytes());
        for word in [40, 40, u32::try_from(properties.len()).unwrap()] {
            message.extend(word.to_ne_bytes());
        }
        message.resize(40, 0);
        message.extend(properties);
        message
    }

    /// The kernel's announcements are parsed; other messages are not.
    #[test]
    fn announcement_of_the_kernel_is_parsed() {
        let wanted = Announcement {
            seqnum: 1234,
            action: Text::from("add"),
            devpath: Text::from("/devices/LNXSYSTM:00/LNXPWRBN:00"),
            subsystem: Some(Text::from("acpi")),
            modalias: Some(Text::from("acpi:LNXPWRBN:")),
        };
        assert_eq!(parse(Sender::Kernel, ADD), Some(Uevent::Announced(wanted)));
        for message in
            [&b"add@/devices/x\0ACTION=add\0"[..], b"", b"libudev\0", b"x\0SEQNUM=1\0", b"x\0DEVPATH=/\0SEQNUM=-\0"]
        {
            assert_eq!(parse(Sender::Kernel, message), None);
        }
    }

    /// udev's messages are parsed by their own header; a damaged header is rejected.
    #[test]
    fn message_of_udev_is_parsed() {
        let message = from_udev(b"ACTION=add\0DEVPATH=/devices/x\0SEQNUM=77\0");
        assert_eq!(parse(Sender::Udev, &message), Some(Uevent::Done { seqnum: 77 }));
        assert_eq!(parse(Sender::Udev, ADD), None);
        let mut other = message.clone();
        other[8] ^= 1;
        assert_eq!(parse(Sender::Udev, &other), None);
        let mut beyond = message;
        beyond[16..20].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(parse(Sender::Udev, &beyond), None);
    }

    /// A message is accepted only from the sender of its group.
    #[test]
    fn message_of_another_sender_is_ignored() {
        assert_eq!(Sender::of(0, 1), Some(Sender::Kernel));
        assert_eq!(Sender::of(500, 2), Some(Sender::Udev));
        assert_eq!(Sender::of(500, 1), None);
        assert_eq!(Sender::of(500, 0), None);
    }

    proptest! {
        /// No bytes make the parser panic, or return a device without a path.
        #[test]
        fn any_message_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..60) {
            if let Some(Uevent::Announced(found)) = parse(Sender::Kernel, &bytes) {
                prop_assert!(!found.devpath.is_empty());
            }
            prop_assert!(!matches!(parse(Sender::Udev, &bytes), Some(Uevent::Announced(_))));
            let message = from_udev(&bytes);
            prop_assert_eq!(parse(Sender::Udev, &message[..cut.min(message.len() - 1)]), None);
        }
    }
}
