//! An interactive shell on the console.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::termios::{Winsize, tcsetwinsize};

use super::command::ENVIRONMENT;

const CONSOLE: &str = "/dev/ttyS0";

/// Runs a login shell until the user leaves it.
pub(super) fn run(rows: u16, columns: u16, term: &str) -> Result<()> {
    let console = OpenOptions::new().read(true).write(true).open(CONSOLE);
    let console = console.with_context(|| format!("cannot open {CONSOLE}"))?;
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&console, size).context("cannot set the terminal's size")?;
    println!("\nThis is a kmodtrace guest. Leave with exit or Ctrl-D; the machine then powers off.");
    // setsid -c makes the console the controlling terminal, so that Ctrl-C and job control work.
    // The status is that of the user's last command, so it is ignored.
    Command::new("/usr/bin/busybox")
        .args(["setsid", "-c", "/bin/bash", "--login"])
        .env_clear()
        .envs(ENVIRONMENT.iter().copied())
        .env("TERM", term)
        .env("PS1", "guest:\\w# ")
        .current_dir("/root")
        .stdin(Stdio::from(console.try_clone().context("cannot share the console")?))
        .stdout(Stdio::from(console.try_clone().context("cannot share the console")?))
        .stderr(Stdio::from(console))
        .status()
        .context("cannot start a shell")?;
    Ok(())
}
