//! Trace Event JSON for ui.perfetto.dev and chrome://tracing: a track for each requester and a slice for each request,
//! which contains the inits of its modules and their nested requests.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    io::{self, Write},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    aggregates::GroupKey,
    csv::process,
    format,
    interner::{Interner, NameId},
    observe::nanoseconds,
    query::{ChainRecord, ReportData, ReportSink},
    stream::Stream,
};
use crate::{
    chain::{Chain, ChainKey, Module},
    event::{Body, Event, Status, Text},
    output,
};

#[cfg(test)]
mod tests;

/// The origin of timestamps. Earlier times are clamped to it.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The track of host-wide events.
const MACHINE_TRACK: u64 = 0;

/// A requester of a stream: the kind and name of its program; `None` if it was not seen.
type Requester = (usize, Option<(u8, NameId)>);

/// Writes trace events as chains end.
pub struct Perfetto {
    writer: Box<dyn Write>,
    has_begun: bool,
    /// Streams whose host name was written.
    named: Vec<bool>,
    tracks: Tracks,
}

/// Tracks of requesters. Slices of one track must be nested or disjoint.
#[derive(Debug, Default)]
struct Tracks {
    /// By requester: end of the last slice and number of each track, earliest end first.
    of: HashMap<Requester, BinaryHeap<Reverse<(i64, u64)>>>,
    next: u64,
}

impl Tracks {
    /// A track that is free for a slice, and whether it is new.
    fn take(&mut self, requester: Requester, span: Span) -> (u64, bool) {
        let tracks = self.of.entry(requester).or_default();
        let free = tracks.peek().filter(|Reverse((end_ns, _))| *end_ns <= span.begin_ns).is_some();
        let number = match tracks.pop() {
            Some(Reverse((_, number))) if free => number,
            taken => {
                tracks.extend(taken);
                self.next += 1;
                MACHINE_TRACK + self.next
            }
        };
        tracks.push(Reverse((span.end_ns, number)));
        (number, !free)
    }
}

/// A time span, nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    begin_ns: i64,
    end_ns: i64,
}

impl Span {
    fn holds(self, other: Self) -> bool {
        self.begin_ns <= other.begin_ns && other.end_ns <= self.end_ns
    }
}

/// A chain with its span and its nested chains. Each span is computed once.
struct Placed<'a> {
    chain: &'a Chain,
    span: Span,
    nested: Vec<Self>,
}

impl<'a> Placed<'a> {
    fn new(chain: &'a Chain) -> Self {
        let begin_ns = nanoseconds(chain.time);
        let blocked_ns = chain.result.as_ref().and_then(|result| result.duration_ns).unwrap_or(0);
        let nested: Vec<Self> = chain.nested.iter().map(Self::new).collect();
        // Extends to the end of nested chains that outlast it.
        let inits = chain.modules.iter().map(|module| init_span(chain, module).end_ns);
        let ends = inits.chain(nested.iter().map(|nested| nested.span.end_ns));
        let end_ns = ends.fold(lasting(begin_ns, blocked_ns).end_ns, i64::max);
        Self { chain, span: Span { begin_ns, end_ns }, nested }
    }

    /// The contents of its slice in chronological order, outer slices first.
    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts: Vec<Part<'_>> = Vec::with_capacity(self.chain.modules.len() + self.nested.len());
        parts.extend(self.chain.modules.iter().map(|module| Part::Init(module, init_span(self.chain, module))));
        parts.extend(self.nested.iter().map(Part::Nested));
        parts.sort_by_key(|part| (part.span().begin_ns, Reverse(part.span().end_ns), matches!(part, Part::Nested(_))));
        parts
    }
}

/// An item inside of a slice.
#[derive(Clone, Copy)]
enum Part<'a> {
    Init(&'a Module, Span),
    Nested(&'a Placed<'a>),
}

impl Part<'_> {
    const fn span(&self) -> Span {
        match self {
            Self::Init(_, span) => *span,
            Self::Nested(placed) => placed.span,
        }
    }
}

/// A slice that can contain others, and its remaining free span.
#[derive(Clone, Copy, Debug)]
struct Room {
    track: u64,
    free: Span,
}

/// The requester whose slices are written.
#[derive(Clone, Copy)]
struct Lane<'a> {
    pid: u64,
    requester: Requester,
    name: &'a str,
}

