//! Without privileges: the exact command that has them.

use std::{ffi::OsString, os::unix::ffi::OsStrExt};

use crate::{event::Text, output::argument, probe::ProbeError};

/// Missing privileges, with the command that has them.
#[derive(Debug, thiserror::Error)]
#[error("tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON (missing: {missing}): run `{line}`")]
pub(super) struct Unprivileged {
    missing: String,
    line: String,
}

/// An error of missing privileges says what to type instead; any other stays as it is.
pub(super) fn explain(error: ProbeError) -> anyhow::Error {
    match error {
        ProbeError::Privileges { missing } => {
            Unprivileged { missing, line: sudo_line(std::env::args_os(), std::env::var_os("USER")) }.into()
        }
        other => other.into(),
    }
}

/// The same command by sudo; what `run` runs stays with its user.
fn sudo_line(words: impl Iterator<Item = OsString>, user: Option<OsString>) -> String {
    let word = |word: &OsString| argument(&Text::from(word.as_bytes()));
    let words: Vec<OsString> = words.collect();
    let own_user = words
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--user" || word.as_bytes().starts_with(b"--user="));
    let user = user.filter(|user| !user.is_empty() && user != "root" && !own_user);
    let mut line = "sudo".to_owned();
    let mut verb_is_due = true;
    for given in &words {
        line.push(' ');
        line.push_str(&word(given));
        if verb_is_due && given == "run" {
            verb_is_due = false;
            if let Some(user) = &user {
                line.push_str(&format!(" --user {}", word(user)));
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::sudo_line;

    /// Check that the line is what was typed, that the command keeps its user, and that words stay words.
    #[test]
    fn the_line_can_be_typed() {
        let line = |words: &[&str], user: Option<&str>| sudo_line(words.iter().map(Into::into), user.map(Into::into));
        assert_eq!(line(&["kmodtrace", "watch", "--json"], Some("alice")), "sudo kmodtrace watch --json");
        assert_eq!(
            line(&["./kmodtrace", "run", "--json", "--", "sh", "-c", "run a;b"], Some("alice")),
            "sudo ./kmodtrace run --user alice --json -- sh -c 'run a;b'"
        );
        assert_eq!(
            line(&["kmodtrace", "run", "--user", "bob", "--", "ss"], Some("alice")),
            "sudo kmodtrace run --user bob -- ss"
        );
        assert_eq!(line(&["kmodtrace", "run", "--", "ss"], None), "sudo kmodtrace run -- ss");
    }
}
