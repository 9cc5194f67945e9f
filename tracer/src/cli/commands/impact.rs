//! `kmodtrace impact NAME... FILE...`: shows which programs used a module, from captures.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::File,
    hash::RandomState,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::{
    capture::{
        batch::{Batcher, Content},
        files,
        section::Sections,
    },
    chain::Item,
    cli::{
        EXIT_VERDICT,
        io::{
            capture_in::{Captures, read_captures},
            print,
        },
    },
    event::Text,
    kernel::sysinfo::SystemInfo,
    logging::notice,
    modprobe::{Resolution, Resolver, resolve},
    modules::{Coverage, HostUsage, ModuleUser, Usage},
    output::{self, escape_str, quoted},
    stream::{Consumer, StreamInfo},
};

/// Where the service puts its captures.
const CAPTURES: &str = "/var/log/kmodtrace";

/// Arguments of `impact`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 no process used it; 1 a process used it, or it was loaded before the recording began; 125 error, unknown \
    name, or incomplete captures.\n\nThe answer is limited to the time and hosts that the captures cover."
)]
pub struct Args {
    /// Write JSON Lines, one object per name.
    #[arg(long)]
    json: bool,
    /// Show the hosts that used each module, one per line, instead of the programs.
    #[arg(long, value_enum, value_name = "WHAT")]
    by: Option<By>,
    /// Modules or aliases, then captures: files, directories, or - for standard input [default: /var/log/kmodtrace].
    #[arg(required = true, value_name = "NAME|FILE")]
    words: Vec<OsString>,
}

/// The rows of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum By {
    /// A host.
    Host,
}

