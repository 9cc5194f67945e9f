//! Struct offsets of the running kernel, for the read-only globals of the programs.

use tracer_ebpf::offsets::{ABSENT, MEMBERS, Member};

use super::ProbeError;
use crate::kernel::btf::Btf;

/// Members without which no correct record is possible. All others may be absent: their field is then unknown.
const REQUIRED: &[&str] = &[
    "TASK_PID",
    "TASK_TGID",
    "TASK_COMM",
    "TASK_REAL_PARENT",
    "TASK_GROUP_LEADER",
    "TASK_START_BOOTTIME",
    "TASK_CRED",
    "CRED_UID",
    "MODULE_NAME",
    "SUBPROCESS_PATH",
    "SUBPROCESS_ARGV",
    "SUBPROCESS_CLEANUP",
    "SUBPROCESS_WAIT",
    "SUBPROCESS_RETVAL",
];

/// The name of a read-only global and the offset for it.
pub(super) type Offset = (&'static str, u32);

/// Looks up every member, in the order of [`MEMBERS`].
pub(super) fn resolve(btf: &Btf) -> Result<Vec<Offset>, ProbeError> {
    let is_missing = |member: &&Member| REQUIRED.contains(&member.symbol) && offset_of(btf, member) == ABSENT;
    match MEMBERS.iter().find(is_missing) {
        Some(member) => {
            let name = || member.paths.first().map_or_else(String::new, |path| path.join("."));
            Err(btf.unread().map_or_else(|| ProbeError::Member { member: name() }, ProbeError::Btf))
        }
        None => Ok(resolve_available(btf)),
    }
}

/// Like [`resolve`], but members that tracing needs may be missing: for measuring programs without tracing.
pub(super) fn resolve_available(btf: &Btf) -> Vec<Offset> {
    MEMBERS.iter().map(|member| (member.symbol, offset_of(btf, member))).collect()
}

/// The offset of the first path that exists with the size that the programs read.
fn offset_of(btf: &Btf, member: &Member) -> u32 {
    member
        .paths
        .iter()
        .filter_map(|path| btf.offset(path))
        .find(|found| member.size_bytes == 0 || found.size_bytes == member.size_bytes)
        .map_or(ABSENT, |found| found.offset_bytes)
}
