//! Copies the intact parts of a damaged capture, byte for byte.

use std::{
    collections::HashSet,
    hash::RandomState,
    io::{self, Read, Write},
};

use super::{
    batch::{Batch, Batcher, Content},
    section::{Body, Damage, SectionError, Sections},
};

/// Maximum number of gaps that are listed.
const GAPS_MAX: usize = 64;

/// Why a capture cannot be recovered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] SectionError),
    /// The copy cannot be written.
    #[error("cannot write the copy")]
    Write(#[source] io::Error),
    /// zstd cannot be set up.
    #[error("cannot set up zstd")]
    SetUp(#[source] io::Error),
}

/// An omitted part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Its offset, bytes.
    pub offset: u64,
    /// Its size, bytes.
    pub bytes: u64,
    /// Why.
    pub damage: Damage,
}

/// Summary of a recovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Number of copied bytes.
    pub copied_bytes: u64,
    /// Number of copied events and seals, including those of unknown types.
    pub events: u64,
    /// Number of omitted bytes.
    pub left_out_bytes: u64,
    /// The first omitted parts.
    pub gaps: Vec<Gap>,
}

/// Copies what is intact: frames that decode, and lines of plain text that are events.
///
/// # Errors
/// See [`RecoverError`].
pub fn recover(input: impl Read, output: &mut dyn Write) -> Result<Recovered, RecoverError> {
    let mut sections = Sections::new(input);
    let mut batcher = Batcher::new(None, RandomState::new(), false).map_err(RecoverError::SetUp)?;
    let mut recovered = Recovered::default();
    while let Some(section) = sections.next_section(true)? {
        let (raw, is_text) = match &section.body {
            Body::Frame(frame) => (frame.clone(), false),
            Body::Text { text, .. } => (text.clone(), true),
            Body::Gap(_) => (Vec::new(), false),
        };
        let batch = batcher.batch(section);
        if batch.damage.is_none() {
            recovered.events += events(&batch);
        }
        let copied = match batch.damage {
            Some(damage) => {
                if recovered.gaps.len() < GAPS_MAX {
                    recovered.gaps.push(Gap { offset: batch.offset, bytes: batch.bytes, damage });
                }
                Vec::new()
            }
            None if is_text => events_only(&raw, &batch),
            None => raw.clone(),
        };
        output.write_all(&copied).map_err(RecoverError::Write)?;
        recovered.copied_bytes += copied.len() as u64;
        let whole = if is_text { raw.len() as u64 } else { batch.bytes };
        recovered.left_out_bytes += whole.saturating_sub(copied.len() as u64);
    }
    Ok(recovered)
}

/// Counts the lines that are events or seals.
fn events(batch: &Batch) -> u64 {
    let lines = batch.parts.iter().flat_map(|part| &part.lines);
    let seals = batch.parts.iter().filter(|part| part.seal.is_some()).count();
    (lines.filter(|line| !matches!(line.content, Content::Malformed { .. })).count() + seals) as u64
}

/// The lines that are events of this or a later version; blank lines count as damaged.
fn events_only(text: &[u8], batch: &Batch) -> Vec<u8> {
    let lines = batch.parts.iter().flat_map(|part| &part.lines);
    let damaged = lines.filter_map(|line| match line.content {
        Content::Malformed { more, .. } => Some(line.number..=line.number + more),
        _ => None,
    });
    let damaged: HashSet<u64> = damaged.flatten().collect();
    if damaged.is_empty() {
        return text.to_vec();
    }
    let lines = (0..).zip(text.split_inclusive(|byte| *byte == b'\n'));
    let kept = lines.filter(|(number, line)| !damaged.contains(number) && !line.trim_ascii().is_empty());
    kept.flat_map(|(_, line)| line.iter().copied()).collect()
}
