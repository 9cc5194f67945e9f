//! `kmodtrace surface`: lists the modules that unprivileged users can make the kernel load.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde::Serialize;

use super::{
    impact,
    surface_block::{self, access_name, asked_by},
    surface_format::Format,
};
use crate::{
    cli::io::print,
    kernel::sysinfo::SystemInfo,
    logging::notice,
    modprobe::Resolver,
    modules::{Entry, Machine, RequiredModules, State, Usage, families::Access, surface},
    output::{
        ascii,
        cell::{cell, columns, left},
        count as text_count, escape_str,
    },
};

/// Arguments of `surface`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 success; 125 error.\n\nNeeds no privileges.")]
pub struct Args {
    /// Write JSON Lines, one object per module.
    #[arg(long)]
    json: bool,
    /// Show the hosts of the captures that used each module, one per line.
    #[arg(long, value_enum, value_name = "WHAT", requires = "captures", conflicts_with = "block")]
    by: Option<impact::By>,
    /// Include modules that are loaded or blocked [default: reachable modules only].
    #[arg(long)]
    all: bool,
    /// Print one modprobe.d file that blocks the modules unused in the captures, after a dry run with modprobe.
    #[arg(long, requires = "captures", conflicts_with_all = ["json", "all"])]
    block: bool,
    /// With --block: accept captures that are incomplete, from other hosts, or cover less than a day.
    #[arg(long, requires = "block")]
    force: bool,
    /// With --block: the form to print; modulejail is the list of modules to keep.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t, requires = "block", conflicts_with = "write")]
    format: Format,
    /// With --block: install the file; an old file is kept as FILE.bak1, .bak2, ... [default: print it].
    #[arg(long, requires = "block")]
    write: bool,
    /// Directory for --write.
    #[arg(long, value_name = "DIR", default_value = "/etc/modprobe.d")]
    dir: PathBuf,
    /// Captures: files or directories, to show which modules are in use; - is standard input.
    #[arg(value_name = "FILE")]
    captures: Vec<PathBuf>,
}

/// Whether a module was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Needed {
    /// It was requested, or loaded as a dependency of a requested module.
    Asked,
    /// It was loaded when a capture began, is loaded now, or a required module depends on it.
    Present,
    /// The captures contain no use.
    Never,
}

impl Needed {
    const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Present => "present",
            Self::Never => "never",
        }
    }
}

/// One line of the JSON form.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// Whether any user can be root of a user namespace here.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_namespaces_for_anyone: Option<bool>,
    /// Reasons why modprobe's configuration may be another one, so that the state is not certain.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    doubts: &'a [String],
    /// Whether the captures contain a use; absent without captures.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<Needed>,
    /// Number of hosts of the captures on which it was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<usize>,
    /// Their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_host: Option<&'a [String]>,
}

