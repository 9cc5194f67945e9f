//! Checks of a scenario. A failed check names its subject, the expected value and the value found.

use std::collections::BTreeSet;
use std::fmt::Debug;

use anyhow::{Result, bail};

/// Checks a condition.
///
/// # Errors
/// When it does not hold.
pub fn ensure(what: &str, holds: bool) -> Result<()> {
    if !holds {
        bail!("condition does not hold: {what}");
    }
    Ok(())
}

/// Checks that a value is the expected one.
///
/// # Errors
/// When it differs.
#[expect(clippy::needless_pass_by_value, reason = "a check is easier to read with plain values on both sides")]
pub fn equal<F: Debug + PartialEq<W>, W: Debug>(what: &str, found: F, wanted: W) -> Result<()> {
    if found != wanted {
        bail!("{what}:\n  expected {wanted:?}\n  found    {found:?}");
    }
    Ok(())
}

/// Checks that a text contains a part.
///
/// # Errors
/// When it does not.
pub fn contains(what: &str, text: &str, part: &str) -> Result<()> {
    if !text.contains(part) {
        bail!("{what}:\n  expected a text with {part:?}\n  found    {text:?}");
    }
    Ok(())
}

/// Checks that two collections contain the same values, in any order. Repeated values count once.
///
/// # Errors
/// When one collection contains a value that the other lacks.
pub fn same_set<T: Debug + Ord>(
    what: &str,
    found: impl IntoIterator<Item = T>,
    wanted: impl IntoIterator<Item = T>,
) -> Result<()> {
    let (found, wanted): (BTreeSet<T>, BTreeSet<T>) = (found.into_iter().collect(), wanted.into_iter().collect());
    let missing: Vec<&T> = wanted.difference(&found).collect();
    let surplus: Vec<&T> = found.difference(&wanted).collect();
    if !missing.is_empty() || !surplus.is_empty() {
        bail!("{what}:\n  missing    {missing:?}\n  unexpected {surplus:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that hold return no error.
    #[test]
    fn check_that_holds_is_ok() {
        ensure("x", true).unwrap();
        equal("x", "a".to_owned(), "a").unwrap();
        contains("x", "abc", "b").unwrap();
        same_set("x", ["a", "b"], ["b", "a"]).unwrap();
    }

    /// The error of a failed check names the subject and both values.
    #[test]
    fn failed_check_names_both_values() {
        assert!(ensure("the sky is green", false).unwrap_err().to_string().contains("the sky is green"));
        let message = equal("exit code", 1, 0).unwrap_err().to_string();
        assert!(message.contains("exit code") && message.contains("expected 0") && message.contains("found    1"));
        let message = same_set("modules", ["a", "c"], ["a", "b"]).unwrap_err().to_string();
        assert!(message.contains("missing    [\"b\"]") && message.contains("unexpected [\"c\"]"), "{message}");
        assert!(contains("log", "abc", "x").is_err());
    }
}
