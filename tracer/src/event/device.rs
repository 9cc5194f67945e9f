//! Which device: what udev most likely loaded a module for.

use serde::{Deserialize, Serialize};

use super::text::optional_text_field;
use super::{Attribution, Text};

optional_text_field!(devpath_field, devpath, devpath_hex);
optional_text_field!(modalias_field, modalias, modalias_hex);
optional_text_field!(subsystem_field, subsystem, subsystem_hex);
optional_text_field!(action_field, action, action_hex);

/// The device that udev was dealing with, by what the kernel announced and udev had not dealt with.
///
/// Where several devices can be the cause none is claimed: what they have in common is told, and how many they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The device, below `/sys`.
    #[serde(flatten, with = "devpath_field")]
    pub devpath: Option<Text>,
    /// Its alias, which leads to the module.
    #[serde(flatten, with = "modalias_field")]
    pub modalias: Option<Text>,
    /// Its subsystem.
    #[serde(flatten, with = "subsystem_field")]
    pub subsystem: Option<Text>,
    /// What the kernel announced: `add`, `change`, `bind`.
    #[serde(flatten, with = "action_field")]
    pub action: Option<Text>,
    /// Devices that can be the cause; 1 when it is known which.
    pub candidates: u32,
    /// How it is known.
    #[serde(flatten)]
    pub attribution: Attribution,
}
