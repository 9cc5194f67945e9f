//! Two programs at one function's return: the kernel may skip either, and the other one does its work.
//!
//! On kernels with full or lazy preemption a trampoline's program may be preempted, and meanwhile the kernel skips it for
//! every other task on that CPU. A kretprobe is not skipped, but has few slots, each taken until the function returns,
//! and a task may be preempted there as well.

use tracer_ebpf::wire::Pair;

use crate::{
    count::add_one,
    maps::{PAIRS, RETURNS},
    task::tid,
};

/// Which of the two. The kernel's order is its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    First = 1,
    Second = 2,
}

/// Whether a return is this program's to tell. To be asked once in every run, whatever there is to tell.
///
/// Who tells leaves word for the other; word of one's own is of an earlier call, after which the other was skipped. Every
/// call runs or skips the first program: its runs and skips, less the returns that either took, are the returns that
/// nobody did.
#[inline(always)]
pub(crate) fn is_ours(pair: Pair, who: Who) -> bool {
    if who == Who::First {
        add_one(&PAIRS, pair.runs());
    }
    let key = u64::from(tid()) << 32 | pair as u64;
    // SAFETY: the entry is this thread's own; the value is copied at once.
    let taken_by = unsafe { RETURNS.get(&key) }.copied();
    if taken_by.is_some_and(|taken_by| taken_by != who as u32) {
        let _ = RETURNS.remove(&key);
        return false;
    }
    // Where there is no room for the word, the return is told twice rather than not at all.
    let _ = RETURNS.insert(&key, &(who as u32), 0);
    let taken = match who {
        Who::First => pair.taken_by_first(),
        Who::Second => pair.taken_by_second(),
    };
    add_one(&PAIRS, taken);
    true
}
