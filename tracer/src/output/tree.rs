//! A chain as a block of lines: the culprit first, then how it came about, then what came of it.

use std::io::{self, Write};

use super::{
    Colour, Output,
    escape::{argument, escape},
    words::{ancestors, command, duration, is_kmod_tool, time_of_day, user},
};
use crate::{
    chain::{Chain, Item, Module},
    event::{
        Ancestor, Attempt, Attribution, Body, Certainty, Event, Origin, Outcome, Process, Reason, Request, Status,
        Unload,
    },
};

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub struct TreeOptions {
    /// Colour.
    pub colour: Colour,
    /// Show kernel stacks.
    pub stacks: bool,
    /// Times in UTC.
    pub utc: bool,
}

impl TreeOptions {
    /// Plain defaults.
    #[must_use]
    pub const fn plain() -> Self {
        Self { colour: Colour::None, stacks: false, utc: false }
    }
}

/// Writes chains as blocks of lines.
pub struct Tree {
    writer: Box<dyn Write>,
    options: TreeOptions,
    first: bool,
}

/// ANSI colours by meaning.
mod paint {
    pub(super) const GOOD: &str = "32";
    pub(super) const BAD: &str = "31";
    pub(super) const DOUBT: &str = "33";
    pub(super) const HEAD: &str = "1";
}

