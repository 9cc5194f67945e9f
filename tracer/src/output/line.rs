//! One line per chain: time, outcome, time blocked, requester, alias and modules.

mod columns;

use std::{
    collections::HashSet,
    io::{self, Write},
};

use self::columns::{Columns, Row};
use super::{
    Style,
    fold::{Fold, Repeats},
    page::Meaning,
    words::{comm_pid, duration, errno, meaning, short, stage, walk_cut, zone_line},
};
use crate::text::{alias, count, escape_str, module as module_name, name};
use crate::{
    chain::{Cause, Chain, ChainKey, Item, Module},
    event::{Attempt, Body, Certainty, Process, Status},
    stream::{Consumer, StreamInfo},
};

#[cfg(test)]
mod tests;

/// Requests that block longer than this are shown before they end.
const LONG_NS: u64 = 1_000_000_000;

/// Writes one line per chain, followed by nested chains, indented. Repeats are collapsed.
pub struct Lines {
    writer: Box<dyn Write>,
    style: Style,
    fold: Fold,
    /// Requests that were shown as running.
    shown_running: HashSet<ChainKey>,
    header_due: bool,
}

impl Lines {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write>, style: Style) -> Self {
        Self { writer, style, fold: Fold::default(), shown_running: HashSet::new(), header_due: true }
    }

    fn put(&mut self, rows: &[Row]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let columns = Columns::new(self.style);
        let mut text = String::new();
        if std::mem::take(&mut self.header_due) {
            if let Some(first) = rows.first().filter(|_| self.style.names_zone) {
                text.push_str(&zone_line(first.time, self.style.utc));
            }
            text.push_str(&columns.header());
        }
        for row in rows {
            text.push_str(&columns.line(row));
        }
        self.writer.write_all(text.as_bytes())?;
        self.writer.flush()
    }

    fn put_repeats(&mut self, repeats: &[Repeats]) -> io::Result<()> {
        let rows: Vec<Row> = repeats.iter().map(repeated).collect();
        self.put(&rows)
    }
}

impl Consumer for Lines {
    fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item {
            self.shown_running.remove(&chain.key);
            let due = self.fold.due(chain.boot_ns);
            self.put_repeats(&due)?;
            if !self.fold.is_new(chain) {
                return Ok(());
            }
        }
        self.put(&rows(item))
    }

    fn tick(&mut self, running: &mut dyn Iterator<Item = &Chain>, boot_ns: u64) -> io::Result<()> {
        let due = self.fold.due(boot_ns);
        self.put_repeats(&due)?;
        let mut rows = Vec::new();
        for chain in running {
            let for_ns = boot_ns.saturating_sub(chain.boot_ns);
            if for_ns >= LONG_NS && self.shown_running.insert(chain.key) {
                let mut row = row(chain, 0);
                (row.status, row.meaning) = ("running".to_owned(), Meaning::Doubt);
                row.blocked = format!(">{}", duration(for_ns));
                rows.push(row);
            }
        }
        self.put(&rows)
    }

    fn finish(&mut self) -> io::Result<()> {
        let rest = self.fold.rest();
        self.put_repeats(&rest)?;
        self.writer.flush()
    }
}

/// The rows of an item; none for items that are not shown.
fn rows(item: &Item) -> Vec<Row> {
    let mut rows = Vec::new();
    match item {
        Item::Chain(root) => chain(&mut rows, root, 0),
        Item::Event(event) => match &event.body {
            Body::Unload(unload) if !unload.init_failed => {
                let cause = Cause::of_process(&unload.process, &unload.ancestors);
                rows.push(Row {
                    status: "unloaded".to_owned(),
                    meaning: Meaning::Plain,
                    who: cause.name(),
                    user: user(Some(&unload.process)),
                    what: module_name(&unload.module),
                    ..Row::at(event.time)
                });
            }
            Body::Attempt(failed) => rows.push(Row {
                status: Status::Failed.name().to_owned(),
                meaning: meaning(Status::Failed),
                who: Cause::of_attempt(failed).name(),
                user: user(Some(&failed.process)),
                what: failed_unload(failed),
                ..Row::at(event.time)
            }),
            Body::Loss(loss) if loss.is_walk_cut() => rows.push(Row {
                status: "CUT".to_owned(),
                meaning: Meaning::Bad,
                free: true,
                what: walk_cut(loss.count),
                ..Row::at(event.time)
            }),
            Body::Loss(loss) => rows.push(Row {
                status: "LOST".to_owned(),
                meaning: Meaning::Bad,
                free: true,
                what: format!(
                    "{}: {} ({}); chains in progress may be incomplete",
                    count(loss.count, "event", "events"),
                    escape_str(&loss.cause),
                    stage(loss.stage)
                ),
                ..Row::at(event.time)
            }),
            _ => {}
        },
    }
    rows
}