/// A row of the surface, with its usage in the captures.
struct Shown<'a> {
    entry: &'a Entry,
    needed: Option<Needed>,
    /// The hosts that used it.
    hosts: Vec<String>,
    /// The hosts are named, not only counted.
    is_by_host: bool,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let sysinfo = SystemInfo::default();
    let resolver = Resolver::installed(&sysinfo).context("cannot list the modules that can be loaded")?;
    let mut machine = Machine::read(&sysinfo).with_nodes(&sysinfo, resolver.view());
    machine.doubts = resolver.doubts().sentences();
    let entries = surface(resolver.config(), resolver.index(), &machine);
    let gathered = (!args.captures.is_empty()).then(|| impact::collect_usage(&args.captures)).transpose()?;
    let (needs, captures) = gathered.unzip();
    if let Some(captures) = &captures {
        captures.warn();
    }
    let kept = needs.as_ref().map(|needs| RequiredModules::new(needs, resolver.config(), resolver.index(), &machine));
    if let (true, Some(needs), Some(kept), Some(captures)) = (args.block, &needs, &kept, &captures) {
        if !args.force {
            surface_block::require_evidence(needs, captures)?;
        }
        let found = surface_block::Found {
            entries: &entries,
            usage: needs,
            required: kept,
            machine: &machine,
            resolver: &resolver,
        };
        return surface_block::run(&found, args.format, args.write.then_some(args.dir.as_path()));
    }
    let needed = |entry: &Entry| Some(how_needed(entry, needs.as_ref()?, kept.as_ref()?));
    let is_shown = |entry: &&Entry| args.all || entry.state == State::Open;
    let hosts = |entry: &Entry| -> Vec<String> {
        let needs = needs.as_ref().map(|needs| needs.by_host(&entry.module)).unwrap_or_default();
        needs.into_iter().map(|need| need.host).collect()
    };
    let shown = entries.iter().filter(is_shown);
    let shown: Vec<Shown<'_>> = shown
        .map(|entry| Shown { entry, needed: needed(entry), hosts: hosts(entry), is_by_host: args.by.is_some() })
        .collect();
    if args.json {
        print::stdout(&json(&shown, &machine)?)?;
    } else {
        print::human(&table(&shown))?;
    }
    for line in summary(&entries, &machine) {
        notice(&line);
    }
    if let Some(needs) = &needs {
        surface_block::print_coverage(needs);
        let never = shown.iter().filter(|shown| shown.needed == Some(Needed::Never)).count();
        notice(&format!(
            "unused: {never} of {}; --block blocks them",
            text_count(shown.len() as u64, "module", "modules")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn how_needed(entry: &Entry, needs: &Usage, kept: &RequiredModules) -> Needed {
    if !needs.users_of(&entry.module).is_empty() {
        Needed::Asked
    } else if kept.contains(&entry.module) {
        Needed::Present
    } else {
        Needed::Never
    }
}

fn json(shown: &[Shown<'_>], machine: &Machine) -> anyhow::Result<String> {
    let mut text = String::new();
    for Shown { entry, needed, hosts, is_by_host } in shown {
        let line = Line {
            entry,
            user_namespaces_for_anyone: machine.user_namespaces,
            doubts: &machine.doubts,
            needed: *needed,
            hosts: needed.map(|_| hosts.len()),
            by_host: is_by_host.then_some(hosts.as_slice()),
        };
        text += &serde_json::to_string(&line).context("cannot write the surface as JSON")?;
        text.push('\n');
    }
    Ok(text)
}

fn table(shown: &[Shown<'_>]) -> String {
    let name = |shown: &Shown<'_>| cell(&ascii(&escape_str(&shown.entry.module))).into_owned();
    let width = shown.iter().map(|shown| columns(&name(shown))).max().unwrap_or(0).max("MODULE".len());
    // The column exists only with captures.
    let needed = |text: Option<&str>| text.map_or_else(String::new, |text| format!("{text:<7}  "));
    let has_needed = shown.iter().any(|shown| shown.needed.is_some());
    let hosts = |text: &str| if has_needed { format!("{text:>5}  ") } else { String::new() };
    let head = needed(has_needed.then_some("NEEDED")) + &hosts("HOSTS");
    let module = left("MODULE", width);
    let who_width = shown.iter().map(|shown| columns(&who(shown.entry))).max().unwrap_or(0).max(WHO_WIDTH);
    let mut out = format!("{module}  {}  {:<7}  {head}{:>5}  ASKED FOR BY\n", left("WHO", who_width), "STATE", "LOADS");
    for shown in shown {
        let entry = shown.entry;
        let state = match entry.state {
            State::Open => "open",
            State::Loaded => "loaded",
            State::Blocked => "blocked",
        };
        let needed = needed(shown.needed.map(Needed::name)) + &hosts(&shown.hosts.len().to_string());
        let (access, loads, asked_by) = (who(entry), entry.modules.len(), asked_by(entry) + &decided_by(entry));
        let module = left(&name(shown), width);
        let access = left(&access, who_width);
        out.push_str(&format!("{module}  {access}  {state:<7}  {needed}{loads:>5}  {asked_by}\n"));
        if shown.is_by_host {
            shown.hosts.iter().for_each(|host| out.push_str(&format!("  on {}\n", escape_str(host))));
        }
    }
    out
}

/// Minimum width of the column with the users.
const WHO_WIDTH: usize = "userns root".len();

/// The users that can request a module, in few words.
fn who(entry: &Entry) -> String {
    match entry.access {
        Access::DeviceNode => {
            let who = entry.who.strip_prefix("members of the ").unwrap_or(&entry.who);
            cell(&ascii(&escape_str(who))).into_owned()
        }
        access => access_name(access).to_owned(),
    }
}

/// The device node that decides who can request a module, and the line that blocks it.
fn decided_by(entry: &Entry) -> String {
    let node = entry.why.as_ref().filter(|_| entry.access != Access::UserNamespace);
    let node = node.map_or_else(String::new, |why| format!("; {}", escape_str(why)));
    let block = entry.blocks.first().map_or_else(String::new, |block| format!("; {}", escape_str(block)));
    node + &block
}

fn summary(entries: &[Entry], machine: &Machine) -> Vec<String> {
    let count = |access: Access, state: State| {
        entries.iter().filter(|entry| entry.access == access && entry.state == state).count()
    };
    let namespaces = match (machine.user_namespaces, &machine.user_namespace_limit) {
        (Some(true), _) => "which any user can be on this host",
        (Some(false), Some(limit)) => limit.why.as_str(),
        (Some(false), None) => "which only root can create on this host",
        (None, _) => "created by unknown users",
    };
    let modules = |number: usize| text_count(number as u64, "module", "modules");
    let sum = |state| entries.iter().filter(|entry| entry.state == state).count();
    let mut lines = vec![
        format!("any user can make the kernel load {} and dependencies", modules(count(Access::Anyone, State::Open))),
        format!("root of a user namespace, {namespaces}: {} more", count(Access::UserNamespace, State::Open)),
    ];
    let by_device = count(Access::DeviceNode, State::Open);
    if by_device > 0 {
        lines.push(format!("users with access to a device node: {by_device} more"));
    }
    lines.push(format!("already loaded: {}, blocked: {}", sum(State::Loaded), sum(State::Blocked)));
    lines
        .extend(machine.stops.iter().map(|stop| format!("module loading is currently disabled: {}", escape_str(stop))));
    lines.extend(machine.doubts.iter().map(|doubt| format!("not certain: {}", escape_str(doubt))));
    lines
}

#[cfg(test)]
mod tests {
    use super::{Access, Entry, Machine, Needed, Shown, State, summary, table};

    fn entry(module: &str, state: State) -> Entry {
        Entry {
            module: module.to_owned(),
            access: Access::Anyone,
            who: "anyone".to_owned(),
            why: None,
            state,
            blocks: Vec::new(),
            modules: vec!["udp_tunnel".to_owned(), module.to_owned()],
            aliases: vec!["net_pf_30".to_owned(), "other".to_owned()],
            action: "socket(AF_TIPC)".to_owned(),
            family: "socket family",
        }
    }

    /// Columns are aligned, and hostile names are escaped.
    #[test]
    fn table_with_hostile_name_is_aligned() {
        let entries = [entry("tipc", State::Open), entry("x\u{1b}[2J", State::Blocked)];
        let shown = |needed, hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            let shown = |entry| Shown { entry, needed, hosts: hosts.clone(), is_by_host: true };
            entries.iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(
            table(&shown(None, &[])),
            "MODULE    WHO          STATE    LOADS  ASKED FOR BY\n\
             tipc      anyone       open         2  socket(AF_TIPC) [net_pf_30, and 1 more]\n\
             x\\x1b[2J  anyone       blocked      2  socket(AF_TIPC) [net_pf_30, and 1 more]\n"
        );
        assert_eq!(
            table(&shown(Some(Needed::Never), &[])[..1]),
            "MODULE  WHO          STATE    NEEDED   HOSTS  LOADS  ASKED FOR BY\n\
             tipc    anyone       open     never        0      2  socket(AF_TIPC) [net_pf_30, and 1 more]\n"
        );
        assert_eq!(
            table(&shown(Some(Needed::Asked), &["lb1", "x\n"])[..1]),
            "MODULE  WHO          STATE    NEEDED   HOSTS  LOADS  ASKED FOR BY\n\
             tipc    anyone       open     asked        2      2  socket(AF_TIPC) [net_pf_30, and 1 more]\n  on lb1\n  on \
             x\\n\n"
        );
    }

    /// The group of a device node, its mode and the line that blocks a module are shown.
    #[test]
    fn row_of_a_device_names_its_group() {
        let kvm = Entry {
            access: Access::DeviceNode,
            who: "members of the group kvm\n".to_owned(),
            why: Some("/dev/vhost-net has mode 0660".to_owned()),
            blocks: vec!["install tipc /bin/false in /etc/modprobe.d/x.conf:1".to_owned()],
            ..entry("tipc", State::Blocked)
        };
        let shown = [Shown { entry: &kvm, needed: None, hosts: Vec::new(), is_by_host: false }];
        let expected = "tipc    group kvm\\n  blocked      2  socket(AF_TIPC) [net_pf_30, and 1 more]; /dev/vhost-net has mode 0660; \
                        install tipc /bin/false in /etc/modprobe.d/x.conf:1\n";
        assert_eq!(table(&shown).split_once('\n').map(|(_, row)| row), Some(expected));
    }

    /// Modules are counted by state, and disabled module loading is reported.
    #[test]
    fn summary_modules_are_counted_by_state() {
        let entries = [entry("a", State::Open), entry("b", State::Loaded), entry("c", State::Blocked)];
        let machine = Machine {
            user_namespaces: Some(true),
            stops: vec!["it is off".to_owned()],
            doubts: vec!["x\u{1b} cannot be read".to_owned()],
            ..Machine::default()
        };
        assert_eq!(
            summary(&entries, &machine),
            [
                "any user can make the kernel load 1 module and dependencies",
                "root of a user namespace, which any user can be on this host: 0 more",
                "already loaded: 1, blocked: 1",
                "module loading is currently disabled: it is off",
                "not certain: x\\x1b cannot be read",
            ]
        );
    }
}
