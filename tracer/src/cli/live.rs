//! Options that all tracing verbs share, and the checked plan made of them.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::{
    output::{Colour, JsonLines, Output, Tree, TreeOptions},
    probe::{LogLevel, Options, Preference},
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
    /// Write events as JSON Lines, one object a line, instead of the tree.
    #[arg(long)]
    json: bool,
    /// Write to FILE instead of the standard stream.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show the kernel stack of each request.
    #[arg(long)]
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
    /// Size of the ring buffer between kernel and tool, in KiB (a power of two, 64 to 1048576).
    #[arg(long, value_name = "KIB", default_value_t = 4096, value_parser = ring_kib)]
    ring_kib: u32,
    /// How to attach the probes.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    attach: AttachChoice,
}

fn ring_kib(text: &str) -> Result<u32, String> {
    let kib: u32 = text.parse().map_err(|_| format!("{text:?} is not a whole number of KiB"))?;
    if kib.is_power_of_two() && (64..=1 << 20).contains(&kib) {
        Ok(kib)
    } else {
        Err("the ring's size must be a power of two from 64 to 1048576 KiB".to_owned())
    }
}

/// Where output goes when no file is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    /// The traced command has stdout for itself.
    Stderr,
}

impl LiveArgs {
    /// How to load the probes.
    pub(super) fn probe_options(&self, probe_log: bool) -> Options {
        Options {
            ring_bytes: self.ring_kib << 10,
            preference: match self.attach {
                AttachChoice::Auto => Preference::Best,
                AttachChoice::Kprobe => Preference::KProbe,
                AttachChoice::Trampoline => Preference::Trampoline,
            },
            log: if probe_log { LogLevel::Debug } else { LogLevel::Off },
        }
    }

    /// Whether user stacks get names.
    pub(super) fn names_user_stacks(&self) -> bool {
        self.user_symbols
    }

    /// Opens the output.
    pub(super) fn open_output(&self, stream: Stream) -> anyhow::Result<Box<dyn Output>> {
        let (writer, terminal): (Box<dyn Write>, bool) = match (&self.output, stream) {
            (Some(path), _) => {
                let file = File::create(path).with_context(|| format!("cannot write to {}", path.display()))?;
                (Box::new(file), false)
            }
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
        let options = TreeOptions { colour, stacks: self.stacks || self.user_symbols, utc: self.utc };
        Ok(Box::new(Tree::new(writer, options)))
    }
}
