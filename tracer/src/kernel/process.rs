//! Processes, as shown by `/proc`, and signals to them.

use std::{fs, io, path::Path};

pub use rustix::process::Signal;

use crate::event::ProcessId;

/// Why a process cannot be signalled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It cannot be signalled.
    #[error("cannot send a signal to process {pid}")]
    Signal {
        /// The process.
        pid: u32,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// Duration of a clock tick in `/proc`, nanoseconds: `USER_HZ` is 100 on every supported architecture.
const TICK_NS: u64 = 10_000_000;

/// Whether `/proc` hides processes of other users (mount option `hidepid`).
#[must_use]
pub fn are_hidden() -> bool {
    // If the list of mounts cannot be read, neither can any process.
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

/// The identity of this process, with the precision of a clock tick.
#[cfg(test)]
pub(crate) fn own_id() -> ProcessId {
    let stat = fs::read("/proc/self/stat").expect("/proc is mounted");
    let start_ns = start_ticks(&stat).expect("it has a start time") * TICK_NS;
    ProcessId { pid: std::process::id(), start_ns }
}

/// A number of `stat`, by the field number in proc(5). The second field is the name in parentheses, which may contain any
/// character.
fn number(stat: &[u8], field: usize) -> Option<u64> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    rest.split_ascii_whitespace().nth(field.checked_sub(3)?)?.parse().ok()
}

fn start_ticks(stat: &[u8]) -> Option<u64> {
    number(stat, 22)
}

/// Whether a process still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Liveness {
    /// It runs.
    Alive,
    /// It has ended.
    Gone,
    /// Unknown.
    Unknown,
}

/// The state of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadState {
    /// It has ended.
    Gone,
    /// It is in interruptible sleep or idle: no request is in progress.
    Asleep,
    /// It is blocked in the kernel, in uninterruptible or killable sleep.
    Blocked,
    /// It is running, runnable or stopped: it may be anywhere.
    Running,
    /// Unknown.
    Unknown,
}

/// Whether exactly this process still runs or this is unknown.
#[must_use]
pub fn is_alive(process: ProcessId) -> bool {
    liveness(process) == Liveness::Alive
}

/// Whether exactly this process still runs: its id is in use by a process with the same start time. A zombie has ended,
/// unless it has other threads: the main thread may exit before them.
#[must_use]
pub fn liveness(process: ProcessId) -> Liveness {
    liveness_in(Path::new("/proc"), process)
}

fn liveness_in(proc: &Path, process: ProcessId) -> Liveness {
    let stat = match stat(&proc.join(process.pid.to_string())) {
        Ok(Some(stat)) => stat,
        Ok(None) => return Liveness::Gone,
        Err(_) => return Liveness::Unknown,
    };
    let runs = is_of(&stat, process) && (!is_zombie(&stat) || number(&stat, 20).is_some_and(|threads| threads > 1));
    if runs { Liveness::Alive } else { Liveness::Gone }
}

/// The state of a thread of exactly this process.
#[must_use]
pub fn thread_state(process: ProcessId, tid: u32) -> ThreadState {
    thread_state_in(Path::new("/proc"), process, tid)
}

fn thread_state_in(proc: &Path, process: ProcessId, tid: u32) -> ThreadState {
    let directory = proc.join(process.pid.to_string());
    let thread = match stat(&directory.join("task").join(tid.to_string())) {
        Ok(Some(thread)) => thread,
        Ok(None) => return ThreadState::Gone,
        Err(_) => return ThreadState::Unknown,
    };
    // The process id may have been reused meanwhile.
    match stat(&directory) {
        Ok(Some(stat)) if is_of(&stat, process) => {}
        Ok(_) => return ThreadState::Gone,
        Err(_) => return ThreadState::Unknown,
    }
    match state(&thread) {
        Some(b'Z' | b'X') => ThreadState::Gone,
        Some(b'S' | b'I') => ThreadState::Asleep,
        Some(b'D') => ThreadState::Blocked,
        Some(_) => ThreadState::Running,
        None => ThreadState::Unknown,
    }
}

/// The `stat` of a process or thread by its directory; `None` if there is none.
fn stat(directory: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(directory.join("stat")) {
        Ok(stat) => Ok(Some(stat)),
        // It may end between opening and reading.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => {
            log::debug!("cannot read the stat of {}: {error}", directory.display());
            Err(error)
        }
    }
}

/// Whether process ids in `/proc` are global: this process is in the initial pid namespace (`PROC_PID_INIT_INO`,
/// include/linux/proc_ns.h).
#[must_use]
pub fn has_global_ids() -> bool {
    has_global_ids_in(Path::new("/"))
}

/// Like [`has_global_ids`], for the system whose `/proc` is below `root`.
#[must_use]
pub fn has_global_ids_in(root: &Path) -> bool {
    /// `PROC_PID_INIT_INO`, include/linux/proc_ns.h (unchanged 5.10 to 7.3).
    const INITIAL: u32 = 0xEFFF_FFFC;
    // Without the file, the kernel has no pid namespaces.
    own_namespace(root, "pid").is_none_or(|namespace| namespace == INITIAL)
}

