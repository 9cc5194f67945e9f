//! `kmodtrace surface`: what users without privileges can make the kernel load here.

use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use super::print;
use crate::{
    explain::{Machine, Resolver, families::Access},
    kernel::facts::Facts,
    logging::say,
    output::escape_str,
    prevent::{Entry, State, surface},
};

/// Arguments of `surface`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Needs no privileges. What is loaded already, or forbidden, is left out unless --all is given. \
    `kmodtrace block NAME` keeps one out. Exit code: 0, or 125 error."
)]
pub struct Args {
    /// Write one JSON object a line, one for each module.
    #[arg(long)]
    json: bool,
    /// Show what is loaded already and what is forbidden, too.
    #[arg(long)]
    all: bool,
}

/// One line of the JSON form.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// Whether anyone may be root of a user namespace here.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_namespaces_for_anyone: Option<bool>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let facts = Facts::default();
    let machine = Machine::read(&facts);
    let resolver = Resolver::installed(&facts).context("what can be loaded here is not known")?;
    let entries = surface(resolver.config(), resolver.index(), &machine);
    let shown: Vec<&Entry> = entries.iter().filter(|entry| args.all || entry.state == State::Open).collect();
    let text = if args.json { json(&shown, &machine)? } else { table(&shown) };
    print::stdout(&text)?;
    for line in summary(&entries, &machine) {
        say(&line);
    }
    Ok(ExitCode::SUCCESS)
}

fn json(entries: &[&Entry], machine: &Machine) -> anyhow::Result<String> {
    let mut text = String::new();
    for entry in entries {
        let line = Line { entry, user_namespaces_for_anyone: machine.user_namespaces };
        text += &serde_json::to_string(&line).context("cannot write the surface as JSON")?;
        text.push('\n');
    }
    Ok(text)
}

const fn whom(access: Access) -> &'static str {
    match access {
        Access::Anyone => "anyone",
        Access::UserNamespace => "userns root",
        Access::DeviceNode => "device node",
        Access::Root => "root",
    }
}

fn table(entries: &[&Entry]) -> String {
    let name = |entry: &Entry| escape_str(&entry.module);
    let width = entries.iter().map(|entry| name(entry).len()).max().unwrap_or(0).max("MODULE".len());
    let mut out = format!("{:<width$}  {:<11}  {:<7}  {:>5}  ASKED FOR BY\n", "MODULE", "WHO", "STATE", "LOADS");
    for entry in entries {
        let state = match entry.state {
            State::Open => "open",
            State::Loaded => "loaded",
            State::Blocked => "blocked",
        };
        let alias = entry.aliases.first().map_or_else(String::new, |alias| escape_str(alias));
        let more = entry.aliases.len().saturating_sub(1);
        let others = if more > 0 { format!(", and {more} more") } else { String::new() };
        let action = escape_str(&entry.action);
        let whom = whom(entry.access);
        let loads = entry.modules.len();
        out.push_str(&format!(
            "{:<width$}  {whom:<11}  {state:<7}  {loads:>5}  {action} [{alias}{others}]\n",
            name(entry)
        ));
    }
    out
}

fn summary(entries: &[Entry], machine: &Machine) -> Vec<String> {
    let count = |access: Access, state: State| {
        entries.iter().filter(|entry| entry.access == access && entry.state == state).count()
    };
    let namespaces = match machine.user_namespaces {
        Some(true) => "which here anyone may be",
        Some(false) => "which here only root can make",
        None => "and whether anyone may be that here is not known",
    };
    let sum = |state| count(Access::Anyone, state) + count(Access::UserNamespace, state);
    let mut lines = vec![
        format!("anyone can make the kernel load {} modules and what they need", count(Access::Anyone, State::Open)),
        format!("root of a user namespace, {namespaces}, {} more", count(Access::UserNamespace, State::Open)),
        format!("{} are loaded already, {} are forbidden", sum(State::Loaded), sum(State::Blocked)),
    ];
    lines.extend(machine.stops.iter().map(|stop| format!("but now nothing is loaded at all: {}", escape_str(stop))));
    lines
}

#[cfg(test)]
mod tests {
    use super::{Access, Entry, Machine, State, summary, table};

    fn entry(module: &str, state: State) -> Entry {
        Entry {
            module: module.to_owned(),
            access: Access::Anyone,
            state,
            modules: vec!["udp_tunnel".to_owned(), module.to_owned()],
            aliases: vec!["net_pf_30".to_owned(), "other".to_owned()],
            action: "socket(AF_TIPC)".to_owned(),
            family: "socket family",
        }
    }

    /// Check the columns, and that a hostile name stays in its own.
    #[test]
    fn the_table_is_aligned() {
        let entries = [entry("tipc", State::Open), entry("x\u{1b}[2J", State::Blocked)];
        let table = table(&entries.iter().collect::<Vec<_>>());
        assert_eq!(
            table,
            "MODULE    WHO          STATE    LOADS  ASKED FOR BY\n\
             tipc      anyone       open         2  socket(AF_TIPC) [net_pf_30, and 1 more]\n\
             x\\x1b[2J  anyone       blocked      2  socket(AF_TIPC) [net_pf_30, and 1 more]\n"
        );
    }

    /// Check that the counts are of what is open, and that a machine that loads nothing says so.
    #[test]
    fn the_summary_counts() {
        let entries = [entry("a", State::Open), entry("b", State::Loaded), entry("c", State::Blocked)];
        let machine =
            Machine { user_namespaces: Some(true), stops: vec!["it is off".to_owned()], ..Machine::default() };
        assert_eq!(
            summary(&entries, &machine),
            [
                "anyone can make the kernel load 1 modules and what they need",
                "root of a user namespace, which here anyone may be, 0 more",
                "1 are loaded already, 1 are forbidden",
                "but now nothing is loaded at all: it is off",
            ]
        );
    }
}
