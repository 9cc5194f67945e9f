//! The kernel log since a marked moment.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result};

const KMSG: &str = "/dev/kmsg";

/// A moment in the kernel log.
#[derive(Debug)]
pub struct LogMark {
    log: std::fs::File,
}

impl LogMark {
    pub(super) fn set() -> Result<Self> {
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        let flags = i32::try_from(flags).context("open flags do not fit")?;
        let log = OpenOptions::new().read(true).custom_flags(flags).open(KMSG);
        let mut log = log.with_context(|| format!("cannot open {KMSG}"))?;
        log.seek(SeekFrom::End(0)).context("cannot seek to the end of the kernel log")?;
        Ok(Self { log })
    }

    /// Writes a line to the log, as a marker between other lines.
    ///
    /// # Errors
    /// When the kernel log cannot be written.
    pub fn note(&self, text: &str) -> Result<()> {
        let mut log = OpenOptions::new().write(true).open(KMSG).with_context(|| format!("cannot open {KMSG}"))?;
        // The kernel shows a line to readers only when it is complete.
        log.write_all(format!("{text}\n").as_bytes()).context("cannot write to the kernel log")
    }

    /// The messages since the mark, or since the last call.
    ///
    /// # Errors
    /// When the kernel has overwritten some of them, or the log cannot be read.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut record = [0; 8192];
        loop {
            // Each read returns one record: `priority,sequence,time,flags;message`.
            match self.log.read(&mut record) {
                Ok(count) => lines.extend(message(&String::from_utf8_lossy(&record[..count]))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(lines),
                Err(error) => return Err(error).context("cannot read the kernel log"),
            }
        }
    }
}

/// The message of a record, without its header and its dictionary.
fn message(record: &str) -> Option<String> {
    let (_, text) = record.split_once(';')?;
    text.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header and the dictionary of a record are removed.
    #[test]
    fn record_is_reduced_to_its_message() {
        let record = "6,339,5140900,-;dummy: loaded; fine\n SUBSYSTEM=net\n DEVICE=+net:dummy0\n";
        assert_eq!(message(record).as_deref(), Some("dummy: loaded; fine"));
        assert_eq!(message("nonsense"), None);
    }
}
