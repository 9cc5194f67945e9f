//! Runs commands, each printed before it runs.

use std::io;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Prints a command to stderr as `+ cmd args`, and runs it. A failure of the command is an error. Its output goes to stderr too,
/// because stdout is reserved for data.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", show(command));
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("`{}` failed ({status})", show(command));
    }
    Ok(())
}

/// Formats a command for pasting into a shell, with the variables that it sets.
pub(crate) fn show(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => words.push(format!("{}={}", name.display(), quote(&value.to_string_lossy()))),
            None => words.extend(["env".to_owned(), "-u".to_owned(), name.display().to_string()]),
        }
    }
    words.push(quote(&command.get_program().to_string_lossy()));
    words.extend(command.get_args().map(|argument| quote(&argument.to_string_lossy())));
    words.join(" ")
}

/// Quotes a word if a shell would interpret it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_command_can_be_pasted() {
        let mut command = Command::new("cargo");
        command.args(["install", "a b", "it's", ""]).env("LLVM_PREFIX", "/usr/lib/llvm-22");
        assert_eq!(show(&command), r"LLVM_PREFIX=/usr/lib/llvm-22 cargo install 'a b' 'it'\''s' ''");
    }

    #[test]
    fn failing_command_is_named_in_error() {
        let error = run(&mut Command::new("false")).unwrap_err();
        assert!(error.to_string().starts_with("`false` failed"), "{error}");
        run(&mut Command::new("true")).unwrap();
    }
}
