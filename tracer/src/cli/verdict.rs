//! What every verb that takes a policy shares: the outputs, the kernel that expectations are about, the exit code.

use std::{
    cell::OnceCell,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;

use super::{EXIT_ERROR, EXIT_SKIPPED, EXIT_VERDICT, outputs::Outputs};
use crate::{
    kernel::facts::Facts,
    logging::say,
    modprobe::{Modprobe, Resolver},
    output::verdict,
    policy::{Kernel, Lookup, Outcome, Verdict},
};

/// A function that writes a verdict in a format.
type Writer = fn(&Verdict, &mut dyn Write) -> io::Result<()>;

/// Where a verdict goes, besides the summary on stderr. `-` is standard output.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Verdict")]
#[group(requires = "policy")]
pub(super) struct VerdictArgs {
    /// Write the verdict as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the verdict as KTAP, a test for each rule.
    #[arg(long, value_name = "FILE")]
    ktap: Option<PathBuf>,
    /// Write the verdict as JSON.
    #[arg(long, value_name = "FILE")]
    verdict: Option<PathBuf>,
    /// Print annotations for GitHub Actions on standard output.
    #[arg(long)]
    github: bool,
}

impl VerdictArgs {
    /// Opens every file, so that one that cannot be written is told before anything runs.
    pub(super) fn open(&self, mut outputs: Outputs) -> anyhow::Result<Sinks> {
        let mut sinks: Vec<(Box<dyn Write>, Writer)> = Vec::new();
        for (path, write) in
            [(&self.junit, verdict::junit as Writer), (&self.ktap, verdict::ktap), (&self.verdict, verdict::json)]
        {
            if let Some(path) = path {
                sinks.push((outputs.open(path)?, write));
            }
        }
        if self.github {
            sinks.push((Box::new(io::stdout()), verdict::github));
        }
        Ok(Sinks { sinks, outputs })
    }
}

/// Opened outputs.
pub(super) struct Sinks {
    sinks: Vec<(Box<dyn Write>, Writer)>,
    outputs: Outputs,
}

impl Sinks {
    /// Writes the verdict as JSON on standard output, too.
    pub(super) fn print_json(&mut self) -> anyhow::Result<()> {
        let stdout = self.outputs.stdout()?;
        self.sinks.push((Box::new(stdout), verdict::json));
        Ok(())
    }

    /// Writes the verdict to all of them, and its summary to stderr.
    pub(super) fn put(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        for line in verdict::summary(verdict) {
            say(&line);
        }
        for (out, write) in &mut self.sinks {
            match write(verdict, out).and_then(|()| out.flush()) {
                // A reader that went away changes no verdict.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                result => result.context("cannot write the verdict")?,
            }
        }
        self.outputs.keep()
    }
}

/// The exit code of a verdict; a policy that holds has `holds`.
pub(super) const fn exit_code(outcome: Outcome, holds: u8) -> u8 {
    match outcome {
        Outcome::Holds => holds,
        Outcome::Violated => EXIT_VERDICT,
        Outcome::Error => EXIT_ERROR,
        Outcome::Skipped => EXIT_SKIPPED,
    }
}

/// A kernel by its release, whose modules are looked at when they are first asked about.
pub(super) struct InstalledKernel {
    release: Result<String, String>,
    resolver: OnceCell<Result<Resolver, String>>,
}

impl InstalledKernel {
    /// The running kernel.
    pub(super) fn running() -> Self {
        let release = Facts::default().release().map_err(|error| error.to_string());
        Self { release, resolver: OnceCell::new() }
    }

    /// A kernel of this release.
    pub(super) const fn of(release: String) -> Self {
        Self { release: Ok(release), resolver: OnceCell::new() }
    }

    /// One of which nothing is known.
    pub(super) const fn unknown(why: String) -> Self {
        Self { release: Err(why), resolver: OnceCell::new() }
    }

    /// Why nothing is known of its modules.
    pub(super) fn unknown_why(&self) -> Option<&str> {
        self.resolver().as_ref().err().map(String::as_str)
    }

    fn resolver(&self) -> &Result<Resolver, String> {
        self.resolver.get_or_init(|| {
            let release = self.release.clone()?;
            let facts = Facts::default();
            let is_running = facts.release().is_ok_and(|running| running == release);
            let resolver = if is_running {
                Resolver::installed(&facts)
            } else {
                Resolver::new(Modprobe::new(PathBuf::from("/sbin/modprobe"), release))
            };
            resolver.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
        })
    }
}

impl Kernel for InstalledKernel {
    fn look_up(&self, name: &str) -> Lookup {
        match self.resolver() {
            Ok(resolver) => resolver.look_up(name),
            Err(why) => Lookup::Unknown(why.clone()),
        }
    }
}
