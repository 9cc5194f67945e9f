//! JSON Lines: a chain with its nested chains, or a row of the table.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    aggregates::{GroupKey, Stats},
    format::{field, program_field, shared_fields, subject_fields, timestamp},
    group_by::{By, New, Shown, groups, rows},
    interner::Interner,
    query::{ChainRecord, ReportData, ReportSink},
    stream::Stream,
    table::View,
};
use crate::{
    chain::{Chain, ChainKey, Module},
    event::{Attempt, Event, Helper, Init, Load, Outcome, ProcessId, Request, Text},
    output,
};

/// An event that belongs to no chain.
#[derive(Serialize)]
struct EventJson<'a> {
    #[serde(flatten)]
    stream: StreamJson<'a>,
    #[serde(flatten)]
    event: &'a Event,
}

/// A chain, with the field names of the event contract.
#[derive(Serialize)]
struct ChainJson<'a> {
    /// Written once, at the root.
    #[serde(flatten)]
    root: Option<RootJson<'a>>,
    time: Timestamp,
    boot_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loader: Option<ProcessId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a Request>,
    #[serde(skip_serializing_if = "Option::is_none")]
    helper: Option<&'a Helper>,
    modules: Vec<ModuleJson<'a>>,
    #[serde(skip_serializing_if = "<[Attempt]>::is_empty")]
    attempts: &'a [Attempt],
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Outcome>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nested: Vec<ChainJson<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    incomplete: &'a [String],
}

/// The stream of a line.
#[derive(Serialize)]
struct StreamJson<'a> {
    host: &'a str,
    boot_id: &'a str,
}

impl<'a> StreamJson<'a> {
    fn new(stream: &'a Stream) -> Self {
        Self { host: stream.host(), boot_id: stream.boot_id() }
    }
}

#[derive(Serialize)]
struct RootJson<'a> {
    /// `chain`; other lines are events with their own types.
    r#type: &'static str,
    #[serde(flatten)]
    stream: StreamJson<'a>,
    first_seen: bool,
    /// The requester's program: never modprobe.
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    program_hex: Option<String>,
}

#[derive(Serialize)]
struct ModuleJson<'a> {
    #[serde(flatten)]
    load: &'a Load,
    boot_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<&'a Init>,
}

impl<'a> ChainJson<'a> {
    fn new(chain: &'a Chain, root: Option<RootJson<'a>>) -> Self {
        let (id, loader) = match chain.key {
            ChainKey::Request(id) => (Some(id.to_string()), None),
            ChainKey::Loader(process) => (None, Some(process)),
        };
        let module =
            |module: &'a Module| ModuleJson { load: &module.load, boot_ns: module.boot_ns, init: module.init.as_ref() };
        Self {
            root,
            time: chain.time,
            boot_ns: chain.boot_ns,
            id,
            loader,
            request: chain.request.as_ref(),
            helper: chain.helper.as_ref(),
            modules: chain.modules.iter().map(module).collect(),
            attempts: &chain.attempts,
            result: chain.result.as_ref(),
            nested: chain.nested.iter().map(|nested| Self::new(nested, None)).collect(),
            incomplete: &chain.incomplete,
        }
    }
}

/// Writes chains.
pub struct Chains {
    writer: Box<dyn Write>,
}

impl Chains {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write>) -> Self {
        Self { writer }
    }
}

impl ReportSink for Chains {
    fn chain(&mut self, record: &ChainRecord<'_>, names: &Interner) -> io::Result<()> {
        let program = record.observations.first().map(|observation| program_field(&observation.key, names));
        let root = RootJson {
            r#type: "chain",
            stream: StreamJson::new(record.stream),
            first_seen: record.is_first,
            program_hex: program.as_ref().and_then(Text::hex),
            program: program.as_ref().map(Text::field),
        };
        line(&mut self.writer, &ChainJson::new(record.chain, Some(root)))
    }

