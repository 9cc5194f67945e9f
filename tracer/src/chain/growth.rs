//! Complexity checks for tests.

use rustix::time::{ClockId, clock_gettime};

/// Accepted ratio of the times for four times the input: linear work takes four times as long, quadratic work sixteen
/// times.
const RATIO_MAX: f64 = 8.0;

/// CPU time of this thread, so that other load does not matter.
fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Asserts that work on four times the input takes no more than eight times as long, by the best of some runs.
pub(crate) fn is_linear<Input>(what: &str, size: usize, make: impl Fn(usize) -> Input, work: impl Fn(Input)) {
    let best_ns = |size: usize| {
        let run = |_| {
            let input = make(size);
            let began_ns = now_ns();
            work(input);
            now_ns() - began_ns
        };
        (0..3).map(run).min().unwrap_or_default()
    };
    let mut found = Vec::new();
    for _ in 0..3 {
        let (one, two, four) = (best_ns(size), best_ns(2 * size), best_ns(4 * size));
        #[expect(clippy::cast_precision_loss, reason = "a ratio of times needs no more digits than a double has")]
        let ratio = four as f64 / one.max(1) as f64;
        if ratio < RATIO_MAX {
            return;
        }
        found.push((one, two, four));
    }
    panic!("{what} of {size} and twice and four times as many took, in nanoseconds: {found:?}");
}
