//! Which device: what udev most likely loaded a module for.

use schemars::JsonSchema;
use serde::Serialize;

use super::members::members;
use super::text::optional_text_field;
use super::{Attribution, Text};

optional_text_field! {
    /// The device, below `/sys`.
    devpath_field, devpath, devpath_hex
}
optional_text_field! {
    /// Its alias, which leads to the module.
    modalias_field, modalias, modalias_hex
}
optional_text_field! {
    /// Its subsystem.
    subsystem_field, subsystem, subsystem_hex
}
optional_text_field! {
    /// What the kernel announced: `add`, `change`, `bind`.
    action_field, action, action_hex
}

/// The device that udev was dealing with, by what the kernel announced and udev had not dealt with.
///
/// Where several devices can be the cause none is claimed: what they have in common is told, and how many they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Device {
    /// The device, below `/sys`.
    #[serde(flatten, with = "devpath_field")]
    #[schemars(with = "devpath_field::Fields<'_>")]
    pub devpath: Option<Text>,
    /// Its alias, which leads to the module.
    #[serde(flatten, with = "modalias_field")]
    #[schemars(with = "modalias_field::Fields<'_>")]
    pub modalias: Option<Text>,
    /// Its subsystem.
    #[serde(flatten, with = "subsystem_field")]
    #[schemars(with = "subsystem_field::Fields<'_>")]
    pub subsystem: Option<Text>,
    /// What the kernel announced: `add`, `change`, `bind`.
    #[serde(flatten, with = "action_field")]
    #[schemars(with = "action_field::Fields<'_>")]
    pub action: Option<Text>,
    /// Devices that can be the cause; 1 when it is known which.
    pub candidates: u32,
    /// How it is known.
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
        attribution / rule: InlineAttribution,
    }
}
