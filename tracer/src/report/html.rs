//! A self-contained HTML page: works offline, loads no resource and runs only its own script.
//!
//! Captured names are data: JSON in a non-script block, without `<`, that the page's script reads and shows as text.
//! The page's content security policy allows no other script and no fetches. The data is limited in bytes, stored as it
//! will be written, and written piece by piece, so a page needs no more memory than that.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use sha2::{Digest, Sha256};

use super::{
    csv::process,
    format,
    group_by::{Shown, Sort, rows},
    interner::Interner,
    observe::{Unloading, nanoseconds},
    query::{ChainRecord, ReportData, ReportSink},
    stream::Stream,
    timeline::Timeline,
};
use crate::{
    chain::{Chain, Item},
    event::{Event, Status, Text},
    output::{self, Style, cell::cut},
};

#[cfg(test)]
mod tests;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Requests and loads that a page lists individually: the latest ones, preceded by the first of each kind.
const CHAINS_LIMIT: usize = 5_000;

/// Byte limits of the latest entries, the first entries and the table rows: 32 MiB in total.
const LATEST_BYTES: usize = 20 << 20;
const FIRST_BYTES: usize = 4 << 20;
const ROWS_BYTES: usize = 8 << 20;

/// Maximum number of table rows in a page.
const ROWS_LIMIT: usize = 20_000;

/// Columns of a text; a longer one is truncated at its end and marked.
const TEXT_COLUMNS: usize = 1024;

/// Maximum size of the details of an entry, bytes.
const DETAILS_BYTES: usize = 8 << 10;

/// Maximum number of modules of an entry and of issues of a stream.
const LIST_LIMIT: usize = 100;

/// Entries as JSON, oldest first, bounded by number and bytes.
struct Kept {
    entries: VecDeque<String>,
    bytes: usize,
    bytes_limit: usize,
}

impl Kept {
    const fn new(bytes_limit: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_limit }
    }

    fn has_room(&self, more_bytes: usize) -> bool {
        self.entries.len() < CHAINS_LIMIT && self.bytes + more_bytes <= self.bytes_limit
    }

    fn push(&mut self, entry: String) {
        self.bytes += entry.len();
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<String> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.len();
        Some(entry)
    }
}

/// Collects the data of the page.
pub struct Html {
    writer: Box<dyn Write>,
    latest: Kept,
    first: Kept,
    chains: u64,
    unloads: u64,
    timeline: Timeline,
}

#[derive(Serialize)]
struct Entry<'a> {
    time: i64,
    stream: usize,
    who: String,
    user: String,
    place: String,
    asked: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_ns: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modules: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_first: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
    /// Its full description, as the tree format prints it.
    details: String,
}

#[derive(Serialize)]
struct RowEntry {
    name: String,
    program: String,
    user: String,
    place: String,
    host: String,
    times: u64,
    results: BTreeMap<&'static str, u64>,
    blocked_ns: u64,
    first: i64,
    last: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fresh: bool,
}

#[derive(Serialize)]
struct StreamEntry {
    name: String,
    host: String,
    source: String,
    missing: Vec<String>,
}

impl Html {
    /// Writes to `writer` after all input was read.
    #[must_use]
    pub fn new(writer: Box<dyn Write>) -> Self {
        Self::with_limits(writer, LATEST_BYTES, FIRST_BYTES)
    }

    fn with_limits(writer: Box<dyn Write>, latest_bytes: usize, first_bytes: usize) -> Self {
        Self {
            writer,
            latest: Kept::new(latest_bytes),
            first: Kept::new(first_bytes),
            chains: 0,
            unloads: 0,
            timeline: Timeline::default(),
        }
    }

    fn keep(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let entry = inert(entry)?;
        while !self.latest.has_room(entry.len()) {
            // An evicted entry that is the first of its kind moves to the first entries while these have room.
            match self.latest.pop() {
                Some(oldest) if oldest.contains(IS_FIRST) && self.first.has_room(oldest.len()) => {
                    self.first.push(oldest);
                }
                Some(_) => {}
                None => break,
            }
        }
        self.latest.push(entry);
        Ok(())
    }

