//! Options that several verbs share.

pub(super) mod boot;
pub(super) mod policy;
pub(super) mod select;
pub(super) mod stop;
pub(super) mod time;
pub(super) mod trace;
pub(super) mod verdict;
