//! Capture output of `record`: opens the target and writes events, seals and journal entries.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
        net::UnixDatagram,
    },
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use rustix::{
    fs::{FlockOperation, flock},
    process::geteuid,
};

use crate::{
    capture::{
        files::EXTENSION,
        hash::to_hex,
        segment::{Label, SystemDisk, Target},
        sign::Key,
        writer::{Policy, WriteError, Writer},
    },
    chain::Chain,
    event::{Baseline, Body, Clock, Event, Header},
    kernel::clock::ClockTriple,
    logging::notice,
    stream::{Consumer, StreamInfo, StreamSummary},
};

/// Socket of the journal for entries in its native protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Minimum time between two entries in the journal, nanoseconds.
const ANCHOR_NS: u64 = 60_000_000_000;

/// Lock file, so that two recorders never share a directory.
const LOCK: &str = ".kmodtrace.lock";

/// Decides whether a path is a directory or a file, and creates the directory.
pub(in crate::cli) fn target(path: &Path) -> anyhow::Result<Target> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !path.is_dir() && (name.ends_with(EXTENSION) || name.ends_with(".zst")) {
        return Ok(Target::File(path.to_owned()));
    }
    let cannot = || format!("cannot record into {}", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(cannot)?;
    let found = fs::metadata(path).with_context(cannot)?;
    if found.uid() != geteuid().as_raw() {
        bail!(
            "cannot record into {}: the directory belongs to another user, and the recorder drops the privileges to \
             write there; change its owner",
            path.display()
        );
    }
    Ok(Target::Directory(path.to_owned()))
}

/// Locks a directory against other recorders while the file is open.
fn lock(directory: &Path) -> anyhow::Result<File> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot create {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            bail!("cannot record into {0}: another kmodtrace records into {0}", directory.display())
        }
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Settings of a capture output.
pub(in crate::cli) struct CaptureOptions {
    pub target: Target,
    pub policy: Policy,
    pub key: Option<Key>,
    pub anchor: bool,
}

/// Writes captures.
pub(in crate::cli) struct CaptureWriter {
    options: Option<CaptureOptions>,
    header: Option<Header>,
    recording: String,
    writer: Option<Writer<SystemDisk>>,
    journal: Option<Journal>,
    _lock: Option<File>,
}

impl CaptureWriter {
    /// Locks the directory. The first file is created with the first events.
    pub(in crate::cli) fn new(options: CaptureOptions) -> anyhow::Result<Self> {
        let lock = match &options.target {
            Target::Directory(path) => Some(lock(path)?),
            Target::File(path) if path.exists() => {
                bail!("cannot create {}: the file exists; give a new name", path.display())
            }
            Target::File(_) => None,
        };
        let mut random = [0; 6];
        let source = "/dev/urandom";
        File::open(source)
            .and_then(|mut file| file.read_exact(&mut random))
            .with_context(|| format!("cannot read {source}"))?;
        let journal = options.anchor.then(Journal::open).transpose()?;
        Ok(Self {
            options: Some(options),
            header: None,
            recording: to_hex(&random),
            writer: None,
            journal,
            _lock: lock,
        })
    }

    fn begin(&mut self, header: Header, baseline: Baseline, at: (Timestamp, u64)) -> io::Result<()> {
        let Some(CaptureOptions { target, policy, key, .. }) = self.options.take() else { return Ok(()) };
        let label = Label {
            time: Zoned::new(at.0, TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string(),
            boot: header.boot_id.chars().filter(char::is_ascii_hexdigit).take(8).collect(),
            recording: self.recording.clone(),
        };
        let begun = Writer::begin(SystemDisk, (target, label), policy, key.map(Arc::new), (header, baseline), at);
        let writer = begun.map_err(other)?;
        if let Some(path) = writer.path() {
            notice(&format!("recording into {}", path.display()));
        }
        self.writer = Some(writer);
        Ok(())
    }

    /// Prints changes of the disk state.
    fn print_news(&mut self) {
        for line in self.writer.iter_mut().flat_map(Writer::take_news) {
            notice(&format!("warning: {line}"));
        }
    }

    fn anchor(&mut self, now_ns: u64, is_last: bool) {
        let (Some(journal), Some(writer)) = (&mut self.journal, &self.writer) else { return };
        let (seq, hash) = writer.last_seal();
        if let Err(error) = journal.anchor(&self.recording, seq, &to_hex(&hash), now_ns, is_last) {
            notice(&format!("warning: cannot send the seal of event {seq} to the journal: {error}"));
        }
    }
}

fn other(error: WriteError) -> io::Error {
    io::Error::other(error)
}

impl Consumer for CaptureWriter {
    fn event(&mut self, event: &Event, _: &StreamInfo) -> io::Result<()> {
        match (&event.body, &mut self.writer) {
            (Body::Header(header), None) => {
                self.header = Some(header.as_ref().clone());
                return Ok(());
            }
            (Body::Baseline(baseline), None) => {
                let Some(header) = self.header.take() else { return Ok(()) };
                self.begin(header, baseline.clone(), (event.time, event.boot_ns))?;
            }
            (Body::End(_), Some(writer)) => writer.finish(event).map_err(other)?,
            (_, Some(writer)) => writer.push(event).map_err(other)?,
            (_, None) => return Err(io::Error::other("cannot record an event before the header")),
        }
        self.print_news();
        Ok(())
    }

