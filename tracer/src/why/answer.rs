//! The answer: findings in the order of their strength, and what follows from them.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    arrival::Arrival,
    holders::{Holder, Holders, Removal},
    journal::Journal,
    kernel_log::{self, is_of_module},
    next::{self, Next, in_quotes},
    recorded::Recorded,
    ways::{self, Way},
};
use crate::{
    event::Text,
    glob,
    kernel::{
        modules::{LoadedModules, State as LoadState},
        sysinfo::SystemInfo,
    },
    modprobe::{Resolution, resolve},
    modules::{
        Machine, answer as explain,
        explain::{Indexes, Verdict},
    },
    text::{count, escape_str},
};

/// Maximum number of messages of the kernel's log.
const MESSAGES_MAX: usize = 3;

/// Maximum number of entries of the journal.
const ENTRIES_MAX: usize = 6;

/// How far the journal is read before the time at which the module was there, if nothing limits the time before.
const BEFORE: SignedDuration = SignedDuration::from_secs(60);

/// The longest window of the journal.
const WINDOW_MAX: SignedDuration = SignedDuration::from_mins(10);

/// A window begins and ends so much outside its limits: clocks of sources differ.
const MARGIN: SignedDuration = SignedDuration::from_secs(2);

/// How strong a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mark {
    /// A recorder of kmodtrace saw it.
    Recorded,
    /// The system logged it: that it happened is certain, that it caused the load is not.
    Logged,
    /// It follows from the state of the system by the named rule.
    Inferred,
}

impl Mark {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Logged => "logged",
            Self::Inferred => "inferred",
        }
    }
}

/// Whether the module is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum State {
    /// It is loaded.
    Loaded,
    /// It is being loaded or unloaded.
    Changing,
    /// It is not loaded.
    NotLoaded,
    /// It is part of the kernel.
    BuiltIn,
    /// No module has this name or alias here.
    UnknownName,
    /// The loaded modules cannot be read, or which module the name is for.
    Unknown,
}

/// A finding about the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Finding {
    /// How strong it is.
    pub mark: Mark,
    /// The rule or source.
    pub rule: &'static str,
    /// Its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
    /// What was found, with foreign names escaped.
    pub text: String,
}

/// Why a module is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "kmodtrace why")]
#[non_exhaustive]
pub struct Answer {
    /// The name that was asked for, with U+FFFD for bytes that are not UTF-8.
    pub name: String,
    /// Its bytes in hexadecimal, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// The module; absent if the name is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Whether it is there.
    pub state: State,
    /// What is known about its load, strongest first.
    pub findings: Vec<Finding>,
    /// How it can come.
    pub ways: Vec<Way>,
    /// What prevents it from coming.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
    /// What uses it now.
    pub holders: Vec<Holder>,
    /// Whether it can be removed; absent if it is not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
    /// What to do next.
    pub next: Vec<Next>,
    /// What could not be read, and what would help.
    pub notes: Vec<String>,
}

/// Looks for a name, and for the module that it stands for, in captures; an error says why there are none.
pub type LookUp<'a> = dyn Fn(&Text, Option<&str>) -> Result<Recorded, String> + 'a;

/// Where an answer comes from.
pub struct Sources<'a> {
    /// The system.
    pub sysinfo: &'a SystemInfo,
    /// The loaded modules, or why they are unknown.
    pub loaded: Result<&'a LoadedModules, &'a str>,
    /// The configuration and indexes of modprobe.
    pub indexes: Indexes<'a>,
    /// The state of the system that affects requests.
    pub machine: &'a Machine,
    /// What was recorded about the module with this name, or the reason why nothing was.
    pub recorded: &'a LookUp<'a>,
    /// The journal from one time to another.
    pub journal: &'a dyn Fn(Timestamp, Timestamp, &str) -> Journal,
    /// The present time.
    pub now: Timestamp,
}

