//! `kmodtrace surface FILE... --block`: one file for modprobe.d that keeps out what nobody needed.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, bail};

use super::{
    block::{put, some},
    captures::Captures,
    print,
    scratch::Scratch,
};
use crate::{
    kernel::facts::Facts,
    logging::say,
    modprobe::Resolver,
    modules::{
        DryRun, Entry, Machine, RequiredModules, SURFACE_FILE, Usage, blocklist::Rules, families::Access,
        unused_modules,
    },
    output::escape_str,
};

/// What is known of the surface and of needs.
pub(super) struct Found<'a> {
    pub(super) entries: &'a [Entry],
    pub(super) usage: &'a Usage,
    pub(super) required: &'a RequiredModules,
    pub(super) machine: &'a Machine,
    pub(super) resolver: &'a Resolver,
}

/// Prints the file, or puts it into a directory.
pub(super) fn run(found: &Found<'_>, directory: Option<&Path>) -> anyhow::Result<ExitCode> {
    let Found { entries, usage, required, machine, resolver } = found;
    let filters = usage.coverage().filters();
    if !filters.is_empty() {
        let filters: Vec<String> = filters.iter().map(|filter| escape_str(filter)).collect();
        bail!(
            "the captures were recorded with filters ({}): what these left out may have been needed; give captures \
             that tell everything",
            filters.join(" ")
        );
    }
    let parts = unused_modules(entries, required, resolver.config(), resolver.index(), machine);
    tell_coverage(usage);
    if parts.is_empty() {
        say("what can still be asked for here was needed: there is nothing to keep out");
        return Ok(ExitCode::SUCCESS);
    }
    let text = text(&parts, &resolver.modprobe().release, &usage.coverage().describe());
    let rules: Vec<&Rules> = parts.iter().map(|(_, rules)| rules).collect();
    let scratch = Scratch::new()?;
    let dry_run = DryRun::of_file(&text, &rules, required, resolver.modprobe(), &scratch.directory("surface")?)?;
    if !dry_run.holes.is_empty() {
        bail!(
            "modprobe would still load something of it, asked for {}: another line of its configuration is in the way \
             (see `modprobe --showconfig`), and nothing was written",
            some(&dry_run.holes)
        );
    }
    if !dry_run.broken.is_empty() {
        bail!(
            "with these lines {} would not load what it does now, and it is needed; nothing was written",
            some(&dry_run.broken)
        );
    }
    say(&format!(
        "{} modules kept out, {} names stay as they are; modprobe was tried with all {}",
        parts.len(),
        required.names().len(),
        dry_run.tried
    ));
    match directory {
        Some(directory) => put(directory, SURFACE_FILE, &text)?,
        None => print::stdout(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Captures of less time than this say nothing of what a machine needs, seconds: what runs once a day has not run.
const COVERED_SECONDS_MIN: i64 = 86_400;

/// An error unless the captures are complete, of this host, and of a day at least.
pub(super) fn require_evidence(usage: &Usage, captures: &Captures) -> anyhow::Result<()> {
    const FORCE: &str = "; --force goes on all the same";
    captures.require_complete("say what nothing needs").with_context(|| format!("nothing was written{FORCE}"))?;
    if captures.events() == 0 {
        bail!("the captures have no event, so they do not show what is needed{FORCE}");
    }
    let covered = usage.coverage();
    let here = Facts::default().hostname().context("the name of this host is unknown")?;
    if !covered.hosts().contains(&here) {
        bail!("none of the captures is of this host ({}){FORCE}", escape_str(&here));
    }
    if covered.seconds() < COVERED_SECONDS_MIN {
        bail!("the captures cover {}: less than a day does not show what is needed{FORCE}", covered.describe());
    }
    Ok(())
}

/// Says how much the captures know.
pub(super) fn tell_coverage(usage: &Usage) {
    let covered = usage.coverage();
    say(&format!("the captures cover {}; what runs at other times may need more", covered.describe()));
    let here = Facts::default().hostname();
    if let Ok(here) = here
        && !covered.hosts().contains(&here)
    {
        say(&format!("warning: none of the captures is of this host ({})", escape_str(&here)));
    }
}

/// Who can ask, short.
pub(super) const fn whom(access: Access) -> &'static str {
    match access {
        Access::Anyone => "anyone",
        Access::UserNamespace => "userns root",
        Access::DeviceNode => "device node",
        Access::Root => "root",
    }
}

/// What asks for it, and by which alias.
pub(super) fn asked_by(entry: &Entry) -> String {
    let alias = entry.aliases.first().map_or_else(String::new, |alias| escape_str(alias));
    let more = entry.aliases.len().saturating_sub(1);
    let others = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{} [{alias}{others}]", escape_str(&entry.action))
}

/// The file. Every line that holds a name from outside is a comment or was tried.
fn text(parts: &[(&Entry, Rules)], kernel: &str, covered: &str) -> String {
    let mut out = format!(
        "# kmodtrace surface --block: what users without privileges can make the kernel load here, and nobody needed.\n\
         # By captures of {covered}.\n\
         # Tried with modprobe for kernel {kernel}. What is needed at other times or elsewhere is kept out as well:\n\
         # remove its lines to let it in again. An initramfs has its own copy: update-initramfs -u.\n"
    );
    for (entry, rules) in parts {
        out.push_str(&format!("\n# {}, by {}\n", asked_by(entry), whom(entry.access)));
        for line in &rules.directives {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Access, Entry, Rules, text};
    use crate::modules::{BlockTarget, State};

    /// Check the file, and that a hostile alias stays within its comment.
    #[test]
    fn the_file_is_as_it_was_tried() {
        let entry = Entry {
            module: "tipc".to_owned(),
            access: Access::Anyone,
            state: State::Open,
            modules: vec!["tipc".to_owned()],
            aliases: vec!["net_pf_30\ninstall x /bin/evil".to_owned()],
            action: "socket(AF_TIPC)".to_owned(),
            family: "socket family",
        };
        let rules = Rules::new(BlockTarget::Module {
            module: "tipc".to_owned(),
            has_softdeps: false,
            aliases: Vec::new(),
            needed_by: Vec::new(),
            loaded: None,
        });
        let text = text(&[(&entry, rules)], "6.1.0", "1 host, 1 boot, 2 days from a to b");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["", "alias tipc off", "blacklist tipc", "install tipc /bin/false"]);
        assert!(text.contains("# socket(AF_TIPC) [net_pf_30\\ninstall x /bin/evil], by anyone\n"), "{text}");
        assert!(text.contains("# By captures of 1 host, 1 boot, 2 days from a to b.\n"));
    }
}