/// One line of the JSON form.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    answer: Answer,
    /// The hosts of the captures.
    hosts: &'a BTreeSet<String>,
    /// The time that the captures cover.
    covered: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<&'a [ModuleUser]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_host: Option<&'a [HostUsage]>,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (files, names): (Vec<&OsString>, Vec<&OsString>) = args.words.iter().partition(|word| is_capture(word));
    let mut files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
    if files.is_empty() {
        files.push(PathBuf::from(CAPTURES));
    }
    if names.is_empty() {
        bail!(
            "missing NAME: expected a module or alias before the captures, e.g. kmodtrace impact nf_conntrack {}",
            files[0].display()
        );
    }
    let (needs, captures) = collect_usage(&files)?;
    captures.warn();
    let covered = needs.coverage();
    let kernel = Resolver::installed(&SystemInfo::default());
    let mut text = String::new();
    let mut answers = Vec::new();
    for name in names {
        let name = name.to_string_lossy();
        let found = needs.users_of(&name);
        let answer = Answer::of(&name, &found, &needs, &captures, kernel.as_ref().ok());
        let hosts = args.by.map(|By::Host| needs.by_host(&name));
        if args.json {
            let by_host = hosts.as_deref();
            let needs = by_host.is_none().then_some(found.as_slice());
            let line =
                Line { name: &name, answer, hosts: covered.hosts(), covered: &covered.describe(), needs, by_host };
            text += &serde_json::to_string(&line).context("cannot write the answer as JSON")?;
            text.push('\n');
        } else {
            let shown = if hosts.is_some() { &[] } else { found.as_slice() };
            human(&mut text, &name, answer, shown, &covered.describe());
            by_host(&mut text, hosts.as_deref().unwrap_or_default());
        }
        answers.push((answer, name));
    }
    print::stdout(&text)?;
    notice(&hosts_and_time(covered));
    if let Some((_, name)) = answers.iter().find(|(answer, _)| *answer == Answer::UnknownName) {
        bail!(
            "unknown name {}: neither the captures nor the modules of this kernel have it",
            quoted(&Text::from(&**name))
        );
    }
    if answers.iter().any(|(answer, _)| *answer == Answer::Incomplete) {
        captures.require_complete("confirm that a module is unused")?;
    }
    let is_free = answers.iter().all(|(answer, _)| *answer == Answer::NotNeeded);
    Ok(if is_free { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

/// Maximum number of hosts that are named.
const HOSTS_SHOWN: usize = 6;

/// What the answers are limited to.
fn hosts_and_time(covered: &Coverage) -> String {
    let named: Vec<String> = covered.hosts().iter().take(HOSTS_SHOWN).map(|host| escape_str(host)).collect();
    let more = covered.hosts().len().saturating_sub(HOSTS_SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = if named.is_empty() { String::new() } else { format!(" ({}{rest})", named.join(", ")) };
    format!("the captures cover {}{names}", covered.describe())
}

/// The result for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// A process needed it.
    Needed,
    /// It was loaded before the recording began, by an unknown process.
    Present,
    /// No process needed it, and the evidence is complete.
    NotNeeded,
    /// No process needed it, but the evidence is incomplete.
    Incomplete,
    /// Neither the captures nor this kernel know the name.
    UnknownName,
}

impl Answer {
    fn of(name: &str, found: &[ModuleUser], needs: &Usage, captures: &Captures, kernel: Option<&Resolver>) -> Self {
        let is_known = || {
            needs.mentions(name)
                || kernel.is_some_and(|kernel| {
                    let module = name.replace('-', "_");
                    kernel.index().file(&module).is_some()
                        || !matches!(resolve(kernel.config(), kernel.index(), name.as_bytes()), Resolution::NotFound)
                })
        };
        if !found.is_empty() {
            Self::Needed
        } else if needs.was_present(name) {
            Self::Present
        } else if captures.issues.doubts().next().is_some() {
            Self::Incomplete
        } else if is_known() {
            Self::NotNeeded
        } else {
            Self::UnknownName
        }
    }
}

/// Whether an argument is a capture rather than a name. Without `/` and the extension of a capture, its content decides, since
/// the name of a module may also be that of a file.
fn is_capture(word: &OsString) -> bool {
    let path = Path::new(word);
    let text = word.to_string_lossy();
    text == "-" || text.contains('/') || files::is_capture(path) || text.ends_with(".zst") || holds_events(path)
}

/// Whether a file begins with an event, or a directory has captures.
fn holds_events(path: &Path) -> bool {
    if path.is_dir() {
        return !files::list(&[path.to_owned()]).files.is_empty();
    }
    // Reading from a pipe would consume its beginning.
    path.is_file()
        && File::open(path).is_ok_and(|file| {
            let section = Sections::new(file).next_section(true);
            let batch = section
                .ok()
                .flatten()
                .map(|section| Batcher::new(None, RandomState::new(), false).map(|mut batcher| batcher.batch(section)));
            batch.and_then(Result::ok).is_some_and(|batch| {
                batch.parts.iter().flat_map(|part| &part.lines).any(|line| matches!(line.content, Content::Event(_)))
            })
        })
}

/// Collects the usage of modules from captures.
pub(in crate::cli) fn collect_usage(files: &[PathBuf]) -> anyhow::Result<(Usage, Captures)> {
    let mut collector = UsageCollector(Usage::default());
    let captures = read_captures(files, None, &mut collector)?;
    let UsageCollector(needs) = collector;
    if needs.dropped() > 0 {
        let dropped = output::count(needs.dropped(), "request", "requests");
        notice(&format!("warning: too many requesters: {dropped} of further requesters not counted"));
    }
    Ok((needs, captures))
}

struct UsageCollector(Usage);

impl Consumer for UsageCollector {
    fn item(&mut self, item: &Item, stream: &StreamInfo) -> io::Result<()> {
        self.0.push(item, stream.host(), stream.id);
        Ok(())
    }
}

fn human(out: &mut String, name: &str, answer: Answer, needs: &[ModuleUser], covered: &str) {
    let name = escape_str(name);
    match answer {
        Answer::Needed => out.push_str(&format!("{name}: needed by\n")),
        Answer::Present => {
            out.push_str(&format!("{name}: loaded before the recording began, by an unknown process ({covered})\n"));
        }
        Answer::NotNeeded => out.push_str(&format!("{name}: no process needed it in {covered}\n")),
        Answer::Incomplete => out.push_str(&format!("{name}: unknown: the evidence is incomplete\n")),
        Answer::UnknownName => out.push_str(&format!("{name}: unknown name\n")),
    }
    for need in needs {
        let unit = if need.unit.is_empty() { String::new() } else { format!(", {}", escape_str(&need.unit)) };
        let what = match (&need.alias, need.as_dependency) {
            (None, _) => "loaded explicitly".to_owned(),
            (Some(alias), false) => format!("asked for {}", escape_str(alias)),
            (Some(alias), true) => format!("as a dependency of {}", escape_str(alias)),
        };
        let hosts = if need.hosts > 1 { format!(" on {} hosts", need.hosts) } else { String::new() };
        let last = need.last.map_or_else(String::new, |last| format!(", last {last:.0}"));
        out.push_str(&format!(
            "  {} ({}{unit}): {what}, {}{hosts}{last}\n",
            escape_str(&need.program),
            escape_str(&need.user),
            times(need.count, need.loaded)
        ));
    }
}

/// A line for each host.
fn by_host(out: &mut String, hosts: &[HostUsage]) {
    for HostUsage { host, count, requesters, last } in hosts {
        let host = if host.is_empty() { "a host without a name".to_owned() } else { escape_str(host) };
        let requesters = output::count(*requesters, "requester", "requesters");
        out.push_str(&format!("  on {host}: {}, {requesters}, last {last:.0}\n", times(*count, *count)));
    }
}

/// The number of uses, and of those that found the module loaded.
fn times(count: u64, loaded: u64) -> String {
    let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
    match (count, loaded) {
        (_, 0) => format!("{times}, loaded already"),
        (count, loaded) if loaded < count => format!("{times}, of which {} loaded already", count - loaded),
        _ => times,
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, HostUsage, ModuleUser, by_host, human, is_capture, times};

    /// The answer lists programs, and hostile names are escaped.
    #[test]
    fn answer_hostile_name_is_escaped() {
        let mut text = String::new();
        human(&mut text, "vfat", Answer::NotNeeded, &[], "1 host");
        let need = ModuleUser {
            program: "/bin/a\nb".to_owned(),
            user: "root".to_owned(),
            unit: "x.service".to_owned(),
            alias: Some("fs-vfat".to_owned()),
            as_dependency: true,
            count: 3,
            loaded: 1,
            hosts: 1,
            last: Some("2026-03-01T12:04:31.2Z".parse().unwrap()),
        };
        human(&mut text, "fat", Answer::Needed, &[need], "1 host");
        assert_eq!(
            text,
            "vfat: no process needed it in 1 host\nfat: needed by\n  /bin/a\\nb (root, x.service): as a dependency of \
             fs-vfat, 3 times, of which 2 loaded already, last 2026-03-01T12:04:31Z\n"
        );
    }

    /// Each host is one line, also with a hostile name.
    #[test]
    fn host_is_printed_on_one_line() {
        let mut text = String::new();
        let last = "2026-03-01T12:04:31.2Z".parse().unwrap();
        let need = |host: &str, count| HostUsage { host: host.to_owned(), count, requesters: count, last };
        by_host(&mut text, &[need("lb\n1", 2), need("", 1)]);
        assert_eq!(
            text,
            "  on lb\\n1: 2 times, 2 requesters, last 2026-03-01T12:04:31Z\n  on a host without a name: once, 1 requester, \
             last 2026-03-01T12:04:31Z\n"
        );
    }

    /// Counts distinguish loads from uses of loaded modules.
    #[test]
    fn count_of_uses_names_loads() {
        for (count, loaded, words) in [
            (1, 1, "once"),
            (1, 0, "once, loaded already"),
            (4, 4, "4 times"),
            (4, 0, "4 times, loaded already"),
            (4, 3, "4 times, of which 1 loaded already"),
        ] {
            assert_eq!(times(count, loaded), words);
        }
    }

    /// Captures are distinguished from names by path, extension or content.
    #[test]
    fn word_is_capture_by_path_or_content() {
        for (word, file) in [
            ("nf_conntrack", false),
            ("net-pf-30", false),
            ("netdev-eth0.100", false),
            // A directory of this package, and a file, that hold no captures.
            ("src", false),
            ("Cargo.toml", false),
            ("-", true),
            ("a.jsonl", true),
            ("a.zst", true),
            ("./x", true),
        ] {
            assert_eq!(is_capture(&word.into()), file, "{word}");
        }
    }
}