    fn event(&mut self, event: &Event, stream: &Stream, _: usize) -> io::Result<()> {
        line(&mut self.writer, &EventJson { stream: StreamJson::new(stream), event })
    }

    fn finish(&mut self, _: &ReportData<'_>) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes one value as one line in a single write, with terminal control characters escaped.
fn line(writer: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = output::json(value)?.into_bytes();
    line.push(b'\n');
    writer.write_all(&line)
}

/// A row of the table. As in events, a name that is not UTF-8 has a sibling with its bytes.
#[derive(Serialize)]
struct RowJson {
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    #[serde(flatten)]
    requester: Option<RequesterJson>,
    /// Number of loads of the module or requests for the alias; absent for other kinds of rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    requests: u64,
    loads: u64,
    results: std::collections::BTreeMap<&'static str, u64>,
    blocked_ns: u64,
    blocked_max_ns: u64,
    first: Timestamp,
    last: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<&'static str>,
    /// The hosts that a grouped row includes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    /// Modules of a requester, or requesters of a module; most frequent first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<OtherJson>,
}

#[derive(Serialize)]
struct RequesterJson {
    program: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    program_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_hex: Option<String>,
    /// The user who logged in; `none` if there is no login.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

#[derive(Serialize)]
struct OtherJson {
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    times: u64,
}

impl RowJson {
    fn new((kind, name): (&'static str, Text), stats: &Stats, by: By) -> Self {
        Self {
            kind,
            name_hex: name.hex(),
            name: name.field(),
            requester: None,
            times: (by == By::Module).then_some(stats.count),
            requests: stats.requests,
            loads: stats.loads,
            results: stats.statuses().map(|(status, count)| (status.name(), count)).collect(),
            blocked_ns: stats.blocked_ns,
            blocked_max_ns: stats.blocked_max_ns,
            first: timestamp(stats.first_ns),
            last: timestamp(stats.last_ns),
            new: None,
            hosts: Vec::new(),
            others: Vec::new(),
        }
    }
}

fn requester(key: &GroupKey, names: &Interner) -> RequesterJson {
    let program = program_field(key, names);
    let [user, login] = [key.requester.user, key.requester.login].map(|id| field(id, names));
    // Units, containers and hosts are valid UTF-8 in events already.
    let text = |id| field(id, names).as_ref().map(Text::field);
    RequesterJson {
        program_hex: program.hex(),
        program: program.field(),
        user_hex: user.as_ref().and_then(Text::hex),
        user: user.as_ref().map(Text::field),
        login_hex: login.as_ref().and_then(Text::hex),
        login: login.as_ref().map(Text::field),
        unit: text(key.requester.unit),
        container: text(key.requester.container),
        host: text(key.host),
    }
}

/// Writes the table, one row per line.
///
/// # Errors
/// When it cannot be written.
pub fn table(data: &ReportData<'_>, view: View, writer: &mut dyn Write) -> io::Result<()> {
    let names = data.names;
    let Some(by) = view.by else {
        for row in view.first(&rows(data, view.sort, Shown::ALL)) {
            let record = RowJson {
                requester: Some(requester(&row.key, names)),
                new: row.new.map(New::name),
                ..RowJson::new(subject_fields(&row.key, names), &row.stats, By::Module)
            };
            line(writer, &record)?;
        }
        return Ok(());
    };
    for group in view.first(&groups(data, by, view.sort)) {
        let other = if by == By::Module { By::Exe } else { By::Module };
        let others = group.others.iter().map(|(key, times)| {
            let (kind, name) = shared_fields(key, other, names);
            OtherJson { kind, name_hex: name.hex(), name: name.field(), times: *times }
        });
        let record = RowJson {
            others: others.collect(),
            hosts: group.hosts.iter().filter_map(|host| Some(field(*host, names)?.field())).collect(),
            new: group.new.map(New::name),
            ..RowJson::new(shared_fields(&group.key, by, names), &group.stats, by)
        };
        line(writer, &record)?;
    }
    Ok(())
}
