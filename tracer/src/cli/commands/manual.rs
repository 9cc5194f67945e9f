//! Completions and manual pages, generated from the definition of the command line.

mod help;
mod page;
mod sections;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Command;
use clap_complete::Shell;

use crate::cli::{Cli, io::print};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0; 125 error.")]
pub struct CompletionArgs {
    /// Shell to write the completions for.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0; 125 error.\n\nTo read a page: kmodtrace man run | man -l -")]
pub struct ManArgs {
    /// Write all pages into this directory, as kmodtrace.1, kmodtrace-run.1, ...
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
    /// Verb to print the page of, e.g. run or policy-learn [default: kmodtrace itself].
    #[arg(value_name = "VERB")]
    verb: Option<String>,
}

pub(in crate::cli) fn completions(args: &CompletionArgs) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::definition(), "kmodtrace", &mut text);
    print::stdout(&String::from_utf8(text).context("cannot write the completions")?)?;
    Ok(ExitCode::SUCCESS)
}

pub(in crate::cli) fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let pages = pages()?;
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        for (name, page) in &pages {
            let path = dir.join(format!("{name}.1"));
            fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = args.verb.as_ref().map_or_else(|| "kmodtrace".to_owned(), |verb| format!("kmodtrace-{verb}"));
    let Some((_, page)) = pages.iter().find(|(name, _)| *name == wanted) else {
        let verbs: Vec<&str> = pages.iter().filter_map(|(name, _)| name.strip_prefix("kmodtrace-")).collect();
        bail!("invalid VERB {:?}: expected one of {}", args.verb.as_deref().unwrap_or_default(), verbs.join(", "));
    };
    print::stdout(page)?;
    Ok(ExitCode::SUCCESS)
}

/// All pages, by name.
fn pages() -> anyhow::Result<Vec<(String, String)>> {
    let mut root = Cli::definition().disable_help_subcommand(true);
    // Also names the verbs: `kmodtrace-run` for pages, `kmodtrace run` for usage lines.
    root.build();
    let mut commands = vec![root];
    let mut next = 0;
    while let Some(command) = commands.get(next) {
        let verbs: Vec<Command> = command.get_subcommands().cloned().collect();
        commands.extend(verbs);
        next += 1;
    }
    commands.into_iter().map(page::render).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cli, pages};

    /// The definition passes clap's own consistency checks.
    #[test]
    fn definition_is_consistent() {
        Cli::definition().debug_assert();
    }

    /// Every verb, nested ones included, has a page with its options, examples, exit codes and related pages.
    #[test]
    fn every_verb_has_a_complete_page() {
        let pages = pages().unwrap();
        let definition = Cli::definition();
        let nested = definition.get_subcommands().flat_map(clap::Command::get_subcommands).count();
        assert_eq!(pages.len(), 1 + definition.get_subcommands().count() + nested);
        for (name, page) in &pages {
            for section in ["SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"] {
                assert!(
                    page.contains(&format!(".SH \"{section}\"")) || page.contains(&format!(".SH {section}")),
                    "{name}: {section}"
                );
            }
        }
        let run = &pages.iter().find(|(name, _)| name == "kmodtrace-run").unwrap().1;
        assert!(run.contains("kmodtrace run") && run.contains("\\-\\-user"), "{run}");
    }
}