impl Tree {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write>, options: TreeOptions) -> Self {
        Self { writer, options, first: true }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        match self.options.colour {
            Colour::None => text.to_owned(),
            Colour::Ansi => format!("\x1b[{colour}m{text}\x1b[0m"),
        }
    }

    fn chain(&self, out: &mut String, chain: &Chain, depth: usize) {
        let mut block = Block { out, indent: "    ".repeat(depth) };
        let time = time_of_day(chain.time, self.options.utc);
        match (&chain.request, chain.modules.first(), chain.attempts.first()) {
            (Some(request), ..) => self.request(&mut block, &time, request, depth > 0),
            (None, Some(module), _) => {
                let load = &module.load;
                self.loader(&mut block, &time, &load.process, &load.ancestors, load.origin, load.ancestors_truncated);
            }
            (None, None, Some(attempt)) => {
                self.loader(&mut block, &time, &attempt.process, &attempt.ancestors, attempt.origin, false);
            }
            (None, None, None) => {
                block.head(&format!("{time} {}", self.paint(paint::HEAD, "a request whose beginning was not seen")));
            }
        }
        if let Some(helper) = &chain.helper {
            let arguments: Vec<String> = helper.argv.iter().map(argument).collect();
            block.line("helper", &format!("{} (pid {})", arguments.join(" "), helper.pid));
        }
        self.modules(&mut block, chain);
        self.nested(block.out, chain, depth, None);
        let mut block = Block { out, indent: "    ".repeat(depth) };
        for attempt in &chain.attempts {
            block.line("failed", &self.paint(paint::BAD, &attempt_words(attempt)));
        }
        match &chain.result {
            Some(result) => block.line("result", &self.result(result, chain)),
            None => block.line("result", &self.paint(paint::DOUBT, "not seen")),
        }
        for note in &chain.incomplete {
            block.line("note", &self.paint(paint::DOUBT, &format!("incomplete: {note}")));
        }
    }

    fn request(&self, block: &mut Block<'_>, time: &str, request: &Request, nested: bool) {
        let process = &request.process;
        block.head(&format!("{time} {}", self.paint(paint::HEAD, &culprit(process, &request.ancestors))));
        block.line("who", &who(process));
        if let Some(behalf) = &request.behalf {
            let words = format!("{}({})", escape(&behalf.comm), behalf.pid);
            block.line("for", &format!("{words}{}", doubt(&behalf.attribution)));
        }
        // A nested requester is modprobe: its parents are the kernel's.
        if !request.ancestors.is_empty() && !nested {
            block.line("from", &ancestors(&request.ancestors, request.ancestors_truncated));
        }
        let mut asked = format!("the kernel for \"{}\"", escape(&request.name));
        if let Some(syscall) = &request.syscall {
            asked.push_str(&format!(" in {syscall}()"));
        }
        if let Some(module) = &request.in_init {
            asked.push_str(&format!(" in the init of {}", escape(module)));
        } else if let Some(frame) = request.stack.first() {
            asked.push_str(&format!(", from {frame}"));
        }
        block.line("asked", &asked);
        if let Some(explanation) = &request.explanation {
            block.line("", explanation);
        }
        if self.options.stacks {
            for (index, frame) in request.stack.iter().enumerate() {
                block.line(if index == 0 { "stack" } else { "" }, &frame.to_string());
            }
            for (index, frame) in request.user_stack.iter().enumerate() {
                block.line(if index == 0 { "user" } else { "" }, &frame.to_string());
            }
        }
    }

    fn loader(
        &self,
        block: &mut Block<'_>,
        time: &str,
        process: &Process,
        parents: &[Ancestor],
        origin: Origin,
        truncated: bool,
    ) {
        block.head(&format!("{time} {}", self.paint(paint::HEAD, &culprit(process, parents))));
        block.line("who", &who(process));
        if !parents.is_empty() {
            block.line("from", &ancestors(parents, truncated));
        }
        let by = match origin {
            Origin::Udev => "no request: udev loads it for a device",
            Origin::Unknown => "a helper of the kernel whose request was not seen: the cause is unknown",
            Origin::Explicit | Origin::Request => "no request: this process loads modules by itself",
        };
        block.line("asked", by);
    }

    fn modules(&self, block: &mut Block<'_>, chain: &Chain) {
        let names: Vec<String> = chain.modules.iter().map(|module| escape(&module.load.module)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        for (index, (module, name)) in chain.modules.iter().zip(&names).enumerate() {
            let fill = " ".repeat(width - name.chars().count());
            let mut line = format!("{name}{fill}  {}", self.init(module));
            if let Some(reason) = module.load.reason {
                line.push_str(&format!("  {}", reason_words(reason)));
            }
            if let Some(depth) = module.load.helper_depth.filter(|depth| *depth > 0) {
                let loader = &module.load.process;
                line.push_str(&format!("  by {}({}), {depth} below the helper", escape(&loader.comm), loader.pid));
            }
            if !module.load.taints.is_empty() {
                line.push_str(&format!("  taints {}", module.load.taints));
            }
            line.push_str(&doubt(&module.load.attribution));
            block.line(if index == 0 { "loaded" } else { "" }, line.trim_end());
            self.nested(block.out, chain, block.indent.len() / 4, Some(module));
        }
    }

    /// Nested chains: those asked in the init of `module`, or those that no module here explains.
    fn nested(&self, out: &mut String, chain: &Chain, depth: usize, module: Option<&Module>) {
        for nested in &chain.nested {
            let within = nested.request.as_ref().and_then(|request| request.in_init.as_ref());
            let home = within.and_then(|name| chain.modules.iter().find(|module| module.load.module == *name));
            let here = match (module, home) {
                (Some(module), Some(home)) => std::ptr::eq(module, home),
                (None, None) => true,
                _ => false,
            };
            if here {
                self.chain(out, nested, depth + 1);
            }
        }
    }

    fn init(&self, module: &Module) -> String {
        match &module.init {
            Some(init) if init.ret < 0 => {
                let name = crate::kernel::errno::name(-init.ret).unwrap_or("error");
                self.paint(paint::BAD, &format!("init failed: {name} ({})", init.ret))
            }
            Some(init) => format!("init {:>8}", duration(init.duration_ns)),
            None => self.paint(paint::DOUBT, "init not seen"),
        }
    }

    fn result(&self, result: &Outcome, chain: &Chain) -> String {
        let colour = match result.status {
            Status::Loaded | Status::AlreadyLoaded => paint::GOOD,
            Status::NotWaited | Status::Unknown | Status::NotFound => paint::DOUBT,
            _ => paint::BAD,
        };
        let mut words = self.paint(colour, result.status.name());
        if let Some(detail) = &result.detail {
            words.push_str(&format!(": {}", escape(&detail.as_str().into())));
        } else if let Some(errno) = &result.errno {
            words.push_str(&format!(": {errno}"));
        }
        if let (Some(ns), Some(request)) = (result.duration_ns, &chain.request) {
            let name = escape(&request.process.comm);
            words.push_str(&format!("; {name} was blocked for {}", duration(ns)));
        }
        words.push_str(&doubt(&result.attribution));
        words
    }

    fn unload(&self, event: &Event, unload: &Unload) -> String {
        let mut out = String::new();
        let mut block = Block { out: &mut out, indent: String::new() };
        let time = time_of_day(event.time, self.options.utc);
        block.head(&format!("{time} {}", self.paint(paint::HEAD, &culprit(&unload.process, &unload.ancestors))));
        block.line("who", &who(&unload.process));
        if !unload.ancestors.is_empty() {
            block.line("from", &ancestors(&unload.ancestors, false));
        }
        block.line("unloaded", &escape(&unload.module));
        out
    }

    fn write(&mut self, block: &str) -> io::Result<()> {
        if !self.first {
            self.writer.write_all(b"\n")?;
        }
        self.first = false;
        self.writer.write_all(block.as_bytes())?;
        self.writer.flush()
    }
}

