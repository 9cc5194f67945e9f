//! Options that all tracing verbs share, and the checked plan made of them.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use rustix::termios::tcgetwinsize;

use super::{outputs::create_live, select::SelectArgs};
use crate::{
    output::{Colour, JsonLines, Lines, Style, Tree, check_local},
    probe::{LogLevel, Preference},
    select::Selector,
    stream::Consumer,
    trace::TraceBuilder,
};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ColourChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum AttachChoice {
    /// The best way that works here.
    #[default]
    Auto,
    /// Kprobes alone, as on kernels without BPF trampolines.
    Kprobe,
    /// BPF trampolines and tracepoints wherever there is a choice, as on kernels without kprobes.
    Trampoline,
}

/// Options of every tracing verb.
#[derive(Debug, Args)]
pub(super) struct LiveArgs {
    /// Write events as JSON Lines, one object a line. With filters, those of a chain come when it has ended.
    #[arg(long, group = "view")]
    json: bool,
    /// Show each chain in full: who, from where, what was asked, each module, the result.
    #[arg(long, group = "view")]
    tree: bool,
    /// Show a line for each chain; storms of the same are one line with a count.
    #[arg(long, group = "view")]
    lines: bool,
    /// Write to FILE instead of the standard stream.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show the kernel stack of each request. Implies --tree.
    #[arg(long, conflicts_with_all = ["lines"])]
    stacks: bool,
    /// Give the frames of user stacks names, from the symbol tables of the requester's files. Implies --stacks.
    #[arg(long)]
    user_symbols: bool,
    /// Show times in UTC instead of local time.
    #[arg(long)]
    utc: bool,
    /// When to use colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: ColourChoice,
    #[command(flatten)]
    probe: ProbeArgs,
    #[command(flatten)]
    select: SelectArgs,
}

/// Options of the probes.
#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// Size of the ring buffer between kernel and tool, in KiB (a power of two, 64 to 1048576).
    #[arg(long, value_name = "KIB", default_value_t = 4096, value_parser = ring_kib)]
    ring_kib: u32,
    /// How to attach the probes.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    attach: AttachChoice,
}

impl ProbeArgs {
    /// How to trace.
    pub(super) fn builder(&self, probe_log: bool) -> TraceBuilder {
        let preference = match self.attach {
            AttachChoice::Auto => Preference::Best,
            AttachChoice::Kprobe => Preference::KProbe,
            AttachChoice::Trampoline => Preference::Trampoline,
        };
        let log = if probe_log { LogLevel::Debug } else { LogLevel::Off };
        TraceBuilder::new().ring_bytes(self.ring_kib << 10).attach(preference).log(log)
    }
}

fn ring_kib(text: &str) -> Result<u32, String> {
    let kib: u32 = text.parse().map_err(|_| format!("{text:?} is not a whole number of KiB"))?;
    if kib.is_power_of_two() && (64..=1 << 20).contains(&kib) {
        Ok(kib)
    } else {
        Err("the ring's size must be a power of two from 64 to 1048576 KiB".to_owned())
    }
}

/// Where output goes when no file is named, and what it is when nothing is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Lines, as they come.
    Stdout,
    /// The tree: the traced command has stdout for itself.
    Stderr,
}

impl LiveArgs {
    /// How to trace.
    pub(super) fn builder(&self, probe_log: bool) -> TraceBuilder {
        self.probe.builder(probe_log).user_symbols(self.user_symbols)
    }

    /// Which chains are meant.
    pub(super) fn selector(&self) -> Selector {
        self.select.selector()
    }

    /// Opens the output.
    pub(super) fn open_output(&self, stream: Stream) -> anyhow::Result<Box<dyn Consumer>> {
        let (writer, terminal): (Box<dyn Write>, bool) = match (&self.output, stream) {
            (Some(path), _) => (Box::new(create_live(path)?), false),
            (None, Stream::Stdout) => (Box::new(io::stdout()), io::stdout().is_terminal()),
            (None, Stream::Stderr) => (Box::new(io::stderr()), io::stderr().is_terminal()),
        };
        if self.json {
            return Ok(Box::new(JsonLines::new(writer)));
        }
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = match self.color {
            ColourChoice::Always => Colour::Ansi,
            ColourChoice::Auto if terminal && !no_colour => Colour::Ansi,
            ColourChoice::Auto | ColourChoice::Never => Colour::None,
        };
        if !self.utc {
            check_local()?;
        }
        let has_utf8 = has_utf8_locale(|name| std::env::var_os(name));
        let style = Style {
            colour,
            unicode: terminal && has_utf8,
            ascii: !has_utf8,
            utc: self.utc,
            // With --utc it stands on the command line.
            names_zone: !self.utc,
            stacks: self.stacks || self.user_symbols,
            width: terminal.then(|| terminal_columns(stream)).flatten(),
        };
        if self.tree || self.stacks || self.user_symbols || (stream == Stream::Stderr && !self.lines) {
            return Ok(Box::new(Tree::new(writer, style)));
        }
        Ok(Box::new(Lines::new(writer, style)))
    }
}

/// Whether the locale's characters include those of box drawing: the first variable that is set decides.
pub(super) fn has_utf8_locale(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    let locale = set.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    locale.ends_with("utf-8") || locale.ends_with("utf8")
}

/// Columns of the terminal; `None` where it does not tell.
pub(super) fn terminal_columns(stream: Stream) -> Option<usize> {
    let size = match stream {
        Stream::Stdout => tcgetwinsize(io::stdout()),
        Stream::Stderr => tcgetwinsize(io::stderr()),
    };
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::has_utf8_locale;

    /// Check that the first variable that is set decides, and that an empty one is not set.
    #[test]
    fn the_locale_decides_on_characters() {
        for (variables, utf8) in [
            (&[][..], false),
            (&[("LANG", "C.UTF-8")], true),
            (&[("LANG", "de_DE.utf8")], true),
            (&[("LANG", "C.UTF-8"), ("LC_ALL", "C")], false),
            (&[("LANG", "C.UTF-8"), ("LC_ALL", "")], true),
            (&[("LC_CTYPE", "en_GB.UTF-8"), ("LANG", "C")], true),
        ] {
            let variable =
                |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value));
            assert_eq!(has_utf8_locale(variable), utf8, "{variables:?}");
        }
    }
}
