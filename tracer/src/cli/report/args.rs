//! Arguments of `report`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::super::{
    live::{ColourChoice, Stream, has_utf8_locale, terminal_columns},
    select::SelectArgs,
};
use crate::{
    output::{Colour, Style},
    report::{By, Sort},
};

/// What to roll up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ByChoice {
    /// Module, or alias where none came.
    Module,
    /// Executable of the requester.
    Exe,
    /// User.
    User,
    /// Systemd unit.
    Unit,
    /// Container.
    Container,
    /// Machine.
    Host,
}

impl From<ByChoice> for By {
    fn from(choice: ByChoice) -> Self {
        match choice {
            ByChoice::Module => Self::Module,
            ByChoice::Exe => Self::Exe,
            ByChoice::User => Self::User,
            ByChoice::Unit => Self::Unit,
            ByChoice::Container => Self::Container,
            ByChoice::Host => Self::Host,
        }
    }
}

/// The order of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SortChoice {
    /// Earliest first time first.
    First,
    /// Latest last time first.
    Last,
    /// Most often first.
    Count,
    /// Longest blocked first.
    Blocked,
    /// By name.
    Name,
}

impl From<SortChoice> for Sort {
    fn from(choice: SortChoice) -> Self {
        match choice {
            SortChoice::First => Self::First,
            SortChoice::Last => Self::Last,
            SortChoice::Count => Self::Count,
            SortChoice::Blocked => Self::Blocked,
            SortChoice::Name => Self::Name,
        }
    }
}

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Times: 2026-11-23, \"2026-11-23 10:00\", 10:00 (today), yesterday, \"yesterday 10:00\", -2h, \"2 hours ago\", @1795415443, \
RFC 3339.

Exit code: 0 the report was made, whatever is missing in the captures (that is told on standard error), 125 error.")]
pub struct Args {
    /// Captures: files, directories of them, or - for standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Roll the table up by one of its columns.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) by: Option<ByChoice>,
    /// The order of the table: by first time, or with --top by count, unless ORDER is given.
    #[arg(long, value_enum, value_name = "ORDER")]
    sort: Option<SortChoice>,
    /// Show at most N rows of the table: the most frequent ones, unless --sort gives another order.
    #[arg(long, value_name = "N", value_parser = rows)]
    pub(super) top: Option<usize>,
    /// Show chains as trees.
    #[arg(long, conflicts_with_all = ["lines", "json", "csv", "by"])]
    pub(super) tree: bool,
    /// Show chains, a line each.
    #[arg(long, conflicts_with = "by")]
    pub(super) lines: bool,
    /// Write JSON Lines: chains, or with --by rows of the table.
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,
    /// Write CSV: the table, or with --lines a record for each module and request.
    #[arg(long)]
    pub(super) csv: bool,
    /// Write one page that holds everything and opens offline.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write trace events for ui.perfetto.dev: a track for each requester, a slice for each request and init.
    #[arg(long, value_name = "FILE")]
    pub(super) perfetto: Option<PathBuf>,
    /// Write to FILE instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Only what was asked for at TIME or later.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) since: Option<String>,
    /// Only what was asked for before TIME.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) until: Option<String>,
    /// Only what came for the first time at TIME or later: modules, and requesters of modules. What was before is
    /// taken from the same captures.
    #[arg(long, value_name = "TIME", conflicts_with = "since", allow_hyphen_values = true)]
    pub(super) new_since: Option<String>,
    /// Go on reading what is being recorded, until Ctrl-C.
    #[arg(long)]
    pub(super) follow: bool,
    /// Show the kernel stack of each request. Implies --tree.
    #[arg(long, conflicts_with_all = ["lines", "csv", "by"])]
    pub(super) stacks: bool,
    /// Take and show times in UTC instead of local time.
    #[arg(long)]
    pub(super) utc: bool,
    /// When to use colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(super) color: ColourChoice,
    #[command(flatten)]
    pub(super) select: SelectArgs,
}

/// How many rows: one at least.
fn rows(text: &str) -> Result<usize, String> {
    let rows = text.parse().ok().filter(|rows| *rows > 0);
    rows.ok_or_else(|| format!("{text:?} is no number of rows, from 1 on"))
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    Tree,
    Lines,
    JsonChains,
    JsonRows,
    CsvRows,
    CsvRecords,
    None,
}

impl Args {
    /// The order of the table.
    pub(super) fn sort(&self) -> Sort {
        match (self.sort, self.top) {
            (Some(choice), _) => choice.into(),
            (None, Some(_)) => Sort::Count,
            (None, None) => Sort::First,
        }
    }

    /// What is written. What is followed is told as it happens, unless a table is asked for.
    pub(super) fn form(&self) -> Form {
        match self {
            Self { tree: true, .. } | Self { stacks: true, json: false, .. } => Form::Tree,
            Self { csv: true, lines: true, .. } => Form::CsvRecords,
            Self { csv: true, by: None, follow: true, .. } => Form::CsvRecords,
            Self { csv: true, .. } => Form::CsvRows,
            Self { json: true, by: Some(_), .. } => Form::JsonRows,
            Self { json: true, .. } => Form::JsonChains,
            Self { lines: true, .. } => Form::Lines,
            Self { follow: true, by: None, .. } => Form::Lines,
            Self { html: Some(_), by: None, .. } | Self { perfetto: Some(_), by: None, .. } => Form::None,
            _ => Form::Table,
        }
    }

    /// How it looks.
    pub(super) fn style(&self, is_terminal: bool) -> Style {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = match self.color {
            ColourChoice::Always => Colour::Ansi,
            ColourChoice::Auto if is_terminal && !no_colour => Colour::Ansi,
            ColourChoice::Auto | ColourChoice::Never => Colour::None,
        };
        let has_utf8 = has_utf8_locale(|name| std::env::var_os(name));
        Style {
            colour,
            unicode: is_terminal && has_utf8,
            ascii: !has_utf8,
            utc: self.utc,
            names_zone: false,
            stacks: self.stacks,
            width: is_terminal.then(|| terminal_columns(Stream::Stdout)).flatten(),
        }
    }
}

/// Standard input.
pub(super) fn is_stdin(path: &std::path::Path) -> bool {
    path.as_os_str() == "-"
}
