//! `cargo xtask kernels`: which program is attached how on which kernel, and what it costs the verifier.
//!
//! The numbers live in `tests/kernels.json`, made by asking `kmodtrace doctor` in a guest of each line, and the page
//! `docs/kernels.md` is made of them. The tests ask again: another way of attaching, or a tenth more for the verifier,
//! is a failure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::requirements::Purpose;
use crate::vm::{self, Guest, Sink};
use crate::{build, setup};

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Write what is found to the table, instead of comparing.
    #[arg(long)]
    write: bool,
    /// Kernel line; all of them when none is given.
    #[arg(long, value_name = "LINE")]
    kernel: Vec<String>,
    /// What runs the guests.
    #[arg(long, value_enum, default_value_t)]
    accel: vm::Choice,
}

/// One hook on one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hook {
    /// How it is attached; absent when it is not.
    attached: Option<String>,
    /// Instructions verified, by program; absent on kernels before 5.16, which do not tell.
    verified_instructions: BTreeMap<String, Option<u64>>,
}

/// One kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kernel {
    release: String,
    hooks: BTreeMap<String, Hook>,
}

/// Kernel lines, oldest first as a version sorts.
type Table = BTreeMap<String, Kernel>;

/// What may be added before the growth counts: a tenth.
const GROWTH_PERCENT: u64 = 110;

