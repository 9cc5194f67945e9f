//! CSV (RFC 4180): rows of the table, or a record for each module and request.
//!
//! A spreadsheet runs what begins with `=`, and a name is whatever its author wrote: names are escaped as for people,
//! so that a record is a line, and what could be a formula gets a `'` in front.

use std::io::{self, Write};

use super::{
    cells::Fact,
    engine::{Sink, Told, Whole},
    facts::Unloading,
    names::Names,
    rows::{By, Group, New, Row, Shown, groups, rows},
    stream::Stream,
    table::View,
    words::{field, program_field, timestamp, what_fields},
};
use crate::{
    chain::{Chain, ChainKey},
    event::{Event, Process, Text},
    output,
};

/// One record.
#[derive(Debug, Default)]
struct Record(String);

impl Record {
    fn next(&mut self) {
        // The first cell is never empty.
        if !self.0.is_empty() {
            self.0.push(',');
        }
    }

    fn text(mut self, text: &str) -> Self {
        self.next();
        self.0.push_str(&cell(text));
        self
    }

    fn number(mut self, number: impl std::fmt::Display) -> Self {
        self.next();
        self.0.push_str(&number.to_string());
        self
    }

    fn optional_number(self, number: Option<impl std::fmt::Display>) -> Self {
        match number {
            Some(number) => self.number(number),
            None => self.text(""),
        }
    }

    fn time(self, ns: i64) -> Self {
        let time = timestamp(ns);
        self.number(time)
    }

    fn write(mut self, writer: &mut dyn Write) -> io::Result<()> {
        self.0.push_str("\r\n");
        writer.write_all(self.0.as_bytes())
    }
}

