//! The boots that captures are of, from the headers of their files.

use std::path::PathBuf;

use jiff::Timestamp;

use super::{capture_source::header, identity::name};
use crate::capture::files;

/// A boot of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenBoot {
    /// The boot id.
    pub boot_id: String,
    /// Host name.
    pub host: String,
    /// The machine id, if there is one.
    pub machine_id: Option<String>,
    /// The time of the first header.
    pub first: Timestamp,
}

/// The boots of captures, in the order of their first headers. Standard input, and files without a header, are not considered.
#[must_use]
pub fn boots(paths: &[PathBuf]) -> Vec<SeenBoot> {
    let mut boots: Vec<SeenBoot> = Vec::new();
    for (time, header) in files::list(paths).files.iter().filter_map(|path| header(path)) {
        let boot_id = name(&header.boot_id);
        match boots.iter_mut().find(|known| is_same_boot(&known.boot_id, &boot_id)) {
            Some(known) => known.first = known.first.min(time),
            None => boots.push(SeenBoot {
                boot_id,
                host: name(&header.hostname),
                machine_id: header.machine_id.as_deref().map(name),
                first: time,
            }),
        }
    }
    boots.sort_by(|one, other| (one.first, &one.boot_id).cmp(&(other.first, &other.boot_id)));
    boots
}

/// Whether two boot ids are equal: with or without dashes, as of the kernel or of the journal.
#[must_use]
pub fn is_same_boot(one: &str, other: &str) -> bool {
    let digits =
        |id: &str| id.bytes().filter(|byte| *byte != b'-').map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>();
    digits(one) == digits(other)
}
