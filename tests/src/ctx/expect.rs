//! Statements of a scenario. What does not hold says what it was about, what was wanted and what was found.

use std::collections::BTreeSet;
use std::fmt::Debug;

use anyhow::{Result, bail};

/// States that something is so.
///
/// # Errors
/// When it is not.
pub fn that(what: &str, holds: bool) -> Result<()> {
    if !holds {
        bail!("not so: {what}");
    }
    Ok(())
}

/// States that a value is the wanted one.
///
/// # Errors
/// When it is another.
#[expect(clippy::needless_pass_by_value, reason = "a statement reads best with plain values on both sides")]
pub fn equal<F: Debug + PartialEq<W>, W: Debug>(what: &str, found: F, wanted: W) -> Result<()> {
    if found != wanted {
        bail!("{what}:\n  wanted {wanted:?}\n  found  {found:?}");
    }
    Ok(())
}

/// States that a text holds a part.
///
/// # Errors
/// When it does not.
pub fn contains(what: &str, text: &str, part: &str) -> Result<()> {
    if !text.contains(part) {
        bail!("{what}:\n  wanted a text with {part:?}\n  found  {text:?}");
    }
    Ok(())
}

/// States that two collections hold the same things, in whatever order; each thing counts once.
///
/// # Errors
/// When one holds what the other does not.
pub fn same_set<T: Debug + Ord>(
    what: &str,
    found: impl IntoIterator<Item = T>,
    wanted: impl IntoIterator<Item = T>,
) -> Result<()> {
    let (found, wanted): (BTreeSet<T>, BTreeSet<T>) = (found.into_iter().collect(), wanted.into_iter().collect());
    let missing: Vec<&T> = wanted.difference(&found).collect();
    let surplus: Vec<&T> = found.difference(&wanted).collect();
    if !missing.is_empty() || !surplus.is_empty() {
        bail!("{what}:\n  missing {missing:?}\n  surplus {surplus:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What holds passes in silence.
    #[test]
    fn passes_what_holds() {
        that("x", true).unwrap();
        equal("x", "a".to_owned(), "a").unwrap();
        contains("x", "abc", "b").unwrap();
        same_set("x", ["a", "b"], ["b", "a"]).unwrap();
    }

    /// What does not hold names the subject and both sides.
    #[test]
    fn explains_what_does_not_hold() {
        assert!(that("the sky is green", false).unwrap_err().to_string().contains("the sky is green"));
        let message = equal("exit code", 1, 0).unwrap_err().to_string();
        assert!(message.contains("exit code") && message.contains("wanted 0") && message.contains("found  1"));
        let message = same_set("modules", ["a", "c"], ["a", "b"]).unwrap_err().to_string();
        assert!(message.contains("missing [\"b\"]") && message.contains("surplus [\"c\"]"), "{message}");
        assert!(contains("log", "abc", "x").is_err());
    }
}