fn failed_unload(failed: &Attempt) -> String {
    let module = failed.module.as_ref().map_or_else(String::new, |module| format!(" {}", module_name(module)));
    format!("unload{module}: {}", errno(failed.ret))
}

fn chain(rows: &mut Vec<Row>, chain: &Chain, depth: usize) {
    rows.push(row(chain, depth));
    for effect in chain.modules.iter().filter_map(|module| module.init.as_ref()?.effect.as_deref()) {
        rows.push(Row { note: true, meaning: Meaning::Bad, what: escape_str(effect), ..Row::at(chain.time) });
    }
    for nested in &chain.nested {
        self::chain(rows, nested, depth + 1);
    }
}

fn row(chain: &Chain, depth: usize) -> Row {
    let requester = chain.request.as_ref().map(|request| &request.process);
    let process = requester
        .or_else(|| chain.modules.first().map(|module| &module.load.process))
        .or_else(|| chain.attempts.first().map(|attempt| &attempt.process));
    let cause = Cause::of(chain);
    // The requester of a nested chain is a helper or kernel thread; the cause is shown above it.
    let who = match (depth, requester) {
        (1.., Some(process)) => format!("{}+ {}", "  ".repeat(depth - 1), comm_pid(&process.comm, process.pid)),
        _ => cause.name(),
    };
    let (what, words) = match (&chain.request, cause) {
        (Some(request), _) => {
            (alias(&request.name), request.explanation.as_deref().map(|words| escape_str(short(words))))
        }
        (None, Cause::Ran { tool, .. }) => (format!("ran {}", comm_pid(&tool.comm, tool.pid)), None),
        (None, Cause::Undetermined { by: Some(_), process }) => {
            (format!("ran {}, origin unknown", comm_pid(&process.comm, process.pid)), None)
        }
        (None, Cause::Undetermined { by: None, .. }) => ("origin unknown".to_owned(), None),
        (None, Cause::Process(_)) => ("explicit load".to_owned(), None),
        (None, _) => (String::new(), None),
    };
    let result = chain.result.as_ref();
    let status = result.map_or(Status::Unknown, |result| result.status);
    let mut marks = Vec::new();
    if chain.request.as_ref().is_some_and(|request| {
        let behalf = request.behalf.as_ref().filter(|behalf| behalf.is_recent());
        behalf.is_some_and(|behalf| behalf.attribution.attribution != Certainty::Exact)
    }) {
        marks.push("[inferred]".to_owned());
    }
    if !chain.incomplete.is_empty() {
        marks.push("[incomplete]".to_owned());
    }
    Row {
        status: status.name().to_owned(),
        meaning: meaning(status),
        blocked: requester.and(result).and_then(|result| result.duration_ns).map_or_else(String::new, duration),
        who,
        user: user(process),
        what,
        words,
        marks,
        modules: chain.modules.iter().map(module).collect(),
        ..Row::at(chain.time)
    }
}

/// The row with the count of repeats.
fn repeated(repeats: &Repeats) -> Row {
    let mut row = row(&repeats.last, 0);
    row.time = repeats.time;
    row.blocked = format!("x{}", repeats.count);
    if let (true, Some(request)) = (repeats.several_processes, &repeats.last.request) {
        row.who = format!("{}(...)", name(&request.process.comm));
    }
    let per_second = repeats.count.saturating_mul(1_000_000_000).checked_div(repeats.span_ns).unwrap_or(repeats.count);
    row.words = Some(format!("{} more in {}, {per_second}/s", repeats.count, duration(repeats.span_ns)));
    row
}

fn user(process: Option<&Process>) -> String {
    match process {
        Some(Process { user: Some(user), .. }) => name(user),
        Some(process) => format!("uid {}", process.uid),
        None => String::new(),
    }
}

fn module(module: &Module) -> String {
    let name = module_name(&module.load.module);
    match &module.init {
        Some(init) if init.ret < 0 => format!("{name}!{}", errno(init.ret)),
        _ => name,
    }
}
