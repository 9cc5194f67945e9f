//! The verbs, one file each.

pub(super) mod block;
pub(super) mod check;
pub(super) mod diff;
pub(super) mod doctor;
pub(super) mod explain;
pub(super) mod impact;
pub(super) mod manual;
pub(super) mod policy;
pub(super) mod record;
pub(super) mod recover;
pub(super) mod report;
pub(super) mod run;
pub(super) mod schema;
pub(super) mod snapshot;
pub(super) mod surface;
pub(super) mod surface_block;
mod surface_format;
pub(super) mod verify;
pub(super) mod watch;
pub(super) mod why;
