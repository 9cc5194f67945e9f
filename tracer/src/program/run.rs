//! Runs a program with a limit of time and of output.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::Errno,
    process::{
        Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group,
        set_parent_process_death_signal, setrlimit, waitid,
    },
};

/// First and longest pause between two checks of a running program.
const PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(5));

/// The limits of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time until it is killed.
    pub time: Duration,
    /// Maximum size of stdout, and of stderr.
    pub output_bytes: u64,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("it did not end within {} s and was killed", .0.as_secs_f32())]
    Time(Duration),
    #[error("it printed more than {} KiB and was killed", .0 / 1024)]
    Output(u64),
    #[error("cannot run it")]
    Io(#[from] io::Error),
}

/// Runs a program and returns its status and output. At its end, or at a limit, everything in its process group is killed.
///
/// Both outputs are files in memory, so that the program never waits for a reader. kmod also writes each word of its
/// configuration separately, and into a pipe that takes three times as long (`time modprobe --showconfig | cat >/dev/null` in an
/// emulated guest with 6.1: 0.75 s; into a file 0.21 s; medians of 3).
///
/// # Errors
/// If it cannot be started, or exceeds a limit.
pub(crate) fn run(command: &mut Command, limits: Limits) -> Result<Output, RunError> {
    let new = |name| memfd_create(name, MemfdFlags::CLOEXEC).map(File::from).map_err(io::Error::from);
    let (stdout, stderr) = (new("stdout")?, new("stderr")?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).process_group(0);
    // One byte more than allowed, to distinguish the limit from output of exactly this size.
    let most_bytes = limits.output_bytes.saturating_add(1);
    // A limit of this process cannot be raised.
    let most_bytes = getrlimit(Resource::Fsize).maximum.map_or(most_bytes, |maximum| maximum.min(most_bytes));
    let confine = move || {
        // A flood of output ends here even if the check below is late.
        setrlimit(Resource::Fsize, Rlimit { current: Some(most_bytes), maximum: Some(most_bytes) })?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    };
    // SAFETY: the closure makes two system calls, and neither allocates nor takes a lock.
    let mut child = unsafe { command.pre_exec(confine) }.spawn()?;
    let ended = wait(&child, [&stdout, &stderr], limits);
    // Until the child is reaped, no other process group has its id.
    kill_group(&child);
    let status = child.wait()?;
    ended?;
    for file in [&stdout, &stderr] {
        check_size(file, limits)?;
    }
    Ok(Output { status, stdout: content(stdout)?, stderr: content(stderr)? })
}

/// Waits until a child has exited, without reaping it.
fn wait(child: &Child, outputs: [&File; 2], limits: Limits) -> Result<(), RunError> {
    let deadline = Instant::now() + limits.time;
    let (mut pause, longest) = PAUSES;
    let pid = Pid::from_child(child);
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), options) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        for file in outputs {
            check_size(file, limits)?;
        }
        if Instant::now() >= deadline {
            return Err(RunError::Time(limits.time));
        }
        std::thread::sleep(pause);
        pause = longest.min(pause * 2);
    }
}

fn kill_group(child: &Child) {
    match kill_process_group(Pid::from_child(child), Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => log::warn!("cannot kill process group {}: {error}", child.id()),
    }
}

fn check_size(file: &File, limits: Limits) -> Result<(), RunError> {
    if file.metadata()?.len() > limits.output_bytes {
        return Err(RunError::Output(limits.output_bytes));
    }
    Ok(())
}

fn content(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Output},
        time::{Duration, Instant},
    };

    use super::{Limits, RunError, run};

    const LIMITS: Limits = Limits { time: Duration::from_secs(30), output_bytes: 1 << 16 };

    fn shell(script: &str, limits: Limits) -> Result<Output, RunError> {
        run(Command::new("/bin/sh").args(["-c", script]), limits)
    }

    /// Both outputs and the exit code are returned, whatever their order and size within the limit.
    #[test]
    fn program_within_its_limits_has_its_output() {
        let script = "head -c 65536 /dev/zero >&2; printf 'a\\r\\n'; head -c 10 /dev/zero >&2; exit 3";
        let output = shell(script, Limits { output_bytes: 65546, ..LIMITS }).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"a\r\n"[..]));
        assert_eq!(output.stderr.len(), 65546);
    }

    /// A program that does not end is killed with its children, and the error names the limit.
    #[test]
    fn program_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("late");
        let script = format!("(sleep 1; : > {}) & sleep 600", file.display());
        let begin = Instant::now();
        let error = shell(&script, Limits { time: Duration::from_millis(200), ..LIMITS }).unwrap_err();
        assert_eq!(error.to_string(), "it did not end within 0.2 s and was killed");
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!file.exists(), "a child was left");
    }

    /// What a program leaves running is killed when it exits, and does not delay the answer.
    #[test]
    fn program_that_leaves_children_does_not_delay() {
        let begin = Instant::now();
        let output = shell("sleep 600 & echo done", LIMITS).unwrap();
        assert_eq!(output.stdout, b"done\n");
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    /// A flood on either output ends at the limit, also if the program ignores the signal.
    #[test]
    fn program_that_floods_is_killed() {
        for script in ["yes", "yes >&2", "trap '' XFSZ; while :; do echo x || :; done", "head -c 65537 /dev/zero"] {
            let begin = Instant::now();
            let error = shell(script, LIMITS).unwrap_err();
            assert_eq!(error.to_string(), "it printed more than 64 KiB and was killed", "{script}");
            assert!(begin.elapsed() < Duration::from_secs(20), "{script}");
        }
    }

    /// A missing program is an error of its own.
    #[test]
    fn program_that_is_missing_is_an_error() {
        let error = run(&mut Command::new("/nonexistent/program"), LIMITS).unwrap_err();
        assert!(matches!(error, RunError::Io(error) if error.kind() == std::io::ErrorKind::NotFound));
    }
}
