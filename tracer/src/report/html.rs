//! One page that holds everything: opens offline, loads nothing, runs one script of ours and none of anybody else's.
//!
//! What a capture says is data: JSON in a block that is no script, without `<`, read by the page's script and shown as
//! text. The page's policy lets no other script run, and nothing be fetched.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    csv::process,
    engine::{Sink, Told, Whole},
    facts::{Unloading, nanoseconds},
    names::Names,
    rows::{Shown, Sort, rows},
    stream::Stream,
    timeline::Timeline,
    words,
};
use crate::{
    chain::Chain,
    event::{Event, Status, Text},
    output,
};

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Requests and loads that a page shows one by one: the latest, and before them those that were the first of their
/// kind.
const CHAINS_LIMIT: usize = 5_000;

/// Rows of the table in a page.
const ROWS_LIMIT: usize = 20_000;

/// Collects what the page shows.
pub struct Html {
    writer: Box<dyn Write>,
    /// As JSON.
    latest: VecDeque<String>,
    first: Vec<String>,
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
    told: String,
    missing: Vec<String>,
}

#[derive(Serialize)]
struct Page<'a> {
    about: String,
    note: String,
    streams: Vec<StreamEntry>,
    timeline: &'a Timeline,
    rows: Vec<RowEntry>,
    chains: Vec<&'a serde_json::value::RawValue>,
}

impl Html {
    /// Writes to `writer`, when everything was read.
    #[must_use]
    pub fn new(writer: Box<dyn Write>) -> Self {
        Self {
            writer,
            latest: VecDeque::new(),
            first: Vec::new(),
            chains: 0,
            unloads: 0,
            timeline: Timeline::default(),
        }
    }

    fn keep(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.latest.push_back(serde_json::to_string(entry)?);
        if self.latest.len() <= CHAINS_LIMIT {
            return Ok(());
        }
        // A first one that makes room stays, as long as there is room among the first.
        if let Some(oldest) = self.latest.pop_front()
            && oldest.contains(IS_FIRST)
            && self.first.len() < CHAINS_LIMIT
        {
            self.first.push(oldest);
        }
        Ok(())
    }

    fn page(&self, whole: &Whole<'_>) -> io::Result<String> {
        let chains: Result<Vec<&serde_json::value::RawValue>, _> =
            self.first.iter().chain(&self.latest).map(|entry| serde_json::from_str(entry)).collect();
        let chains = chains?;
        let shown = chains.len();
        let mut rows: Vec<RowEntry> =
            rows(whole, Sort::Last, Shown::All).iter().map(|row| row_entry(row, whole)).collect();
        let rows_in_all = rows.len();
        rows.truncate(ROWS_LIMIT);
        let mut notes = Vec::new();
        let in_all = self.chains + self.unloads;
        if in_all > u64::try_from(shown).unwrap_or(u64::MAX) {
            notes.push(format!(
                "{shown} of {in_all} are shown: the latest, and the first of each kind. The table above counts all of them."
            ));
        }
        if rows_in_all > ROWS_LIMIT {
            notes.push(format!("The table shows the latest {ROWS_LIMIT} of {rows_in_all} rows."));
        }
        let data = serde_json::to_string(&Page {
            about: format!(
                "kmodtrace {}: {} and {} from {}.",
                env!("CARGO_PKG_VERSION"),
                output::count(self.chains, "request or load", "requests and loads"),
                output::count(self.unloads, "unload", "unloads"),
                output::count(whole.streams.len() as u64, "stream", "streams")
            ),
            note: notes.join(" "),
            streams: whole.streams.iter().map(|stream| stream_entry(stream, whole.plan.is_followed)).collect(),
            timeline: &self.timeline,
            rows,
            chains,
        })?;
        let parts = [
            ("script_hash", hash(SCRIPT)),
            ("style_hash", hash(STYLE)),
            ("style", STYLE.to_owned()),
            ("data", inert(&data)),
            ("script", SCRIPT.to_owned()),
        ];
        Ok(filled(PAGE, &parts))
    }
}

/// How a first one is told in its JSON; a string cannot hold it, since its quotes would be escaped there.
const IS_FIRST: &str = "\"is_first\":true";

/// The page with its parts. A part is never searched for the names of others.
fn filled(page: &str, parts: &[(&str, String)]) -> String {
    let mut out = String::new();
    for piece in page.split("{{") {
        match piece.split_once("}}") {
            Some((name, rest)) => {
                let part = parts.iter().find(|(own, _)| *own == name).map_or("", |(_, part)| part.as_str());
                out.push_str(part);
                out.push_str(rest);
            }
            None => out.push_str(piece),
        }
    }
    out
}

/// JSON that no parser of HTML takes for anything but text.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => out.push(other),
        }
    }
    out
}

/// The name of a script or style in the page's policy.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text.as_bytes())))
}

fn row_entry(row: &super::rows::Row, whole: &Whole<'_>) -> RowEntry {
    let (key, tally, names) = (&row.key, &row.tally, whole.names);
    RowEntry {
        name: words::what(key, names),
        program: words::program(key, names),
        user: words::named(key.who.user, names),
        place: words::place(key, names),
        host: words::named(key.host, names),
        times: tally.count,
        results: tally.statuses().map(|(status, count)| (status.name(), count)).collect(),
        blocked_ns: tally.blocked_ns,
        first: millis(tally.first_ns),
        last: millis(tally.last_ns),
        fresh: row.new.is_some(),
    }
}

