//! What to do next: the command that sees the next load, and the one that prevents it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::text::quoted;

/// A command to run next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Next {
    /// What it does.
    pub purpose: &'static str,
    /// The command, for a shell.
    pub command: String,
}

/// The commands for a module or alias.
pub(super) fn commands(name: &str, is_module: bool, is_recorded: bool) -> Vec<Next> {
    // A name that a shell or the filters would read differently is not put into a command.
    let is_plain = !name.is_empty()
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:+".contains(&byte));
    let mut next = Vec::new();
    let mut add = |purpose, command: String| next.push(Next { purpose, command });
    if is_plain {
        let option = if is_module { "--module" } else { "--alias" };
        add("see the next load as it happens", format!("kmodtrace watch --tree {option} {name}"));
    }
    if !is_recorded {
        add("record from now on", "systemctl enable --now kmodtrace-early kmodtrace".to_owned());
    }
    if is_plain {
        add("keep it out", format!("kmodtrace block {name}"));
        add("who would miss it", format!("kmodtrace impact {name}"));
    }
    next
}

/// A name in a sentence.
pub(super) fn in_quotes(name: &str) -> String {
    quoted(&crate::event::Text::from(name))
}

#[cfg(test)]
mod tests {
    use super::commands;

    /// Names with characters of the shell, and names like options, are in no command.
    #[test]
    fn odd_name_is_in_no_command() {
        for name in ["x; rm -rf /", "-r", "a*b", "$(x)", "", "a b", "\u{1b}x"] {
            assert!(commands(name, true, true).is_empty(), "{name:?}");
        }
        let found = commands("fs-xfs", false, false);
        assert_eq!(found[0].command, "kmodtrace watch --tree --alias fs-xfs");
        assert_eq!(found.len(), 4);
    }
}
