//! Options shared by the tracing verbs.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use rustix::termios::tcgetwinsize;

use super::select::SelectArgs;
use crate::{
    cli::io::output_files::create_live,
    output::{Colour, JsonLines, Lines, Style, Tree, check_local},
    probe::{LogLevel, Preference},
    select::Selector,
    stream::Consumer,
    trace::TraceBuilder,
};

/// Use of colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ColorChoice {
    /// If output is a terminal and NO_COLOR is not set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Preferred attach method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum AttachMethod {
    /// The first method that this kernel supports.
    #[default]
    Auto,
    /// Kprobes only, as on kernels without BPF trampolines.
    Kprobe,
    /// BPF trampolines and tracepoints where possible, as on kernels without kprobes.
    Trampoline,
}

/// Options of every tracing verb.
#[derive(Debug, Args)]
pub(in crate::cli) struct TraceArgs {
    /// Write events as JSON Lines; with filters, the events of a chain are written when it ends.
    #[arg(long, group = "view")]
    json: bool,
    /// Show each chain in full: requester, ancestors, request, modules, result [default for run].
    #[arg(long, group = "view")]
    tree: bool,
    /// Show one line per chain; repeated requests are collapsed into one line with a count [default for watch].
    #[arg(long, group = "view")]
    lines: bool,
    /// Write to FILE [default: standard output for watch, standard error for run].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show the kernel stack of each request; implies --tree.
    #[arg(long, conflicts_with_all = ["lines"])]
    stacks: bool,
    /// Resolve user stacks with the symbol tables of the requester's files; implies --stacks.
    #[arg(long)]
    user_symbols: bool,
    /// Show times in UTC [default: local time].
    #[arg(long)]
    utc: bool,
    /// Use colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: ColorChoice,
    #[command(flatten)]
    probe: ProbeArgs,
    #[command(flatten)]
    select: SelectArgs,
}

/// Options of the probes.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProbeArgs {
    /// Size of the ring buffer in KiB, a power of two from 64 to 1048576.
    #[arg(long, value_name = "KIB", default_value_t = 4096, value_parser = ring_kib)]
    ring_kib: u32,
    /// Attach method of the probes.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    attach: AttachMethod,
    /// Read the kernel's type information from FILE, which must be made for exactly this kernel; for kernels built without
    /// CONFIG_DEBUG_INFO_BTF.
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
}

impl ProbeArgs {
    /// Trace settings.
    pub(in crate::cli) fn builder(&self, probe_log: bool) -> TraceBuilder {
        let preference = match self.attach {
            AttachMethod::Auto => Preference::Best,
            AttachMethod::Kprobe => Preference::KProbe,
            AttachMethod::Trampoline => Preference::Trampoline,
        };
        let log = if probe_log { LogLevel::Debug } else { LogLevel::Off };
        TraceBuilder::new().ring_bytes(self.ring_kib << 10).attach(preference).log(log).btf(self.btf.clone())
    }
}

fn ring_kib(text: &str) -> Result<u32, String> {
    let kib = text.parse().ok().filter(|kib: &u32| kib.is_power_of_two() && (64..=1 << 20).contains(kib));
    kib.ok_or_else(|| "expected a power of two from 64 to 1048576 (KiB)".to_owned())
}

/// Stream for output without --output; it also decides the default view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Stream {
    /// Default view: lines.
    Stdout,
    /// Default view: tree. The traced command owns stdout.
    Stderr,
}

impl TraceArgs {
    /// Trace settings.
    pub(in crate::cli) fn builder(&self, probe_log: bool) -> TraceBuilder {
        self.probe.builder(probe_log).user_symbols(self.user_symbols)
    }

    /// The filter for chains.
    pub(in crate::cli) fn selector(&self) -> Selector {
        self.select.selector()
    }

    /// Opens the output.
    pub(in crate::cli) fn open_output(&self, stream: Stream) -> anyhow::Result<Box<dyn Consumer>> {
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
            ColorChoice::Always => Colour::Ansi,
            ColorChoice::Auto if terminal && !no_colour => Colour::Ansi,
            ColorChoice::Auto | ColorChoice::Never => Colour::None,
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
            // With --utc the user already knows the zone.
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

/// Whether the locale is UTF-8, so that box drawing can be shown: the first variable that is set decides.
pub(in crate::cli) fn has_utf8_locale(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    let locale = set.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    locale.ends_with("utf-8") || locale.ends_with("utf8")
}

/// Columns of the terminal; `None` if unknown.
pub(in crate::cli) fn terminal_columns(stream: Stream) -> Option<usize> {
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

    /// The first non-empty variable decides.
    #[test]
    fn locale_first_set_variable_decides() {
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
