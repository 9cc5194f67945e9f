//! Tree view: one block of lines per chain, with requester, request, helper, modules and result.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write},
};

use super::{
    Style,
    cell::{cell, columns, left},
    page::{Meaning, Page, Phrase},
    words::{
        ancestors, attempt, comm_pid, device, doubt, duration, errno, meaning, reason, stage, time_of_day,
        unknown_origin, walk_cut, who, zone_line,
    },
};
use crate::text::{alias, argument, count, escape_str, module as module_name, name};
use crate::{
    chain::{Cause, Chain, ChainKey, Item, Module},
    event::{Ancestor, Attempt, Behalf, Body, Event, Loss, Origin, Outcome, Process, Request, Text, Unload},
    stream::{Consumer, StreamInfo},
};

#[cfg(test)]
mod tests;

/// Writes chains as blocks of lines.
pub struct Tree {
    writer: Box<dyn Write>,
    style: Style,
    first: bool,
}

impl Tree {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write>, style: Style) -> Self {
        Self { writer, style, first: true }
    }
}

impl Consumer for Tree {
    fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
        let Some(block) = block(item, self.style) else { return Ok(()) };
        if !self.first {
            self.writer.write_all(b"\n")?;
        } else if self.style.names_zone {
            let time = match item {
                Item::Chain(chain) => chain.time,
                Item::Event(event) => event.time,
            };
            self.writer.write_all(zone_line(time, self.style.utc).as_bytes())?;
        }
        self.first = false;
        self.writer.write_all(block.as_bytes())?;
        self.writer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The block of an item; `None` for items that are not shown.
pub(crate) fn block(item: &Item, style: Style) -> Option<String> {
    let mut page = Page::new(style);
    match item {
        Item::Chain(chain) => root(&mut page, chain, style),
        Item::Event(event) => match &event.body {
            // Modules whose init failed are part of their chain.
            Body::Unload(done) if !done.init_failed => unload(&mut page, event, done, style),
            Body::Attempt(failed) => failed_unload(&mut page, event, failed, style),
            Body::Loss(lost) => loss(&mut page, event, lost, style),
            _ => return None,
        },
    }
    Some(page.into_text())
}

/// The first line: time and cause.
fn head(page: &mut Page, event_time: jiff::Timestamp, style: Style, who: impl Into<String>) {
    let time = time_of_day(event_time, style.utc);
    page.head(&Phrase::plain(format!("{time} ")).and(Meaning::Head, who));
}

fn root(page: &mut Page, chain: &Chain, style: Style) {
    head(page, chain.time, style, Cause::of(chain).head());
    let load = chain.modules.first().map(|module| &module.load);
    let attempt = chain.attempts.first();
    match (&chain.request, load, attempt) {
        (Some(request), ..) => {
            people(page, &request.process, &request.ancestors, request.ancestors_truncated);
            if let Some(behalf) = request.behalf.as_ref().filter(|behalf| !behalf.is_recent()) {
                page.line("", &Phrase::plain(creator(behalf).trim_start()));
            }
            page.line("asked", &asked(request));
            if let Some(explanation) = &request.explanation {
                page.line("", &Phrase::plain(escape_str(explanation)));
            }
            if let Some(parent) = request.parent_request {
                let doubt = request.parent_attribution.as_ref().map(doubt).unwrap_or_default();
                page.line("part of", &Phrase::plain(format!("request {parent}, shown separately{doubt}")));
            }
        }
        (None, Some(load), _) => {
            people(page, &load.process, &load.ancestors, load.ancestors_truncated);
            page.line("asked", &loader(load.origin, &Cause::of(chain)));
        }
        (None, None, Some(attempt)) => {
            people(page, &attempt.process, &attempt.ancestors, false);
            page.line("asked", &loader(attempt.origin, &Cause::of(chain)));
        }
        (None, None, None) => {
            let what = match chain.key {
                ChainKey::Request(id) => format!("request {id}"),
                ChainKey::Loader(process) => format!("process {}", process.pid),
            };
            page.line("who", &Phrase::new(Meaning::Doubt, format!("not seen: {what}")));
        }
    }
    body(page, chain, style);
}

fn people(page: &mut Page, process: &Process, parents: &[Ancestor], truncated: bool) {
    page.line("who", &Phrase::plain(who(process)));
    if !parents.is_empty() {
        page.line("from", &Phrase::plain(ancestors(process, parents, truncated)));
    }
}

fn asked(request: &Request) -> Phrase {
    let mut words = format!("the kernel for {}", alias(&request.name));
    if request.process.io_worker {
        words.push_str(" by io_uring");
    } else if let Some(syscall) = &request.syscall {
        words.push_str(&format!(" in {}()", escape_str(syscall)));
        if let Some(abi) = &request.syscall_abi {
            words.push_str(&format!(" of the 32-bit ABI {}", escape_str(abi)));
        }
    }
    if let Some(module) = &request.in_init {
        words.push_str(&format!(" in the init of {}", module_name(module)));
    } else if let Some(frame) = request.stack.first() {
        words.push_str(&format!(", from {}", escape_str(&frame.to_string())));
    }
    words.push_str(&doubt(&request.attribution));
    Phrase::plain(words)
}

fn loader(origin: Origin, cause: &Cause<'_>) -> Phrase {
    match (origin, cause) {
        (Origin::Udev, _) => Phrase::plain("no request: udev loads it for a device"),
        (Origin::Explicit, _) => Phrase::plain("no request: explicit load by this process"),
        (_, Cause::Undetermined { process, .. }) => Phrase::new(Meaning::Doubt, unknown_origin(process)),
        (Origin::Request | Origin::Unknown, _) => {
            Phrase::new(Meaning::Doubt, "a helper of the kernel whose request was not seen: unknown cause")
        }
    }
}

/// The creator of a kernel thread: an old thread does not act on its behalf.
fn creator(behalf: &Behalf) -> String {
    let who = comm_pid(&behalf.comm, behalf.pid);
    match behalf.age_ns.filter(|_| !behalf.is_recent()) {
        Some(age_ns) => format!(" created by {who} {} before", duration(age_ns)),
        None => format!(" on behalf of {who}{}", doubt(&behalf.attribution)),
    }
}

/// A chain nested in another one.
fn nested(page: &mut Page, chain: &Chain, style: Style) {
    let Some(request) = &chain.request else {
        page.head(&Phrase::new(Meaning::Head, Cause::of(chain).head()));
        return body(page, chain, style);
    };
    let process = &request.process;
    let mut words = format!("{} asked for {}", comm_pid(&process.comm, process.pid), alias(&request.name));
    if let Some(module) = &request.in_init {
        words.push_str(&format!(" in the init of {}", module_name(module)));
    }
    if let Some(behalf) = &request.behalf {
        words.push_str(&creator(behalf));
    } else if let Some(attribution) = &request.parent_attribution {
        words.push_str(&doubt(attribution));
    }
    page.head(&Phrase::new(Meaning::Head, words));
    if let Some(explanation) = &request.explanation {
        page.line("why", &Phrase::plain(escape_str(explanation)));
    }
    body(page, chain, style);
}

/// Helper, modules, nested chains and result of a chain.
fn body(page: &mut Page, chain: &Chain, style: Style) {
    if let Some(request) = chain.request.as_ref().filter(|_| style.stacks) {
        for (label, stack) in [("stack", &request.stack), ("user", &request.user_stack)] {
            for (index, frame) in stack.iter().enumerate() {
                page.line(if index == 0 { label } else { "" }, &Phrase::plain(escape_str(&frame.to_string())));
            }
        }
    }
    if let Some(helper) = &chain.helper {
        let mut arguments: Vec<String> = helper.argv.iter().map(argument).collect();
        if arguments.is_empty() {
            arguments.push(argument(&helper.path));
        }
        let doubt = doubt(&helper.attribution);
        page.line("helper", &Phrase::plain(format!("{} (pid {}){doubt}", arguments.join(" "), helper.pid)));
    }
    let homes = Homes::new(chain);
    modules(page, chain, &homes, style);
    for effect in chain.modules.iter().filter_map(|module| module.init.as_ref()?.effect.as_deref()) {
        page.line("effect", &Phrase::new(Meaning::Bad, escape_str(effect)));
    }
    branches(page, "in turn", homes.of(None), style);
    let failed = if chain.attempts.is_empty() { HashSet::new() } else { failed_inits(chain) };
    let is_shown =
        |attempt: &&Attempt| attempt.module.as_ref().is_some_and(|name| failed.contains(&(name, attempt.ret)));
    for attempt_made in chain.attempts.iter().filter(|attempt| !is_shown(attempt)) {
        page.line("failed", &Phrase::new(Meaning::Bad, attempt(attempt_made)));
    }
    let result = chain.result.as_ref();
    page.line("result", &result.map_or_else(|| Phrase::new(Meaning::Doubt, "not seen"), |end| outcome(end, chain)));
    for note in &chain.incomplete {
        page.line("note", &Phrase::new(Meaning::Doubt, format!("incomplete: {}", escape_str(note))));
    }
}

fn modules(page: &mut Page, chain: &Chain, homes: &Homes<'_>, style: Style) {
    let name = |module: &Module| cell(&module_name(&module.load.module)).into_owned();
    let names: Vec<String> = chain.modules.iter().map(name).collect();
    let width = names.iter().map(|name| columns(name)).max().unwrap_or(0);
    let mut last_label = "";
    let mut last_device = None;
    for (index, (module, shown)) in chain.modules.iter().zip(&names).enumerate() {
        if module.load.device.as_ref() != last_device
            && let Some(new) = &module.load.device
        {
            page.line("device", &Phrase::plain(device(new)));
            last_label = "";
        }
        last_device = module.load.device.as_ref();
        let failed = module.init.as_ref().is_some_and(|init| init.ret < 0);
        let label = if failed { "failed" } else { "loaded" };
        let name = format!("{}  ", left(shown, width));
        page.line(if label == last_label { "" } else { label }, &module_words(module, &name));
        last_label = label;
        if branches(page, "", homes.of(Some(index)), style) {
            last_label = "";
        }
    }
}

fn module_words(module: &Module, name: &str) -> Phrase {
    let mut phrase = Phrase::plain(name);
    phrase = match &module.init {
        Some(init) if init.ret < 0 => {
            phrase.and(Meaning::Bad, format!("init failed: {} ({})", errno(init.ret), init.ret))
        }
        Some(init) => phrase.and_plain(format!("init {:>8}", duration(init.duration_ns))),
        None => phrase.and(Meaning::Doubt, "init not seen"),
    };
    let load = &module.load;
    let mut rest = String::new();
    if let Some(why) = load.reason {
        rest.push_str(&format!("  {}", reason(why)));
    }
    if let Some(depth) = load.helper_depth.filter(|depth| *depth > 0) {
        let process = &load.process;
        rest.push_str(&format!("  by {}, {depth} below the helper", comm_pid(&process.comm, process.pid)));
    }
    if !load.taints.is_empty() {
        rest.push_str(&format!("  taints {}", escape_str(&load.taints)));
    }
    rest.push_str(&doubt(&load.attribution));
    phrase.and_plain(rest)
}

/// Draws the chains nested under a line. True if there are any.
fn branches(page: &mut Page, label: &str, here: &[&Chain], style: Style) -> bool {
    for (index, inner) in here.iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        page.branch(label, index + 1 == here.len(), |page| nested(page, inner, style));
    }
    !here.is_empty()
}

