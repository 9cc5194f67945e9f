//! A consumer that keeps everything: for small captures, and for tests.

use std::{io, path::PathBuf};

use super::{
    CaptureSource, Consumer, FileSummary, Issue, Pipeline, Severity, SourceError, StreamInfo,
    capture_source::read_inputs,
};
use crate::{chain::Item, event::Event};

/// Keeps events, chains and issues. Memory grows with the captures.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Collector {
    /// Events, seals left out.
    pub events: Vec<Event>,
    /// Chains that have ended and events that belong to none, in order of completion.
    pub items: Vec<Item>,
    /// What is wrong with the evidence.
    pub issues: Vec<Issue>,
}

impl Consumer for Collector {
    fn event(&mut self, event: &Event, _: &StreamInfo) -> io::Result<()> {
        self.events.push(event.clone());
        Ok(())
    }

    fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
        self.items.push(item.clone());
        Ok(())
    }

    fn issue(&mut self, issue: &Issue) {
        self.issues.push(issue.clone());
    }
}

impl Collector {
    /// Everything that captures in files and directories hold, and what is known of each file.
    ///
    /// # Errors
    /// When none of them can be read.
    pub fn read(paths: &[PathBuf]) -> Result<(Self, Vec<FileSummary>), SourceError> {
        let mut pipeline = Pipeline::new(Self::default());
        let files = CaptureSource::new(paths)?.read(&mut pipeline)?;
        let (collector, _) = pipeline.finish().map_err(SourceError::Write)?;
        Ok((collector, files))
    }

    /// The same of captures in memory, in this order.
    ///
    /// # Errors
    /// When zstd cannot be set up.
    pub fn read_bytes(captures: &[&[u8]]) -> Result<(Self, Vec<FileSummary>), SourceError> {
        let mut pipeline = Pipeline::new(Self::default());
        let inputs = (0..).zip(captures).map(|(number, bytes): (usize, _)| (number.to_string(), *bytes));
        let files = read_inputs(inputs, None, &mut pipeline)?;
        let (collector, _) = pipeline.finish().map_err(SourceError::Write)?;
        Ok((collector, files))
    }

    /// Issues that break the evidence, a sentence each.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let broken = self.issues.iter().filter(|issue| issue.kind.severity() == Severity::Broken);
        broken.map(ToString::to_string).collect()
    }
}