/// Inode number of a namespace of this process, such as `pid` or `user`; `None` if it is unknown, or the kernel has no such
/// namespaces.
#[must_use]
pub fn own_namespace(root: &Path, kind: &str) -> Option<u32> {
    let link = fs::read_link(root.join("proc/self/ns").join(kind)).ok()?;
    link.to_str()?.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

fn is_of(stat: &[u8], process: ProcessId) -> bool {
    start_ticks(stat).is_some_and(|ticks| ticks == process.start_ns / TICK_NS)
}

/// The letter of the state.
fn state(stat: &[u8]) -> Option<u8> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(name_end + 2).copied()
}

fn is_zombie(stat: &[u8]) -> bool {
    matches!(state(stat), Some(b'Z' | b'X'))
}

/// Sends a signal.
///
/// # Errors
/// If the kernel refuses. A process that has exited is not an error.
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

    use super::{
        Liveness, TICK_NS, ThreadState, is_alive, is_zombie, liveness, liveness_in, own_id, start_ticks, thread_state,
        thread_state_in,
    };
    use crate::event::ProcessId;

    /// Only the mount of /proc itself counts, and only a value that hides processes.
    #[test]
    fn hidepid_of_proc_hides_processes() {
        assert!(super::hides("sysfs /sys sysfs rw 0 0\nproc /proc proc rw,nosuid,hidepid=invisible 0 0\n"));
        assert!(super::hides("proc /proc proc rw,hidepid=2 0 0"));
        assert!(!super::hides("proc /proc proc rw,hidepid=off 0 0"));
        assert!(!super::hides("proc /proc proc rw 0 0\nproc /chroot/proc proc rw,hidepid=2 0 0"));
    }

    /// A name with spaces and parentheses does not shift the fields.
    #[test]
    fn name_with_parentheses_does_not_shift_fields() {
        let stat = b"1234 (a) S 1 (b) S 1 1234 1234 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(start_ticks(stat), Some(987_654));
        assert!(!is_zombie(stat));
        assert!(is_zombie(b"1234 (x) Z 1 2"));
        assert_eq!(start_ticks(b"1234 (x"), None);
    }

    /// A process is alive as long as one of its threads is; each thread has its own state.
    #[test]
    fn process_is_alive_while_a_thread_is() {
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
        assert_eq!(liveness_in(proc.path(), process), Liveness::Alive);
        assert_eq!(liveness_in(proc.path(), another), Liveness::Gone);
        let thread = |process, tid| thread_state_in(proc.path(), process, tid);
        assert_eq!(thread(process, 8), ThreadState::Blocked);
        assert_eq!([thread(process, 7), thread(process, 9), thread(another, 8)], [ThreadState::Gone; 3]);
        write("7", "Z", 1);
        assert_eq!(liveness_in(proc.path(), process), Liveness::Gone);
    }

    /// A `stat` that cannot be read does not prove that the process has ended, and states are distinguished.
    #[test]
    fn unreadable_stat_is_unknown() {
        let proc = tempfile::tempdir().unwrap();
        let process = ProcessId { pid: 7, start_ns: 100 * TICK_NS };
        let of_thread = proc.path().join("7/task/8");
        fs::create_dir_all(of_thread.join("stat")).unwrap();
        assert_eq!(thread_state_in(proc.path(), process, 8), ThreadState::Unknown);
        fs::remove_dir(of_thread.join("stat")).unwrap();
        let line = |state: &str| format!("7 (a) b) {state} 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 2 0 100 1 2");
        for (state, expected) in [
            ("S", ThreadState::Asleep),
            ("I", ThreadState::Asleep),
            ("D", ThreadState::Blocked),
            ("R", ThreadState::Running),
            ("T", ThreadState::Running),
            ("t", ThreadState::Running),
            ("X", ThreadState::Gone),
        ] {
            fs::write(of_thread.join("stat"), line(state)).unwrap();
            fs::write(proc.path().join("7/stat"), line("S")).unwrap();
            assert_eq!(thread_state_in(proc.path(), process, 8), expected, "{state}");
        }
        fs::remove_file(proc.path().join("7/stat")).unwrap();
        fs::create_dir(proc.path().join("7/stat")).unwrap();
        assert_eq!(liveness_in(proc.path(), process), Liveness::Unknown);
        assert_eq!(thread_state_in(proc.path(), process, 8), ThreadState::Unknown);
    }

    /// This process is alive, and a process with the same id and another start time is not.
    #[test]
    fn process_with_another_start_time_has_ended() {
        let own = own_id();
        assert!(is_alive(own));
        // The test runs in its own thread, and the main thread waits for it.
        assert_ne!(thread_state(own, own.pid), ThreadState::Gone);
        let another = ProcessId { start_ns: own.start_ns + 1_000_000_000, ..own };
        assert_eq!(liveness(another), Liveness::Gone);
        assert_eq!(thread_state(another, own.pid), ThreadState::Gone);
    }
}