impl Perfetto {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write>) -> Self {
        Self { writer, has_begun: false, named: Vec::new(), tracks: Tracks::default() }
    }

    /// Writes one trace event.
    fn put(&mut self, event: &Value) -> io::Result<()> {
        let lead: &[u8] = if self.has_begun { b",\n" } else { b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n" };
        self.has_begun = true;
        self.writer.write_all(lead)?;
        serde_json::to_writer(&mut self.writer, event)?;
        Ok(())
    }

    fn machine(&mut self, stream: &Stream, number: usize) -> io::Result<u64> {
        let pid = u64::try_from(number).unwrap_or(u64::MAX).saturating_add(1);
        if self.named.get(number) != Some(&true) {
            self.named.resize(self.named.len().max(number + 1), false);
            if let Some(named) = self.named.get_mut(number) {
                *named = true;
            }
            let host = output::escape_str(if stream.host().is_empty() { &stream.info.source } else { stream.host() });
            let name = format!("{host}, boot {}", output::escape_str(stream.boot_id()));
            self.put(&json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}))?;
            self.track_name(pid, MACHINE_TRACK, "machine")?;
        }
        Ok(pid)
    }

    fn track_name(&mut self, pid: u64, tid: u64, name: &str) -> io::Result<()> {
        self.put(&json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}))
    }

    /// A track of a requester that is free for a slice.
    fn track(&mut self, lane: Lane<'_>, span: Span) -> io::Result<u64> {
        let (track, is_new) = self.tracks.take(lane.requester, span);
        if is_new {
            self.track_name(lane.pid, track, lane.name)?;
        }
        Ok(track)
    }

    /// The track of a nested slice; a separate track if it overlaps a sibling.
    fn place(&mut self, lane: Lane<'_>, room: &mut Room, span: Span) -> io::Result<u64> {
        if room.free.holds(span) {
            room.free.begin_ns = span.end_ns;
            return Ok(room.track);
        }
        self.track(lane, span)
    }

    fn slice(&mut self, pid: u64, tid: u64, span: Span, category: &str, name: &str, args: &Value) -> io::Result<()> {
        let (ts, dur) = (micros(span.begin_ns), micros(shown(span.end_ns) - shown(span.begin_ns)));
        self.put(&json!({
            "ph": "X", "pid": pid, "tid": tid, "ts": ts, "dur": dur, "cat": category, "name": name, "args": args,
        }))
    }

    /// Writes a chain and its contents on a free track.
    fn link(&mut self, placed: &Placed<'_>, lane: Lane<'_>, track: u64) -> io::Result<()> {
        let Placed { chain, span, .. } = placed;
        let status = chain.result.as_ref().map_or(Status::Unknown, |result| result.status);
        let (name, category) = match &chain.request {
            Some(request) => (output::alias(&request.name), "request"),
            None => (format!("explicit load ({})", status.name()), "load"),
        };
        self.slice(lane.pid, track, *span, category, &name, &args(chain, status))?;
        let mut room = Room { track, free: *span };
        // Running inits by their ends. A nested request is placed in the init that ends first.
        let mut running: BTreeMap<(i64, usize), Room> = BTreeMap::new();
        for (number, part) in placed.parts().into_iter().enumerate() {
            let span = part.span();
            match part {
                Part::Init(module, _) => {
                    let track = self.place(lane, &mut room, span)?;
                    self.init(module, span, lane.pid, track)?;
                    running.insert((span.end_ns, number), Room { track, free: span });
                }
                Part::Nested(nested) => {
                    while running.first_key_value().is_some_and(|((end_ns, _), _)| *end_ns < span.begin_ns) {
                        running.pop_first();
                    }
                    let own = running.range_mut((span.end_ns, 0)..).next();
                    let room = own.map_or(&mut room, |(_, room)| room);
                    let track = self.place(lane, room, span)?;
                    self.link(nested, lane, track)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the init of a module.
    fn init(&mut self, module: &Module, span: Span, pid: u64, track: u64) -> io::Result<()> {
        let load = &module.load;
        let args = json!({
            "file": load.file.as_ref().map(output::escape),
            "reason": load.reason,
            "ret": module.init.as_ref().map(|init| init.ret),
            "loader": output::escape(&load.process.comm),
            "loader_pid": load.process.pid,
        });
        self.slice(pid, track, span, "init", &output::module(&load.module), &args)
    }
}

/// Clamps a time to the origin of timestamps.
const fn shown(ns: i64) -> i64 {
    if ns < 0 { 0 } else { ns }
}

/// Nanoseconds as microseconds with three decimals. This is text, since a JSON number becomes a float that cannot hold
/// nanoseconds, and Perfetto drops a slice that then seems to exceed its parent. Perfetto parses text exactly.
fn micros(ns: i64) -> String {
    let ns = shown(ns);
    format!("{}.{:03}", ns / 1000, ns % 1000)
}

fn args(chain: &Chain, status: Status) -> Value {
    #[derive(Serialize)]
    struct Args {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        comm: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        command: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        blocked_ns: Option<u64>,
        time: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        incomplete: Vec<String>,
    }
    let process = process(chain);
    let command = |argv: &[Text]| argv.iter().map(output::argument).collect::<Vec<_>>().join(" ");
    let args = Args {
        status: status.name(),
        request: match chain.key {
            ChainKey::Request(id) => Some(id.to_string()),
            ChainKey::Loader(_) => None,
        },
        pid: process.map(|process| process.pid),
        comm: process.map(|process| output::escape(&process.comm)),
        command: process.map(|process| command(&process.argv)).filter(|command| !command.is_empty()),
        user: process.and_then(|process| process.user.as_ref()).map(output::escape),
        unit: process.and_then(|process| process.unit.as_deref()).map(output::escape_str),
        container: process.and_then(|process| process.container.as_deref()).map(output::escape_str),
        why: chain.request.as_ref().and_then(|request| request.explanation.as_deref()).map(output::escape_str),
        blocked_ns: chain.request.as_ref().and(chain.result.as_ref()).and_then(|result| result.duration_ns),
        time: chain.time.to_string(),
        incomplete: chain.incomplete.iter().map(|note| output::escape_str(note)).collect(),
    };
    serde_json::to_value(args).unwrap_or(Value::Null)
}

/// Converts a boot-clock time of a chain to wall-clock time.
fn at(chain: &Chain, boot_ns: u64) -> i64 {
    let after_ns = i128::from(boot_ns) - i128::from(chain.boot_ns);
    nanoseconds(chain.time).saturating_add(i64::try_from(after_ns).unwrap_or(0))
}

fn lasting(begin_ns: i64, duration_ns: u64) -> Span {
    Span { begin_ns, end_ns: begin_ns.saturating_add(i64::try_from(duration_ns).unwrap_or(0)) }
}

fn init_span(chain: &Chain, module: &Module) -> Span {
    lasting(at(chain, module.boot_ns), module.init.as_ref().map_or(0, |init| init.duration_ns))
}

impl ReportSink for Perfetto {
    fn chain(&mut self, record: &ChainRecord<'_>, names: &Interner) -> io::Result<()> {
        let pid = self.machine(record.stream, record.stream_number)?;
        let key: Option<&GroupKey> = record.observations.first().map(|observation| &observation.key);
        let name = key.map_or_else(|| "(unseen)".to_owned(), |key| format::program(key, names));
        let program = key.map(|key| (key.requester.program_kind, key.requester.program));
        let lane = Lane { pid, requester: (record.stream_number, program), name: &name };
        let placed = Placed::new(record.chain);
        let track = self.track(lane, placed.span)?;
        self.link(&placed, lane, track)
    }

    fn event(&mut self, event: &Event, stream: &Stream, number: usize) -> io::Result<()> {
        let (name, args) = match &event.body {
            Body::Unload(unload) if !unload.init_failed => {
                let by = output::escape(&unload.process.comm);
                (format!("unload {}", output::module(&unload.module)), json!({"by": by, "pid": unload.process.pid}))
            }
            Body::Attempt(failed) => {
                let by = output::escape(&failed.process.comm);
                let module =
                    failed.module.as_ref().map_or_else(String::new, |module| format!(" {}", output::module(module)));
                let name = format!("unload{module} failed: {}", output::escape_str(&failed.errno));
                (name, json!({"by": by, "pid": failed.process.pid}))
            }
            Body::Loss(loss) if loss.is_walk_cut() => {
                let name = format!("{} ancestries were not followed to their top", loss.count);
                (name, json!({"stage": loss.stage}))
            }
            Body::Loss(loss) => {
                let name = format!("LOST {} events: {}", loss.count, output::escape_str(&loss.cause));
                (name, json!({"stage": loss.stage}))
            }
            _ => return Ok(()),
        };
        let pid = self.machine(stream, number)?;
        let ts = micros(nanoseconds(event.time));
        self.put(&json!({
            "ph": "i", "s": "p", "pid": pid, "tid": MACHINE_TRACK, "ts": ts, "cat": "machine", "name": name, "args": args,
        }))
    }

    fn finish(&mut self, data: &ReportData<'_>) -> io::Result<()> {
        let missing: Vec<String> = data
            .streams
            .iter()
            .flat_map(|stream| stream.issues().map(move |issue| (stream, issue)))
            .map(|(stream, issue)| format!("{}: {issue}", output::escape_str(&stream.info.source)))
            .collect();
        let lead = if self.has_begun { "\n]" } else { "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[]" };
        let other =
            json!({"tool": concat!("kmodtrace ", env!("CARGO_PKG_VERSION")), "zero": EPOCH, "missing": missing});
        writeln!(self.writer, "{lead},\"otherData\":{other}}}")?;
        self.writer.flush()
    }
}
