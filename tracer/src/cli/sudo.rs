//! Missing privileges: an error with the exact command that has them.

use std::{ffi::OsString, os::unix::ffi::OsStrExt};

use crate::{event::Text, output::argument, probe::ProbeError};

/// Missing privileges and the command that has them.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot trace: root, or the capabilities CAP_BPF and CAP_PERFMON, are needed (missing: {missing}); run `{line}`"
)]
pub(super) struct Unprivileged {
    missing: String,
    line: String,
}

/// Adds the command to an error of missing privileges; other errors are unchanged.
pub(super) fn explain(error: ProbeError) -> anyhow::Error {
    match error {
        ProbeError::Privileges { missing } => {
            Unprivileged { missing, line: sudo_line(std::env::args_os(), std::env::var_os("USER")) }.into()
        }
        other => other.into(),
    }
}

/// The same command with sudo; the command of `run` keeps its user.
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

    /// The line repeats the arguments, quotes them, and adds --user to `run`.
    #[test]
    fn sudo_line_repeats_the_quoted_arguments() {
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