/// Nested chains by the module whose init requested them: the last one of that name that was loaded before.
struct Homes<'a>(HashMap<Option<usize>, Vec<&'a Chain>>);

impl<'a> Homes<'a> {
    fn new(chain: &'a Chain) -> Self {
        let mut arrivals: HashMap<&Text, Vec<(u64, usize)>> = HashMap::new();
        for (index, module) in chain.modules.iter().enumerate().filter(|_| !chain.nested.is_empty()) {
            arrivals.entry(&module.load.module).or_default().push((module.boot_ns, index));
        }
        for of_name in arrivals.values_mut() {
            of_name.sort_unstable();
            // Maps each load to the last one in chain order that was loaded by then.
            let mut last = 0;
            for (_, index) in of_name {
                last = last.max(*index);
                *index = last;
            }
        }
        let mut homes: HashMap<Option<usize>, Vec<&Chain>> = HashMap::new();
        for nested in &chain.nested {
            let of_name = nested.request.as_ref().and_then(|request| arrivals.get(request.in_init.as_ref()?));
            let home = of_name.and_then(|of_name| {
                let arrived = of_name.partition_point(|(boot_ns, _)| *boot_ns <= nested.boot_ns);
                of_name.get(arrived.checked_sub(1)?).map(|(_, index)| *index)
            });
            homes.entry(home).or_default().push(nested);
        }
        Self(homes)
    }

