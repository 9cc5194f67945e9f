//! A consumer that stores everything, for small captures and for tests.

use std::{io, path::PathBuf};

use super::{
    CaptureSource, Consumer, FileSummary, Issue, Pipeline, Severity, SourceError, StreamInfo,
    capture_source::read_inputs,
};
use crate::{chain::Item, event::Event};

/// Stores events, chains and issues. Memory use grows with the captures.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Collector {
    /// Events, without seals.
    pub events: Vec<Event>,
    /// Chains that have ended and events that belong to none, in order of completion.
    pub items: Vec<Item>,
    /// The issues of the evidence.
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
    /// Reads captures in files and directories, and returns their contents and a summary of each file.
    ///
    /// # Errors
    /// When none of them can be read.
    pub fn read(paths: &[PathBuf]) -> Result<(Self, Vec<FileSummary>), SourceError> {
        let mut pipeline = Pipeline::new(Self::default());
        let files = CaptureSource::new(paths)?.read(&mut pipeline)?;
        let (collector, _) = pipeline.finish().map_err(SourceError::Write)?;
        Ok((collector, files))
    }

    /// Reads captures in memory, in this order.
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

    /// Issues that invalidate the evidence, one sentence each.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let broken = self.issues.iter().filter(|issue| issue.kind.severity() == Severity::Broken);
        broken.map(ToString::to_string).collect()
    }
}
