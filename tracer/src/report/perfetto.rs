//! Trace events as JSON, for ui.perfetto.dev and chrome://tracing: a track for each requester, a slice for each
//! request, in it the inits of the modules that came, in them what those asked for.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    csv::process,
    engine::{Sink, Told, Whole},
    facts::nanoseconds,
    names::Names,
    stream::Stream,
    words::{self, timestamp},
};
use crate::{
    chain::{Chain, ChainKey, Module},
    event::{Body, Event, Status, Text},
    output,
};

/// Times count from the midnight (UTC) before the first: JSON numbers hold nanoseconds for a hundred days only.
const DAY_NS: i64 = 86_400_000_000_000;

/// The track of what belongs to the machine.
const MACHINE_TRACK: u64 = 0;

/// Writes trace events as chains end.
pub struct Perfetto {
    writer: Box<dyn Write>,
    has_begun: bool,
    base_ns: Option<i64>,
    /// Machines that have a name already, by the number of their stream.
    named: Vec<bool>,
    /// Tracks of a requester on a stream: slices of one track must not overlap but by holding each other.
    tracks: HashMap<(usize, String), Vec<Track>>,
    next_track: u64,
}

/// A track.
#[derive(Clone, Copy, Debug)]
struct Track {
    id: u64,
    /// When its last slice ends.
    end_ns: i64,
}

/// A piece of time, nanoseconds since 1970.
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

/// Where slices go.
#[derive(Clone, Copy, Debug)]
struct Lane<'a> {
    stream_number: usize,
    requester: &'a str,
    track: u64,
}

impl Perfetto {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write>) -> Self {
        Self {
            writer,
            has_begun: false,
            base_ns: None,
            named: Vec::new(),
            tracks: HashMap::new(),
            next_track: MACHINE_TRACK + 1,
        }
    }

    /// Writes one trace event.
    fn put(&mut self, event: &Value) -> io::Result<()> {
        let lead: &[u8] = if self.has_begun { b",\n" } else { b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n" };
        self.has_begun = true;
        self.writer.write_all(lead)?;
        serde_json::to_writer(&mut self.writer, event)?;
        Ok(())
    }

    /// Microseconds since the base.
    fn ts(&mut self, ns: i64) -> f64 {
        let base_ns = *self.base_ns.get_or_insert(ns - ns.rem_euclid(DAY_NS));
        micros(ns - base_ns)
    }

    fn machine(&mut self, stream: &Stream, number: usize) -> io::Result<u64> {
        let pid = u64::try_from(number).unwrap_or(u64::MAX).saturating_add(1);
        if self.named.get(number) != Some(&true) {
            self.named.resize(self.named.len().max(number + 1), false);
            if let Some(named) = self.named.get_mut(number) {
                *named = true;
            }
            let host = output::escape_str(if stream.host().is_empty() { &stream.source } else { stream.host() });
            let name = format!("{host}, boot {}", output::escape_str(stream.boot_id()));
            self.put(&json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}))?;
            self.track_name(pid, MACHINE_TRACK, "machine")?;
        }
        Ok(pid)
    }

    fn track_name(&mut self, pid: u64, tid: u64, name: &str) -> io::Result<()> {
        self.put(&json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}))
    }

    /// A track of a requester on which a slice has room.
    fn track(&mut self, stream_number: usize, pid: u64, requester: &str, span: Span) -> io::Result<u64> {
        let next = self.next_track;
        let tracks = self.tracks.entry((stream_number, requester.to_owned())).or_default();
        if let Some(free) = tracks.iter_mut().find(|track| track.end_ns <= span.begin_ns) {
            free.end_ns = span.end_ns;
            return Ok(free.id);
        }
        tracks.push(Track { id: next, end_ns: span.end_ns });
        self.next_track += 1;
        self.track_name(pid, next, requester)?;
        Ok(next)
    }

    fn slice(&mut self, pid: u64, tid: u64, span: Span, category: &str, name: &str, args: &Value) -> io::Result<()> {
        let ts = self.ts(span.begin_ns);
        let dur = micros(span.end_ns - span.begin_ns);
        self.put(&json!({
            "ph": "X", "pid": pid, "tid": tid, "ts": ts, "dur": dur, "cat": category, "name": name, "args": args,
        }))
    }

    /// A request or loader with all that it brought, on a track that has room for it.
    fn link(&mut self, chain: &Chain, pid: u64, lane: Lane<'_>) -> io::Result<()> {
        let span = span(chain);
        let status = chain.result.as_ref().map_or(Status::Unknown, |result| result.status);
        let (name, category) = match &chain.request {
            Some(request) => (output::escape(&request.name), "request"),
            None => (format!("loads by itself ({})", status.name()), "load"),
        };
        self.slice(pid, lane.track, span, category, &name, &args(chain, status))?;
        // What does not fit between the one before and the end goes on a track of its own.
        let mut free = span;
        let mut parts: Vec<(Span, Part<'_>)> = Vec::new();
        parts.extend(chain.modules.iter().map(|module| (init_span(chain, module), Part::Init(module))));
        for nested in &chain.nested {
            let within = chain.modules.iter().any(|module| init_span(chain, module).holds(self::span(nested)));
            if !within {
                parts.push((self::span(nested), Part::Nested(nested)));
            }
        }
        parts.sort_by_key(|(span, _)| (span.begin_ns, std::cmp::Reverse(span.end_ns)));
        for (part_span, part) in parts {
            let fits = free.holds(part_span);
            let lane = if fits {
                free.begin_ns = part_span.end_ns;
                lane
            } else {
                Lane { track: self.track(lane.stream_number, pid, lane.requester, part_span)?, ..lane }
            };
            match part {
                Part::Init(module) => self.init(chain, module, part_span, pid, lane)?,
                Part::Nested(nested) => self.link(nested, pid, lane)?,
            }
        }
        Ok(())
    }

    /// A module's init, and in it what it asked for.
    fn init(&mut self, chain: &Chain, module: &Module, span: Span, pid: u64, lane: Lane<'_>) -> io::Result<()> {
        let load = &module.load;
        let args = json!({
            "file": load.file.as_ref().map(output::escape),
            "reason": load.reason,
            "ret": module.init.as_ref().map(|init| init.ret),
            "loader": output::escape(&load.process.comm),
            "loader_pid": load.process.pid,
        });
        self.slice(pid, lane.track, span, "init", &output::escape(&load.module), &args)?;
        let mut free = span;
        let inside = chain.nested.iter().filter(|nested| span.holds(self::span(nested)));
        let first_inside = |nested: &Chain| {
            chain
                .modules
                .iter()
                .find(|other| init_span(chain, other).holds(self::span(nested)))
                .is_some_and(|other| std::ptr::eq(other, module))
        };
        for nested in inside.filter(|nested| first_inside(nested)) {
            let nested_span = self::span(nested);
            let fits = free.holds(nested_span);
            let lane = if fits {
                free.begin_ns = nested_span.end_ns;
                lane
            } else {
                Lane { track: self.track(lane.stream_number, pid, lane.requester, nested_span)?, ..lane }
            };
            self.link(nested, pid, lane)?;
        }
        Ok(())
    }
}

