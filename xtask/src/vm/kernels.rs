//! The kernels the rig can boot: one line of the table is one Debian kernel package of one suite.

use std::fmt;

use anyhow::{Result, bail};

/// A kernel line: a name people use, and the package that follows its updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The name on the command line, after the kernel's own version.
    pub(crate) name: &'static str,
    /// The Debian suite that ships it; the guest's programs come from the same suite.
    pub(crate) suite: &'static str,
    /// The metapackage that depends on the newest image of the line.
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
    Line { name: "6.12", suite: "trixie", metapackage: "linux-image-amd64" },
    Line { name: "7", suite: "sid", metapackage: "linux-image-amd64" },
];

/// The line that is used where none is named.
pub(crate) const DEFAULT: &str = "6.1";

/// Finds a line by name.
pub(crate) fn find(name: &str) -> Result<&'static Line> {
    let Some(line) = LINES.iter().find(|line| line.name == name) else {
        let known: Vec<&str> = LINES.iter().map(|line| line.name).collect();
        bail!("no kernel line {name:?}; known are {}", known.join(", "));
    };
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default names a line of the table, and no name is there twice.
    #[test]
    fn names_are_unique_and_the_default_exists() {
        assert_eq!(find(DEFAULT).unwrap().name, DEFAULT);
        for (index, line) in LINES.iter().enumerate() {
            assert!(LINES[index + 1..].iter().all(|other| other.name != line.name), "{} is there twice", line.name);
        }
    }

    /// An unknown name is refused with the names that exist.
    #[test]
    fn unknown_lines_list_the_known_ones() {
        let message = find("2.4").unwrap_err().to_string();
        assert!(message.contains("2.4") && message.contains("6.1-cloud"), "{message}");
    }
}
