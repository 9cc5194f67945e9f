//! Chains for people: the tree and the lines of the live view, on captures of several machines.

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

/// Writes chains by way of a format of the live view. Which machine and which day they are of stands above them.
pub struct Sections {
    output: Box<dyn Consumer>,
    /// Writes to where the format writes.
    heading: Box<dyn Write>,
    zone: TimeZone,
    style: Style,
    /// The stream and the day of the last line.
    last_heading: Option<(usize, Date)>,
}

impl Sections {
    /// Writes chains to `output`, and to `heading` what they are of. Both end in the same place, and look the same.
    #[must_use]
    pub fn new(output: Box<dyn Consumer>, heading: Box<dyn Write>, style: Style) -> Self {
        Self { output, heading, zone: zone::zone(style.utc), style, last_heading: None }
    }

    fn head(&mut self, time: Timestamp, stream: &Stream, number: usize) -> io::Result<()> {
        let day = time.to_zoned(self.zone.clone()).date();
        if self.last_heading == Some((number, day)) {
            return Ok(());
        }
        // What the format holds back is of the machine and the day before.
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