/// A cell with text.
fn cell(text: &str) -> String {
    let safe = output::escape_str(text);
    // What spreadsheets take for the beginning of a formula, with the wide forms of the same signs.
    let runs = safe.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '|', '%']);
    let safe = if runs { format!("'{safe}") } else { safe };
    if safe.contains(['"', ',', ';', '\'']) || safe.starts_with(' ') || safe.ends_with(' ') {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

/// The table as CSV.
///
/// # Errors
/// When it cannot be written.
pub fn table(whole: &Whole<'_>, view: View, writer: &mut dyn Write) -> io::Result<()> {
    match view.by {
        None => combinations(whole, view.first(&rows(whole, view.sort, Shown::All)), writer),
        Some(by) => rolled_up(whole, view.first(&groups(whole, by, view.sort)), by, writer),
    }
}

fn combinations(whole: &Whole<'_>, rows: &[Row], writer: &mut dyn Write) -> io::Result<()> {
    let head = "kind,name,program,user,unit,container,host,times,results,blocked_ns,blocked_max_ns,first,last,new\r\n";
    writer.write_all(head.as_bytes())?;
    for Row { key, tally, new } in rows {
        let (kind, name) = what_fields(key, whole.names);
        let or_empty = |id| field(id, whole.names).unwrap_or_default();
        Record::default()
            .text(kind)
            .text(&name)
            .text(&program_field(key, whole.names))
            .text(&or_empty(key.who.user))
            .text(&or_empty(key.who.unit))
            .text(&or_empty(key.who.container))
            .text(&or_empty(key.host))
            .number(tally.count)
            .text(&results(tally))
            .number(tally.blocked_ns)
            .number(tally.blocked_max_ns)
            .time(tally.first_ns)
            .time(tally.last_ns)
            .text(new.map_or("", New::name))
            .write(writer)?;
    }
    Ok(())
}

fn rolled_up(whole: &Whole<'_>, groups: &[Group], by: By, writer: &mut dyn Write) -> io::Result<()> {
    let others = if by == By::Module { "programs" } else { "names" };
    let head = format!("by,name,times,results,blocked_ns,blocked_max_ns,first,last,{others}\r\n");
    writer.write_all(head.as_bytes())?;
    for Group { key, tally, others, .. } in groups {
        let (kind, name) = super::words::shared_fields(key, by, whole.names);
        Record::default()
            .text(kind)
            .text(&name)
            .number(tally.count)
            .text(&results(tally))
            .number(tally.blocked_ns)
            .number(tally.blocked_max_ns)
            .time(tally.first_ns)
            .time(tally.last_ns)
            .number(others.len())
            .write(writer)?;
    }
    Ok(())
}

/// `loaded 11; failed 1`
fn results(tally: &super::cells::Tally) -> String {
    tally.statuses().map(|(status, count)| format!("{} {count}", status.name())).collect::<Vec<_>>().join("; ")
}

/// Writes a record for each module that came, and for each request that brought none.
pub struct Records {
    writer: Box<dyn Write>,
    has_begun: bool,
}

impl Records {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write>) -> Self {
        Self { writer, has_begun: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.has_begun {
            return Ok(());
        }
        self.has_begun = true;
        self.writer.write_all(
            b"time,host,boot_id,request,kind,name,result,program,pid,comm,user,uid,unit,container,blocked_ns,first_seen,incomplete\r\n",
        )
    }

    fn fact(&mut self, told: &Told<'_>, fact: &Fact, names: &Names) -> io::Result<()> {
        let (kind, name) = what_fields(&fact.key, names);
        let process = process(told.chain);
        let request = match told.chain.key {
            ChainKey::Request(id) => id.to_string(),
            ChainKey::Loader(_) => String::new(),
        };
        let or_empty = |id| field(id, names).unwrap_or_default();
        Record::default()
            .time(fact.time_ns)
            .text(told.stream.host())
            .text(told.stream.boot_id())
            .text(&request)
            .text(kind)
            .text(&name)
            .text(fact.status.name())
            .text(&program_field(&fact.key, names))
            .optional_number(process.map(|process| process.pid))
            .text(&process.map(|process| process.comm.field()).unwrap_or_default())
            .text(&or_empty(fact.key.who.user))
            .optional_number(process.map(|process| process.uid))
            .text(&or_empty(fact.key.who.unit))
            .text(&or_empty(fact.key.who.container))
            .optional_number(fact.blocked_ns)
            .text(if told.is_first { "yes" } else { "" })
            .text(if told.chain.incomplete.is_empty() { "" } else { "yes" })
            .write(&mut self.writer)
    }
}

/// The process that asked or loaded.
pub(super) fn process(chain: &Chain) -> Option<&Process> {
    let asked = chain.request.as_ref().map(|request| &request.process);
    asked
        .or_else(|| chain.modules.first().map(|module| &module.load.process))
        .or_else(|| chain.attempts.first().map(|attempt| &attempt.process))
}

impl Sink for Records {
    fn chain(&mut self, told: &Told<'_>, names: &Names) -> io::Result<()> {
        self.begin()?;
        told.facts.iter().try_for_each(|fact| self.fact(told, fact, names))
    }

    fn event(&mut self, event: &Event, stream: &Stream, _: usize) -> io::Result<()> {
        self.begin()?;
        let Some(Unloading { module, process, result }) = Unloading::of(event) else { return Ok(()) };
        let user = process.user.as_ref().map_or_else(|| format!("uid {}", process.uid), Text::field);
        Record::default()
            .number(event.time)
            .text(stream.host())
            .text(stream.boot_id())
            .text("")
            .text("unload")
            .text(&module.map(Text::field).unwrap_or_default())
            .text(result)
            .text(&process.exe.as_ref().map_or_else(|| format!("[{}]", process.comm.field()), Text::field))
            .number(process.pid)
            .text(&process.comm.field())
            .text(&user)
            .number(process.uid)
            .text(process.unit.as_deref().unwrap_or_default())
            .text(process.container.as_deref().unwrap_or_default())
            .text("")
            .text("")
            .text("")
            .write(&mut self.writer)
    }

    fn finish(&mut self, _: &Whole<'_>) -> io::Result<()> {
        self.begin()?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Record, cell};

    /// Reads a record as a spreadsheet does.
    fn read(line: &str) -> Vec<String> {
        let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
        let mut rest = line.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '"' if quoted && rest.peek() == Some(&'"') => {
                    rest.next();
                    cell.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(std::mem::take(&mut cell)),
                other => cell.push(other),
            }
        }
        cells.push(cell);
        cells
    }

    /// Check that usual names stay as they are, and that no name becomes a formula.
    #[test]
    fn formulas_are_defused() {
        for (raw, shown) in [
            ("nf_conntrack", "nf_conntrack"),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("-1+1", "\"'-1+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "a\\r\\nb"),
            ("\t=1", "\\t=1"),
        ] {
            assert_eq!(cell(raw), shown);
        }
    }

    proptest! {
        /// Check that any names stay in their cells, in one line, and that none begins as a formula does.
        #[test]
        fn names_stay_in_their_cells(texts in proptest::collection::vec("[=+\\-@\\t\\r\\n\",; 'a\u{ff1d}\\\\]{0,6}", 1..5)) {
            let record = texts.iter().fold(Record::default().number(1), |record, text| record.text(text));
            let mut written = Vec::new();
            record.write(&mut written).unwrap();
            let written = String::from_utf8(written).unwrap();
            let line = written.strip_suffix("\r\n").unwrap();
            prop_assert!(!line.contains(['\r', '\n', '\t']));
            let cells = read(line);
            prop_assert_eq!(cells.len(), texts.len() + 1);
            for (cell, text) in cells.iter().skip(1).zip(&texts) {
                prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\u{ff1d}']), "{}", cell);
                let own = crate::output::escape_str(text);
                prop_assert_eq!(cell.strip_prefix('\'').filter(|_| *cell != own).unwrap_or(cell), own);
            }
        }
    }
}
