//! `kmodtrace surface FILE... --block`: one modprobe.d file that blocks the unused modules of the attack surface.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, bail};

use super::{
    block::{holds, install_file, join_truncated, require_certainty, temp_dir},
    surface_format::Format,
};
use crate::{
    cli::{
        EXIT_VERDICT,
        io::{capture_in::Captures, print},
    },
    kernel::sysinfo::SystemInfo,
    logging::notice,
    modprobe::Resolver,
    modules::{
        DryRun, Entry, Machine, RequiredModules, SURFACE_FILE, Usage,
        blocklist::{Rules, initramfs_command},
        families::Access,
        unused_modules,
    },
    output::{count, escape_str},
};

/// The surface and the usage of its modules.
pub(in crate::cli) struct Found<'a> {
    pub(in crate::cli) entries: &'a [Entry],
    pub(in crate::cli) usage: &'a Usage,
    pub(in crate::cli) required: &'a RequiredModules,
    pub(in crate::cli) machine: &'a Machine,
    pub(in crate::cli) resolver: &'a Resolver,
}

/// Prints the file, or installs it into a directory.
pub(in crate::cli) fn run(found: &Found<'_>, format: Format, install_into: Option<&Path>) -> anyhow::Result<ExitCode> {
    let Found { entries, usage, required, machine, resolver } = found;
    let filters = usage.coverage().filters();
    if !filters.is_empty() {
        let filters: Vec<String> = filters.iter().map(|filter| escape_str(filter)).collect();
        bail!(
            "cannot determine unused modules: the captures were recorded with filters ({}); use captures without filters",
            filters.join(" ")
        );
    }
    require_certainty(resolver, install_into.is_some())?;
    let parts = unused_modules(entries, required, resolver.config(), resolver.index(), machine);
    print_coverage(usage);
    if parts.is_empty() {
        notice("every reachable module is in use; nothing to block");
        return Ok(ExitCode::SUCCESS);
    }
    let initramfs = initramfs_command(Path::new("/"));
    let text = text(&parts, &resolver.modprobe().release, &usage.coverage().describe(), initramfs);
    let rules: Vec<&Rules> = parts.iter().map(|(_, rules)| rules).collect();
    let directory = temp_dir()?;
    let dry_run = DryRun::of_file(&text, &rules, required, resolver.modprobe(), directory.path())?;
    if !dry_run.holes.is_empty() {
        bail!(
            "cannot block the unused modules: modprobe would still load some (via {}) because another configuration \
             line takes precedence; see `modprobe --showconfig`",
            join_truncated(&dry_run.holes)
        );
    }
    if !dry_run.broken.is_empty() {
        bail!(
            "cannot block the unused modules: {} is in use and would no longer load its modules",
            join_truncated(&dry_run.broken)
        );
    }
    notice(&format!(
        "{} blocked, {} unaffected; dry run of modprobe with {}",
        count(parts.len() as u64, "module", "modules"),
        count(required.names().len() as u64, "name", "names"),
        count(dry_run.tried as u64, "name", "names")
    ));
    let Some(directory) = install_into else {
        print::stdout(&format.write(&text, required, &usage.coverage().describe()))?;
        return Ok(ExitCode::SUCCESS);
    };
    install_file(directory, SURFACE_FILE, &text)?;
    if let Some(command) = initramfs {
        notice(&format!("the initramfs has its own copy of the rules: run `{command}`"));
    }
    let holds = holds("the unused modules", &rules, &directory.join(SURFACE_FILE))?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

/// Minimum time covered by captures, seconds, so that daily jobs are included.
const COVERED_SECONDS_MIN: i64 = 86_400;

/// An error unless the captures are complete, from this host, and cover at least a day.
pub(in crate::cli) fn require_evidence(usage: &Usage, captures: &Captures) -> anyhow::Result<()> {
    const FORCE: &str = "; --force overrides this";
    captures.require_complete("determine unused modules").map_err(|error| anyhow::anyhow!("{error}{FORCE}"))?;
    if captures.events() == 0 {
        bail!("cannot determine unused modules: the captures have no events{FORCE}");
    }
    let covered = usage.coverage();
    let here = SystemInfo::default().hostname().context("cannot read the name of this host")?;
    if !covered.hosts().contains(&here) {
        bail!("cannot determine unused modules: no capture is from this host ({}){FORCE}", escape_str(&here));
    }
    let seconds = covered.seconds_of(&here);
    if seconds < COVERED_SECONDS_MIN {
        bail!(
            "cannot determine unused modules: the captures of this host cover {} hours without gaps, less than a day{FORCE}",
            seconds / 3600
        );
    }
    Ok(())
}

/// Prints the coverage of the captures.
pub(in crate::cli) fn print_coverage(usage: &Usage) {
    let covered = usage.coverage();
    notice(&format!("the captures cover {}; other times may need more modules", covered.describe()));
    let here = SystemInfo::default().hostname();
    if let Ok(here) = here
        && !covered.hosts().contains(&here)
    {
        notice(&format!("warning: no capture is from this host ({})", escape_str(&here)));
    }
}

/// Short name of an access class.
pub(in crate::cli) const fn access_name(access: Access) -> &'static str {
    match access {
        Access::Anyone => "anyone",
        Access::UserNamespace => "userns root",
        Access::DeviceNode => "device node",
        Access::Root => "root",
    }
}

/// The action that requests a module, and its aliases.
pub(in crate::cli) fn asked_by(entry: &Entry) -> String {
    let alias = entry.aliases.first().map_or_else(String::new, |alias| escape_str(alias));
    let more = entry.aliases.len().saturating_sub(1);
    let others = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{} [{alias}{others}]", escape_str(&entry.action))
}

/// The text of the file. Lines with foreign names are comments or were tried with modprobe.
fn text(parts: &[(&Entry, Rules)], kernel: &str, covered: &str, initramfs: Option<&str>) -> String {
    let copy = initramfs.map_or_else(String::new, |command| format!(" The initramfs has its own copy: {command}."));
    let mut out = format!(
        "# kmodtrace surface --block: unused modules that unprivileged users can make the kernel load.\n\
         # Captures of {covered}.\n\
         # Tried with modprobe for kernel {kernel}. Modules that are needed at other times are blocked as well:\n\
         # remove their lines to allow them again.{copy}\n"
    );
    for (entry, rules) in parts {
        out.push_str(&format!("\n# {}, by {}\n", asked_by(entry), access_name(entry.access)));
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

    /// Each module has its rules and a comment, from which a hostile alias cannot escape.
    #[test]
    fn file_hostile_alias_stays_in_its_comment() {
        let entry = Entry {
            module: "tipc".to_owned(),
            access: Access::Anyone,
            who: "anyone".to_owned(),
            why: None,
            state: State::Open,
            blocks: Vec::new(),
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
        let text = text(&[(&entry, rules)], "6.1.0", "1 host, 1 boot, 2 days from a to b", Some("dracut -f"));
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["", "alias tipc off", "blacklist tipc", "install tipc /bin/false"]);
        assert!(text.contains("# socket(AF_TIPC) [net_pf_30\\ninstall x /bin/evil], by anyone\n"), "{text}");
        assert!(text.contains("again. The initramfs has its own copy: dracut -f.\n"), "{text}");
        assert!(text.contains("# Captures of 1 host, 1 boot, 2 days from a to b.\n"));
    }
}
