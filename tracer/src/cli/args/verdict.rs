//! Shared by the verbs that evaluate a policy: verdict outputs, the kernel of expectations, the exit code.

use std::{
    cell::OnceCell,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;

use crate::{
    cli::{EXIT_ERROR, EXIT_SKIPPED, EXIT_VERDICT, io::output_files::OutputFiles},
    kernel::sysinfo::SystemInfo,
    logging::notice,
    modprobe::Resolver,
    output::verdict,
    policy::{Kernel, Lookup, Outcome, Verdict},
};

/// Writes a verdict in one format.
type Writer = fn(&Verdict, &mut dyn Write) -> io::Result<()>;

/// Outputs for a verdict, in addition to the summary on stderr.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Verdict (- is standard output; default: none)")]
#[group(requires = "policy")]
pub(in crate::cli) struct VerdictArgs {
    /// Write the verdict to FILE as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the verdict to FILE as KTAP, with one test per rule.
    #[arg(long, value_name = "FILE")]
    ktap: Option<PathBuf>,
    /// Write the verdict to FILE as JSON.
    #[arg(long, value_name = "FILE")]
    verdict: Option<PathBuf>,
    /// Print annotations for GitHub Actions to standard output.
    #[arg(long)]
    github: bool,
}

impl VerdictArgs {
    /// Opens all files, so that errors are reported before anything runs.
    pub(in crate::cli) fn open(&self, mut outputs: OutputFiles) -> anyhow::Result<VerdictOutputs> {
        let mut writers: Vec<(Box<dyn Write>, Writer)> = Vec::new();
        for (path, write) in
            [(&self.junit, verdict::junit as Writer), (&self.ktap, verdict::ktap), (&self.verdict, verdict::json)]
        {
            if let Some(path) = path {
                writers.push((outputs.open(path)?, write));
            }
        }
        if self.github {
            writers.push((Box::new(io::stdout()), verdict::github));
        }
        Ok(VerdictOutputs { writers, outputs })
    }
}

/// Open verdict outputs.
pub(in crate::cli) struct VerdictOutputs {
    writers: Vec<(Box<dyn Write>, Writer)>,
    outputs: OutputFiles,
}

impl VerdictOutputs {
    /// Adds JSON on standard output.
    pub(in crate::cli) fn print_json(&mut self) -> anyhow::Result<()> {
        let stdout = self.outputs.stdout()?;
        self.writers.push((Box::new(stdout), verdict::json));
        Ok(())
    }

    /// Writes the verdict to all outputs, and its summary to stderr.
    pub(in crate::cli) fn write(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        for line in verdict::summary(verdict) {
            notice(&line);
        }
        for (out, write) in &mut self.writers {
            match write(verdict, out).and_then(|()| out.flush()) {
                // A closed pipe does not change the verdict.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                result => result.context("cannot write the verdict")?,
            }
        }
        self.outputs.keep()
    }
}

/// The exit code of a verdict; `holds` if the policy holds.
pub(in crate::cli) const fn exit_code(outcome: Outcome, holds: u8) -> u8 {
    match outcome {
        Outcome::Holds => holds,
        Outcome::Violated => EXIT_VERDICT,
        Outcome::Error => EXIT_ERROR,
        Outcome::Skipped => EXIT_SKIPPED,
    }
}

/// An installed kernel, whose module indexes are read on the first lookup.
pub(in crate::cli) struct InstalledKernel {
    release: Result<String, String>,
    resolver: OnceCell<Result<Resolver, String>>,
}

impl InstalledKernel {
    /// The running kernel.
    pub(in crate::cli) fn running() -> Self {
        let release = SystemInfo::default().release().map_err(|error| error.to_string());
        Self { release, resolver: OnceCell::new() }
    }

    /// The kernel of a release.
    pub(in crate::cli) const fn of(release: String) -> Self {
        Self { release: Ok(release), resolver: OnceCell::new() }
    }

    /// An unknown kernel, with the reason.
    pub(in crate::cli) const fn unknown(why: String) -> Self {
        Self { release: Err(why), resolver: OnceCell::new() }
    }

    /// The reason why its modules are unknown, if they are.
    pub(in crate::cli) fn unknown_why(&self) -> Option<&str> {
        self.resolver().as_ref().err().map(String::as_str)
    }

    fn resolver(&self) -> &Result<Resolver, String> {
        self.resolver.get_or_init(|| {
            let release = self.release.clone()?;
            let sysinfo = SystemInfo::default();
            let is_running = sysinfo.release().is_ok_and(|running| running == release);
            let resolver = if is_running { Resolver::installed(&sysinfo) } else { Resolver::of_release(&release) };
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
