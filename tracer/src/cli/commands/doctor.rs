//! `kmodtrace doctor`: checks this system and suggests fixes.

use std::process::ExitCode;

use anyhow::Context;

use crate::{
    cli::{EXIT_VERDICT, io::print},
    doctor::{Finding, HookState, Hooks, Level, Report, Verdict, examine, hooks::ProgramCost},
    event::Text,
    kernel::sysinfo::SystemInfo,
    output::escape,
};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 tracing works, at least partly (\"tracing\" in JSON: \"full\" or \"partly\"); \
    1 tracing does not work on this system or for this user (\"no\"); 125 error.\n\n\
    As root, all hooks are attached for a moment; without root, they are not checked.")]
pub struct Args {
    /// Write one JSON object [default: a table].
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = examine(&SystemInfo::default());
    let text = if args.json {
        serde_json::to_string(&report).context("cannot write the report as JSON")? + "\n"
    } else {
        human(&report)
    };
    print::stdout(&text)?;
    Ok(if report.tracing == Verdict::No { ExitCode::from(EXIT_VERDICT) } else { ExitCode::SUCCESS })
}

/// Indentation of lines below a row.
const INDENT: &str = "                                ";

fn row(out: &mut String, level: Level, check: &str, found: &str) {
    let found = escape(&Text::from(found));
    out.push_str(format!("{:<9}{check:<23}{found}", level.name()).trim_end());
    out.push('\n');
}

fn below(out: &mut String, label: &str, text: &str) {
    let text = escape(&Text::from(text));
    out.push_str(&format!("{INDENT}{label}: {text}\n"));
}

fn human(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        self::finding(&mut out, finding);
    }
    match &report.hooks {
        Hooks::Tried { hooks } => hooks.iter().for_each(|hook| self::hook(&mut out, hook)),
        Hooks::NotTried { why } => row(&mut out, Level::Note, "hooks", why),
        Hooks::Failed { why } => row(&mut out, Level::Problem, "hooks", why),
    }
    out.push('\n');
    out.push_str(&escape(&Text::from(report.detail.as_str())));
    out.push('\n');
    out
}

fn finding(out: &mut String, finding: &Finding) {
    row(out, finding.level, finding.check, &finding.found);
    if let Some(costs) = &finding.costs {
        below(out, "costs", costs);
    }
    if let Some(fix) = &finding.fix {
        below(out, "fix", fix);
    }
}

fn hook(out: &mut String, hook: &HookState) {
    let level = match (&hook.attached, hook.required) {
        (Some(_), _) if hook.refused.is_empty() => Level::Ok,
        (Some(_), _) => Level::Note,
        (None, _) => Level::Problem,
    };
    let found = match &hook.attached {
        Some(how) => format!("{how}{}", cost(&hook.programs)),
        None => "not attached".to_owned(),
    };
    row(out, level, &format!("hook {}", hook.hook), &found);
    for refused in &hook.refused {
        below(out, "refused", refused);
    }
    if let Some(costs) = hook.costs {
        below(out, "costs", costs);
    }
}

/// Instructions verified by the kernel for the programs of a hook.
fn cost(programs: &[ProgramCost]) -> String {
    let costs: Option<Vec<String>> =
        programs.iter().map(|program| Some(program.verified_instructions?.to_string())).collect();
    costs.map_or_else(String::new, |costs| format!(", verified instructions: {}", costs.join(" + ")))
}

#[cfg(test)]
mod tests {
    use super::{HookState, Hooks, ProgramCost, human};
    use crate::doctor::{Finding, Level, conclude};

    fn hook(name: &'static str, attached: Option<&str>, refused: &[&str]) -> HookState {
        let program = ProgramCost { program: "x", verified_instructions: Some(1200) };
        HookState {
            hook: name,
            required: false,
            attached: attached.map(str::to_owned),
            refused: refused.iter().map(|text| (*text).to_owned()).collect(),
            costs: attached.is_none().then_some("module files are not traced"),
            programs: attached.map(|_| program).into_iter().collect(),
        }
    }

    /// Each finding is a row with its fix below; the verdict is the last line.
    #[test]
    fn report_findings_are_table_rows() {
        let finding = Finding {
            check: "lsm",
            level: Level::Note,
            found: "capability\u{1b}[2J".to_owned(),
            costs: Some("nothing is refused".to_owned()),
            fix: Some("boot with lsm=bpf".to_owned()),
            limits_tracing: false,
        };
        let hooks = vec![
            hook("request", Some("fexit"), &[]),
            hook("helper", Some("kprobe"), &["fentry: no"]),
            hook("file", None, &["kprobe: no"]),
        ];
        let report = conclude(vec![finding], Hooks::Tried { hooks });
        let expected = "\
note     lsm                    capability\\x1b[2J
                                costs: nothing is refused
                                fix: boot with lsm=bpf
ok       hook request           fexit, verified instructions: 1200
note     hook helper            kprobe, verified instructions: 1200
                                refused: fentry: no
problem  hook file              not attached
                                refused: kprobe: no
                                costs: module files are not traced

can trace, with limitations (file)
";
        assert_eq!(human(&report), expected);
    }

    /// The reason is shown if hooks were not tried.
    #[test]
    fn report_untried_hooks_have_a_reason() {
        let report = conclude(Vec::new(), Hooks::NotTried { why: "not root".to_owned() });
        assert_eq!(human(&report), "note     hooks                  not root\n\ncannot trace: not root\n");
    }
}
