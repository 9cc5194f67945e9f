//! CSV (RFC 4180): rows of the table, or one record for each module and request.
//!
//! Spreadsheets evaluate cells that begin with `=`, and names are under the control of users. Names are therefore
//! escaped as for human output, so that a record is one line without tabs, and a possible formula is prefixed with `'`.
//! The same applies after a `;`, which separates cells in locales with a decimal comma; quotes do not protect such
//! cells.

use std::io::{self, Write};

use super::{
    aggregates::{GroupKey, Observation},
    format::{field, listed, named, program_field, shared_fields, subject_fields, timestamp},
    group_by::{By, Group, New, Row, Shown, groups, rows},
    interner::{Interner, NameId},
    observe::Unloading,
    query::{ChainRecord, ReportData, ReportSink},
    requester::{login, own_program},
    stream::Stream,
    table::View,
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
        // An empty buffer means the first cell, which is never empty.
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

    /// Adds a cell that is escaped already.
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

/// Characters that begin a formula in spreadsheets, including full-width forms.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '|', '%'];

/// Formats a cell with escaped text.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 2);
    for (number, part) in text.split(';').enumerate() {
        if number > 0 {
            safe.push(';');
        }
        // If `;` is the separator, a doubled quote is an empty quoted string.
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

/// Writes the table as CSV.
///
/// # Errors
/// When it cannot be written.
pub fn table(data: &ReportData<'_>, view: View, writer: &mut dyn Write) -> io::Result<()> {
    match view.by {
        None => combinations(data, view.first(&rows(data, view.sort, Shown::ALL)), writer),
        Some(by) => rolled_up(data, view.first(&groups(data, by, view.sort)), by, writer),
    }
}

fn combinations(data: &ReportData<'_>, rows: &[Row], writer: &mut dyn Write) -> io::Result<()> {
    let head =
        "kind,name,program,user,login,unit,container,host,times,results,blocked_ns,blocked_max_ns,first,last,new\r\n";
    writer.write_all(head.as_bytes())?;
    for Row { key, stats, new } in rows {
        let (kind, name) = subject_fields(key, data.names);
        let named = |id| field(id, data.names);
        Record::default()
            .text(kind)
            .name(&name)
            .name(&program_field(key, data.names))
            .optional_name(named(key.requester.user).as_ref())
            .optional_name(named(key.requester.login).as_ref())
            .optional_name(named(key.requester.unit).as_ref())
            .optional_name(named(key.requester.container).as_ref())
            .optional_name(named(key.host).as_ref())
            .number(stats.count)
            .text(&results(stats))
            .number(stats.blocked_ns)
            .number(stats.blocked_max_ns)
            .time(stats.first_ns)
            .time(stats.last_ns)
            .text(new.map_or("", New::name))
            .write(writer)?;
    }
    Ok(())
}

fn rolled_up(data: &ReportData<'_>, groups: &[Group], by: By, writer: &mut dyn Write) -> io::Result<()> {
    let (counts, other, others) = match by {
        By::Module => ("times", By::Exe, "programs"),
        _ => ("requests,loads", By::Module, "modules"),
    };
    let head = format!("by,name,{counts},results,blocked_ns,blocked_max_ns,first,last,new,hosts,{others}\r\n");
    writer.write_all(head.as_bytes())?;
    for Group { key, stats, others, hosts, new } in groups {
        let (kind, name) = shared_fields(key, by, data.names);
        let record = Record::default().text(kind).name(&name);
        let counted = match by {
            By::Module => record.number(stats.count),
            _ => record.number(stats.requests).number(stats.loads),
        };
        let others = others.iter().map(|(key, count)| format!("{} {count}", listed(key, other, data.names)));
        counted
            .text(&results(stats))
            .number(stats.blocked_ns)
            .number(stats.blocked_max_ns)
            .time(stats.first_ns)
            .time(stats.last_ns)
            .text(new.map_or("", New::name))
            .shown(&joined(hosts.iter().map(|host| named(*host, data.names))))
            .shown(&joined(others))
            .write(writer)?;
    }
    Ok(())
}

/// Joins a list into a cell.
fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("; ")
}

/// `loaded 11; failed 1`
fn results(stats: &super::aggregates::Stats) -> String {
    joined(stats.statuses().map(|(status, count)| format!("{} {count}", status.name())))
}

/// Writes a record for each module that arrived and for each request that loaded none.
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
            b"time,host,boot_id,request,kind,name,result,program,pid,comm,user,uid,login,loginuid,unit,container,blocked_ns,first_seen,incomplete\r\n",
        )
    }

    fn observation(&mut self, record: &ChainRecord<'_>, observation: &Observation, names: &Interner) -> io::Result<()> {
        let (kind, name) = subject_fields(&observation.key, names);
        let process = process(record.chain);
        let request = match record.chain.key {
            ChainKey::Request(id) => id.to_string(),
            ChainKey::Loader(_) => String::new(),
        };
        let named = |id| field(id, names);
        Record::default()
            .time(observation.time_ns)
            .text(record.stream.host())
            .text(record.stream.boot_id())
            .text(&request)
            .text(kind)
            .name(&name)
            .text(observation.status.name())
            .name(&program_field(&observation.key, names))
            .optional_number(process.map(|process| process.pid))
            .optional_name(process.map(|process| &process.comm))
            .optional_name(named(observation.key.requester.user).as_ref())
            .optional_number(process.map(|process| process.uid))
            .optional_name(named(observation.key.requester.login).as_ref())
            .optional_number(login_number(&observation.key, process))
            .optional_name(named(observation.key.requester.unit).as_ref())
            .optional_name(named(observation.key.requester.container).as_ref())
            .optional_number(observation.blocked_ns)
            .text(if record.is_first { "yes" } else { "" })
            .text(if record.chain.incomplete.is_empty() { "" } else { "yes" })
            .write(&mut self.writer)
    }
}