    /// Writes the data. The note comes last, since it reports the omitted entries.
    fn data(&self, data: &ReportData<'_>, writer: &mut dyn Write) -> io::Result<()> {
        let about = format!(
            "kmodtrace {}: {} and {} from {}. Times are in UTC.",
            env!("CARGO_PKG_VERSION"),
            output::count(self.chains, "request or load", "requests and loads"),
            output::count(self.unloads, "unload", "unloads"),
            output::count(data.streams.len() as u64, "stream", "streams")
        );
        write!(writer, "{{\"about\":{},\"timeline\":{},\"streams\":[", inert(&about)?, inert(&self.timeline)?)?;
        for (number, stream) in data.streams.iter().enumerate() {
            let entry = inert(&stream_entry(stream))?;
            write!(writer, "{}{entry}", separator(number))?;
        }
        writer.write_all(b"],\"rows\":[")?;
        let rows = rows(data, Sort::Last, Shown::ALL);
        let (mut rows_shown, mut bytes) = (0, 0);
        for row in rows.iter().take(ROWS_LIMIT) {
            let entry = inert(&row_entry(row, data))?;
            bytes += entry.len();
            if bytes > ROWS_BYTES {
                break;
            }
            write!(writer, "{}{entry}", separator(rows_shown))?;
            rows_shown += 1;
        }
        writer.write_all(b"],\"chains\":[")?;
        for (number, entry) in self.first.entries.iter().chain(&self.latest.entries).enumerate() {
            write!(writer, "{}{entry}", separator(number))?;
        }
        let note = self.note(rows_shown, rows.len());
        write!(writer, "],\"all\":{},\"note\":{}}}", note.is_empty(), inert(&note)?)
    }

    /// A note on omitted entries and rows.
    fn note(&self, rows_shown: usize, rows_in_all: usize) -> String {
        let mut notes = Vec::new();
        let shown = self.first.entries.len() + self.latest.entries.len();
        let in_all = self.chains + self.unloads;
        if in_all > u64::try_from(shown).unwrap_or(u64::MAX) {
            notes.push(format!(
                "{shown} of {in_all} are shown: the latest, and the first of each kind. The table above counts all of them."
            ));
        }
        if rows_in_all > rows_shown {
            notes.push(format!("The table shows the latest {rows_shown} of {rows_in_all} rows."));
        }
        notes.join(" ")
    }
}

const fn separator(number: usize) -> &'static str {
    if number == 0 { "" } else { "," }
}

/// Marks an entry that is the first of its kind in its JSON. Strings cannot contain it, since their quotes are escaped.
const IS_FIRST: &str = "\"is_first\":true";

/// Writes the page and replaces its placeholders. Inserted parts are not searched for placeholders.
fn fill(
    page: &str,
    writer: &mut dyn Write,
    part: &mut dyn FnMut(&str, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    for piece in page.split("{{") {
        match piece.split_once("}}") {
            Some((name, rest)) => {
                part(name, writer)?;
                writer.write_all(rest.as_bytes())?;
            }
            None => writer.write_all(piece.as_bytes())?,
        }
    }
    Ok(())
}

/// Serializes a value as JSON that an HTML parser treats as plain text.
fn inert(value: &impl Serialize) -> io::Result<String> {
    let mut json = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut json, Inert))?;
    String::from_utf8(json).map_err(io::Error::other)
}

/// Writes markup characters as `\uXXXX`. Outside of strings JSON has none.
struct Inert;

