//! `kmodtrace why NAME...`: shows why a module is loaded, from what was recorded, logged or can be inferred afterwards.

use std::{ffi::OsString, os::unix::ffi::OsStrExt, path::Path, process::ExitCode};

use anyhow::Context;
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    cli::{
        EXIT_VERDICT,
        io::{
            capture_in::{SERVICE_CAPTURES, no_captures, read_captures},
            print,
        },
    },
    event::Text,
    kernel::{modules, sysinfo::SystemInfo},
    modprobe::Resolver,
    modules::Machine,
    output::{argument, check_local, count, escape_str, zone},
    why::{Answer, Finding, Journal, Recorded, Sources, State, Way, answer},
};

/// Maximum number of ways of one kind that are shown; JSON lists all.
const WAYS_SHOWN: usize = 4;

/// Width of the first column.
const LABEL_COLUMNS: usize = 10;

/// Arguments of `why`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 all names are known; 1 at least one name is unknown, or whether it is loaded; 125 error.\n\nNeeds no privileges, but sees more with \
    them: as root also captures of the service, the kernel's log and the journal.\n\nrecorded: a recorder saw it. logged: the system \
    logged it around that time; whether it is the cause is unknown. inferred: it follows from the named rule."
)]
pub struct Args {
    /// Write JSON Lines, one object per name.
    #[arg(long)]
    json: bool,
    /// Show times in UTC [default: local time].
    #[arg(long)]
    utc: bool,
    /// Modules, or aliases as requested by the kernel (net-pf-30, fs-xfs).
    #[arg(required = true, value_name = "NAME")]
    names: Vec<OsString>,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.utc {
        check_local()?;
    }
    let zone = zone::zone(args.utc);
    let sysinfo = SystemInfo::default();
    let mut machine = Machine::read(&sysinfo);
    let resolver = Resolver::installed(&sysinfo).map_err(|error| format!("{:#}", anyhow::Error::from(error)));
    let indexes = match &resolver {
        Ok(resolver) => {
            machine.doubts = resolver.doubts().sentences();
            Ok((resolver.config(), resolver.index()))
        }
        Err(why) => Err(why.as_str()),
    };
    let loaded = modules::load(sysinfo.root()).map_err(|error| error.to_string());
    let sources = Sources {
        sysinfo: &sysinfo,
        loaded: loaded.as_ref().map_err(String::as_str),
        indexes,
        machine: &machine,
        recorded: &recorded,
        journal: &Journal::read,
        now: Timestamp::now(),
    };
    let mut text = String::new();
    let mut is_known = true;
    for (number, name) in args.names.iter().enumerate() {
        let name = Text::from(name.as_bytes());
        let answer = answer(&name, &sources);
        is_known &= answer.is_known();
        if args.json {
            text += &serde_json::to_string(&answer).context("cannot write the answer as JSON")?;
            text.push('\n');
        } else {
            if number > 0 {
                text.push('\n');
            }
            human(&mut text, &name, &answer, &zone);
        }
    }
    if args.json {
        print::stdout(&text)?;
    } else {
        print::human(&text)?;
    }
    Ok(if is_known { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

/// Reads the captures of the service.
fn recorded(name: &Text, module: Option<&str>) -> Result<Recorded, String> {
    if let Some(why) = no_captures(Path::new(SERVICE_CAPTURES)) {
        return Err(why);
    }
    let mut found = Recorded::new(name, module);
    let captures = read_captures(&[SERVICE_CAPTURES.into()], None, &mut found);
    let captures = captures.map_err(|error| format!("the captures of the service cannot be read: {error:#}"))?;
    let doubts = captures.issues.doubts().count();
    if doubts > 0 {
        let doubts = count(doubts as u64, "issue", "issues");
        found.doubt(format!("the captures are incomplete ({doubts}): kmodtrace verify {SERVICE_CAPTURES}"));
    }
    Ok(found)
}

/// One line with its label in the first column.
fn line(out: &mut String, label: &str, text: &str) {
    out.push_str(format!("  {label:<LABEL_COLUMNS$}{text}").trim_end());
    out.push('\n');
}

fn human(out: &mut String, name: &Text, answer: &Answer, zone: &TimeZone) {
    let of = match &answer.module {
        Some(module) if *module != answer.name => format!(" ({})", escape_str(module)),
        _ => String::new(),
    };
    out.push_str(&format!("{}{of}: {}\n", argument(name), state(answer.state)));
    for found in &answer.findings {
        line(out, found.mark.name(), &finding(found, zone));
    }
    for (kind, label) in [("request", "asked by"), ("device", "device"), ("dependency", "needed by")] {
        ways(out, label, answer.ways.iter().filter(|way| way.kind == kind));
    }
    answer.blocks.iter().for_each(|block| line(out, "blocked", &escape_str(block)));
    answer.holders.iter().for_each(|holder| line(out, "held by", &holder.text));
    if let Some(removal) = &answer.removal {
        let command = removal.command.as_ref().filter(|_| removal.possible);
        let command = command.map(|command| format!(": {}", escape_str(command))).unwrap_or_default();
        line(out, if removal.possible { "removable" } else { "not now" }, &format!("{}{command}", removal.text));
    }
    for next in &answer.next {
        line(out, "next", &format!("{:<46} # {}", escape_str(&next.command), next.purpose));
    }
    answer.notes.iter().for_each(|note| line(out, "note", &escape_str(note)));
    if let Some(time) = answer.findings.iter().find_map(|finding| finding.time) {
        out.push_str(&format!("(times are in {})\n", zone::name(zone, time)));
    }
}

fn finding(finding: &Finding, zone: &TimeZone) -> String {
    let time = finding.time.map(|time| {
        let shown = time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        format!("{shown}{}  ", zone::offset_of_repeated(time, zone))
    });
    format!("{}{} [{}]", time.unwrap_or_default(), finding.text, finding.rule)
}

fn ways<'a>(out: &mut String, label: &str, ways: impl Iterator<Item = &'a Way>) {
    let all: Vec<&Way> = ways.collect();
    if label == "needed by" {
        // Only names: they fit into one line.
        let shown: Vec<&str> = all.iter().take(WAYS_SHOWN + 2).map(|way| way.text.as_str()).collect();
        let more = all.len().saturating_sub(shown.len());
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        if !shown.is_empty() {
            line(out, label, &format!("{}{rest}", shown.join(", ")));
        }
        return;
    }
    for way in all.iter().take(WAYS_SHOWN) {
        let access = way.access.map(|access| format!("; by {access}")).unwrap_or_default();
        let alias = if way.kind == "device" { way.alias.as_deref().unwrap_or_default() } else { "" };
        let alias = if alias.is_empty() { String::new() } else { format!(" {alias}") };
        line(out, label, &format!("{}{alias}{access}", way.text));
    }
    let more = all.len().saturating_sub(WAYS_SHOWN);
    if more > 0 {
        line(out, "", &format!("and {more} more (--json lists them)"));
    }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Loaded => "loaded",
        State::Changing => "being loaded or unloaded",
        State::NotLoaded => "not loaded",
        State::BuiltIn => "part of this kernel, nothing is loaded for it",
        State::UnknownName => "unknown name: no module here has this name or alias",
        State::Unknown => "it is unknown whether it is loaded",
    }
}