/// Answers why a module is loaded.
#[must_use]
pub fn answer(name: &Text, sources: &Sources<'_>) -> Answer {
    let explained = explain(name, sources.indexes, sources.machine);
    let target =
        Target::of(name, sources, &explained.modules.iter().map(|step| step.module.as_str()).collect::<Vec<_>>());
    let module = target.module.as_deref();
    let state = match (&target, explained.verdict) {
        (Target { loaded: Some(LoadState::Live), .. }, _) => State::Loaded,
        (Target { loaded: Some(_), .. }, _) => State::Changing,
        (_, Verdict::BuiltIn) => State::BuiltIn,
        // Without the indexes, it may be an alias of a module that is loaded under its own name.
        (_, _) if sources.loaded.is_err() || sources.indexes.is_err() => State::Unknown,
        (_, Verdict::NotFound) if !explained.known => State::UnknownName,
        _ => State::NotLoaded,
    };
    let mut answer = Answer {
        name: name.field(),
        name_hex: name.hex(),
        module: module.map(str::to_owned),
        state,
        findings: Vec::new(),
        ways: ways::requests(&explained),
        blocks: explained.blocks.clone(),
        holders: Vec::new(),
        removal: None,
        next: Vec::new(),
        notes: explained.doubts.clone(),
    };
    answer.notes.extend(sources.loaded.err().map(|why| format!("the loaded modules are unknown: {why}")));
    answer.notes.extend(sources.indexes.err().map(|why| format!("it is unknown what leads to it here: {why}")));
    let is_recorded = recorded(&mut answer, name, module, sources);
    if let (Some(module), Ok(loaded)) = (module, sources.loaded) {
        logged_and_inferred(&mut answer, module, loaded, sources);
        if let Some(own) = loaded.modules.iter().find(|loaded| loaded.name == module) {
            let holders = Holders::of(sources.sysinfo.root(), loaded, own, &file_systems(&answer.ways));
            (answer.holders, answer.removal) = (holders.list, Some(holders.removal));
        }
    }
    if let (Some(module), Ok((config, index))) = (module, sources.indexes) {
        answer.ways.extend(ways::devices(sources.sysinfo.root(), module, config));
        answer.ways.extend(ways::dependents(module, index));
    }
    // The loads are newest first already, and the rules strongest first.
    let time = |finding: &Finding| finding.time.filter(|_| finding.mark == Mark::Logged);
    answer.findings.sort_by_key(|finding| (finding.mark, time(finding)));
    if !matches!(state, State::UnknownName | State::BuiltIn) {
        let shown = module.map_or_else(|| name.field(), str::to_owned);
        // A name that no known request has is rather that of a module.
        let is_module = module.is_some() || explained.causes.is_empty();
        answer.next = next::commands(&shown, is_module, is_recorded);
    }
    answer
}

/// The types of file systems that requests for `fs-TYPE` bring.
fn file_systems(ways: &[Way]) -> Vec<String> {
    ways.iter().filter_map(|way| Some(way.alias.as_ref()?.strip_prefix("fs-")?.to_owned())).collect()
}

/// The module that a name stands for.
struct Target {
    module: Option<String>,
    loaded: Option<LoadState>,
}

impl Target {
    /// The loaded module of this name, or the module that a request for it would load last: dependencies come before it.
    fn of(name: &Text, sources: &Sources<'_>, planned: &[&str]) -> Self {
        let normal = glob::normalize(name.as_bytes()).map(|normal| String::from_utf8_lossy(&normal).into_owned());
        let state = |module: &str| {
            let loaded = sources.loaded.ok()?;
            loaded.modules.iter().find(|loaded| loaded.name == module).map(|loaded| loaded.state)
        };
        if let Some(normal) = &normal
            && let Some(state) = state(normal)
        {
            return Self { module: Some(normal.clone()), loaded: Some(state) };
        }
        let by_plan = planned.last().map(|module| (*module).to_owned());
        let module = by_plan.or_else(|| {
            let (config, index) = sources.indexes.ok()?;
            match resolve(config, index, name.as_bytes()) {
                Resolution::BuiltIn { module }
                | Resolution::Blacklisted { module, .. }
                | Resolution::Install { module, .. } => Some(module),
                _ => None,
            }
        });
        let loaded = module.as_deref().and_then(state);
        Self { module, loaded }
    }
}

/// Adds what was recorded. Returns whether a recorder was at work.
fn recorded(answer: &mut Answer, name: &Text, module: Option<&str>, sources: &Sources<'_>) -> bool {
    let found = match (sources.recorded)(name, module) {
        Ok(found) => found,
        Err(why) => {
            answer.notes.push(why);
            return false;
        }
    };
    let boot_id = sources.sysinfo.boot_id().unwrap_or_default();
    let finding = |rule, time, text| Finding { mark: Mark::Recorded, rule, time, text };
    for load in found.loads.iter().rev() {
        let boot = if load.boot_id == boot_id { "" } else { " (in another boot)" };
        answer.findings.push(finding("chain", Some(load.time), format!("{}{boot}", load.text)));
    }
    if found.count > found.loads.len() as u64 {
        let more = count(found.count - found.loads.len() as u64, "earlier load", "earlier loads");
        answer.notes.push(format!("{more} recorded: kmodtrace report --tree shows all"));
    }
    if let Some((time, _)) = found.present.as_ref().filter(|(_, boot)| *boot == boot_id && found.loads.is_empty()) {
        let text = "it was loaded already when this recording began".to_owned();
        answer.findings.push(finding("baseline", Some(*time), text));
    }
    if let Some(time) = found.unloaded {
        answer.findings.push(finding("unload", Some(time), "it was unloaded".to_owned()));
    }
    if found.count == 0 && !found.is_empty() {
        let range = found.range.map(|(first, last)| format!(" from {first:.0} to {last:.0}")).unwrap_or_default();
        answer.notes.push(format!("the captures{range} have no load of it"));
    }
    answer.notes.extend(found.doubts.iter().cloned());
    !found.is_empty()
}

