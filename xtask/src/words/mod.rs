//! `cargo xtask words`: finds words and phrases that this project does not use, in documents, messages and comments.
//!
//! `xtask/words/avoid.txt` lists the phrases, `xtask/words/allowed.txt` the permitted uses with a reason for each.

mod lists;
mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::setup;

use lists::{Allowance, Phrase};
use text::Word;

/// The phrases to avoid.
const AVOID: &str = "xtask/words/avoid.txt";

/// The permitted uses.
const ALLOWED: &str = "xtask/words/allowed.txt";

/// Paths that are checked: files, and directories with their subdirectories. The last two are limited by counts in [`ALLOWED`].
const CHECKED: [&str; 13] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Cargo.toml",
    "action.yml",
    "docs/",
    "packaging/",
    "xtask/",
    "tests/",
    ".ci/",
    "tracer/",
    "tracer-ebpf/",
];

/// Parts of them that are not checked: files that are generated from `tracer/src`, data of tests, and the lists themselves.
const SKIPPED: [&str; 8] = [
    "docs/man/",
    "docs/schema/",
    "docs/policy.schema.json",
    "docs/performance.json",
    "packaging/completions/",
    "tests/fixtures/",
    "xtask/words/",
    "xtask/src/words/",
];

/// A use of a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Use {
    path: String,
    line: usize,
    phrase: String,
}

