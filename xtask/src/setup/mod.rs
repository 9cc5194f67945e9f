//! `cargo xtask setup`: installs what is missing to build the eBPF object and to boot guests.
//!
//! It is safe to run again: each command that changes something is printed before it runs, and
//! nothing runs when nothing is missing. Where it may not or cannot install, it changes nothing and says what to install.

pub(crate) mod hints;
pub(crate) mod plan;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::plan::Plan;
use crate::requirements::{self, Purpose, Requirement};
use crate::shell;
use crate::system::{Family, System};
use crate::toolchain::{Survey, Toolchain};

/// What to set up.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Only what the build needs: no QEMU and nothing else that guests need
    #[arg(long)]
    no_rig: bool,
}

/// The verb: sets up, then says what is used.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    let toolchain = run(if options.no_rig { Purpose::Build } else { Purpose::Everything })?;
    eprintln!("ready: the eBPF object comes from {}", toolchain.describe());
    Ok(ExitCode::SUCCESS)
}

/// Makes the machine ready for a purpose, and returns the toolchain that the build will use. Quick and silent when nothing is
/// missing.
pub(crate) fn run(purpose: Purpose) -> Result<Toolchain> {
    let workspace = workspace();
    let survey = Survey::look(&workspace)?;
    let missing = requirements::missing(purpose);
    if let (Some(toolchain), []) = (survey.chosen(), missing.as_slice()) {
        return Ok(toolchain);
    }
    let system = System::look();
    if system.family == Family::Debian && system.is_root {
        refresh_lists(&survey, &missing);
    }
    let plan = Plan::make(&system, &survey, &missing);
    let Some(plan) = plan.filter(|plan| system.is_root || !plan.needs_root()) else {
        bail!("{}", hints::text(&workspace, &system, &survey, &missing));
    };
    for step in plan.steps() {
        // An error here says itself what to do.
        let mut command = plan.command(&workspace, step).context("set-up stopped; nothing was changed")?;
        if let Err(error) = shell::run(&mut command) {
            let commands = hints::indent(&plan.commands(&workspace, system.is_root));
            bail!("set-up stopped: {error:#}\nthe same by hand:\n{commands}");
        }
    }
    let survey = Survey::look(&workspace)?;
    let missing = requirements::missing(purpose);
    match (survey.chosen(), missing.as_slice()) {
        (Some(toolchain), []) => Ok(toolchain),
        _ => bail!("all was installed, yet:\n{}", hints::findings(&survey, &missing)),
    }
}

/// Fetches apt's lists before packages are looked up in them. A source of the machine that does not answer is no reason to
/// stop: whether the packages can be had shows in the next step.
fn refresh_lists(survey: &Survey, missing: &[&Requirement]) {
    let has_all_packages = missing.is_empty() && plan::linker_without_packages(survey).is_some();
    if has_all_packages {
        return;
    }
    if let Err(error) = shell::run(&mut crate::apt::host::update()) {
        eprintln!("xtask: {error:#}; going on with the package lists that are here");
    }
}

/// The workspace's root.
pub(crate) fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
