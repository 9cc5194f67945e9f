//! The help of kmodtrace itself: the verbs by purpose.

use std::fmt::Write as _;

use clap::{Command, CommandFactory, FromArgMatches};

use crate::cli::Cli;

/// Verbs by purpose.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Live", &["watch", "run", "record"]),
    ("Captures", &["report", "why", "verify", "recover", "snapshot", "diff"]),
    ("Tests", &["check", "policy"]),
    ("Prevention", &["explain", "impact", "surface", "block"]),
    ("System", &["doctor", "schema", "completions", "man", "help"]),
];

/// Exit codes of all verbs together.
const EXIT_CODES: &str = "Exit code: 0 success; 1 negative verdict (policy violated, capture not intact, unknown name, \
                          tracing not possible); 4 skipped (run --skip-if-unsupported); 124 timeout; 125 error, usage \
                          errors included. `run` without --policy exits as its command does.";

/// Columns of a verb's name, with the space before and after it.
const NAME_WIDTH: usize = 15;

impl Cli {
    /// The definition of the command line.
    #[must_use]
    pub fn definition() -> Command {
        let root = Self::command();
        let template = template(&root);
        root.help_template(template).after_help(EXIT_CODES)
    }

    /// Parses the arguments of this process.
    ///
    /// # Errors
    /// For usage errors, and for help and version, which clap treats as such.
    pub fn from_arguments() -> Result<Self, clap::Error> {
        let mut definition = Self::definition();
        let mut matches = definition.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut definition))
    }
}

/// clap lists all subcommands under one heading, therefore they are part of the template.
fn template(root: &Command) -> String {
    let header = root.get_styles().get_header();
    let literal = root.get_styles().get_literal();
    let mut verbs = String::new();
    for (group, names) in GROUPS {
        // Writing to a String cannot fail.
        let _ = writeln!(verbs, "{header}{group}:{header:#}");
        for name in names {
            let about = match *name {
                "help" => "Print this message or the help of a command".to_owned(),
                name => {
                    root.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string).unwrap_or_default()
                }
            };
            let space = " ".repeat(NAME_WIDTH.saturating_sub(name.len() + 2));
            let _ = writeln!(verbs, "  {literal}{name}{literal:#}{space}{about}");
        }
        verbs.push('\n');
    }
    format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{verbs}{header}Options:{header:#}\n{{options}}{{after-help}}"
    )
}

#[cfg(test)]
mod tests {
    use super::{Cli, CommandFactory, GROUPS};

    /// The groups contain every verb once, so that the help lists all of them.
    #[test]
    fn help_groups_contain_every_verb_once() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let root = Cli::command();
        let mut verbs: Vec<&str> = root.get_subcommands().map(clap::Command::get_name).chain(["help"]).collect();
        grouped.sort_unstable();
        verbs.sort_unstable();
        assert_eq!(grouped, verbs);
    }

    /// Each verb is one line of at most 100 columns, below the heading of its group.
    #[test]
    fn help_lists_one_line_per_verb() {
        let help = Cli::definition().render_help().to_string();
        for (group, names) in GROUPS {
            let (_, below) = help.split_once(&format!("\n{group}:\n")).unwrap();
            let listed: Vec<&str> = below
                .lines()
                .take_while(|line| !line.is_empty())
                .filter_map(|line| line.split_whitespace().next())
                .collect();
            assert_eq!(listed, names, "{help}");
        }
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}