/// Checks the tracked files. The exit code is 1 if a phrase is used without permission.
pub(crate) fn verb() -> Result<ExitCode> {
    let workspace = setup::workspace();
    let read = |name: &str| fs::read_to_string(workspace.join(name)).with_context(|| format!("cannot read {name}"));
    let phrases = lists::phrases(&read(AVOID)?).with_context(|| format!("cannot parse {AVOID}"))?;
    let allowed = lists::allowances(&read(ALLOWED)?).with_context(|| format!("cannot parse {ALLOWED}"))?;
    let mut uses = Vec::new();
    for path in tracked_files(&workspace)?.into_iter().filter(|path| is_checked(path)) {
        let text = read(&path)?;
        uses.extend(find(&path, &words_of(&path, &text), &phrases));
    }
    let report = compare(&uses, &phrases, &allowed);
    for note in &report.notes {
        println!("note: {note}");
    }
    for problem in &report.problems {
        println!("{problem}");
    }
    println!("{} problems; permitted uses are in {ALLOWED}", report.problems.len());
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The paths of all files in the repository, relative to its root.
fn tracked_files(workspace: &Path) -> Result<Vec<String>> {
    let output = Command::new("git").arg("-C").arg(workspace).args(["ls-files", "-z"]).output();
    let output = output.context("cannot run git; install git")?;
    if !output.status.success() {
        bail!("cannot list the files of the repository: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let paths = String::from_utf8(output.stdout).context("a path in the repository is not UTF-8")?;
    // A file that was removed but is still in the index cannot be read.
    let exists = |path: &&str| !path.is_empty() && workspace.join(path).is_file();
    Ok(paths.split('\0').filter(exists).map(str::to_owned).collect())
}

fn is_checked(path: &str) -> bool {
    let is_in = |place: &&str| path == *place || place.ends_with('/') && path.starts_with(*place);
    CHECKED.iter().any(is_in) && !SKIPPED.iter().any(is_in) && has_prose(path)
}

/// Whether a file has prose: lock files and tables of data have not.
fn has_prose(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(
        extension,
        "" | "rs" | "md" | "yml" | "toml" | "py" | "sh" | "bt" | "service" | "target" | "js" | "css" | "html"
    )
}

fn words_of(path: &str, text: &str) -> Vec<Word> {
    if path.ends_with(".rs") { text::words_of_rust(text) } else { text::words_of_document(text) }
}

/// The uses of phrases in the words of a file.
fn find(path: &str, words: &[Word], phrases: &[Phrase]) -> Vec<Use> {
    let mut uses = Vec::new();
    for (start, word) in words.iter().enumerate() {
        let rest = &words[start..];
        for phrase in phrases {
            let is_here = rest.len() >= phrase.words.len()
                && phrase.words.iter().zip(rest).all(|(wanted, word)| *wanted == word.text);
            if is_here {
                uses.push(Use { path: path.to_owned(), line: word.line, phrase: phrase.text.clone() });
            }
        }
    }
    uses
}

/// The result of the check.
#[derive(Debug, Default)]
struct Report {
    /// Limits that can be lowered.
    notes: Vec<String>,
    /// Uses without permission, and permissions without use.
    problems: Vec<String>,
}

/// Compares uses with the permitted ones.
fn compare(uses: &[Use], phrases: &[Phrase], allowed: &[Allowance]) -> Report {
    let mut report = Report::default();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for found in uses {
        let Some(allowance) = allowed.iter().find(|allowance| allowance.covers(&found.path, &found.phrase)) else {
            let Use { path, line, phrase } = found;
            let replacement =
                phrases.iter().find(|known| known.text == *phrase).map(|known| known.replacement.as_str());
            let replacement = replacement.unwrap_or_default();
            report.problems.push(format!("{path}:{line}: avoid {phrase:?}; write: {replacement}"));
            continue;
        };
        *counts.entry((&allowance.place, &allowance.phrase)).or_default() += 1;
    }
    for Allowance { place, phrase, maximum, .. } in allowed {
        let count = counts.get(&(place.as_str(), phrase.as_str())).copied().unwrap_or_default();
        if count > *maximum {
            report.problems.push(format!("{place}: {phrase:?} is used {count} times, permitted are {maximum}"));
        } else if count == 0 && !place.ends_with('/') {
            report.problems.push(format!("{place}: {phrase:?} is not used any more; remove its line from {ALLOWED}"));
        } else if count < *maximum {
            report.notes.push(format!("{place}: {phrase:?} is used {count} times; lower its limit of {maximum}"));
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHRASES: &str = "whoever | the process\nfor ever | permanently\nis no size | invalid size\n";

    fn uses_in(path: &str, text: &str) -> Vec<(usize, String)> {
        let phrases = lists::phrases(PHRASES).unwrap();
        find(path, &words_of(path, text), &phrases).into_iter().map(|found| (found.line, found.phrase)).collect()
    }

    fn problems(uses: &[(&str, usize)], allowed: &str) -> Report {
        let phrases = lists::phrases(PHRASES).unwrap();
        let one = |&(path, line): &(&str, usize)| Use { path: path.to_owned(), line, phrase: "whoever".to_owned() };
        compare(&uses.iter().map(one).collect::<Vec<_>>(), &phrases, &lists::allowances(allowed).unwrap())
    }

    /// Phrases are found in any case and across a line break, with the line of their first word.
    #[test]
    fn phrases_are_found_in_documents() {
        let text = "Whoever reads this\nwaits for\never.\n\"x\" is no size.\n";
        let wanted = [(1, "whoever"), (2, "for ever"), (4, "is no size")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(uses_in("docs/x.md", text), wanted);
    }

    /// Parts of words do not match, and punctuation separates the words of a phrase.
    #[test]
    fn parts_of_words_do_not_match() {
        assert!(uses_in("docs/x.md", "whoevers, for every; it is for. Ever since, is no sized\n").is_empty());
    }

    /// In Rust, comments and strings are checked, and identifiers are not.
    #[test]
    fn rust_identifiers_do_not_match() {
        let text = "/// Kept for\n/// ever.\nfn whoever(whoever: &str) { bail!(\"{x:?} is no \\\n    size\"); }\n";
        let wanted = [(1, "for ever"), (3, "is no size")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(uses_in("xtask/src/x.rs", text), wanted);
    }

    /// A use without permission is a problem with its place and the replacement.
    #[test]
    fn use_without_permission_is_a_problem() {
        let report = problems(&[("docs/x.md", 7)], "");
        assert_eq!(report.problems, ["docs/x.md:7: avoid \"whoever\"; write: the process"]);
    }

    /// A limit permits its number of uses in a directory, and not one more.
    #[test]
    fn limit_must_not_be_exceeded() {
        let allowed = "tracer/ | whoever | 2 | rewritten later\n";
        let two = [("tracer/a.rs", 1), ("tracer/b.rs", 2)];
        assert!(problems(&two, allowed).problems.is_empty());
        let three = [two[0], two[1], ("tracer/b.rs", 3)];
        assert_eq!(problems(&three, allowed).problems, ["tracer/: \"whoever\" is used 3 times, permitted are 2"]);
        for fewer in [&two[..1], &[]] {
            let report = problems(fewer, allowed);
            assert!(report.problems.is_empty() && report.notes.len() == 1, "{report:?}");
        }
    }

    /// A permission for another file does not apply, and one without a use is a problem, so that it is removed.
    #[test]
    fn unused_permission_is_a_problem() {
        let report = problems(&[], "docs/x.md | whoever | 1 | a quotation\n");
        assert!(report.problems[0].contains("is not used any more"), "{report:?}");
        let report = problems(&[("docs/y.md", 1)], "docs/x.md | whoever | 1 | a quotation\n");
        assert_eq!(report.problems.len(), 2, "{report:?}");
    }

    /// Generated files, fixtures and data are not checked; documents and code are.
    #[test]
    fn generated_files_are_not_checked() {
        for path in ["README.md", "docs/internals/bpf.md", "tracer/src/lib.rs", "packaging/systemd/kmodtrace.service"] {
            assert!(is_checked(path), "{path}");
        }
        for path in ["docs/man/kmodtrace.1", "tests/fixtures/x.md", "Cargo.lock", "tests/kernels.json", "LICENSE-MIT"] {
            assert!(!is_checked(path), "{path}");
        }
    }

    /// The lists of the repository can be parsed.
    #[test]
    fn stored_lists_are_valid() {
        assert!(!lists::phrases(include_str!("../../words/avoid.txt")).unwrap().is_empty());
        lists::allowances(include_str!("../../words/allowed.txt")).unwrap();
    }
}