/// Adds what the kernel's log, the order of the modules, sysfs and the journal tell.
fn logged_and_inferred(answer: &mut Answer, module: &str, loaded: &LoadedModules, sources: &Sources<'_>) {
    let root = sources.sysinfo.root();
    let first_message = kernel_messages(answer, module, sources);
    answer.notes.extend(loaded.note());
    let Some(arrival) = Arrival::of(root, loaded, module) else { return };
    let inferred = |rule, time, text| Finding { mark: Mark::Inferred, rule, time, text };
    answer.findings.push(inferred("order-of-modules", None, order(&arrival)));
    if let Some(by) = &arrival.brought_by {
        let text = format!("as a dependency of {}, which needs it and arrived with it", in_quotes(by));
        answer.findings.push(inferred("dependency-order", None, text));
    }
    let no_later = arrival.no_later.into_iter().chain(first_message).min();
    if let Some(no_later) = arrival.no_later {
        let text = format!("it was there: times of directories in sysfs{}", after_boot(no_later, sources));
        answer.findings.push(inferred("sysfs-time", Some(no_later), text));
    }
    let Some(no_later) = no_later else {
        answer.notes.push("no source has the time of its load".to_owned());
        return;
    };
    journal(answer, module, &arrival, no_later, sources);
}

/// `after "xfs" (02:11:03) and before "nf_nat"`.
fn order(arrival: &Arrival) -> String {
    let side = |neighbour: &super::arrival::Neighbour| in_quotes(&neighbour.module);
    match (&arrival.older, &arrival.newer) {
        (Some(older), Some(newer)) => format!("loaded after {} and before {}", side(older), side(newer)),
        (Some(older), None) => format!("loaded after {}: it is the newest module", side(older)),
        (None, Some(newer)) => format!("loaded before {}: it is the oldest module", side(newer)),
        (None, None) => "it is the only module".to_owned(),
    }
}

/// `, 12 s after the boot`.
fn after_boot(time: Timestamp, sources: &Sources<'_>) -> String {
    let boot = sources.sysinfo.boot_time().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let seconds = boot.map(|boot| time.duration_since(boot).as_secs());
    match seconds {
        Some(seconds @ 0..120) => format!(", {seconds} s after the boot"),
        _ => String::new(),
    }
}

/// Adds messages by the module; returns the time of the first one.
fn kernel_messages(answer: &mut Answer, module: &str, sources: &Sources<'_>) -> Option<Timestamp> {
    let messages = match kernel_log::read(sources.sysinfo.root()) {
        Ok(messages) => messages,
        Err(error) => {
            answer.notes.push(format!("the kernel's log cannot be read: {error}; as root it can"));
            return None;
        }
    };
    let boot = Timestamp::from_second(sources.sysinfo.boot_time().ok()?).ok()?;
    let mut first = None;
    for message in messages.iter().filter(|message| is_of_module(&message.text, module)).take(MESSAGES_MAX) {
        let since_boot = SignedDuration::from_micros(i64::try_from(message.at_us).unwrap_or(i64::MAX));
        // The log's clock stops in suspend, and the clock may have been set: such a time is wrong and not used.
        let time = boot.checked_add(since_boot).ok().filter(|time| *time <= sources.now);
        first = first.or(time);
        let text = format!("kernel: {}", escape_str(&message.text));
        answer.findings.push(Finding { mark: Mark::Logged, rule: "kernel-log", time, text });
    }
    first
}

/// Adds entries of the journal around the load.
fn journal(answer: &mut Answer, module: &str, arrival: &Arrival, no_later: Timestamp, sources: &Sources<'_>) {
    let shift = |time: Timestamp, by: SignedDuration| time.checked_add(by).unwrap_or(time);
    let from = arrival.not_before().filter(|from| no_later.duration_since(*from) <= WINDOW_MAX);
    let from = shift(from.unwrap_or_else(|| shift(no_later, -BEFORE)), -MARGIN);
    let mut found = (sources.journal)(from, shift(no_later, MARGIN), module);
    answer.notes.extend(found.note.take().map(|note| format!("the journal was not read: {note}")));
    found.entries.sort_by_key(|entry| (entry.kind, entry.time));
    let more = found.entries.len().saturating_sub(ENTRIES_MAX);
    found.entries.truncate(ENTRIES_MAX);
    found.entries.sort_by_key(|entry| entry.time);
    for entry in found.entries {
        let text = format!("{}: {}", escape_str(&entry.identifier), escape_str(&entry.message));
        answer.findings.push(Finding { mark: Mark::Logged, rule: entry.kind.rule(), time: Some(entry.time), text });
    }
    if more > 0 {
        let more = count(more as u64, "more entry", "more entries");
        answer.notes.push(format!("{more} of the journal from {from:.0} to {no_later:.0}"));
    }
}

impl Answer {
    /// Whether a module has this name or alias, and whether it is loaded is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self.state, State::UnknownName | State::Unknown)
    }
}