/// The audit login uid of the requester; none if the requester is another process than the one that was seen.
fn login_number(key: &GroupKey, process: Option<&Process>) -> Option<u32> {
    process.filter(|_| key.requester.login != NameId::NONE).and_then(|process| process.loginuid)
}

/// The process that made the request or loaded the module.
pub(super) fn process(chain: &Chain) -> Option<&Process> {
    let asked = chain.request.as_ref().map(|request| &request.process);
    asked
        .or_else(|| chain.modules.first().map(|module| &module.load.process))
        .or_else(|| chain.attempts.first().map(|attempt| &attempt.process))
}

impl ReportSink for Records {
    fn chain(&mut self, record: &ChainRecord<'_>, names: &Interner) -> io::Result<()> {
        self.begin()?;
        record.observations.iter().try_for_each(|observation| self.observation(record, observation, names))
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
            .optional_name(login(process).map(|login| Text::from(login.as_ref())).as_ref())
            .optional_number(process.loginuid)
            .text(process.unit.as_deref().unwrap_or_default())
            .text(process.container.as_deref().unwrap_or_default())
            .text("")
            .text("")
            .text("")
            .write(&mut self.writer)
    }

    fn finish(&mut self, _: &ReportData<'_>) -> io::Result<()> {
        self.begin()?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Record, cell};

    /// Parses a record like a spreadsheet: a quote is special only if the cell begins with one.
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

    /// Common names are unchanged, and no name is a formula.
    #[test]
    fn formulas_are_prefixed() {
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

    /// Bytes that are not UTF-8 are escaped, and different names stay different.
    #[test]
    fn non_utf8_names_stay_distinct() {
        let name = |bytes: &[u8]| Record::default().name(&crate::event::Text::from(bytes)).0;
        assert_eq!(name(b"a\xff"), "a\\xff");
        assert_ne!(name(b"a\xff"), name(b"a\xfe"));
    }

    proptest! {
        /// Any names stay in their cells on one line, and no cell begins like a formula.
        #[test]
        fn any_names_stay_in_their_cells(texts in proptest::collection::vec("[=+\\-@\\t\\r\\n\",; 'a\u{ff1d}\\\\]{0,6}", 1..5)) {
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
                // Only a `'` may have been inserted.
                prop_assert_eq!(cell.replace('\'', ""), own.replace('\'', ""));
            }
        }
    }
}
