//! A chain as a line: who, for what, how it ended, and what was loaded.

use std::io::{self, Write};

use super::{
    Output, Style,
    escape::{escape_str, name, quoted},
    page::{Meaning, Phrase},
    words::{comm_pid, count, duration, errno, meaning, stage, time_of_day},
};
use crate::{
    chain::{Cause, Chain, Item, Module},
    event::{Body, Event, Process, Status},
};

/// Writes a line for each chain; those that hang under another follow it, set in.
pub struct Lines {
    writer: Box<dyn Write>,
    style: Style,
}

impl Lines {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write>, style: Style) -> Self {
        Self { writer, style }
    }
}

impl Output for Lines {
    fn event(&mut self, _: &Event) -> io::Result<()> {
        Ok(())
    }

    fn item(&mut self, item: &Item) -> io::Result<()> {
        let text = lines(item, self.style);
        if text.is_empty() {
            return Ok(());
        }
        self.writer.write_all(text.as_bytes())?;
        self.writer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// An item as lines; nothing for what has no line.
fn lines(item: &Item, style: Style) -> String {
    let mut out = String::new();
    match item {
        Item::Chain(root) => chain(&mut out, root, 0, style),
        Item::Event(event) => {
            let time = time_of_day(event.time, style.utc);
            match &event.body {
                Body::Unload(unload) if !unload.init_failed => {
                    let cause = Cause::of_process(&unload.process, &unload.ancestors);
                    let who = columns(&time, &cause.name(), &user(Some(&unload.process)));
                    put(&mut out, &Phrase::plain(format!("{who} unload {}", name(&unload.module))), style);
                }
                Body::Loss(loss) => {
                    let lost = count(loss.count, "event", "events");
                    let words = format!("LOST {lost}: {} ({})", escape_str(&loss.cause), stage(loss.stage));
                    put(&mut out, &Phrase::plain(format!("{time} ")).and(Meaning::Bad, words), style);
                }
                _ => {}
            }
        }
    }
    out
}

fn chain(out: &mut String, chain_told: &Chain, depth: usize, style: Style) {
    let asker = chain_told.request.as_ref().map(|request| &request.process);
    let process = asker
        .or_else(|| chain_told.modules.first().map(|module| &module.load.process))
        .or_else(|| chain_told.attempts.first().map(|attempt| &attempt.process));
    let cause = Cause::of(chain_told);
    // Set in, a requester is a helper or a kernel thread: who is behind it stands above.
    let who = match (depth, asker) {
        (1.., Some(process)) => format!("{}+ {}", "  ".repeat(depth - 1), comm_pid(&process.comm, process.pid)),
        _ => cause.name(),
    };
    let what = match (&chain_told.request, cause) {
        (Some(request), _) => quoted(&request.name),
        (None, Cause::Ran { tool, .. }) => format!("ran {}", comm_pid(&tool.comm, tool.pid)),
        (None, Cause::Process(_)) => "by itself".to_owned(),
        (None, _) => "-".to_owned(),
    };
    let result = chain_told.result.as_ref();
    let status = result.map_or(Status::Unknown, |result| result.status);
    let blocked = asker.and(result).and_then(|result| result.duration_ns).map_or_else(|| "-".to_owned(), duration);
    let time = time_of_day(chain_told.time, style.utc);
    let mut phrase = Phrase::plain(format!("{} {what:<26} ", columns(&time, &who, &user(process))))
        .and(meaning(status), format!("{:<14}", status.name()))
        .and_plain(format!(" {blocked:>8}"));
    if !chain_told.incomplete.is_empty() {
        phrase = phrase.and_plain("  ").and(Meaning::Doubt, "[incomplete]");
    }
    let modules: Vec<String> = chain_told.modules.iter().map(module).collect();
    phrase = phrase.and_plain(format!("  {}", if modules.is_empty() { "-".to_owned() } else { modules.join(" ") }));
    put(out, &phrase, style);
    for nested in &chain_told.nested {
        chain(out, nested, depth + 1, style);
    }
}

fn columns(time: &str, who: &str, user: &str) -> String {
    format!("{time} {who:<22} {user:<10}")
}

fn user(process: Option<&Process>) -> String {
    match process {
        Some(Process { user: Some(user), .. }) => name(user),
        Some(process) => format!("uid {}", process.uid),
        None => "-".to_owned(),
    }
}

fn module(module: &Module) -> String {
    let name = name(&module.load.module);
    match &module.init {
        Some(init) if init.ret < 0 => format!("{name}!{}", errno(init.ret)),
        _ => name,
    }
}

fn put(out: &mut String, phrase: &Phrase, style: Style) {
    out.push_str(&phrase.line(style));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::lines;
    use crate::{chain::samples, output::Style};

    /// Check the columns: requests, nested ones, loads by hand, failures, unloads and losses.
    #[test]
    fn lines_are_aligned() {
        let items = [
            samples::outage(),
            samples::nested(),
            samples::not_found(),
            samples::by_hand(),
            samples::unload(),
            samples::loss(),
        ];
        let style = Style { utc: true, ..Style::default() };
        let text: String = items.iter().map(|item| lines(item, style)).collect();
        assert_eq!(text, include_str!("line/lines.txt"));
    }

    /// Check that a hostile name adds no line, and that a line is cut at its width.
    #[test]
    fn lines_stay_lines() {
        let style = Style { utc: true, ..Style::default() };
        let hostile = lines(&samples::hostile(), style);
        assert_eq!(hostile.lines().count(), 1, "{hostile}");
        assert!(!hostile.trim_end().contains(char::is_control), "{hostile:?}");
        let cut = lines(&samples::outage(), Style { width: Some(60), ..style });
        assert_eq!(cut, "12:04:31.201 iptables(557)          root       \"iptable_n...\n");
    }
}
