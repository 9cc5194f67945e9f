//! The kernels that can be booted: each line is one Debian kernel package of one suite.

use std::fmt;

use anyhow::{Result, bail};

/// A kernel line: a name, and the package that follows its updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The name on the command line, after the kernel's own version.
    pub(crate) name: &'static str,
    /// The Debian suite; the guest's programs are from the same suite.
    pub(crate) suite: &'static str,
    /// The metapackage that depends on the newest image.
    pub(crate) metapackage: &'static str,
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)
    }
}

/// Every line, oldest kernel first.
pub(crate) const LINES: &[Line] = &[
    Line { name: "5.10", suite: "bullseye", metapackage: "linux-image-amd64" },
    Line { name: "6.1", suite: "bookworm", metapackage: "linux-image-amd64" },
    Line { name: "6.1-cloud", suite: "bookworm", metapackage: "linux-image-cloud-amd64" },
    Line { name: "6.1-rt", suite: "bookworm", metapackage: "linux-image-rt-amd64" },
    Line { name: "6.12", suite: "trixie", metapackage: "linux-image-amd64" },
    Line { name: "6.12-rt", suite: "trixie", metapackage: "linux-image-rt-amd64" },
    Line { name: "7", suite: "sid", metapackage: "linux-image-amd64" },
];

/// The default line.
pub(crate) const DEFAULT: &str = "6.1";

/// Finds a line by name.
pub(crate) fn find(name: &str) -> Result<&'static Line> {
    let Some(line) = LINES.iter().find(|line| line.name == name) else {
        let known: Vec<&str> = LINES.iter().map(|line| line.name).collect();
        bail!("invalid kernel line {name:?}: expected one of {}", known.join(", "));
    };
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default line exists, and names are unique.
    #[test]
    fn names_are_unique_and_default_exists() {
        assert_eq!(find(DEFAULT).unwrap().name, DEFAULT);
        for (index, line) in LINES.iter().enumerate() {
            assert!(LINES[index + 1..].iter().all(|other| other.name != line.name), "{} is duplicated", line.name);
        }
    }

    /// The error for an unknown name lists the known names.
    #[test]
    fn unknown_line_lists_known_lines() {
        let message = find("2.4").unwrap_err().to_string();
        assert!(message.contains("2.4") && message.contains("6.1-cloud"), "{message}");
    }
}
