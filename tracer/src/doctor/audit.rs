//! Audit rules for module loading that do not cover loads by the kernel itself.
//!
//! A modprobe started by the kernel has no login: its audit uid is unset (4294967295). A rule that requires a login, as in
//! most hardening guides (`-F auid!=unset`), never matches it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::Finding;

/// The audit uid of processes without a login.
const UNSET: u32 = u32::MAX;

const CALLS: [&str; 2] = ["init_module", "finit_module"];

/// Number of rules that are quoted; the others are counted.
const SHOWN: usize = 3;

pub(super) fn check(root: &Path) -> Finding {
    const CHECK: &str = "audit-rules";
    let text = match read_rules(root) {
        Ok(text) => text,
        Err(error) => {
            let found = format!("unknown: cannot read the rules in /etc/audit ({error})");
            let costs = "it is unknown whether the audit log misses modules that the kernel loads on request";
            return Finding::note(CHECK, found, costs, "run as root");
        }
    };
    let mut rules: Vec<&str> = text.lines().map(str::trim).filter(|line| is_about_modules(line)).collect();
    // augenrules copies rules.d into audit.rules.
    rules.sort_unstable();
    rules.dedup();
    let blind: Vec<&str> = rules.iter().copied().filter(|rule| is_blind(rule)).collect();
    match (rules.len(), blind.len()) {
        (0, _) => Finding::ok(CHECK, "no rule covers module loading"),
        (count, 0) => Finding::ok(CHECK, format!("{count} for module loading, none requires a login")),
        (count, blind_count) => {
            let shown: Vec<&str> = blind.into_iter().take(SHOWN).collect();
            let more = blind_count - shown.len();
            let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
            Finding::note(
                CHECK,
                format!("{blind_count} of {count} require a login: {}{rest}", shown.join("; ")),
                "modules that the kernel or udev loads are not in the audit log, because their audit uid is unset",
                "add a rule without -F auid!=unset: `-a always,exit -F arch=b64 -S init_module,finit_module -k modules`",
            )
        }
    }
}

/// All rules; none without audit.
fn read_rules(root: &Path) -> io::Result<String> {
    let directory = root.join("etc/audit");
    let mut files: Vec<PathBuf> = vec![directory.join("audit.rules")];
    match std::fs::read_dir(directory.join("rules.d")) {
        Ok(entries) => {
            for entry in entries {
                files.push(entry?.path());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut text = String::new();
    for file in files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rules")) {
        match std::fs::read(file) {
            Ok(bytes) => {
                text += &String::from_utf8_lossy(&bytes);
                text.push('\n');
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(text)
}

/// Parses options with their values: `-F auid!=unset` and `-Fauid!=unset`.
fn options(rule: &str) -> Vec<(char, &str)> {
    let mut options = Vec::new();
    let mut words = rule.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix('-') else { continue };
        let mut letters = option.chars();
        let Some(letter) = letters.next() else { continue };
        let attached = letters.as_str();
        let value = if attached.is_empty() { words.next().unwrap_or_default() } else { attached };
        options.push((letter, value.trim_matches(['"', '\''])));
    }
    options
}

/// Whether a rule records the loading of modules; false for a comment.
fn is_about_modules(rule: &str) -> bool {
    if !rule.starts_with('-') {
        return false;
    }
    let options = options(rule);
    let records = options.iter().any(|(letter, value)| {
        matches!(letter, 'a' | 'A') && value.split(',').any(|word| word == "always") && value.contains("exit")
    });
    let mut calls = options.iter().filter(|(letter, _)| *letter == 'S').flat_map(|(_, value)| value.split(','));
    records && calls.any(|call| CALLS.contains(&call))
}

/// Whether one of its conditions excludes processes without a login.
fn is_blind(rule: &str) -> bool {
    let options = options(rule);
    options.iter().any(|(letter, value)| *letter == 'F' && login_condition(value).is_some_and(|matches| !matches))
}

/// Whether a condition on the audit uid is true for the unset one; `None` for other conditions. The kernel compares
/// numbers, so `auid>=1000` alone is true.
fn login_condition(condition: &str) -> Option<bool> {
    let rest = condition.strip_prefix("auid").or_else(|| condition.strip_prefix("loginuid"))?;
    let operator = rest.find(|c: char| !matches!(c, '!' | '=' | '<' | '>')).unwrap_or(rest.len());
    let (operator, value) = rest.split_at(operator);
    let value = match value {
        "unset" | "-1" => UNSET,
        // A user name: any uid except the unset one.
        _ => value.parse().unwrap_or(0),
    };
    match operator {
        "=" => Some(UNSET == value),
        "!=" => Some(UNSET != value),
        ">=" | "<" | ">" | "<=" => Some(match operator {
            ">=" => true,
            "<" => false,
            ">" => UNSET > value,
            _ => UNSET == value,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{check, is_about_modules, is_blind, login_condition};
    use crate::doctor::Level;

    const STIG: &str = "-a always,exit -F arch=b64 -S init_module,finit_module -F auid>=1000 -F auid!=unset -F key=mod";
    const PLAIN: &str = "-a always,exit -F arch=b64 -S init_module -S finit_module -k modules";

    /// The rule of hardening guides is reported, a plain rule and rules about other things are not.
    #[test]
    fn rule_that_requires_a_login_is_reported() {
        assert!(is_about_modules(STIG) && is_blind(STIG));
        assert!(is_about_modules(PLAIN) && !is_blind(PLAIN));
        assert!(is_about_modules("-a exit,always -Sfinit_module -F 'auid!=-1'"));
        assert!(is_blind("-a exit,always -Sfinit_module -F 'auid!=-1'"));
        for other in [
            "-a always,exit -S mount -F auid!=unset",
            "-a never,exit -S init_module",
            "# -a always,exit -S init_module -F auid!=unset",
            "-w /sbin/modprobe -p x",
            "",
            "-",
            "-a",
        ] {
            assert!(!is_about_modules(other), "{other}");
        }
    }

    /// Conditions are evaluated as in the kernel, which compares numbers.
    #[test]
    fn condition_on_audit_uid_compares_numbers() {
        for (condition, holds) in [
            ("auid!=unset", Some(false)),
            ("auid!=4294967295", Some(false)),
            ("auid=unset", Some(true)),
            ("auid=root", Some(false)),
            ("auid!=root", Some(true)),
            ("auid>=1000", Some(true)),
            ("auid<1000", Some(false)),
            ("loginuid!=-1", Some(false)),
            ("uid!=0", None),
            ("auid", None),
        ] {
            assert_eq!(login_condition(condition), holds, "{condition}");
        }
    }

    /// Rules are read from both places, each counted once, without comments.
    #[test]
    fn rules_in_both_places_count_once() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(check(root.path()).level, Level::Ok, "no audit, no rule");
        std::fs::create_dir_all(root.path().join("etc/audit/rules.d")).unwrap();
        let write = |path: &str, text: &str| std::fs::write(root.path().join("etc/audit").join(path), text).unwrap();
        write("rules.d/10-plain.rules", &format!("{PLAIN}\n# {STIG}\n"));
        write("rules.d/README", STIG);
        assert!(check(root.path()).found.starts_with("1 for module loading"));
        write("rules.d/50-stig.rules", &format!("{STIG}\n"));
        write("audit.rules", &format!("-D\n{STIG}\n{PLAIN}\n"));
        let finding = check(root.path());
        assert_eq!(finding.level, Level::Note);
        assert!(finding.found.starts_with("1 of 2 require a login: -a always,exit"), "{}", finding.found);
    }
}