    fn tick(&mut self, _: &mut dyn Iterator<Item = &Chain>, boot_ns: u64) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let clock = Clock::from(&ClockTriple::now());
        writer.tick((Timestamp::now(), boot_ns), clock).map_err(other)?;
        self.print_news();
        self.anchor(boot_ns, false);
        Ok(())
    }

    fn settle(&mut self) -> io::Result<bool> {
        let Some(writer) = &mut self.writer else { return Ok(false) };
        let settled = writer.settle(ClockTriple::now().boot_ns).map_err(other)?;
        self.print_news();
        Ok(settled)
    }

    fn end(&mut self, _: &StreamSummary<'_>) -> io::Result<()> {
        self.anchor(ClockTriple::now().boot_ns, true);
        Ok(())
    }
}

/// The journal as anchor of seals: to alter a capture unnoticed, the journal must be altered as well.
struct Journal {
    socket: UnixDatagram,
    sent_seq: u64,
    sent_ns: u64,
}

impl Journal {
    fn open() -> anyhow::Result<Self> {
        let socket = UnixDatagram::unbound().context("cannot create a socket for the journal")?;
        socket.connect(JOURNAL).with_context(|| format!("cannot connect to the journal at {JOURNAL}"))?;
        socket.set_nonblocking(true).context("cannot set the journal socket to non-blocking")?;
        Ok(Self { socket, sent_seq: 0, sent_ns: 0 })
    }

    fn anchor(&mut self, recording: &str, seq: u64, hash: &str, now_ns: u64, is_last: bool) -> io::Result<()> {
        let is_due = is_last || self.sent_ns == 0 || now_ns.saturating_sub(self.sent_ns) >= ANCHOR_NS;
        if seq == self.sent_seq || !is_due {
            return Ok(());
        }
        self.socket.send(entry(recording, seq, hash).as_bytes())?;
        (self.sent_seq, self.sent_ns) = (seq, now_ns);
        Ok(())
    }
}

/// An entry in the journal's native protocol (systemd's JOURNAL_NATIVE_PROTOCOL). No value contains a line break.
fn entry(recording: &str, seq: u64, hash: &str) -> String {
    format!(
        "MESSAGE=capture {recording} is sealed up to {seq}: {hash}\nPRIORITY=6\nSYSLOG_IDENTIFIER=kmodtrace\n\
         KMODTRACE_RECORDING={recording}\nKMODTRACE_SEQ={seq}\nKMODTRACE_SHA256={hash}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{Target, entry, lock, target};

    /// The extension decides for new paths; an existing directory stays one, an existing other file is an error.
    #[test]
    fn target_extension_selects_file_or_directory() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        assert_eq!(target(&path("a.jsonl.zst")).unwrap(), Target::File(path("a.jsonl.zst")));
        assert_eq!(target(&path("deep/er")).unwrap(), Target::Directory(path("deep/er")));
        assert!(path("deep/er").is_dir());
        std::fs::write(path("file"), "").unwrap();
        assert!(target(&path("file")).is_err());
    }

    /// A second recorder cannot lock a directory until the first is gone.
    #[test]
    fn directory_second_lock_fails() {
        let root = tempfile::tempdir().unwrap();
        let first = lock(root.path()).unwrap();
        assert!(lock(root.path()).unwrap_err().to_string().contains("another kmodtrace records"));
        drop(first);
        lock(root.path()).unwrap();
    }

    /// Each field of a journal entry is one line.
    #[test]
    fn journal_entry_fields_are_lines() {
        let entry = entry("ab12", 7, "00ff");
        assert!(entry.lines().all(|line| line.contains('=')) && entry.ends_with('\n'));
        assert!(entry.contains("\nKMODTRACE_SHA256=00ff\n"));
    }
}
