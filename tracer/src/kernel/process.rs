//! Processes as `/proc` shows them, and signals to them.

use std::{fs, io, path::Path};

pub use rustix::process::Signal;

use crate::event::ProcessId;

/// A process cannot be read or signalled.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is gone, or its `/proc` entry cannot be read.
    #[error("cannot read /proc/{pid}/stat")]
    Stat {
        /// The process.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its entry is not what the kernel writes.
    #[error("/proc/{pid}/stat has no start time")]
    Format {
        /// The process.
        pid: u32,
    },
    /// It cannot be signalled.
    #[error("cannot send a signal to process {pid}")]
    Signal {
        /// The process.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Nanoseconds of the kernel's clock tick as user space sees it: `USER_HZ` is 100 on every architecture
/// that this tool runs on.
pub const TICK_NS: u64 = 10_000_000;

/// Whether `/proc` hides processes of others from who may not look into them (mount option `hidepid`).
#[must_use]
pub fn are_hidden() -> bool {
    // Where that cannot be read, nothing of it can.
    fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| hides(&mounts))
}

fn hides(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, "/proc", "proc", options, ..] = words[..] else { return false };
        options
            .split(',')
            .filter_map(|option| option.strip_prefix("hidepid="))
            .any(|value| !matches!(value, "0" | "off"))
    })
}

/// A process's identity; its start is exact to the tick only.
///
/// # Errors
/// When there is no such process.
pub fn id_of(pid: u32) -> Result<ProcessId, ProcessError> {
    id_in(Path::new("/proc"), pid)
}

fn id_in(proc: &Path, pid: u32) -> Result<ProcessId, ProcessError> {
    let stat =
        fs::read(proc.join(pid.to_string()).join("stat")).map_err(|source| ProcessError::Stat { pid, source })?;
    let ticks = start_ticks(&stat).ok_or(ProcessError::Format { pid })?;
    Ok(ProcessId { pid, start_ns: ticks.saturating_mul(TICK_NS) })
}

/// A number of `stat` by the number that proc(5) gives its field. The second field is the name in parentheses, which may
/// hold anything.
fn number(stat: &[u8], field: usize) -> Option<u64> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    rest.split_ascii_whitespace().nth(field.checked_sub(3)?)?.parse().ok()
}

fn start_ticks(stat: &[u8]) -> Option<u64> {
    number(stat, 22)
}

/// Whether this very process still runs: its id is in use, and by a process of the same start.
/// A zombie has ended, unless other threads of it run: the first may end before them.
#[must_use]
pub fn is_alive(process: ProcessId) -> bool {
    is_alive_in(Path::new("/proc"), process)
}

fn is_alive_in(proc: &Path, process: ProcessId) -> bool {
    let Ok(stat) = fs::read(proc.join(process.pid.to_string()).join("stat")) else { return false };
    is_of(&stat, process) && (!is_zombie(&stat) || number(&stat, 20).is_some_and(|threads| threads > 1))
}

/// Whether this very thread of a process still runs.
#[must_use]
pub fn is_thread_alive(process: ProcessId, tid: u32) -> bool {
    is_thread_alive_in(Path::new("/proc"), process, tid)
}

fn is_thread_alive_in(proc: &Path, process: ProcessId, tid: u32) -> bool {
    let directory = proc.join(process.pid.to_string());
    let Ok(thread) = fs::read(directory.join("task").join(tid.to_string()).join("stat")) else { return false };
    // Whose thread that was: the process's id may be another's by now.
    let Ok(stat) = fs::read(directory.join("stat")) else { return false };
    is_of(&stat, process) && !is_zombie(&thread)
}

fn is_of(stat: &[u8], process: ProcessId) -> bool {
    start_ticks(stat).is_some_and(|ticks| ticks == process.start_ns / TICK_NS)
}

fn is_zombie(stat: &[u8]) -> bool {
    let Some(name_end) = stat.iter().rposition(|byte| *byte == b')') else { return false };
    matches!(stat.get(name_end + 2), Some(b'Z' | b'X'))
}

/// Sends a signal.
///
/// # Errors
/// When the kernel refuses. A process that is gone is none.
pub fn send_signal(pid: u32, signal: Signal) -> Result<(), ProcessError> {
    let Some(target) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return Ok(()) };
    match rustix::process::kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(ProcessError::Signal { pid, source: errno.into() }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{TICK_NS, id_of, is_alive, is_alive_in, is_thread_alive, is_thread_alive_in, is_zombie, start_ticks};
    use crate::event::ProcessId;

    /// Only the mount of /proc itself counts, and only where the option hides something.
    #[test]
    fn knows_when_processes_are_hidden() {
        assert!(super::hides("sysfs /sys sysfs rw 0 0\nproc /proc proc rw,nosuid,hidepid=invisible 0 0\n"));
        assert!(super::hides("proc /proc proc rw,hidepid=2 0 0"));
        assert!(!super::hides("proc /proc proc rw,hidepid=off 0 0"));
        assert!(!super::hides("proc /proc proc rw 0 0\nproc /chroot/proc proc rw,hidepid=2 0 0"));
    }

    /// Check that a name full of spaces and parentheses does not move the fields.
    #[test]
    fn names_do_not_move_fields() {
        let stat = b"1234 (a) S 1 (b) S 1 1234 1234 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(start_ticks(stat), Some(987_654));
        assert!(!is_zombie(stat));
        assert!(is_zombie(b"1234 (x) Z 1 2"));
        assert_eq!(start_ticks(b"1234 (x"), None);
    }

    /// Check that a process lives as long as one of its threads, and a thread by itself.
    #[test]
    fn threads_outlive_the_first() {
        let proc = tempfile::tempdir().unwrap();
        let write = |path: &str, state: &str, threads: u32| {
            let path = proc.path().join(path);
            fs::create_dir_all(&path).unwrap();
            let stat = format!("7 (a) {state} 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 {threads} 0 100 1 2");
            fs::write(path.join("stat"), stat).unwrap();
        };
        let process = ProcessId { pid: 7, start_ns: 100 * TICK_NS };
        let another = ProcessId { start_ns: 101 * TICK_NS, ..process };
        write("7", "Z", 2);
        write("7/task/7", "Z", 2);
        write("7/task/8", "D", 2);
        assert!(is_alive_in(proc.path(), process) && !is_alive_in(proc.path(), another));
        let lives = |process, tid| is_thread_alive_in(proc.path(), process, tid);
        assert!(lives(process, 8) && !lives(process, 7) && !lives(process, 9) && !lives(another, 8));
        write("7", "Z", 1);
        assert!(!is_alive_in(proc.path(), process));
    }

    /// Check that this process lives, and that the same id with another start does not.
    #[test]
    fn this_process_lives() {
        let own = id_of(std::process::id()).unwrap();
        assert!(is_alive(own) && is_thread_alive(own, own.pid));
        assert!(!is_alive(ProcessId { start_ns: own.start_ns + 1_000_000_000, ..own }));
    }
}