fn stream_entry(stream: &Stream, is_followed: bool) -> StreamEntry {
    let name = output::escape_str(&stream.source);
    let more = if stream.sources > 1 { format!(" and {} more", stream.sources - 1) } else { String::new() };
    // As `verify` counts them.
    let events = output::count(stream.events.saturating_sub(stream.seals), "event", "events");
    let told = match &stream.about {
        Some(about) => format!(
            "{}, kernel {} ({}), boot {}, {events}, {name}{more}",
            output::escape_str(&about.host),
            output::escape_str(&about.kernel),
            output::escape_str(&about.arch),
            output::escape_str(&about.boot_id),
        ),
        None => format!("{events}, {name}{more}"),
    };
    let missing = stream.missing(is_followed).iter().map(|told| output::escape_str(told)).collect();
    let host = if stream.host().is_empty() { "-".to_owned() } else { output::escape_str(stream.host()) };
    StreamEntry { name, host, told, missing }
}

fn millis(ns: i64) -> i64 {
    ns.div_euclid(1_000_000)
}

/// Modules of a chain and of all that is nested in it, as they came.
fn modules(chain: &Chain, out: &mut Vec<String>) {
    for module in &chain.modules {
        let failed = module.init.as_ref().is_some_and(|init| init.ret < 0);
        out.push(format!("{}{}", output::name(&module.load.module), if failed { "!" } else { "" }));
    }
    chain.nested.iter().for_each(|nested| modules(nested, out));
}

impl Sink for Html {
    fn chain(&mut self, told: &Told<'_>, names: &Names) -> io::Result<()> {
        let chain = told.chain;
        let status = chain.result.as_ref().map_or(Status::Unknown, |result| result.status);
        self.timeline.add(nanoseconds(chain.time), status);
        self.chains += 1;
        let (process, key) = (process(chain), told.facts.first().map(|fact| &fact.key));
        let program = key.map_or_else(|| "(unseen)".to_owned(), |key| words::program(key, names));
        let who = process
            .map_or(program.clone(), |process| format!("{program} {}({})", output::name(&process.comm), process.pid));
        let mut all = Vec::new();
        modules(chain, &mut all);
        self.keep(&Entry {
            time: millis(nanoseconds(chain.time)),
            stream: told.stream_number,
            who,
            user: key.map_or_else(|| "-".to_owned(), |key| words::named(key.who.user, names)),
            place: key.map_or_else(|| "-".to_owned(), |key| words::place(key, names)),
            asked: chain.request.as_ref().map_or_else(|| "-".to_owned(), |request| output::quoted(&request.name)),
            why: chain.request.as_ref().and_then(|request| request.explanation.as_deref()).map(output::escape_str),
            result: status.name(),
            blocked_ns: chain.request.as_ref().and(chain.result.as_ref()).and_then(|result| result.duration_ns),
            modules: all,
            is_first: told.is_first,
            incomplete: chain.incomplete.iter().map(|note| output::escape_str(note)).collect(),
        })
    }

    fn event(&mut self, event: &Event, _: &Stream, number: usize) -> io::Result<()> {
        let Some(Unloading { module, process, result }) = Unloading::of(event) else { return Ok(()) };
        self.unloads += 1;
        self.keep(&Entry {
            time: millis(nanoseconds(event.time)),
            stream: number,
            who: format!("{}({})", output::name(&process.comm), process.pid),
            user: process
                .user
                .as_ref()
                .map_or_else(|| format!("uid {}", process.uid), |user: &Text| output::escape(user)),
            place: process
                .container
                .as_ref()
                .or(process.unit.as_ref())
                .map_or_else(|| "-".to_owned(), |place| output::escape_str(place)),
            asked: "unload".to_owned(),
            why: None,
            result,
            blocked_ns: None,
            modules: module.into_iter().map(output::name).collect(),
            is_first: false,
            incomplete: Vec::new(),
        })
    }

    fn finish(&mut self, whole: &Whole<'_>) -> io::Result<()> {
        let page = self.page(whole)?;
        self.writer.write_all(page.as_bytes())?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PAGE, SCRIPT, filled, hash, inert};

    /// Check that the page names no resource but itself, and that the script never makes markup of text.
    #[test]
    fn the_page_is_self_contained() {
        for forbidden in ["http://", "https://", "src=", "href=", "@import", "url("] {
            let allowed = SCRIPT.replace("http://www.w3.org/2000/svg", "");
            assert!(!PAGE.contains(forbidden) && !allowed.contains(forbidden), "{forbidden}");
        }
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("] {
            assert!(!SCRIPT.contains(sink), "{sink}");
        }
    }

    /// Check the hash against one made by another program, and that parts are put where their names are.
    #[test]
    fn parts_have_their_places_and_names() {
        assert_eq!(hash("abc"), "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        let parts = [("a", "{{b}}".to_owned()), ("b", "x".to_owned())];
        assert_eq!(filled("<{{a}}|{{b}}>", &parts), "<{{b}}|x>");
    }

    proptest! {
        /// Check that no text can end the block it stands in, and that it still is the same JSON.
        #[test]
        fn data_cannot_leave_its_block(text in "[<>/&!a-zA-Z\"\\\\\u{2028}-]{0,40}") {
            let json = serde_json::to_string(&text).unwrap();
            let shown = inert(&json);
            let is_inert = !shown.contains(['<', '>', '&', '\u{2028}']);
            prop_assert!(is_inert);
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
