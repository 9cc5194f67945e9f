//! Checks this system: what works, what is missing, what that costs, and how to fix it.
//!
//! Checks read from a root directory, so that tests can describe any system; only [`hooks`] uses the running kernel.

mod audit;
mod config;
mod devices;
pub mod hooks;
mod kernel;
mod modprobe;
mod recorder;
mod rights;

use serde::Serialize;

pub use hooks::{HookState, Hooks};

use crate::kernel::{ReadError, sysinfo::SystemInfo};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Level {
    /// Good.
    Ok,
    /// Worth knowing: it affects what is traced, or is unknown.
    Note,
    /// Something does not work.
    Problem,
}

impl Level {
    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// Its severity.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// The consequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<String>,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Whether it limits or prevents tracing.
    pub limits_tracing: bool,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), costs: None, fix: None, limits_tracing: false }
    }

    fn bad(
        check: &'static str,
        level: Level,
        found: impl Into<String>,
        costs: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (costs, fix) = (Some(costs.into()), Some(fix.into()));
        Self { check, level, found: found.into(), costs, fix, limits_tracing: false }
    }

    fn note(check: &'static str, found: impl Into<String>, costs: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::bad(check, Level::Note, found, costs, fix)
    }

    fn problem(
        check: &'static str,
        found: impl Into<String>,
        costs: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::bad(check, Level::Problem, found, costs, fix)
    }

    /// Something unknown. The error contains the fix.
    fn unknown(check: &'static str, error: &ReadError, costs: impl Into<String>) -> Self {
        let ReadError::Read { fix, .. } = error else {
            return Self::note(
                check,
                format!("unknown: {}", brief(error)),
                costs,
                "please report the unexpected content",
            );
        };
        Self::note(check, format!("unknown: {}", brief(error)), costs, *fix)
    }

    fn limiting(mut self) -> Self {
        self.limits_tracing = true;
        self
    }
}

/// The error without its advice.
fn brief(error: &ReadError) -> String {
    match error {
        ReadError::Read { path, reason, .. } => format!("{}: {reason}", path.display()),
        ReadError::Content { path, content } => format!("{}: unexpected content {content:?}", path.display()),
    }
}

/// Whether tracing works here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// Everything is traced.
    Full,
    /// Tracing works, but something is missing.
    Partly,
    /// Tracing does not work.
    No,
}

/// All findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Whether tracing works here.
    pub tracing: Verdict,
    /// A description.
    pub detail: String,
    /// The checks.
    pub findings: Vec<Finding>,
    /// The result of attaching each hook.
    pub hooks: Hooks,
}

/// Runs all checks. The hooks of the running kernel are attached if possible.
#[must_use]
pub fn examine(sysinfo: &SystemInfo) -> Report {
    let hooks = hooks::try_all(sysinfo);
    conclude(check(sysinfo), hooks)
}

/// All checks that only read.
#[must_use]
pub fn check(sysinfo: &SystemInfo) -> Vec<Finding> {
    let mut findings = kernel::check(sysinfo);
    findings.extend(rights::check(sysinfo));
    findings.extend(modprobe::check(sysinfo));
    findings.push(audit::check(sysinfo.root()));
    findings.push(devices::check());
    findings.push(recorder::check(sysinfo));
    findings
}

/// The conclusion from the findings.
#[must_use]
pub fn conclude(findings: Vec<Finding>, hooks: Hooks) -> Report {
    let limits: Vec<&str> = findings.iter().filter(|finding| finding.limits_tracing).map(|one| one.check).collect();
    let (tracing, detail) = match &hooks {
        Hooks::NotTried { why } => (Verdict::No, format!("cannot trace: {why}")),
        Hooks::Failed { why } => (Verdict::No, format!("cannot trace: {why}")),
        Hooks::Tried { hooks } => {
            let missing = |required: bool| -> Vec<&str> {
                let missing = hooks.iter().filter(|hook| hook.attached.is_none() && hook.required == required);
                missing.map(|hook| hook.hook).collect()
            };
            let (required, optional) = (missing(true), missing(false));
            let less = [limits, optional].concat();
            if !required.is_empty() {
                (Verdict::No, format!("cannot trace: required hooks are not attached ({})", required.join(", ")))
            } else if !less.is_empty() {
                (Verdict::Partly, format!("can trace, with limitations ({})", less.join(", ")))
            } else {
                (Verdict::Full, "can trace, without limitations".to_owned())
            }
        }
    };
    Report { tracing, detail, findings, hooks }
}

#[cfg(test)]
mod tests {
    use super::{Finding, HookState, Hooks, Verdict, conclude};

    fn hook(name: &'static str, required: bool, attached: Option<&str>) -> HookState {
        HookState {
            hook: name,
            required,
            attached: attached.map(str::to_owned),
            refused: Vec::new(),
            costs: None,
            programs: Vec::new(),
        }
    }

    /// A missing required hook prevents tracing; a missing optional hook or a limiting finding does not.
    #[test]
    fn missing_required_hook_prevents_tracing() {
        let tried = |required, optional| Hooks::Tried {
            hooks: vec![hook("request", true, required), hook("file", false, optional)],
        };
        let fine = || vec![Finding::ok("btf", "there"), Finding::note("lsm", "x", "y", "z")];
        let limiting = || vec![Finding::problem("symbols", "hidden", "y", "z").limiting()];
        let cases = [
            (fine(), tried(Some("fexit"), Some("fentry")), Verdict::Full),
            (fine(), tried(Some("fexit"), None), Verdict::Partly),
            (limiting(), tried(Some("fexit"), Some("fentry")), Verdict::Partly),
            (limiting(), tried(None, Some("fentry")), Verdict::No),
            (fine(), Hooks::NotTried { why: "not root".to_owned() }, Verdict::No),
            (fine(), Hooks::Failed { why: "no".to_owned() }, Verdict::No),
        ];
        for (findings, hooks, verdict) in cases {
            assert_eq!(conclude(findings, hooks).tracing, verdict);
        }
    }
}
