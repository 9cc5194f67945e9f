//! `cargo xtask doctor`: requirements that are present, missing or incompatible on this machine, and how to fix them.

use std::env;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use crate::requirements::{Part, REQUIREMENTS, Requirement};
use crate::setup::{self, plan::Plan};
use crate::system::System;
use crate::toolchain::probe::{self, Via};
use crate::toolchain::{Candidate, Survey};

/// Options of the report.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The state of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Present and compatible.
    Ok,
    /// Required and missing.
    Missing,
    /// Present and incompatible.
    Mismatch,
    /// Missing, but an alternative is present.
    Unused,
}

/// One row of the report.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Prints the report. The exit code is 1 if a requirement is missing.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    let workspace = setup::workspace();
    let system = System::detect();
    let survey = Survey::detect(&workspace)?;
    let missing: Vec<&Requirement> = REQUIREMENTS.iter().filter(|one| one.find().is_none()).collect();
    let toolchain_fix = toolchain_fix(&workspace, &system, &survey);
    let mut rows = vec![row("system", State::Ok, system.name.clone()), compiler_row()?];
    rows.extend(toolchain_rows(&survey, &toolchain_fix));
    rows.extend(REQUIREMENTS.iter().map(|one| requirement_row(&system, one)));
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows).context("cannot serialize the report")?);
    } else {
        print!("{}", table(&rows));
    }
    let is_ready = survey.chosen().is_some() && missing.is_empty();
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(name: impl Into<String>, state: State, found: impl Into<String>) -> Row {
    Row { name: name.into(), state, found: found.into(), fix: None }
}

/// The row of the compiler that builds everything but the eBPF object.
fn compiler_row() -> Result<Row> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = probe::query(Command::new(&rustc).arg("-V"))?;
    let path = probe::find_program(&rustc.to_string_lossy());
    let path = path.map(|path| format!(", {}", path.display())).unwrap_or_default();
    Ok(row("rustc", State::Ok, format!("{}{path}", version.trim())))
}

/// The command that installs a toolchain, or the manual commands.
fn toolchain_fix(workspace: &Path, system: &System, survey: &Survey) -> String {
    match Plan::make(system, survey, &[]) {
        Some(plan) if system.is_root || !plan.needs_root() => "cargo xtask setup".to_owned(),
        Some(plan) => plan.commands(workspace, system.is_root).join(" && "),
        None => setup::hints::by_hand(system, survey, &[]).join(" && "),
    }
}

fn toolchain_rows(survey: &Survey, fix: &str) -> Vec<Row> {
    if let Some(object) = &survey.given {
        return vec![row("eBPF object", State::Ok, object.display().to_string())];
    }
    let is_ready = survey.chosen().is_some();
    let mut rows: Vec<_> = survey.candidates.iter().flat_map(|candidate| candidate_rows(candidate, is_ready)).collect();
    if let Some(last) = rows.last_mut().filter(|_| !is_ready) {
        last.fix = Some(fix.to_owned());
    }
    rows
}

/// The rows of a compiler and its linker.
fn candidate_rows(candidate: &Candidate, is_ready: bool) -> Vec<Row> {
    let unfit = |state| if is_ready { State::Unused } else { state };
    let name = match &candidate.via {
        Via::Rustup(name) => format!("eBPF compiler {name}"),
        Via::Path => "eBPF compiler on PATH".to_owned(),
    };
    let compiler = match &candidate.compiler {
        Ok(compiler) => {
            let bootstrap =
                if compiler.needs_bootstrap() { ", with RUSTC_BOOTSTRAP=1 for the eBPF object only" } else { "" };
            let found =
                format!("{}, LLVM {}, {}{bootstrap}", compiler.release, compiler.llvm_major, compiler.rustc.display());
            row(name, State::Ok, found)
        }
        Err(error) => row(name, unfit(State::Missing), format!("{error:#}")),
    };
    let linker = candidate.linker.as_ref().map(|linker| match linker {
        Ok(linker) => row("bpf-linker", State::Ok, format!("LLVM {}, {}", linker.llvm_major, linker.path.display())),
        Err(error) => row("bpf-linker", unfit(State::Mismatch), format!("{error:#}")),
    });
    std::iter::once(compiler).chain(linker).collect()
}

fn requirement_row(system: &System, requirement: &Requirement) -> Row {
    let needed_by = match requirement.part {
        Part::Build => "the build",
        Part::Fetch | Part::Guests => "the demo and the tests",
        Part::Tests => "the tests",
        Part::Parsers => "`cargo xtask parsers`",
    };
    match requirement.find() {
        Some(path) => row(requirement.name(), State::Ok, path.display().to_string()),
        None => Row {
            fix: setup::hints::install(system, &[requirement]),
            ..row(requirement.name(), State::Missing, format!("for {needed_by}: {}", requirement.reason))
        },
    }
}

/// Formats the rows in columns, each fix below its row.
fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let state = match row.state {
            State::Ok => "ok",
            State::Missing => "MISSING",
            State::Mismatch => "MISMATCH",
            State::Unused => "unused",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:width$}  {state:8}  {}", row.name, row.found);
        if let Some(fix) = &row.fix {
            let _ = writeln!(text, "{:width$}  {:8}  fix: {fix}", "", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::toolchain::probe::Compiler;

    fn candidate(linker: Result<probe::Linker>) -> Candidate {
        let compiler =
            Compiler { via: Via::Path, rustc: "/usr/bin/rustc".into(), release: "1.96.0".to_owned(), llvm_major: 22 };
        Candidate { via: Via::Path, compiler: Ok(compiler), linker: Some(linker) }
    }

    #[test]
    fn incompatible_linker_is_a_mismatch_with_fix() {
        let candidates = vec![candidate(Err(anyhow!("bpf-linker has LLVM 23")))];
        let rows = toolchain_rows(&Survey { given: None, is_named: false, candidates }, "cargo xtask setup");
        assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), [State::Ok, State::Mismatch]);
        assert_eq!(rows[1].fix.as_deref(), Some("cargo xtask setup"));
        assert!(table(&rows).ends_with("fix: cargo xtask setup\n"));
    }

    #[test]
    fn missing_compiler_with_alternative_is_unused() {
        let absent =
            Candidate { via: Via::Rustup("nightly".to_owned()), compiler: Err(anyhow!("no rust-src")), linker: None };
        let linker = probe::Linker { path: "/usr/bin/bpf-linker".into(), llvm_major: 22 };
        let candidates = vec![absent, candidate(Ok(linker))];
        let rows = toolchain_rows(&Survey { given: None, is_named: false, candidates }, "cargo xtask setup");
        assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), [State::Unused, State::Ok, State::Ok]);
        assert!(rows.iter().all(|row| row.fix.is_none()));
    }
}
