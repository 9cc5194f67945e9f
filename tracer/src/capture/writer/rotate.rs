//! Files of a recording: creation, rotation, removal.

use std::io;

use jiff::Timestamp;

use super::{Segment, WriteError, Writer};
use crate::{
    capture::{
        hash::to_hex,
        segment::{Disk, Target, closed_segments},
    },
    event::{Baseline, Body, Event, Header},
};

impl<D: Disk> Writer<D> {
    /// The first file.
    pub(super) fn open(&mut self, now_ns: u64) -> Result<(), WriteError> {
        let path = self.label.path(&self.target, self.segments);
        self.open_next(now_ns).map_err(|source| WriteError::Write { path, source })
    }

    pub(super) fn open_next(&mut self, now_ns: u64) -> io::Result<()> {
        if matches!(self.target, Target::File(_)) && self.segments > 0 {
            return Err(io::Error::other(
                "the file was truncated or removed, and there is no other for a recording into one file",
            ));
        }
        let path = self.label.path(&self.target, self.segments);
        let file = self.disk.create(&path)?;
        // The file exists, so it is written to even if syncing the directory fails.
        if let Err(error) = self.disk.sync_directory(self.target.directory()) {
            self.news.push(format!(
                "cannot sync the directory of {}: {error}; a crash of the machine may lose the file",
                path.display()
            ));
        }
        self.segment = Some(Segment { file, path, bytes: 0, began_ns: now_ns, kept_bytes: 0 });
        self.segments += 1;
        self.prune();
        Ok(())
    }

    /// Continues in a new file.
    pub(super) fn next_segment(&mut self, at: (Timestamp, u64)) -> Result<(), WriteError> {
        if matches!(self.target, Target::File(_)) {
            return Ok(());
        }
        self.close_frame(at.1)?;
        if self.pending.is_some() || self.stopped {
            return Ok(());
        }
        self.sync(at.1, true);
        let old = self.segment.take();
        if let Err(error) = self.open_next(at.1) {
            self.news.push(format!("cannot create the next file: {error}; continuing in the old one"));
            // Retried when this file has grown or aged by the same amount again.
            self.segment = old.map(|segment| Segment { began_ns: at.1, kept_bytes: segment.bytes, ..segment });
            return Ok(());
        }
        self.describe(at)
    }

    /// Writes the header and baseline of a new file.
    pub(super) fn describe(&mut self, at: (Timestamp, u64)) -> Result<(), WriteError> {
        let number = self.segments.saturating_sub(1);
        let header = Header {
            recording: Some(self.label.recording.clone()),
            segment: Some(number),
            previous: (number > 0).then(|| to_hex(self.maker.previous())),
            ..self.header.clone()
        };
        let baseline = Baseline { modules: self.modules.iter().cloned().collect() };
        for body in [Body::Header(Box::new(header)), Body::Baseline(baseline)] {
            self.take(&Event { seq: 0, time: at.0, boot_ns: at.1, request: None, body })?;
        }
        Ok(())
    }

    /// Removes captures beyond the maximum number.
    pub(super) fn prune(&mut self) {
        let (Some(keep), Target::Directory(directory)) = (self.policy.keep, &self.target) else { return };
        let current = self.segment.as_ref().map(|segment| segment.path.clone());
        match closed_segments(&self.disk, directory, current.as_deref()) {
            Ok(closed) => {
                let spare = closed.len().saturating_sub(keep.saturating_sub(1));
                for path in closed.iter().take(spare) {
                    match self.disk.remove(path) {
                        Ok(()) => log::info!("removed {}: {keep} captures are kept", path.display()),
                        Err(error) => self.news.push(format!("cannot remove {}: {error}", path.display())),
                    }
                }
            }
            Err(error) => self.news.push(format!("cannot list old captures: {error}")),
        }
    }

    /// Removes the oldest capture; returns false if there is none.
    pub(super) fn make_room(&mut self) -> bool {
        let Target::Directory(directory) = &self.target else { return false };
        let current = self.segment.as_ref().map(|segment| segment.path.clone());
        let closed = closed_segments(&self.disk, directory, current.as_deref()).unwrap_or_default();
        let Some(oldest) = closed.first() else { return false };
        let removed = self.disk.remove(oldest);
        if removed.is_ok() {
            self.news.push(format!("removed {} to free disk space: {}", oldest.display(), self.why));
        }
        removed.is_ok()
    }
}