    /// The chains requested by the init of a module, given by its index, or by no init.
    fn of(&self, module: Option<usize>) -> &[&'a Chain] {
        self.0.get(&module).map_or(&[], Vec::as_slice)
    }
}

/// Failed inits, which are shown in the lines of their modules.
fn failed_inits(chain: &Chain) -> HashSet<(&Text, i32)> {
    let failed = |module: &'_ Module| module.init.as_ref().map(|init| init.ret).filter(|ret| *ret < 0);
    chain.modules.iter().filter_map(|module| Some((&module.load.module, failed(module)?))).collect()
}

fn outcome(result: &Outcome, chain: &Chain) -> Phrase {
    let mut rest = String::new();
    if let Some(detail) = &result.detail {
        rest.push_str(&format!(": {}", escape_str(detail)));
    } else if let Some(errno) = &result.errno {
        rest.push_str(&format!(": {}", escape_str(errno)));
    }
    rest.push_str(&doubt(&result.attribution));
    if let (Some(ns), ChainKey::Request(_)) = (result.duration_ns, chain.key) {
        let requester = chain.request.as_ref().map(|request| name(&request.process.comm));
        let requester = requester.as_deref().unwrap_or("the requester");
        rest.push_str(&format!("; {requester} was blocked for {}", duration(ns)));
    }
    Phrase::new(meaning(result.status), result.status.name()).and_plain(rest)
}

fn unload(page: &mut Page, event: &Event, unload: &Unload, style: Style) {
    head(page, event.time, style, Cause::of_process(&unload.process, &unload.ancestors).head());
    people(page, &unload.process, &unload.ancestors, false);
    page.line("unloaded", &Phrase::plain(module_name(&unload.module)));
}

fn failed_unload(page: &mut Page, event: &Event, failed: &Attempt, style: Style) {
    head(page, event.time, style, Cause::of_attempt(failed).head());
    people(page, &failed.process, &failed.ancestors, false);
    page.line("failed", &Phrase::new(Meaning::Bad, attempt(failed)));
}

fn loss(page: &mut Page, event: &Event, loss: &Loss, style: Style) {
    let time = time_of_day(event.time, style.utc);
    let words = if loss.is_walk_cut() {
        walk_cut(loss.count)
    } else {
        let lost = count(loss.count, "event", "events");
        format!("LOST {lost}: {} ({})", escape_str(&loss.cause), stage(loss.stage))
    };
    page.head(&Phrase::plain(format!("{time} ")).and(Meaning::Bad, words));
}