impl Formatter for Inert {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let is_markup = |character: char| matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(is_markup) {
            let (plain, from) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = from.chars();
            if let Some(character) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// The hash source of a script or style in the content security policy.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// Truncates a text of an entry.
fn text(text: &str) -> String {
    cut(text, TEXT_COLUMNS).into_owned()
}

/// The full description of a chain or event, as the tree format prints it.
fn details(item: &Item) -> String {
    let mut details = output::story(item, Style { utc: true, ..Style::default() }).unwrap_or_default();
    let lines = details.lines().count();
    if details.len() > DETAILS_BYTES {
        details.truncate((0..=DETAILS_BYTES).rev().find(|at| details.is_char_boundary(*at)).unwrap_or(0));
        let more = lines - details.lines().count();
        details.push_str(&format!(
            "...\n(and {} more: report --tree has them)\n",
            output::count(more as u64, "line", "lines")
        ));
    }
    details
}

fn row_entry(row: &super::group_by::Row, data: &ReportData<'_>) -> RowEntry {
    let (key, stats, names) = (&row.key, &row.stats, data.names);
    RowEntry {
        name: format::subject(key, names),
        program: format::program(key, names),
        user: format::named(key.requester.user, names),
        place: format::place(key, names),
        host: format::named(key.host, names),
        times: stats.count,
        results: stats.statuses().map(|(status, count)| (status.name(), count)).collect(),
        blocked_ns: stats.blocked_ns,
        first: millis(stats.first_ns),
        last: millis(stats.last_ns),
        fresh: row.new.is_some(),
    }
}

fn stream_entry(stream: &Stream) -> StreamEntry {
    let name = output::escape_str(&stream.info.source);
    let events = output::count(stream.events, "event", "events");
    let source = match &stream.info.identity {
        Some(identity) => format!(
            "{}, kernel {} ({}), boot {}, {events}, {name}",
            output::escape_str(&identity.host),
            output::escape_str(&stream.info.kernel),
            output::escape_str(&stream.info.arch),
            output::escape_str(&identity.boot_id),
        ),
        None => format!("{events}, {name}"),
    };
    let missing = stream.issues().take(LIST_LIMIT).map(|issue| text(&issue)).collect();
    let host = if stream.host().is_empty() { "-".to_owned() } else { text(&output::escape_str(stream.host())) };
    StreamEntry { name: text(&name), host, source: text(&source), missing }
}

fn millis(ns: i64) -> i64 {
    ns.div_euclid(1_000_000)
}

/// Modules of a chain and its nested chains in order of arrival; beyond the limit only their number.
fn modules(chain: &Chain) -> Vec<String> {
    let (mut named, mut more) = (Vec::new(), 0);
    add_modules(chain, &mut named, &mut more);
    if more > 0 {
        named.push(format!("+{more}"));
    }
    named
}

fn add_modules(chain: &Chain, named: &mut Vec<String>, more: &mut u64) {
    for module in &chain.modules {
        if named.len() >= LIST_LIMIT {
            *more += 1;
            continue;
        }
        let failed = module.init.as_ref().is_some_and(|init| init.ret < 0);
        named.push(format!("{}{}", text(&output::module(&module.load.module)), if failed { "!" } else { "" }));
    }
    chain.nested.iter().for_each(|nested| add_modules(nested, named, more));
}

impl ReportSink for Html {
    fn chain(&mut self, record: &ChainRecord<'_>, names: &Interner) -> io::Result<()> {
        let chain = record.chain;
        let status = chain.result.as_ref().map_or(Status::Unknown, |result| result.status);
        self.timeline.add(nanoseconds(chain.time), status);
        self.chains += 1;
        let (process, key) = (process(chain), record.observations.first().map(|observation| &observation.key));
        let program = key.map_or_else(|| "(unseen)".to_owned(), |key| format::program(key, names));
        let who = process.map_or(program.clone(), |process| {
            format!("{program} {}({})", text(&output::name(&process.comm)), process.pid)
        });
        let explanation = chain.request.as_ref().and_then(|request| request.explanation.as_deref());
        self.keep(&Entry {
            time: millis(nanoseconds(chain.time)),
            stream: record.stream_number,
            who,
            user: key.map_or_else(|| "-".to_owned(), |key| format::named(key.requester.user, names)),
            place: key.map_or_else(|| "-".to_owned(), |key| format::place(key, names)),
            asked: chain.request.as_ref().map_or_else(|| "-".to_owned(), |request| text(&output::alias(&request.name))),
            why: explanation.map(|why| text(&output::escape_str(why))),
            result: status.name(),
            blocked_ns: chain.request.as_ref().and(chain.result.as_ref()).and_then(|result| result.duration_ns),
            modules: modules(chain),
            is_first: record.is_first,
            incomplete: chain.incomplete.iter().take(LIST_LIMIT).map(|note| text(&output::escape_str(note))).collect(),
            details: details(record.item),
        })
    }

    fn event(&mut self, event: &Event, _: &Stream, number: usize) -> io::Result<()> {
        let Some(Unloading { module, process, result }) = Unloading::of(event) else { return Ok(()) };
        self.unloads += 1;
        let user =
            process.user.as_ref().map_or_else(|| format!("uid {}", process.uid), |user: &Text| output::escape(user));
        let place = process.container.as_ref().or(process.unit.as_ref());
        self.keep(&Entry {
            time: millis(nanoseconds(event.time)),
            stream: number,
            who: text(&format!("{}({})", output::name(&process.comm), process.pid)),
            user: text(&user),
            place: place.map_or_else(|| "-".to_owned(), |place| text(&output::escape_str(place))),
            asked: "unload".to_owned(),
            why: None,
            result,
            blocked_ns: None,
            modules: module.into_iter().map(|module| text(&output::module(module))).collect(),
            is_first: false,
            incomplete: Vec::new(),
            details: details(&Item::Event(Box::new(event.clone()))),
        })
    }

    fn finish(&mut self, data: &ReportData<'_>) -> io::Result<()> {
        let mut writer = std::mem::replace(&mut self.writer, Box::new(io::sink()));
        fill(PAGE, &mut writer, &mut |name, writer| match name {
            "script_hash" => writer.write_all(hash(SCRIPT).as_bytes()),
            "style_hash" => writer.write_all(hash(STYLE).as_bytes()),
            "style" => writer.write_all(STYLE.as_bytes()),
            "script" => writer.write_all(SCRIPT.as_bytes()),
            "data" => self.data(data, writer),
            _ => Ok(()),
        })?;
        writer.flush()
    }
}