/// What stands in a slice.
enum Part<'a> {
    Init(&'a Module),
    Nested(&'a Chain),
}

/// Nanoseconds as microseconds: exact within a hundred days.
#[expect(clippy::cast_precision_loss, reason = "times count from the day of the first event")]
fn micros(ns: i64) -> f64 {
    ns as f64 / 1000.0
}

fn args(chain: &Chain, status: Status) -> Value {
    #[derive(Serialize)]
    struct Args<'a> {
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
        unit: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<&'a str>,
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
        unit: process.and_then(|process| process.unit.as_deref()),
        container: process.and_then(|process| process.container.as_deref()),
        why: chain.request.as_ref().and_then(|request| request.explanation.as_deref()).map(output::escape_str),
        blocked_ns: chain.request.as_ref().and(chain.result.as_ref()).and_then(|result| result.duration_ns),
        time: chain.time.to_string(),
        incomplete: chain.incomplete.iter().map(|note| output::escape_str(note)).collect(),
    };
    serde_json::to_value(args).unwrap_or(Value::Null)
}

/// When a moment of a chain was, by its boot clock.
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

/// From its beginning to its end, or to the end of what outlasted it.
fn span(chain: &Chain) -> Span {
    let begin_ns = nanoseconds(chain.time);
    let blocked_ns = chain.result.as_ref().and_then(|result| result.duration_ns).unwrap_or(0);
    let own = lasting(begin_ns, blocked_ns);
    let inits = chain.modules.iter().map(|module| init_span(chain, module).end_ns);
    let nested = chain.nested.iter().map(|nested| span(nested).end_ns);
    Span { begin_ns, end_ns: inits.chain(nested).fold(own.end_ns, i64::max) }
}

impl Sink for Perfetto {
    fn chain(&mut self, told: &Told<'_>, names: &Names) -> io::Result<()> {
        let pid = self.machine(told.stream, told.stream_number)?;
        let requester =
            told.facts.first().map_or_else(|| "(unseen)".to_owned(), |fact| words::program(&fact.key, names));
        let track = self.track(told.stream_number, pid, &requester, span(told.chain))?;
        let lane = Lane { stream_number: told.stream_number, requester: &requester, track };
        self.link(told.chain, pid, lane)
    }

    fn event(&mut self, event: &Event, stream: &Stream, number: usize) -> io::Result<()> {
        let (name, args) = match &event.body {
            Body::Unload(unload) if !unload.init_failed => {
                let by = output::escape(&unload.process.comm);
                (format!("unload {}", output::escape(&unload.module)), json!({"by": by, "pid": unload.process.pid}))
            }
            Body::Attempt(failed) => {
                let by = output::escape(&failed.process.comm);
                let module =
                    failed.module.as_ref().map_or_else(String::new, |module| format!(" {}", output::escape(module)));
                let name = format!("unload{module} failed: {}", output::escape_str(&failed.errno));
                (name, json!({"by": by, "pid": failed.process.pid}))
            }
            Body::Loss(loss) => {
                let name = format!("LOST {} events: {}", loss.count, output::escape_str(&loss.cause));
                (name, json!({"stage": loss.stage}))
            }
            _ => return Ok(()),
        };
        let pid = self.machine(stream, number)?;
        let ts = self.ts(nanoseconds(event.time));
        self.put(&json!({
            "ph": "i", "s": "p", "pid": pid, "tid": MACHINE_TRACK, "ts": ts, "cat": "machine", "name": name, "args": args,
        }))
    }

    fn finish(&mut self, whole: &Whole<'_>) -> io::Result<()> {
        let missing: Vec<String> = whole
            .streams
            .iter()
            .flat_map(|stream| stream.issues().map(move |issue| (stream, issue)))
            .map(|(stream, issue)| format!("{}: {issue}", output::escape_str(&stream.source)))
            .collect();
        let lead = if self.has_begun { "\n]" } else { "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[]" };
        let zero = self.base_ns.map(|base_ns| timestamp(base_ns).to_string());
        let other = json!({"tool": concat!("kmodtrace ", env!("CARGO_PKG_VERSION")), "zero": zero, "missing": missing});
        writeln!(self.writer, "{lead},\"otherData\":{other}}}")?;
        self.writer.flush()
    }
}
