//! Live output formats (tree and lines) on captures, with a heading for each host and day.

use std::io::{self, Write};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{
    interner::Interner,
    query::{ChainRecord, ReportData, ReportSink},
    stream::Stream,
};
use crate::{
    chain::Item,
    event::Event,
    output::{self, Style, zone},
    stream::Consumer,
};

/// Writes chains with a live output format, under headings that name the host and the day.
pub struct Sections {
    output: Box<dyn Consumer>,
    /// Writes to the same destination as `output`.
    heading: Box<dyn Write>,
    zone: TimeZone,
    style: Style,
    /// Stream and day of the last heading.
    last_heading: Option<(usize, Date)>,
}

impl Sections {
    /// Writes chains to `output` and headings to `heading`; both must write to the same destination.
    #[must_use]
    pub fn new(output: Box<dyn Consumer>, heading: Box<dyn Write>, style: Style) -> Self {
        Self { output, heading, zone: zone::zone(style.utc), style, last_heading: None }
    }

    fn head(&mut self, time: Timestamp, stream: &Stream, number: usize) -> io::Result<()> {
        let day = time.to_zoned(self.zone.clone()).date();
        if self.last_heading == Some((number, day)) {
            return Ok(());
        }
        // Output that the format still buffers belongs to the previous heading.
        self.output.finish()?;
        let lead = if self.last_heading.is_some() { "\n" } else { "" };
        self.last_heading = Some((number, day));
        let of = match &stream.info.identity {
            Some(identity) => format!(
                "{}, kernel {}, boot {}",
                output::escape_str(&identity.host),
                output::escape_str(&stream.info.kernel),
                output::escape_str(&identity.boot_id)
            ),
            None => output::escape_str(&stream.info.source),
        };
        let zone = zone::name(&self.zone, time);
        writeln!(self.heading, "{lead}# {day}: {}, times in {zone}", self.style.text(&of))
    }
}

impl ReportSink for Sections {
    fn chain(&mut self, record: &ChainRecord<'_>, _: &Interner) -> io::Result<()> {
        self.head(record.chain.time, record.stream, record.stream_number)?;
        self.output.item(record.item, &record.stream.info)
    }

    fn event(&mut self, event: &Event, stream: &Stream, number: usize) -> io::Result<()> {
        self.head(event.time, stream, number)?;
        self.output.item(&Item::Event(Box::new(event.clone())), &stream.info)
    }

    fn finish(&mut self, _: &ReportData<'_>) -> io::Result<()> {
        self.output.finish()
    }
}
