//! `cargo xtask setup`: installs missing requirements for building the eBPF object and booting guests.
//!
//! It is safe to repeat: each command that changes something is printed before it runs, and nothing runs if nothing is missing.
//! If it must not or cannot install, it changes nothing and prints what to install.

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

/// Options of the set-up.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Install only the requirements of the build, without QEMU and other requirements of guests.
    #[arg(long)]
    no_rig: bool,
}

/// Sets up, and prints the selected toolchain.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    let toolchain = run(if options.no_rig { Purpose::Build } else { Purpose::Everything })?;
    eprintln!("ready: the eBPF object comes from {}", toolchain.describe());
    Ok(ExitCode::SUCCESS)
}

/// Installs the requirements of a purpose, and returns the toolchain of the build. Fast and silent if nothing is missing.
pub(crate) fn run(purpose: Purpose) -> Result<Toolchain> {
    let workspace = workspace();
    let survey = Survey::detect(&workspace)?;
    let missing = requirements::missing(purpose);
    if let (Some(toolchain), []) = (survey.chosen(), missing.as_slice()) {
        return Ok(toolchain);
    }
    let system = System::detect();
    if system.family == Family::Debian && system.is_root {
        refresh_lists(&survey, &missing);
    }
    let plan = Plan::make(&system, &survey, &missing);
    let Some(plan) = plan.filter(|plan| system.is_root || !plan.needs_root()) else {
        bail!("{}", hints::text(&workspace, &system, &survey, &missing));
    };
    for step in plan.steps() {
        // This error already says what to do.
        let mut command = plan.command(&workspace, step).context("set-up stopped; nothing was changed")?;
        if let Err(error) = shell::run(&mut command) {
            let commands = hints::indent(&plan.commands(&workspace, system.is_root));
            bail!("set-up stopped: {error:#}\nto continue manually, run:\n{commands}");
        }
    }
    let survey = Survey::detect(&workspace)?;
    let missing = requirements::missing(purpose);
    match (survey.chosen(), missing.as_slice()) {
        (Some(toolchain), []) => Ok(toolchain),
        _ => bail!("requirements are still missing after the installation:\n{}", hints::findings(&survey, &missing)),
    }
}

/// Fetches apt's package lists before packages are looked up in them. A failure is not an error, because the next step shows
/// whether the packages are available.
fn refresh_lists(survey: &Survey, missing: &[&Requirement]) {
    let has_all_packages = missing.is_empty() && plan::linker_without_packages(survey).is_some();
    if has_all_packages {
        return;
    }
    if let Err(error) = shell::run(&mut crate::apt::host::update()) {
        eprintln!("xtask: {error:#}; continuing with the existing package lists");
    }
}

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
