//! Runs a command and measures time, processor time and memory, including its children.

use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// The cost of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Wall time in seconds.
    pub(super) wall_s: f64,
    /// Processor time in user mode and in the kernel, in seconds.
    pub(super) cpu_s: f64,
    /// Peak memory of its largest process, in bytes.
    pub(super) peak_bytes: f64,
}

/// Runs a command and discards its output. `codes` are the exit codes of success.
pub(super) fn run(command: &mut Command, codes: &[i32]) -> Result<Cost> {
    // A child inherits the peak of its parent, so reset ours to the current value (proc(5), clear_refs).
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak memory")?;
    let began = Instant::now();
    let shown = crate::shell::show(command);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.with_context(|| format!("cannot start `{shown}`"))?;
    let (status, usage) = wait(&child).with_context(|| format!("cannot wait for `{shown}`"))?;
    let wall_s = began.elapsed().as_secs_f64();
    if !libc::WIFEXITED(status) || !codes.contains(&libc::WEXITSTATUS(status)) {
        bail!("`{shown}` failed (wait status {status})");
    }
    let peak_kib = u32::try_from(usage.ru_maxrss).context("invalid peak memory")?;
    Ok(Cost {
        wall_s,
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_bytes: f64::from(peak_kib) * 1024.0,
    })
}

/// Waits for a child, and returns its resource usage, which `Child::wait` does not.
fn wait(child: &Child) -> io::Result<(libc::c_int, libc::rusage)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to locals that outlive the call; the child is ours, and no other code waits for it.
        let ended = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if ended == pid {
            // SAFETY: all zeroes is a valid rusage, and the kernel has filled it.
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

    /// The cost of a command includes its children, and a failure is an error.
    #[test]
    fn cost_includes_children() {
        let script = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", text]);
            command
        };
        let idle = run(&mut script("true"), &[0]).unwrap();
        let busy = "n=0; while [ $n -lt 200000 ]; do n=$((n + 1)); done";
        let busy = run(&mut script(&format!("({busy}) | cat")), &[0]).unwrap();
        // Our own earlier peak does not count.
        drop(std::hint::black_box(vec![1_u8; 256 << 20]));
        let after = run(&mut script("true"), &[0]).unwrap();
        assert!(after.peak_bytes < 200_000_000.0, "{after:?}");
        assert!(busy.cpu_s > idle.cpu_s && busy.wall_s > 0.0 && busy.peak_bytes > 100_000.0, "{busy:?}");
        assert!(run(&mut script("exit 3"), &[0, 1]).is_err());
        assert!(run(&mut script("kill -9 $$"), &[0]).is_err());
        run(&mut script("exit 1"), &[0, 1]).unwrap();
    }
}