impl Output for Tree {
    fn event(&mut self, _: &Event) -> io::Result<()> {
        Ok(())
    }

    fn item(&mut self, item: &Item) -> io::Result<()> {
        match item {
            Item::Chain(chain) => {
                let mut out = String::new();
                self.chain(&mut out, chain, 0);
                self.write(&out)
            }
            Item::Event(event) => match &event.body {
                // One that failed its init is told by its chain.
                Body::Unload(unload) if !unload.init_failed => {
                    let block = self.unload(event, unload);
                    self.write(&block)
                }
                Body::Loss(loss) => {
                    let words = format!("LOST {} events: {}\n", loss.count, loss.cause);
                    let words = self.paint(paint::BAD, &words);
                    self.write(&words)
                }
                _ => Ok(()),
            },
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Lines under one indentation, with a column of labels.
struct Block<'a> {
    out: &'a mut String,
    indent: String,
}

impl Block<'_> {
    fn head(&mut self, text: &str) {
        self.out.push_str(&format!("{}{text}\n", self.indent));
    }

    fn line(&mut self, label: &str, text: &str) {
        self.out.push_str(&format!("{}  {label:<8} {text}\n", self.indent));
    }
}

/// What the first line says: who caused it. kmod's tools do what another wants: that one comes first.
fn culprit(process: &Process, parents: &[Ancestor]) -> String {
    if !is_kmod_tool(&process.comm, process.exe.as_ref()) {
        return command(process);
    }
    match parents.iter().find(|parent| !is_kmod_tool(&parent.comm, parent.exe.as_ref())) {
        Some(parent) if parent.kthread => command(process),
        Some(parent) => format!("{}({}) ran: {}", escape(&parent.comm), parent.pid, command(process)),
        None => command(process),
    }
}

fn who(process: &Process) -> String {
    let mut words = format!("pid {}", process.pid);
    if process.tid != process.pid {
        words.push_str(&format!(" (thread {})", process.tid));
    }
    words.push_str(&format!(", {}", user(process.user.as_ref(), process.uid)));
    if process.euid != process.uid {
        words.push_str(&format!(", effective uid {}", process.euid));
    }
    match process.loginuid {
        Some(loginuid) => words.push_str(&format!(", logged in as {}", user(process.login_user.as_ref(), loginuid))),
        None if process.kthread => {}
        None => words.push_str(", no login"),
    }
    if process.kthread {
        words.push_str(", kernel thread");
    }
    if let Some(exe) = &process.exe {
        words.push_str(&format!(", {}", escape(exe)));
    }
    if let Some(container) = &process.container {
        words.push_str(&format!(", container {}", escape(&container.as_str().into())));
    } else if let Some(unit) = &process.unit {
        words.push_str(&format!(", unit {}", escape(&unit.as_str().into())));
    }
    words
}

fn attempt_words(attempt: &Attempt) -> String {
    let what = attempt
        .module
        .as_ref()
        .or(attempt.file.as_ref())
        .map_or_else(String::new, |what| format!(" of {}", escape(what)));
    format!(
        "{}{what} by {}({}): {}",
        attempt.syscall,
        escape(&attempt.process.comm),
        attempt.process.pid,
        attempt.errno
    )
}

fn reason_words(reason: Reason) -> &'static str {
    match reason {
        Reason::Asked => "asked for",
        Reason::Alias => "provides the alias",
        Reason::Dependency => "dependency",
        Reason::Softdep => "soft dependency",
    }
}

/// Nothing for what is exact.
fn doubt(attribution: &Attribution) -> String {
    match (attribution.attribution, &attribution.rule) {
        (Certainty::Exact, _) => String::new(),
        (Certainty::Inferred, Some(rule)) => format!(" (inferred: {})", escape(&rule.as_str().into())),
        (Certainty::Inferred, None) => " (inferred)".to_owned(),
        (Certainty::Unknown, _) => " (attribution unknown)".to_owned(),
    }
}
