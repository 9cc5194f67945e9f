//! `kmodtrace block NAME...`: lines for modprobe.d that keep a module out, tried before they are shown.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};

use super::{EXIT_VERDICT, print, scratch::Scratch};
use crate::{
    event::Text,
    kernel::facts::Facts,
    logging::say,
    modprobe::Resolver,
    modules::{
        BlockTarget, Blockability, DryRun, Machine,
        blocklist::{Rules, Written, file_name, initcall_of, write},
        classify,
    },
    output::{argument, escape_str},
};

/// Modules that are named in one line of talk.
const NAMES_SHOWN: usize = 12;

/// Arguments of `block`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The lines go to standard output, talk to standard error. Exit code: 0 every name is kept out, \
    1 one cannot be (built into the kernel, or nothing here provides it), 125 error. Loading a file by insmod is not \
    prevented: no configuration can."
)]
pub struct Args {
    /// Put the lines in place, a file for each name; what was there is kept as FILE.bak1, .bak2, ...
    #[arg(long)]
    write: bool,
    /// Where --write puts them.
    #[arg(long, value_name = "DIR", default_value = "/etc/modprobe.d")]
    dir: PathBuf,
    /// Modules, or aliases as the kernel asks for them.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<OsString>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let facts = Facts::default();
    let machine = Machine::read(&facts);
    let resolver = Resolver::installed(&facts).context("lines for modprobe.d cannot be tried here")?;
    let scratch = Scratch::new()?;

    let mut text = String::new();
    let mut all = true;
    for name in &args.names {
        let name = Text::from(name.as_bytes());
        let target = match classify(&name, resolver.config(), resolver.index(), &machine) {
            Blockability::Block(target) => target,
            Blockability::BuiltIn { module } => {
                say(&built_in(&module, &facts));
                all = false;
                continue;
            }
            Blockability::NotBlockable { why } => {
                say(&format!("{}: {why}", argument(&name)));
                all = false;
                continue;
            }
        };
        let rules = Rules::new(target);
        let directory = scratch.directory(rules.name())?;
        let dry_run = DryRun::of_rules(&rules, resolver.modprobe(), &directory)?;
        if !dry_run.holes.is_empty() {
            bail!(
                "modprobe would load {} all the same, asked for {}: another line of its configuration is in the way \
                 (see `modprobe --showconfig`), and nothing was written",
                escape_str(rules.name()),
                some(&dry_run.holes)
            );
        }
        tell(&rules, &dry_run);
        let lines = rules.text(&resolver.modprobe().release);
        if args.write {
            put(&args.dir, &file_name(rules.name()), &lines)?;
        } else {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&lines);
        }
    }
    print::stdout(&text)?;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

fn built_in(module: &str, facts: &Facts) -> String {
    let shown = escape_str(module);
    let way = match initcall_of(module, facts.root()) {
        Some(function) => format!("boot with initcall_blacklist={}", escape_str(&function)),
        None => {
            "boot with initcall_blacklist= and its init function (the argument of module_init() in its source; this \
                 kernel's symbols do not tell)"
                .to_owned()
        }
    };
    format!("{shown} is built into this kernel: nothing is loaded, and modprobe.d cannot help; {way}")
}

/// What a reader must know of the lines.
fn tell(rules: &Rules, dry_run: &DryRun) {
    let name = escape_str(rules.name());
    say(&format!("{name}: kept out; modprobe was tried with {} names for it", dry_run.tried));
    let BlockTarget::Module { module, needed_by, loaded, .. } = &rules.target else { return };
    if !needed_by.is_empty() {
        say(&format!("{name}: what needs it does not load either: {}", some(needed_by)));
    }
    let mut vain: Vec<String> = dry_run.partial_loads.iter().flat_map(|(_, modules)| modules).cloned().collect();
    vain.sort_unstable();
    vain.dedup();
    if !vain.is_empty() {
        say(&format!(
            "{name}: whoever asks for one of those still loads what comes before it, in vain: {}; block the one that \
             is asked for, too",
            some(&vain)
        ));
    }
    if *loaded == Some(true) {
        say(&format!("{name} is loaded now, and stays until `modprobe -r {}` or the next boot", escape_str(module)));
    }
}

/// The first of many names.
pub(super) fn some(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| escape_str(name)).collect();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    format!("{}{}", shown.join(" "), if more > 0 { format!(" and {more} more") } else { String::new() })
}

/// Puts a file where modprobe reads it.
pub(super) fn put(directory: &Path, file: &str, lines: &str) -> anyhow::Result<()> {
    if !fs::metadata(directory).is_ok_and(|directory| directory.is_dir()) {
        bail!("{} is not a directory: give one that modprobe reads, with --dir", directory.display());
    }
    let path = directory.join(file);
    let shown = path.display();
    match write(&path, lines)? {
        Written::New => say(&format!("wrote {shown}")),
        Written::Same => say(&format!("{shown} is there already, word for word")),
        Written::Replaced { backup } => say(&format!("wrote {shown}; what was there is {}", backup.display())),
    }
    Ok(())
}
