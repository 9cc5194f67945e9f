//! Completions and manual pages, from the definitions of the command line itself.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, print};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "bash: kmodtrace completions bash > /usr/share/bash-completion/completions/kmodtrace")]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "To read a page: kmodtrace man run | man -l -")]
pub struct ManArgs {
    /// Write every page into this directory, as kmodtrace.1, kmodtrace-run.1, ...
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
    /// The verb whose page is wanted; without one, the page of kmodtrace itself.
    #[arg(value_name = "VERB")]
    verb: Option<String>,
}

pub(super) fn completions(args: &CompletionArgs) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kmodtrace", &mut text);
    print::stdout(&String::from_utf8(text).context("the completion script is not text")?)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let pages = pages()?;
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        for (name, page) in &pages {
            let path = dir.join(format!("{name}.1"));
            fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = args.verb.as_ref().map_or_else(|| "kmodtrace".to_owned(), |verb| format!("kmodtrace-{verb}"));
    let Some((_, page)) = pages.iter().find(|(name, _)| *name == wanted) else {
        let verbs: Vec<&str> = pages.iter().filter_map(|(name, _)| name.strip_prefix("kmodtrace-")).collect();
        bail!("there is no page for {wanted:?}: the verbs are {}", verbs.join(", "));
    };
    print::stdout(page)?;
    Ok(ExitCode::SUCCESS)
}

/// Every page, by name.
fn pages() -> anyhow::Result<Vec<(String, String)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    // Building has named the verbs: `kmodtrace-run` for pages, `kmodtrace run` to type.
    let verbs = root.get_subcommands().cloned();
    let all: Vec<Command> = [root.clone()].into_iter().chain(verbs).collect();
    all.into_iter().map(page).collect()
}

fn page(command: Command) -> anyhow::Result<(String, String)> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    // Without a date, so that the same definitions give the same page.
    let man = clap_mangen::Man::new(command)
        .title(name.to_uppercase())
        .manual("kmodtrace")
        .source(concat!("kmodtrace ", env!("CARGO_PKG_VERSION")));
    man.render(&mut text).with_context(|| format!("cannot write the page of {name}"))?;
    Ok((name, String::from_utf8(text).context("a page is not text")?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, pages};

    /// Check that the definitions agree with each other.
    #[test]
    fn the_definitions_hold() {
        Cli::command().debug_assert();
    }

    /// Check that there is a page for each verb, that it names the verb's options, and that none is of `help`.
    #[test]
    fn each_verb_has_a_page() {
        let pages = pages().unwrap();
        let verbs = Cli::command().get_subcommands().count();
        assert_eq!(pages.len(), verbs + 1);
        let run = &pages.iter().find(|(name, _)| name == "kmodtrace-run").unwrap().1;
        assert!(run.contains("kmodtrace run") && run.contains("\\-\\-user"), "{run}");
    }
}
