//! Devices that are present, with the alias of the modules for them, from `/sys/bus/*/devices` and `/sys/class`.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::DirEntryExt as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::event::Text;

/// Maximum number of devices read. The largest servers have a few thousand.
const LIMIT: usize = 1 << 16;

/// A device with an alias for modules.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresentDevice {
    /// Path below `/sys`.
    pub devpath: Text,
    /// The alias of the modules for it.
    pub modalias: Text,
    /// Its bus or class.
    pub subsystem: Text,
}

/// Reads the devices. Each is read once, because the alias of a device does not change.
#[derive(Debug, Default)]
pub struct PresentDevices {
    /// By inode of the device's link: sysfs does not use an inode again (`kernfs_ino()`, include/linux/kernfs.h, since 5.5).
    known: HashMap<u64, Option<PresentDevice>>,
}

impl PresentDevices {
    /// Lists the devices with an alias that are present now. Devices that disappear meanwhile are left out.
    ///
    /// # Errors
    /// If the buses or classes cannot be listed, or there are more than 65,536 devices.
    pub fn read(&mut self, root: &Path) -> io::Result<Arc<[PresentDevice]>> {
        let mut before = std::mem::take(&mut self.known);
        for (directory, below) in [("sys/bus", "devices"), ("sys/class", "")] {
            for subsystem in fs::read_dir(root.join(directory))? {
                let subsystem = subsystem?;
                let name = Text::from(subsystem.file_name().as_bytes());
                let Ok(links) = fs::read_dir(subsystem.path().join(below)) else { continue };
                for link in links {
                    let link = link?;
                    if self.known.len() == LIMIT {
                        return Err(io::Error::other(format!("there are more than {LIMIT} devices")));
                    }
                    let known = before.remove(&link.ino()).map_or_else(|| device(&link.path(), &name), Ok);
                    // A device that cannot be read is tried again: if it were left out, another one could seem to be the only one.
                    if let Ok(device) = known {
                        self.known.insert(link.ino(), device);
                    }
                }
            }
        }
        let mut devices: Vec<PresentDevice> = self.known.values().flatten().cloned().collect();
        devices.sort_unstable_by(|one, other| one.devpath.cmp(&other.devpath));
        Ok(devices.into())
    }
}

/// A device; `None` if it has no alias.
fn device(link: &Path, subsystem: &Text) -> io::Result<Option<PresentDevice>> {
    // The variables that udev gets with the device's uevent. Not all devices with an alias have a file `modalias`.
    let uevent = fs::read(link.join("uevent"))?;
    let Some(modalias) = uevent.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"MODALIAS=")) else {
        return Ok(None);
    };
    let (devpath, modalias) = (below_sys(link)?, Text::from(modalias));
    Ok(Some(PresentDevice { devpath, modalias, subsystem: subsystem.clone() }))
}

/// The path of a device below `/sys`. The links of buses and classes are relative and lead up to `/sys` first.
fn below_sys(link: &Path) -> io::Result<Text> {
    let target = fs::read_link(link)?;
    let below: PathBuf = target.components().skip_while(|part| *part == Component::ParentDir).collect();
    let mut path = OsStr::new("/").to_owned();
    path.push(below);
    Ok(Text::from(path.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Creates a device with these variables, and its link in a bus or class.
    fn plug(root: &Path, place: &str, name: &str, uevent: &str) {
        let device = root.join("sys/devices").join(name);
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("uevent"), uevent).unwrap();
        let up = "../".repeat(place.split('/').count());
        let place = root.join("sys").join(place);
        fs::create_dir_all(&place).unwrap();
        symlink(format!("{up}devices/{name}"), place.join(name)).unwrap();
    }

    fn listed(devices: &mut PresentDevices, root: &Path) -> Vec<(Text, Text)> {
        devices.read(root).unwrap().iter().map(|it| (it.devpath.clone(), it.modalias.clone())).collect()
    }

    fn expected(devices: &[(&str, &str)]) -> Vec<(Text, Text)> {
        devices.iter().map(|(path, alias)| (Text::from(*path), Text::from(*alias))).collect()
    }

    /// Devices of buses and classes are listed with path and alias; devices without an alias, and dangling links, are left out.
    #[test]
    fn devices_with_an_alias_are_listed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        plug(root, "bus/acpi/devices", "LNXPWRBN:00", "DRIVER=button\nMODALIAS=acpi:LNXPWRBN:\n");
        plug(root, "bus/acpi/devices", "bare", "DRIVER=x\n");
        plug(root, "class/dmi", "odd\u{1}", "MODALIAS=x\u{1b}\n");
        symlink("../../../devices/gone", root.join("sys/bus/acpi/devices/gone")).unwrap();
        fs::write(root.join("sys/class/version"), "").unwrap();
        let mut devices = PresentDevices::default();
        let both = [("/devices/LNXPWRBN:00", "acpi:LNXPWRBN:"), ("/devices/odd\u{1}", "x\u{1b}")];
        assert_eq!(listed(&mut devices, root), expected(&both));
        assert_eq!(devices.read(root).unwrap()[0].subsystem, Text::from("acpi"));
        assert!(devices.read(Path::new("/nonexistent")).is_err());
    }

    /// A device that was read is not read again; devices that were unplugged are gone, and new ones are found.
    #[test]
    fn device_is_read_once() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("sys/class")).unwrap();
        plug(root, "bus/usb/devices", "1-1", "MODALIAS=usb:one\n");
        let mut devices = PresentDevices::default();
        assert_eq!(listed(&mut devices, root), expected(&[("/devices/1-1", "usb:one")]));
        fs::write(root.join("sys/devices/1-1/uevent"), "MODALIAS=usb:changed\n").unwrap();
        plug(root, "bus/usb/devices", "1-2", "MODALIAS=usb:two\n");
        let both = expected(&[("/devices/1-1", "usb:one"), ("/devices/1-2", "usb:two")]);
        assert_eq!(listed(&mut devices, root), both);
        fs::remove_file(root.join("sys/bus/usb/devices/1-1")).unwrap();
        assert_eq!(listed(&mut devices, root), both[1..]);
        // Its variables cannot be read yet.
        plug(root, "bus/usb/devices", "1-3", "");
        let variables = root.join("sys/devices/1-3/uevent");
        fs::remove_file(&variables).unwrap();
        assert_eq!(listed(&mut devices, root), both[1..]);
        fs::write(variables, "MODALIAS=usb:three\n").unwrap();
        assert_eq!(listed(&mut devices, root).last(), Some(&("/devices/1-3".into(), "usb:three".into())));
    }
}
