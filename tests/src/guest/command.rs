//! One command in the guest, its output streamed as it comes.

use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context as _, Result};

use super::port::Port;
use crate::protocol::{Chunk, Frame};

/// What a process started in the guest finds in its environment.
pub(crate) const ENVIRONMENT: &[(&str, &str)] =
    &[("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("LC_ALL", "C")];

/// Runs a command to its end and gives its exit code; one that cannot be run ends as in a shell, with 126 or 127.
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

/// The exit code as a shell gives it.
pub(crate) fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    // A wait status holds eight bits of exit code and seven of signal: it always fits.
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
