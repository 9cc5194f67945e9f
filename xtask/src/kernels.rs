//! `cargo xtask kernels`: the attach methods on each kernel, and the verifier's cost per program.
//!
//! The data is in `tests/kernels.json`. It comes from `kmodtrace doctor` in a guest of each line, and `docs/kernels.md` is
//! generated from it. The tests compare: another attach method, or ten percent more instructions for the verifier, is a failure.

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

/// Options of the check.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Write the results instead of comparing them.
    #[arg(long)]
    write: bool,
    /// Kernel line; repeatable; default all.
    #[arg(long, value_name = "LINE")]
    kernel: Vec<String>,
    /// Accelerator of the guests.
    #[arg(long, value_enum, default_value_t)]
    accel: vm::Choice,
}

/// One hook on one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hook {
    /// The attach method; `None` if it is not attached.
    attached: Option<String>,
    /// Verified instructions by program; `None` on kernels before 5.16, which do not report them.
    verified_instructions: BTreeMap<String, Option<u64>>,
}

/// One kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kernel {
    release: String,
    hooks: BTreeMap<String, Hook>,
}

/// Kernels by line.
type Table = BTreeMap<String, Kernel>;

/// The permitted growth in percent of the stored value.
const GROWTH_PERCENT: u64 = 110;

/// Compares all lines with the stored data, or writes the data.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    setup::run(Purpose::Guests)?;
    build::run()?;
    let mut table = read()?;
    let lines: Vec<String> = if options.kernel.is_empty() {
        vm::kernel_lines().map(str::to_owned).collect()
    } else {
        options.kernel.clone()
    };
    let mut is_good = true;
    for line in lines {
        let found = query(&Guest::prepare(&line, options.accel)?)?;
        if options.write {
            table.insert(line, found);
            continue;
        }
        for problem in compare(&line, table.get(&line), &found) {
            println!("{problem}");
            is_good = false;
        }
    }
    if options.write {
        let text = serde_json::to_string_pretty(&table).context("cannot serialize the table")?;
        fs::write(data_path(), text + "\n").context("cannot write tests/kernels.json")?;
        fs::write(page_path(), page(&table)).context("cannot write docs/kernels.md")?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares a guest with the stored data, and describes differences.
pub(crate) fn check(line: &str, guest: &Guest) -> Result<Vec<String>> {
    let table = read()?;
    let mut problems = compare(line, table.get(line), &query(guest)?);
    let written = fs::read_to_string(page_path()).context("cannot read docs/kernels.md")?;
    if written != page(&table) {
        problems.push(format!("docs/kernels.md does not match tests/kernels.json; {REMEDY}"));
    }
    Ok(problems)
}

/// The stored numbers of verified instructions on a line, by program.
pub(crate) fn verified_instructions(line: &str) -> Result<BTreeMap<String, u64>> {
    let kernel = read()?.remove(line).with_context(|| format!("tests/kernels.json has no {line}"))?;
    let programs = kernel.hooks.into_values().flat_map(|hook| hook.verified_instructions);
    Ok(programs.filter_map(|(program, count)| Some((program, count?))).collect())
}

const REMEDY: &str = "if this is intended, run `cargo xtask kernels --write`";

fn data_path() -> PathBuf {
    setup::workspace().join("tests/kernels.json")
}

fn page_path() -> PathBuf {
    setup::workspace().join("docs/kernels.md")
}

fn read() -> Result<Table> {
    match fs::read_to_string(data_path()) {
        Ok(text) => serde_json::from_str(&text).context("cannot parse tests/kernels.json"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Table::new()),
        Err(error) => Err(error).context("cannot read tests/kernels.json"),
    }
}

/// Collects the output of the guest.
#[derive(Default)]
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Sink for Output {
    fn stdout(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.extend_from_slice(bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<()> {
        self.stderr.extend_from_slice(bytes);
        Ok(())
    }
}

/// Runs `kmodtrace doctor` in the guest.
fn query(guest: &Guest) -> Result<Kernel> {
    let script = "uname -r; kmodtrace doctor --json; test $? -le 1";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned);
    let mut output = Output::default();
    let code = guest.run_command(&argv, &mut output)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if code != 0 {
        bail!("kmodtrace doctor failed in the guest: {stderr}");
    }
    let text = String::from_utf8(output.stdout).context("kmodtrace doctor wrote invalid UTF-8")?;
    let (release, json) = text.split_once('\n').context("the guest printed no release")?;
    let report: Value = serde_json::from_str(json).context("kmodtrace doctor wrote invalid JSON")?;
    let hooks = report.pointer("/hooks/hooks").and_then(Value::as_array);
    let hooks = hooks.with_context(|| format!("the hooks were not tried: {}", report["hooks"]))?;
    Ok(Kernel { release: release.to_owned(), hooks: hooks.iter().map(hook).collect::<Result<_>>()? })
}

fn hook(state: &Value) -> Result<(String, Hook)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let programs = state["programs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let verified = programs.iter().map(|program| {
        let name = text(&program["program"]).context("a program has no name")?;
        Ok((name, program["verified_instructions"].as_u64()))
    });
    let hook = Hook { attached: text(&state["attached"]), verified_instructions: verified.collect::<Result<_>>()? };
    Ok((text(&state["hook"]).context("a hook has no name")?, hook))
}

/// Describes differences from the stored data.
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
                    "{line}: the verifier needs {count} instructions for {program}, more than 10 % above {known}; {REMEDY}"
                ));
            }
        }
    }
    problems
}

/// Writes the page again from the stored data, for example after a change of its text.
pub(crate) fn rewrite_page() -> Result<()> {
    fs::write(page_path(), page(&read()?)).context("cannot write docs/kernels.md")
}

/// Formats the page.
fn page(table: &Table) -> String {
    let mut out = "# Kernels\n\nThe attach method of each hook, and the number of instructions that the verifier processed for each of its programs (the\n\
         limit is one million). Generated by `cargo xtask kernels --write` from `kmodtrace doctor` in a guest of each kernel; the tests\n\
         compare them.\n"
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
    out.push_str("\nKernels before 5.16 do not report the number of instructions.\n");
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

    /// Another attach method and more than ten percent growth are reported; less is not.
    #[test]
    fn differences_are_reported() {
        let known = kernel(Some("kprobe"), 1000);
        assert_eq!(compare("6.1", Some(&known), &kernel(Some("kprobe"), 1100)), Vec::<String>::new());
        assert_eq!(compare("6.1", Some(&known), &kernel(Some("kprobe"), 500)), Vec::<String>::new());
        assert_eq!(compare("6.1", Some(&known), &kernel(Some("kprobe"), 1101)).len(), 1);
        assert_eq!(compare("6.1", Some(&known), &kernel(None, 1000)).len(), 1);
        assert_eq!(compare("6.1", None, &known).len(), 1);
        assert_eq!(compare("6.1", Some(&known), &Kernel::default()).len(), 1);
    }

    /// The page is generated from the stored data.
    #[test]
    fn page_is_generated_from_stored_data() {
        let table: Table = serde_json::from_str(include_str!("../../tests/kernels.json")).unwrap();
        assert_eq!(page(&table), include_str!("../../docs/kernels.md"), "run `cargo xtask bless`");
    }

    /// Lines are sorted by version.
    #[test]
    fn lines_are_sorted_by_version() {
        let mut names = ["7", "6.12", "6.1-cloud", "5.10", "6.1"];
        names.sort_by_key(|name| version(name));
        assert_eq!(names, ["5.10", "6.1", "6.1-cloud", "6.12", "7"]);
    }
}
