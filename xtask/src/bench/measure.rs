//! Runs a command and tells what it took: time, processor time and memory of it and all that it waited for.

use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// From start to end, seconds.
    pub(super) wall_s: f64,
    /// In user mode and in the kernel, seconds.
    pub(super) cpu_s: f64,
    /// The most that one of its processes held, bytes.
    pub(super) peak_bytes: f64,
}

/// Runs it with its output thrown away. `codes` are the exit codes that mean it did its work.
pub(super) fn run(command: &mut Command, codes: &[i32]) -> Result<Cost> {
    // A process begins with the peak of the one that started it: ours becomes what we hold now (proc(5), clear_refs).
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak of memory")?;
    let began = Instant::now();
    let shown = crate::shell::show(command);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.with_context(|| format!("cannot start `{shown}`"))?;
    let (status, usage) = wait(&child).with_context(|| format!("cannot wait for `{shown}`"))?;
    let wall_s = began.elapsed().as_secs_f64();
    if !libc::WIFEXITED(status) || !codes.contains(&libc::WEXITSTATUS(status)) {
        bail!("`{shown}` failed (wait status {status}): it measures nothing");
    }
    let peak_kib = u32::try_from(usage.ru_maxrss).context("odd peak memory")?;
    Ok(Cost {
        wall_s,
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_bytes: f64::from(peak_kib) * 1024.0,
    })
}

/// The end of a child, with what it took. `Child::wait` does not tell.
fn wait(child: &Child) -> io::Result<(libc::c_int, libc::rusage)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to locals that live through the call; the child is ours and nobody else waits for it.
        let ended = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if ended == pid {
            // SAFETY: all zeroes is a valid rusage, and the kernel has filled it in.
            return Ok((status, unsafe { usage.assume_init() }));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::run;

    /// Check that what a command takes is counted, what it starts included, and that a failure measures nothing.
    #[test]
    fn all_of_a_command_is_counted() {
        let script = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", text]);
            command
        };
        let idle = run(&mut script("true"), &[0]).unwrap();
        let busy = "n=0; while [ $n -lt 200000 ]; do n=$((n + 1)); done";
        let busy = run(&mut script(&format!("({busy}) | cat")), &[0]).unwrap();
        // What was held before does not count.
        drop(std::hint::black_box(vec![1_u8; 256 << 20]));
        let after = run(&mut script("true"), &[0]).unwrap();
        assert!(after.peak_bytes < 200_000_000.0, "{after:?}");
        assert!(busy.cpu_s > idle.cpu_s && busy.wall_s > 0.0 && busy.peak_bytes > 100_000.0, "{busy:?}");
        assert!(run(&mut script("exit 3"), &[0, 1]).is_err());
        assert!(run(&mut script("kill -9 $$"), &[0]).is_err());
        run(&mut script("exit 1"), &[0, 1]).unwrap();
    }
}
