//! Which device: what udev most likely loaded a module for.

use schemars::JsonSchema;
use serde::Serialize;

use super::members::members;
use super::text::{optional_text_field, text_list_field};
use super::{Attribution, Text};

optional_text_field! {
    /// Path of the device below `/sys`.
    devpath_field, devpath, devpath_hex
}
optional_text_field! {
    /// `MODALIAS` of the device, which resolves to the module.
    modalias_field, modalias, modalias_hex
}
optional_text_field! {
    /// Subsystem of the device.
    subsystem_field, subsystem, subsystem_hex
}
optional_text_field! {
    /// Action of the uevent: `add`, `change`, `bind`.
    action_field, action, action_hex
}

text_list_field! {
    /// Paths of the candidates below `/sys`, if there are several: at most 16.
    devpaths_field, devpaths, devpaths_hex
}

/// Maximum number of candidates that are listed.
pub const DEVPATHS_MAX: usize = 16;

/// The device for which udev loaded a module: one of those that udev had not finished, according to their uevents; or, for loads
/// whose uevents were not received, for example at boot, one of those that are present in sysfs.
///
/// If there are several candidates, only their common properties, their number and the paths of the first are reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Device {
    /// Path of the device below `/sys`.
    #[serde(flatten, with = "devpath_field")]
    #[schemars(with = "devpath_field::Fields<'_>")]
    pub devpath: Option<Text>,
    /// `MODALIAS` of the device, which resolves to the module.
    #[serde(flatten, with = "modalias_field")]
    #[schemars(with = "modalias_field::Fields<'_>")]
    pub modalias: Option<Text>,
    /// Subsystem of the device.
    #[serde(flatten, with = "subsystem_field")]
    #[schemars(with = "subsystem_field::Fields<'_>")]
    pub subsystem: Option<Text>,
    /// Action of the uevent: `add`, `change`, `bind`. Unknown for a device from sysfs.
    #[serde(flatten, with = "action_field")]
    #[schemars(with = "action_field::Fields<'_>")]
    pub action: Option<Text>,
    /// Number of candidates; 1 if the device is known.
    pub candidates: u32,
    /// Paths of the candidates below `/sys`, if there are several: at most 16.
    #[serde(flatten, with = "devpaths_field")]
    #[schemars(with = "devpaths_field::Fields<'_>")]
    pub devpaths: Vec<Text>,
    /// How the device was determined.
    #[serde(flatten)]
    pub attribution: Attribution,
}

members! {
    Device {
        devpath / devpath_hex: OptionalText,
        modalias / modalias_hex: OptionalText,
        subsystem / subsystem_hex: OptionalText,
        action / action_hex: OptionalText,
        candidates: Required,
        devpaths / devpaths_hex: TextList,
        attribution / rule: InlineAttribution,
    }
}
