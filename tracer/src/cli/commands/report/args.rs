//! Arguments of `report`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{
    cli::args::{
        boot::BootArgs,
        select::SelectArgs,
        time::TIME_HELP,
        trace::{ColorChoice, Stream, has_utf8_locale, terminal_columns},
    },
    output::{Colour, Style},
    report::{By, Sort},
};

/// Column to group by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ByChoice {
    /// Module, or the alias if none was loaded.
    Module,
    /// Executable of the requester.
    Exe,
    /// User.
    User,
    /// User who logged in, kept across su and sudo.
    Login,
    /// Systemd unit.
    Unit,
    /// Container.
    Container,
    /// Host.
    Host,
}

impl From<ByChoice> for By {
    fn from(choice: ByChoice) -> Self {
        match choice {
            ByChoice::Module => Self::Module,
            ByChoice::Exe => Self::Exe,
            ByChoice::User => Self::User,
            ByChoice::Login => Self::Login,
            ByChoice::Unit => Self::Unit,
            ByChoice::Container => Self::Container,
            ByChoice::Host => Self::Host,
        }
    }
}

/// Order of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SortChoice {
    /// First occurrence, earliest first.
    First,
    /// Last occurrence, latest first.
    Last,
    /// Count, highest first.
    Count,
    /// Time blocked, longest first.
    Blocked,
    /// Name.
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
#[command(after_help = format!("\
Exit code: 0 success (incomplete captures are reported as warnings); 125 error.

{TIME_HELP}"))]
pub struct Args {
    /// Captures: files or directories; - is standard input [default: /var/log/kmodtrace].
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Group the table by a column [default: no grouping].
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) by: Option<ByChoice>,
    /// Sort the table [default: first, with --top: count].
    #[arg(long, value_enum, value_name = "ORDER")]
    sort: Option<SortChoice>,
    /// Show at most N rows of the table [default: all].
    #[arg(long, value_name = "N", value_parser = rows)]
    pub(super) top: Option<usize>,
    /// Show each chain in full.
    #[arg(long, conflicts_with_all = ["lines", "json", "csv", "by"])]
    pub(super) tree: bool,
    /// Show one line per chain.
    #[arg(long, conflicts_with = "by")]
    pub(super) lines: bool,
    /// Write JSON Lines: chains, or with --by the rows of the table.
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,
    /// Write CSV: the table, or with --lines one record per module and request.
    #[arg(long)]
    pub(super) csv: bool,
    /// Write a self-contained HTML page to FILE; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write trace events for ui.perfetto.dev to FILE; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) perfetto: Option<PathBuf>,
    /// Write to FILE [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) boot: BootArgs,
    /// Show chains from TIME on [default: all].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) since: Option<String>,
    /// Show chains before TIME [default: all].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) until: Option<String>,
    /// Show modules, and requesters of modules, that first occur in the captures at TIME or later [default: all].
    #[arg(long, value_name = "TIME", conflicts_with = "since", allow_hyphen_values = true)]
    pub(super) new_since: Option<String>,
    /// Keep reading captures that are being recorded, until Ctrl-C.
    #[arg(long)]
    pub(super) follow: bool,
    /// Show the kernel stack of each request; implies --tree.
    #[arg(long, conflicts_with_all = ["lines", "csv", "by"])]
    pub(super) stacks: bool,
    /// Read and show times in UTC [default: local time].
    #[arg(long)]
    pub(super) utc: bool,
    /// Use colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(super) color: ColorChoice,
    #[command(flatten)]
    pub(super) select: SelectArgs,
}

/// Parses a number of rows.
fn rows(text: &str) -> Result<usize, String> {
    let rows = text.parse().ok().filter(|rows| *rows > 0);
    rows.ok_or_else(|| "expected a number above 0".to_owned())
}

/// The form of the report.
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
    /// The effective order of the table.
    pub(super) fn sort(&self) -> Sort {
        match (self.sort, self.top) {
            (Some(choice), _) => choice.into(),
            (None, Some(_)) => Sort::Count,
            (None, None) => Sort::First,
        }
    }

    /// The effective form. --follow shows chains as they end, unless a table is requested.
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

    /// The effective style.
    pub(super) fn style(&self, is_terminal: bool) -> Style {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = match self.color {
            ColorChoice::Always => Colour::Ansi,
            ColorChoice::Auto if is_terminal && !no_colour => Colour::Ansi,
            ColorChoice::Auto | ColorChoice::Never => Colour::None,
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

/// Whether a path is `-`.
pub(super) fn is_stdin(path: &std::path::Path) -> bool {
    path.as_os_str() == "-"
}
