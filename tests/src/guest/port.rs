//! The results port: frames sent over the second serial port.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::protocol::{Frame, encode};

const DEVICE: &str = "/dev/ttyS1";

/// Sends frames. Shared by the threads that read the output of a command.
#[derive(Debug)]
pub(super) struct Port {
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    device: File,
    next_seq: u64,
}

impl Port {
    /// Opens the port in raw mode, without translation by the terminal layer.
    pub(super) fn open() -> Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open(DEVICE);
        let device = device.with_context(|| format!("cannot open {DEVICE}"))?;
        let mut settings = tcgetattr(&device).context("cannot read the port's settings")?;
        settings.make_raw();
        tcsetattr(&device, OptionalActions::Now, &settings).context("cannot make the port raw")?;
        Ok(Self { line: Mutex::new(Line { device, next_seq: 0 }) })
    }

    /// Sends one frame.
    pub(super) fn send(&self, frame: &Frame) -> Result<()> {
        // The number advances only after a complete frame, so the data behind a poisoned lock is valid.
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let text = encode(line.next_seq, frame).context("cannot encode a result")?;
        line.device.write_all(text.as_bytes()).context("cannot send a result")?;
        line.next_seq += 1;
        Ok(())
    }

    /// Waits for a line from the host.
    pub(super) fn read_line(&self) -> Result<Vec<u8>> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Vec::new();
        BufReader::new(&line.device).read_until(b'\n', &mut text).context("cannot read from the results port")?;
        Ok(text)
    }

    /// Waits until everything was transmitted.
    pub(super) fn drain(&self) -> Result<()> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        rustix::termios::tcdrain(&line.device).context("cannot drain the results port")
    }
}