/// The verb.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    setup::run(Purpose::Guests)?;
    build::run()?;
    let mut table = read()?;
    let lines: Vec<String> = if options.kernel.is_empty() {
        vm::kernel_lines().map(str::to_owned).collect()
    } else {
        options.kernel.clone()
    };
    let mut good = true;
    for line in lines {
        let found = ask(&Guest::prepare(&line, options.accel)?)?;
        if options.write {
            table.insert(line, found);
            continue;
        }
        for problem in compare(&line, table.get(&line), &found) {
            println!("{problem}");
            good = false;
        }
    }
    if options.write {
        let text = serde_json::to_string_pretty(&table).context("cannot write JSON")?;
        fs::write(data_path(), text + "\n").context("cannot write tests/kernels.json")?;
        fs::write(page_path(), page(&table)).context("cannot write docs/kernels.md")?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares a guest with the table; what differs, in words.
pub(crate) fn check(line: &str, guest: &Guest) -> Result<Vec<String>> {
    let table = read()?;
    let mut problems = compare(line, table.get(line), &ask(guest)?);
    let written = fs::read_to_string(page_path()).context("cannot read docs/kernels.md")?;
    if written != page(&table) {
        problems.push(format!("docs/kernels.md is not what tests/kernels.json says; {REMEDY}"));
    }
    Ok(problems)
}

/// Instructions that the verifier went through on this line, by program, as the table has it.
pub(crate) fn verified_instructions(line: &str) -> Result<BTreeMap<String, u64>> {
    let kernel = read()?.remove(line).with_context(|| format!("tests/kernels.json has no {line}"))?;
    let programs = kernel.hooks.into_values().flat_map(|hook| hook.verified_instructions);
    Ok(programs.filter_map(|(program, count)| Some((program, count?))).collect())
}

const REMEDY: &str = "if that is right, run `cargo xtask kernels --write`";

fn data_path() -> PathBuf {
    setup::workspace().join("tests/kernels.json")
}

fn page_path() -> PathBuf {
    setup::workspace().join("docs/kernels.md")
}

fn read() -> Result<Table> {
    match fs::read_to_string(data_path()) {
        Ok(text) => serde_json::from_str(&text).context("tests/kernels.json is odd"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Table::new()),
        Err(error) => Err(error).context("cannot read tests/kernels.json"),
    }
}

/// Keeps what the guest prints.
#[derive(Default)]
struct Kept {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Sink for Kept {
    fn stdout(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.extend_from_slice(bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<()> {
        self.stderr.extend_from_slice(bytes);
        Ok(())
    }
}

/// Asks kmodtrace in the guest.
fn ask(guest: &Guest) -> Result<Kernel> {
    let script = "uname -r; kmodtrace doctor --json; test $? -le 1";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned);
    let mut kept = Kept::default();
    let code = guest.run_command(&argv, &mut kept)?;
    let said = String::from_utf8_lossy(&kept.stderr);
    if code != 0 {
        bail!("kmodtrace doctor failed in the guest: {said}");
    }
    let text = String::from_utf8(kept.stdout).context("kmodtrace doctor wrote invalid UTF-8")?;
    let (release, json) = text.split_once('\n').context("the guest printed no release")?;
    let report: Value = serde_json::from_str(json).context("kmodtrace doctor wrote no JSON")?;
    let hooks = report.pointer("/hooks/hooks").and_then(Value::as_array);
    let hooks = hooks.with_context(|| format!("the hooks were not tried: {}", report["hooks"]))?;
    Ok(Kernel { release: release.to_owned(), hooks: hooks.iter().map(hook).collect::<Result<_>>()? })
}

fn hook(state: &Value) -> Result<(String, Hook)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let programs = state["programs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let verified = programs.iter().map(|program| {
        let name = text(&program["program"]).context("a program without a name")?;
        Ok((name, program["verified_instructions"].as_u64()))
    });
    let hook = Hook { attached: text(&state["attached"]), verified_instructions: verified.collect::<Result<_>>()? };
    Ok((text(&state["hook"]).context("a hook without a name")?, hook))
}

/// What differs from the table.
fn compare(line: &str, known: Option<&Kernel>, found: &Kernel) -> Vec<String> {
    let Some(known) = known else { return vec![format!("{line}: not in tests/kernels.json; {REMEDY}")] };
    let mut problems = Vec::new();
    for name in known.hooks.keys().chain(found.hooks.keys().filter(|name| !known.hooks.contains_key(*name))) {
        let (before, now) = match (known.hooks.get(name), found.hooks.get(name)) {
            (Some(before), Some(now)) => (before, now),
            (before, _) => {
                let what = if before.is_some() { "is gone" } else { "is new" };
                problems.push(format!("{line}: hook {name} {what}; {REMEDY}"));
                continue;
            }
        };
        if before.attached != now.attached {
            let word = |attached: &Option<String>| attached.clone().unwrap_or_else(|| "missing".to_owned());
            let (before, now) = (word(&before.attached), word(&now.attached));
            problems.push(format!("{line}: hook {name} was attached by {before}, now by {now}; {REMEDY}"));
        }
        for (program, count) in &now.verified_instructions {
            let known = before.verified_instructions.get(program).copied().flatten();
            if let (Some(count), Some(known)) = (*count, known)
                && count * 100 > known * GROWTH_PERCENT
            {
                problems.push(format!(
                    "{line}: the verifier needs {count} instructions for {program}, a tenth more than {known}; {REMEDY}"
                ));
            }
        }
    }
    problems
}

/// The page.
fn page(table: &Table) -> String {
    let mut out = "# Kernels\n\nWhich hook is attached how, and what its programs cost the verifier, in instructions \
         (the kernel allows a million). Made by\n`cargo xtask kernels --write` from what `kmodtrace doctor` says in a guest \
         of each kernel; the tests compare.\n"
        .to_owned();
    let mut lines: Vec<(&String, &Kernel)> = table.iter().collect();
    lines.sort_by_key(|(name, _)| version(name));
    let mut names: Vec<&String> = lines.iter().flat_map(|(_, kernel)| kernel.hooks.keys()).collect();
    names.sort_unstable();
    names.dedup();
    // Writing to a String cannot fail.
    let _ = write!(out, "\n| hook |");
    for (name, kernel) in &lines {
        let _ = write!(out, " {name} ({}) |", kernel.release);
    }
    let _ = write!(out, "\n|---|{}\n", "---|".repeat(lines.len()));
    for name in names {
        let _ = write!(out, "| {name} |");
        for (_, kernel) in &lines {
            let cell = kernel.hooks.get(name).map_or_else(|| "-".to_owned(), cell);
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    out.push_str("\nKernels before 5.16 do not tell the verifier's work.\n");
    out
}

fn cell(hook: &Hook) -> String {
    let Some(attached) = &hook.attached else { return "missing".to_owned() };
    let counts: Vec<String> =
        hook.verified_instructions.values().filter_map(|count| count.map(|count| count.to_string())).collect();
    if counts.is_empty() { attached.clone() } else { format!("{attached}: {}", counts.join(", ")) }
}

/// Sorts `5.10` before `6.1` before `6.1-cloud` before `6.12`.
fn version(name: &str) -> (Vec<u32>, String) {
    let (numbers, flavour) = name.split_once('-').unwrap_or((name, ""));
    (numbers.split('.').filter_map(|number| number.parse().ok()).collect(), flavour.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(attached: Option<&str>, count: u64) -> Kernel {
        let verified_instructions = BTreeMap::from([("request_kprobe".to_owned(), Some(count))]);
        let hook = Hook { attached: attached.map(str::to_owned), verified_instructions };
        Kernel { release: "6.1.0".to_owned(), hooks: BTreeMap::from([("request".to_owned(), hook)]) }
    }

    /// Check that another way of attaching and a tenth more are told, and less is not.
    #[test]
    fn differences_are_told() {
        let known = kernel(Some("kprobe"), 1000);
        assert_eq!(compare("6.1", Some(&known), &kernel(Some("kprobe"), 1100)), Vec::<String>::new());
        assert_eq!(compare("6.1", Some(&known), &kernel(Some("kprobe"), 500)), Vec::<String>::new());
        assert_eq!(compare("6.1", Some(&known), &kernel(Some("kprobe"), 1101)).len(), 1);
        assert_eq!(compare("6.1", Some(&known), &kernel(None, 1000)).len(), 1);
        assert_eq!(compare("6.1", None, &known).len(), 1);
        assert_eq!(compare("6.1", Some(&known), &Kernel::default()).len(), 1);
    }

    /// Check that lines are in the order of their versions.
    #[test]
    fn lines_are_in_order() {
        let mut names = ["7", "6.12", "6.1-cloud", "5.10", "6.1"];
        names.sort_by_key(|name| version(name));
        assert_eq!(names, ["5.10", "6.1", "6.1-cloud", "6.12", "7"]);
    }
}
