//! `kmodtrace block NAME...`: prints modprobe.d rules that block modules, after a dry run with modprobe.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::{
    cli::{EXIT_VERDICT, io::print},
    event::Text,
    kernel::{modules, sysinfo::SystemInfo},
    logging::notice,
    modprobe::{Config, Resolver},
    modules::{
        BlockTarget, Blockability, DryRun, Loader, Machine, Mentions,
        blocklist::{Rules, Written, file_name, initcall_of, initramfs_command, unload_order, why_open, write},
        classify,
    },
    output::{argument, count, escape_str},
};

/// Maximum number of names in one message.
const NAMES_SHOWN: usize = 12;

/// Arguments of `block`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 all names are blocked; 1 at least one is not (built into the kernel, unknown, or the written rules do \
    not hold); 125 error.\n\nmodprobe.d does not affect insmod."
)]
pub struct Args {
    /// Install the rules, one file per name; old files are kept as FILE.bak1, .bak2, ... [default: print them].
    #[arg(long)]
    write: bool,
    /// Directory for --write.
    #[arg(long, value_name = "DIR", default_value = "/etc/modprobe.d")]
    dir: PathBuf,
    /// Modules, or aliases as requested by the kernel.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<OsString>,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let sysinfo = SystemInfo::default();
    let machine = Machine::read(&sysinfo);
    let resolver = Resolver::installed(&sysinfo).context("cannot try rules with modprobe")?;
    require_certainty(&resolver, args.write)?;

    let mentions = Mentions::read(sysinfo.root());
    let initramfs = initramfs_command(sysinfo.root());
    let mut text = String::new();
    let (mut all, mut is_written) = (true, false);
    for name in &args.names {
        let name = Text::from(name.as_bytes());
        let target = match classify(&name, resolver.config(), resolver.index(), &machine) {
            Blockability::Block(target) => target,
            Blockability::BuiltIn { module } => {
                notice(&built_in(&module, &sysinfo));
                all = false;
                continue;
            }
            Blockability::NotBlockable { why } => {
                notice(&format!("{}: {why}", argument(&name)));
                all = false;
                continue;
            }
        };
        let rules = Rules::new(target);
        let directory = temp_dir()?;
        let dry_run = DryRun::of_rules(&rules, resolver.modprobe(), directory.path())?;
        if !dry_run.holes.is_empty() {
            bail!(
                "cannot block {}: modprobe would still load it (via {}) because another configuration line takes \
                 precedence; see `modprobe --showconfig`",
                escape_str(rules.name()),
                join_truncated(&dry_run.holes)
            );
        }
        print_effects(&rules, &dry_run);
        print_mentions(&rules, &mentions, resolver.config());
        let lines = rules.text(&resolver.modprobe().release, initramfs);
        if args.write {
            let file = file_name(rules.name());
            install_file(&args.dir, &file, &lines)?;
            all &= holds(&escape_str(rules.name()), &[&rules], &args.dir.join(file))?;
            is_written = true;
        } else {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&lines);
        }
    }
    if let (true, Some(command)) = (is_written, initramfs) {
        notice(&format!("the initramfs has its own copy of the configuration: run `{command}`"));
    }
    print::stdout(&text)?;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

fn built_in(module: &str, sysinfo: &SystemInfo) -> String {
    let shown = escape_str(module);
    let way = match initcall_of(module, sysinfo.root()) {
        Some(function) => format!("boot with initcall_blacklist={}", escape_str(&function)),
        None => "boot with initcall_blacklist=FUNCTION, where FUNCTION is the argument of module_init() in its source"
            .to_owned(),
    };
    format!("cannot block {shown}: {shown} is built into this kernel; {way}")
}

/// Prints the effects of rules.
fn print_effects(rules: &Rules, dry_run: &DryRun) {
    let name = escape_str(rules.name());
    notice(&format!("{name}: blocked; dry run of modprobe with {}", count(dry_run.tried as u64, "name", "names")));
    let BlockTarget::Module { module, needed_by, loaded, .. } = &rules.target else { return };
    if !needed_by.is_empty() {
        notice(&format!("{name}: dependent modules are blocked as well: {}", join_truncated(needed_by)));
    }
    let mut futile: Vec<String> = dry_run.partial_loads.iter().flat_map(|(_, modules)| modules).cloned().collect();
    futile.sort_unstable();
    futile.dedup();
    if !futile.is_empty() {
        notice(&format!(
            "{name}: requests for those modules still load {} before failing; block them as well",
            join_truncated(&futile)
        ));
    }
    if *loaded == Some(true) {
        let all = modules::load(Path::new("/")).map(|loaded| loaded.modules).unwrap_or_default();
        let order: Vec<String> = unload_order(module, &all).iter().map(|name| escape_str(name)).collect();
        // With these lines in place, `modprobe -r` does nothing, and exits with 0.
        notice(&format!("{name}: loaded now; it stays until `rmmod {}` or the next boot", order.join(" ")));
    }
}

