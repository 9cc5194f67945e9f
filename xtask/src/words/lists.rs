//! Parses the list of phrases and the list of permitted uses.

use anyhow::{Context as _, Result, bail};

/// A phrase to avoid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phrase {
    /// The phrase in lower case.
    pub(super) text: String,
    /// Its words.
    pub(super) words: Vec<String>,
    /// What to write instead.
    pub(super) replacement: String,
}

/// A permitted use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// A file, or a directory with a trailing slash.
    pub(super) place: String,
    /// The phrase.
    pub(super) phrase: String,
    /// Maximum number of uses in that place.
    pub(super) maximum: usize,
}

impl Allowance {
    /// Whether it applies to a phrase in a file.
    pub(super) fn covers(&self, path: &str, phrase: &str) -> bool {
        let is_here = path == self.place || self.place.ends_with('/') && path.starts_with(&self.place);
        is_here && phrase == self.phrase
    }
}

/// Parses lines of the form `PHRASE | REPLACEMENT`.
pub(super) fn phrases(text: &str) -> Result<Vec<Phrase>> {
    let read = |line: &str| {
        let [phrase, replacement] = fields(line)?;
        let words: Vec<String> = phrase.split_whitespace().map(str::to_lowercase).collect();
        Ok(Phrase { text: words.join(" "), words, replacement: replacement.to_owned() })
    };
    entries(text).map(read).collect()
}

/// Parses lines of the form `PLACE | PHRASE | MAXIMUM | REASON`. Every entry must have a reason.
pub(super) fn allowances(text: &str) -> Result<Vec<Allowance>> {
    let read = |line: &str| {
        let [place, phrase, maximum, _reason] = fields(line)?;
        let maximum = maximum.parse().with_context(|| format!("invalid maximum {maximum:?}: expected a number"))?;
        Ok(Allowance { place: place.to_owned(), phrase: phrase.to_lowercase(), maximum })
    };
    entries(text).map(read).collect()
}

/// The lines that are neither empty nor comments.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Splits a line into its non-empty fields.
fn fields<const N: usize>(line: &str) -> Result<[&str; N]> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    match <[&str; N]>::try_from(fields) {
        Ok(fields) if fields.iter().all(|field| !field.is_empty()) => Ok(fields),
        _ => bail!("invalid line {line:?}: expected {N} fields, separated by |"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comments and empty lines are skipped, and phrases are in lower case.
    #[test]
    fn phrases_are_parsed() {
        let parsed = phrases("# comment\n\nFor  Ever | permanently\n").unwrap();
        assert_eq!((parsed.len(), parsed[0].text.as_str(), parsed[0].words.len()), (1, "for ever", 2));
        assert_eq!(parsed[0].replacement, "permanently");
    }

    /// A line without a replacement, a reason or a number is an error.
    #[test]
    fn incomplete_line_is_an_error() {
        assert!(phrases("whoever\n").is_err() && phrases("whoever | \n").is_err());
        assert!(allowances("docs/ | whoever | 1 | \n").is_err() && allowances("docs/ | whoever | 1\n").is_err());
        assert!(allowances("docs/ | whoever | many | a reason\n").is_err());
    }

    /// An entry for a directory covers its files, one for a file only that file.
    #[test]
    fn directory_covers_its_files() {
        let parsed = allowances("tracer/ | whoever | 1 | x\ndocs/a.md | whoever | 1 | x\n").unwrap();
        assert!(parsed[0].covers("tracer/src/lib.rs", "whoever") && !parsed[0].covers("tracer-ebpf/x.rs", "whoever"));
        assert!(parsed[1].covers("docs/a.md", "whoever") && !parsed[1].covers("docs/a.md.txt", "whoever"));
        assert!(!parsed[1].covers("docs/a.md", "mend"));
    }
}
