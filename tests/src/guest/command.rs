//! One command in the guest, with its output streamed.

use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context as _, Result};

use super::port::Port;
use crate::protocol::{Chunk, Frame};

/// The environment of processes in the guest.
pub(crate) const ENVIRONMENT: &[(&str, &str)] =
    &[("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("LC_ALL", "C")];

/// Runs a command to its end and returns its exit code; 126 or 127 if it cannot be run, as in a shell.
pub(super) fn run(port: &Port, argv: &[String]) -> Result<u8> {
    let (program, arguments) = argv.split_first().context("the command is empty")?;
    let spawned = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT.iter().copied())
        .current_dir("/root")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let message = format!("{program}: {error}\n");
            port.send(&Frame::Stderr { data: Chunk::new(message.as_bytes()) })?;
            return Ok(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let out = scope.spawn(|| pump(stdout, |data| port.send(&Frame::Stdout { data })));
        let err = scope.spawn(|| pump(stderr, |data| port.send(&Frame::Stderr { data })));
        let status = child.wait().context("cannot wait for the command");
        for thread in [out, err] {
            thread.join().map_err(|_| anyhow::anyhow!("a reader of the command's output panicked"))??;
        }
        status.map(code_of)
    })
}

/// The exit code as in a shell.
pub(crate) fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    // A wait status has eight bits for the exit code and seven for the signal, so the value always fits.
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn pump(from: Option<impl Read>, mut send: impl FnMut(Chunk) -> Result<()>) -> Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = [0; 2048];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => send(Chunk::new(&buffer[..count]))?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot read the command's output"),
        }
    }
}
