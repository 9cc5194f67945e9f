//! Frames of a compressed capture: their sizes, and the search for the next intact one.

use std::io::Read;

use memchr::memmem;
use zstd::{
    stream::raw::Decoder,
    zstd_safe::{self, DParameter},
};

use super::{
    Body, Damage, FRAME_TEXT_BYTES_MAX, Form, HEADER_BYTES_MAX, Lines, MAGIC, SEARCH_BYTES_MIN, SEARCH_FACTOR,
    SKIPPABLE, Section, SectionError, Sections, WINDOW_LOG_MAX,
};

impl<R: Read> Sections<R> {
    pub(super) fn next_frame(&mut self, is_final: bool) -> Result<Option<Section>, SectionError> {
        loop {
            while self.rest().len() < 8 && self.read_more()? {}
            let rest = self.rest();
            let Some(first) = first_word(rest) else {
                return Ok(if rest.is_empty() || !is_final { None } else { Some(self.torn()) });
            };
            if first & !0xf == SKIPPABLE {
                if !self.skip_frame(is_final)? {
                    return Ok(is_final.then(|| self.torn()));
                }
                continue;
            }
            if first != u32::from_le_bytes(MAGIC) {
                let offset = self.offset;
                return self.resume(offset, is_final).map(Some);
            }
            return match self.measure()? {
                Measure::Size(bytes) => {
                    let offset = self.offset;
                    let frame = self.take(bytes);
                    Ok(Some(self.section(offset, Body::Frame(frame))))
                }
                Measure::Large => {
                    let mut decoder = Decoder::new().map_err(SectionError::Read)?;
                    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(SectionError::Read)?;
                    self.decoder = Some(decoder);
                    self.lines = Lines { offset: self.offset, ..Lines::default() };
                    self.next_lines(is_final)
                }
                Measure::Unfinished if !is_final => Ok(None),
                // Its block sizes may be damaged; then intact frames follow.
                Measure::Unfinished | Measure::Damaged => {
                    let offset = self.offset;
                    self.resume(offset, is_final).map(Some)
                }
            };
        }
    }

    /// Skips a skippable frame; returns false if the file ends inside of it.
    pub(super) fn skip_frame(&mut self, is_final: bool) -> Result<bool, SectionError> {
        let size = self.rest().get(4..8).and_then(first_word);
        let Some(size) = size else { return Ok(false) };
        let mut left = 8 + size as usize;
        if !is_final {
            // It is skipped completely or not at all.
            while self.rest().len() < left {
                if !self.read_more()? {
                    return Ok(false);
                }
            }
        }
        loop {
            let step = left.min(self.rest().len());
            self.skip(step);
            left -= step;
            if left == 0 {
                return Ok(true);
            }
            if !self.read_more()? {
                return Ok(false);
            }
        }
    }

    pub(super) fn torn(&mut self) -> Section {
        let offset = self.offset;
        self.skip(self.rest().len());
        self.section(offset, Body::Gap(Damage::Torn))
    }

    /// Determines the size of the frame at the beginning of the buffer, reading more as needed.
    pub(super) fn measure(&mut self) -> Result<Measure, SectionError> {
        loop {
            if let Some(measure) = measure(self.rest()) {
                return Ok(measure);
            }
            if !self.read_more()? {
                return Ok(measure_last(self.rest()));
            }
        }
    }

    /// Searches for the next intact frame after damage that begins at `offset`.
    pub(super) fn resume(&mut self, offset: u64, is_final: bool) -> Result<Section, SectionError> {
        self.searched = self.searched.max(self.offset);
        let mut skipped = 1;
        loop {
            let Some(found) = self.rest().get(skipped..).and_then(|rest| memmem::find(rest, &MAGIC)) else {
                // The end of the buffer may split the magic.
                let step = self.rest().len().saturating_sub(3).max(skipped.min(self.rest().len()));
                self.skip(step);
                skipped = 0;
                if !self.read_more()? {
                    return Ok(self.rest_is(offset, Damage::Torn));
                }
                continue;
            };
            self.skip(skipped + found);
            skipped = 1;
            let measure = self.measure()?;
            self.searched = self.searched.saturating_add(self.rest().len() as u64);
            match measure {
                Measure::Size(_) => return Ok(self.section(offset, Body::Gap(Damage::Frame))),
                // It may be a frame that is still being written.
                Measure::Unfinished if !is_final => return Ok(self.section(offset, Body::Gap(Damage::Frame))),
                _ => {}
            }
            if self.searched > SEARCH_BYTES_MIN.saturating_add(self.offset.saturating_mul(SEARCH_FACTOR)) {
                loop {
                    self.skip(self.rest().len());
                    if !self.read_more()? {
                        return Ok(self.rest_is(offset, Damage::Unsearched));
                    }
                }
            }
        }
    }

    /// Marks the rest of the file as damaged.
    pub(super) fn rest_is(&mut self, offset: u64, damage: Damage) -> Section {
        self.skip(self.rest().len());
        self.section(offset, Body::Gap(damage))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Its size, bytes.
    Size(usize),
    /// It is too large to be decoded at once.
    Large,
    /// The file ends inside of it.
    Unfinished,
    /// It is damaged.
    Damaged,
}

/// Size of the frame at the beginning of `rest`; `None` if more of the file is needed.
pub(super) fn measure(rest: &[u8]) -> Option<Measure> {
    let text_bytes = match zstd_safe::get_frame_content_size(rest) {
        Ok(Some(bytes)) if bytes <= FRAME_TEXT_BYTES_MAX as u64 => usize::try_from(bytes).ok()?,
        Ok(_) => return Some(Measure::Large),
        // Its header is incomplete or invalid.
        Err(_) if rest.len() < HEADER_BYTES_MAX => return None,
        Err(_) => return Some(Measure::Damaged),
    };
    // Other encoders may write small blocks with a header each.
    let bound = zstd_safe::compress_bound(text_bytes) + 1024;
    match zstd_safe::find_frame_compressed_size(rest.get(..bound).unwrap_or(rest)) {
        Ok(bytes) => {
            let after = rest.get(bytes..)?;
            let word = first_word(after)?;
            let is_frame = word == u32::from_le_bytes(MAGIC) || word & !0xf == SKIPPABLE;
            // Damaged sizes lead to an arbitrary offset; but the next frame may be the damaged one.
            Some(if is_frame || decodes(rest.get(..bytes)?, text_bytes) {
                Measure::Size(bytes)
            } else {
                Measure::Damaged
            })
        }
        Err(_) if rest.len() >= bound => Some(Measure::Damaged),
        Err(_) => None,
    }
}

/// The same for a frame at the end of the file.
pub(super) fn measure_last(rest: &[u8]) -> Measure {
    match zstd_safe::find_frame_compressed_size(rest) {
        Ok(bytes) => Measure::Size(bytes),
        Err(_) => Measure::Unfinished,
    }
}

pub(super) fn decodes(frame: &[u8], text_bytes: usize) -> bool {
    zstd::bulk::decompress(frame, text_bytes).is_ok()
}

pub(super) fn first_word(bytes: &[u8]) -> Option<u32> {
    bytes.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
}

/// The type of a file, from its first bytes; `None` if they match neither type.
pub(super) fn form_of(first: &[u8]) -> Option<Form> {
    let is_skippable = first_word(first).is_some_and(|word| word & !0xf == SKIPPABLE);
    if first.starts_with(&MAGIC) || is_skippable || (first.len() < 4 && MAGIC.starts_with(first)) {
        return Some(Form::Zstd);
    }
    match first.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') | None => Some(Form::Plain),
        Some(_) => None,
    }
}