/// Warns of other files that name a module, and of copies of the configuration.
fn print_mentions(rules: &Rules, mentions: &Mentions, config: &Config) {
    let BlockTarget::Module { module, .. } = &rules.target else { return };
    let name = escape_str(module);
    for mention in mentions.of(module, config) {
        let place = escape_str(&mention.place());
        notice(&match mention.loader {
            Loader::ModulesLoad => {
                format!("{name}: warning: named in {place}: systemd-modules-load fails at boot; remove it there")
            }
            Loader::Initramfs => format!(
                "{name}: warning: named in {place}: the initramfs may load it before these rules count; remove it there, and \
                 build the initramfs again"
            ),
            Loader::Udev => format!("{name}: warning: named in {place}: udev tries to load it, and fails"),
            Loader::Unit => format!("{name}: warning: named in {place}: the unit tries to load it, and fails"),
        });
    }
}

/// Asks the kernel's helper itself, in its own view and without other configuration, whether rules hold that are written. Prints why
/// they do not.
pub(in crate::cli) fn holds(what: &str, rules: &[&Rules], path: &Path) -> anyhow::Result<bool> {
    let after = Resolver::installed(&SystemInfo::default()).context("cannot verify the rules with modprobe")?;
    let found = DryRun::in_place(rules, after.modprobe()).context("cannot verify the rules with modprobe")?;
    if found.holes.is_empty() {
        let asked = count(found.tried as u64, "name", "names");
        notice(&format!("{what}: verified with {}: none of {asked} loads it", after.modprobe().program.display()));
        return Ok(true);
    }
    let lines: Vec<&str> = rules.iter().flat_map(|rules| &rules.directives).map(String::as_str).collect();
    notice(&format!(
        "{what}: not prevented: modprobe still loads it (via {}): {}",
        join_truncated(&found.holes),
        escape_str(&why_open(path, &lines, &found.holes, &after))
    ));
    Ok(false)
}

/// Rules are tried with a modprobe whose configuration is known. They are written only if that is the one that the kernel runs.
pub(in crate::cli) fn require_certainty(resolver: &Resolver, is_written: bool) -> anyhow::Result<()> {
    if !resolver.view().is_own() {
        bail!(
            "cannot try or write rules in this mount namespace: the kernel runs modprobe with the files of another one; run \
             kmodtrace on the host, for example by `nsenter -t 1 -m`"
        );
    }
    let doubts = resolver.doubts();
    if let Some(doubt) = &doubts.config {
        bail!("cannot try rules with modprobe: {}", escape_str(doubt));
    }
    for doubt in doubts.sentences() {
        if is_written {
            bail!("cannot determine what the kernel's helper would do with the rules: {}", escape_str(&doubt));
        }
        notice(&format!("not certain: {}", escape_str(&doubt)));
    }
    Ok(())
}

/// A temporary directory for a dry run of modprobe.
pub(in crate::cli) fn temp_dir() -> anyhow::Result<TempDir> {
    let made = tempfile::Builder::new().prefix("kmodtrace-").tempdir();
    made.context("cannot create a temporary directory; set TMPDIR to a writable directory")
}

/// The first names of a list, and the number of the others.
pub(in crate::cli) fn join_truncated(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| escape_str(name)).collect();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    format!("{}{}", shown.join(" "), if more > 0 { format!(" and {more} more") } else { String::new() })
}

/// Installs a file with rules.
pub(in crate::cli) fn install_file(directory: &Path, file: &str, lines: &str) -> anyhow::Result<()> {
    if !fs::metadata(directory).is_ok_and(|directory| directory.is_dir()) {
        bail!("cannot write to {}: not a directory; set --dir to one that modprobe reads", directory.display());
    }
    let path = directory.join(file);
    let shown = path.display();
    match write(&path, lines)? {
        Written::New => notice(&format!("wrote {shown}")),
        Written::Same => notice(&format!("{shown} is already up to date")),
        Written::Replaced { backup } => notice(&format!("wrote {shown}; the old file is {}", backup.display())),
    }
    Ok(())
}
