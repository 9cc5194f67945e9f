//! CSV (RFC 4180): rows of the table, or a record for each module and request.
//!
//! A spreadsheet runs what begins with `=`, and a name is whatever its author wrote: names are escaped as for people,
//! so that a record is a line without tabs, and what could be a formula gets a `'` in front. So does what stands behind a
//! `;`, since that is what separates cells where a comma separates decimals, and quotes within a cell protect nothing then.

use std::io::{self, Write};

use super::{
    cells::Fact,
    engine::{Sink, Told, Whole},
    facts::Unloading,
    names::Names,
    rows::{By, Group, New, Row, Shown, groups, rows},
    stream::Stream,
    table::View,
    who::own_program,
    words::{field, listed, named, program_field, shared_fields, timestamp, what_fields},
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

    fn text(self, text: &str) -> Self {
        self.shown(&output::escape_str(text))
    }

    fn name(self, name: &Text) -> Self {
        self.shown(&output::escape(name))
    }

    fn optional_name(self, name: Option<&Text>) -> Self {
        match name {
            Some(name) => self.name(name),
            None => self.text(""),
        }
    }

    /// What is escaped already.
    fn shown(mut self, text: &str) -> Self {
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

/// What spreadsheets take for the beginning of a formula, with the wide forms of the same signs.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '|', '%'];

/// A cell with escaped text.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 2);
    for (number, part) in text.split(';').enumerate() {
        if number > 0 {
            safe.push(';');
        }
        // Where `;` separates, a quote that is doubled here is an empty pair of them.
        if part.trim_start_matches([' ', '"']).starts_with(FORMULA) {
            safe.push('\'');
        }
        safe.push_str(part);
    }
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
        let named = |id| field(id, whole.names);
        Record::default()
            .text(kind)
            .name(&name)
            .name(&program_field(key, whole.names))
            .optional_name(named(key.who.user).as_ref())
            .optional_name(named(key.who.unit).as_ref())
            .optional_name(named(key.who.container).as_ref())
            .optional_name(named(key.host).as_ref())
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
    let (counts, other, others) = match by {
        By::Module => ("times", By::Exe, "programs"),
        _ => ("requests,loads", By::Module, "modules"),
    };
    let head = format!("by,name,{counts},results,blocked_ns,blocked_max_ns,first,last,new,hosts,{others}\r\n");
    writer.write_all(head.as_bytes())?;
    for Group { key, tally, others, hosts, new } in groups {
        let (kind, name) = shared_fields(key, by, whole.names);
        let record = Record::default().text(kind).name(&name);
        let counted = match by {
            By::Module => record.number(tally.count),
            _ => record.number(tally.requests).number(tally.loads),
        };
        let others = others.iter().map(|(key, count)| format!("{} {count}", listed(key, other, whole.names)));
        counted
            .text(&results(tally))
            .number(tally.blocked_ns)
            .number(tally.blocked_max_ns)
            .time(tally.first_ns)
            .time(tally.last_ns)
            .text(new.map_or("", New::name))
            .shown(&joined(hosts.iter().map(|host| named(*host, whole.names))))
            .shown(&joined(others))
            .write(writer)?;
    }
    Ok(())
}

/// A list in a cell.
fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("; ")
}

/// `loaded 11; failed 1`
fn results(tally: &super::cells::Tally) -> String {
    joined(tally.statuses().map(|(status, count)| format!("{} {count}", status.name())))
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
        let named = |id| field(id, names);
        Record::default()
            .time(fact.time_ns)
            .text(told.stream.host())
            .text(told.stream.boot_id())
            .text(&request)
            .text(kind)
            .name(&name)
            .text(fact.status.name())
            .name(&program_field(&fact.key, names))
            .optional_number(process.map(|process| process.pid))
            .optional_name(process.map(|process| &process.comm))
            .optional_name(named(fact.key.who.user).as_ref())
            .optional_number(process.map(|process| process.uid))
            .optional_name(named(fact.key.who.unit).as_ref())
            .optional_name(named(fact.key.who.container).as_ref())
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
        let user = process.user.clone().unwrap_or_else(|| Text::from(format!("uid {}", process.uid)));
        Record::default()
            .number(event.time)
            .text(stream.host())
            .text(stream.boot_id())
            .text("")
            .text("unload")
            .optional_name(module)
            .text(result)
            .name(&own_program(process).field())
            .number(process.pid)
            .name(&process.comm)
            .name(&user)
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

    /// Reads a record as a spreadsheet does: a quote counts where a cell begins, and there until it ends.
    fn read(line: &str, separator: char) -> Vec<String> {
        let (mut cells, mut cell, mut quoted, mut begins) = (Vec::new(), String::new(), false, true);
        let mut rest = line.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '"' if quoted && rest.peek() == Some(&'"') => {
                    rest.next();
                    cell.push('"');
                }
                '"' if quoted || begins => quoted = !quoted,
                other if other == separator && !quoted => {
                    cells.push(std::mem::take(&mut cell));
                    begins = true;
                    continue;
                }
                other => cell.push(other),
            }
            begins = false;
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
            ("a;=1+1;b", "\"a;'=1+1;b\""),
            ("a; =1", "\"a;' =1\""),
            ("a;\"=1\"", "\"a;'\"\"=1\"\"\""),
            ("a;b-c", "\"a;b-c\""),
            (" =1", "\"' =1\""),
        ] {
            assert_eq!(cell(&crate::output::escape_str(raw)), shown);
        }
    }

    /// Check that bytes that are no text are shown by their numbers, and that different names stay different.
    #[test]
    fn bytes_stay_apart() {
        let name = |bytes: &[u8]| Record::default().name(&crate::event::Text::from(bytes)).0;
        assert_eq!(name(b"a\xff"), "a\\xff");
        assert_ne!(name(b"a\xff"), name(b"a\xfe"));
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
            for separator in [',', ';', '\t'] {
                for cell in read(line, separator).iter().skip(1) {
                    let shown = cell.trim_start_matches([' ', '"']);
                    prop_assert!(!shown.starts_with(super::FORMULA), "{separator:?} {cell}");
                    prop_assert!(!cell.starts_with(['\t', '\r']), "{cell}");
                }
            }
            let cells = read(line, ',');
            prop_assert_eq!(cells.len(), texts.len() + 1);
            for (cell, text) in cells.iter().skip(1).zip(&texts) {
                let own = crate::output::escape_str(text);
                // A quote was put in, or nothing was.
                prop_assert_eq!(cell.replace('\'', ""), own.replace('\'', ""));
            }
        }
    }
}
