//! Formats an error with all its causes as one sentence.

use std::{error::Error, fmt::Write};

/// `error: cause: cause`, for places that have one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_causes;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the file")]
    struct Outer(#[source] std::io::Error);

    /// The sentence contains every cause.
    #[test]
    fn with_causes_names_every_cause() {
        assert_eq!(with_causes(&Outer(std::io::Error::other("it is gone"))), "cannot read the file: it is gone");
    }
}
