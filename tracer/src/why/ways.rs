//! How a module can come: requests that lead to it, devices that need it, modules that need it.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    glob,
    kernel::devices::PresentDevices,
    modprobe::{Config, ModuleIndex},
    modules::explain,
    text::escape_str,
};

/// A way by which a module can come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Way {
    /// `request`, `device` or `dependency`.
    pub kind: &'static str,
    /// What leads to it, with foreign names escaped.
    pub text: String,
    /// The requested alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Who can cause it, for requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<&'static str>,
}

/// The requests that lead to it, by the explanation of its name.
pub(super) fn requests(answer: &explain::Answer) -> Vec<Way> {
    let way = |cause: &explain::Cause| {
        let more = if cause.more_aliases > 0 { format!(" and {} more", cause.more_aliases) } else { String::new() };
        Way {
            kind: "request",
            text: format!("{} [{}{more}]", escape_str(&cause.action), escape_str(&cause.alias)),
            alias: Some(escape_str(&cause.alias)),
            access: Some(cause.access.words()),
        }
    };
    answer.causes.iter().map(way).collect()
}

/// The devices that are present and whose alias leads to a module.
pub(super) fn devices(root: &Path, module: &str, config: &Config) -> Vec<Way> {
    // Aliases of hardware have a bus before a colon.
    let patterns: Vec<&[u8]> =
        config.aliases_of(module).filter(|pattern| pattern.contains(':')).map(str::as_bytes).collect();
    if patterns.is_empty() {
        return Vec::new();
    }
    let devices = PresentDevices::default().read(root);
    let Ok(devices) = devices.inspect_err(|error| log::info!("the devices cannot be listed: {error}")) else {
        return Vec::new();
    };
    let leads = |alias: &[u8]| {
        glob::normalize(alias).is_some_and(|alias| patterns.iter().any(|pattern| glob::matches(pattern, &alias)))
    };
    let of_module = devices.iter().filter(|device| leads(device.modalias.as_bytes()));
    let way = |device: &crate::kernel::devices::PresentDevice| Way {
        kind: "device",
        text: format!("{} ({})", crate::text::escape(&device.devpath), crate::text::escape(&device.subsystem)),
        alias: Some(crate::text::escape(&device.modalias)),
        access: None,
    };
    of_module.map(way).collect()
}

/// The modules of this kernel that need it.
pub(super) fn dependents(module: &str, index: &ModuleIndex) -> Vec<Way> {
    let way = |name: String| Way { kind: "dependency", text: escape_str(&name), alias: None, access: None };
    index.users_of(module).into_iter().map(way).collect()
}
