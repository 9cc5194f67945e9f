//! Checks seals.

use super::{
    super::{
        Consumer, Pipeline,
        copies::Content,
        issue::{Alteration, IssueKind},
    },
    AssembleError, Assembler,
};
use crate::capture::{
    batch::{Line, Sealed},
    hash::Hash,
};

impl Assembler {
    /// Checks a seal. `range`: the numbers of the events before it.
    pub(super) fn check(
        &mut self,
        sealed: &Sealed,
        range: Option<Option<(u64, u64)>>,
        pipeline: &mut Pipeline<impl Consumer>,
    ) {
        let summary = &mut self.file.summary;
        summary.seals += 1;
        summary.signed += u64::from(sealed.is_signed == Some(true));
        summary.last_hash = Some(sealed.name().to_owned());
        let Some(tracked) = self.file.current.and_then(|number| self.streams.get_mut(number)) else { return };
        tracked.sealed_parts += 1;
        let seal = &sealed.seal;
        // Missing events are reported separately.
        let is_behind_gap = range.flatten().is_some_and(|(first, _)| first > pipeline.next_seq(tracked.id));
        let how = if sealed.hash.is_none() || range.is_none() {
            Some(Alteration::Unchecked)
        } else if !sealed.holds() {
            Some(Alteration::Text)
        } else if !sealed.is_canonical {
            Some(Alteration::OutsideHash)
        } else if !is_behind_gap && tracked.previous.as_ref().is_some_and(|previous| *previous != seal.previous) {
            Some(Alteration::Order)
        } else if range.flatten() != Some((seal.first_seq, seal.last_seq)) {
            Some(Alteration::Range)
        } else if sealed.is_signed == Some(false) {
            Some(if seal.signature.is_some() { Alteration::Signature } else { Alteration::Unsigned })
        } else {
            None
        };
        tracked.previous = Some(sealed.name().to_owned());
        // A part that is too large to be checked is reported separately.
        if range.is_none()
            && tracked.unsealed.as_ref().is_some_and(|unsealed| unsealed.is_in(seal.first_seq, seal.last_seq))
        {
            tracked.unsealed = None;
        }
        if let Some(how) = how {
            let (first_seq, last_seq) = (seal.first_seq, seal.last_seq);
            self.report_here(pipeline, IssueKind::Altered { first_seq, last_seq, how });
        }
    }

    /// Processes the rest of a sealed part whose first lines were passed on before the seal was read.
    pub(super) fn continued_part(
        &mut self,
        lines: Vec<Line>,
        sealed: &Sealed,
        hash: Hash,
        offset: u64,
        pipeline: &mut Pipeline<impl Consumer>,
    ) -> Result<(), AssembleError> {
        lines.into_iter().try_for_each(|line| self.line(line, offset, pipeline))?;
        let (first, last) = (sealed.seal.first_seq, sealed.seal.last_seq);
        let tracked = self.file.current.and_then(|number| self.streams.get(number));
        let unsealed = tracked.and_then(|tracked| tracked.unsealed.as_ref());
        let range = unsealed.map_or((first, last), |unsealed| (unsealed.first_seq.max(first), unsealed.last_seq));
        self.check(sealed, Some(Some(range)), pipeline);
        if let Some(tracked) = self.file.current.and_then(|number| self.streams.get_mut(number)) {
            // The lines are sealed now; a mismatch is reported.
            if tracked.unsealed.as_ref().is_some_and(|unsealed| unsealed.is_in(first, last)) {
                tracked.unsealed = None;
            }
            tracked.copies.add(first, Content::Sealed(hash.first_chunk().copied().unwrap_or_default()));
            pipeline.seal(tracked.id, sealed.seq);
        }
        Ok(())
    }
}
