//! File systems that are mounted, by type.

use std::{collections::BTreeMap, fs, path::Path};

/// Maximum number of mount points listed for one type.
const POINTS_MAX: usize = 4;

/// Mounts of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    /// The first mount points.
    pub(super) points: Vec<String>,
    pub(super) count: usize,
}

/// The mounts below `root`, by type.
pub(super) fn by_type(root: &Path) -> BTreeMap<String, Mounts> {
    let mut mounts: BTreeMap<String, Mounts> = BTreeMap::new();
    let text = fs::read(root.join("proc/self/mounts")).unwrap_or_default();
    for line in String::from_utf8_lossy(&text).lines() {
        let mut words = line.split(' ');
        let (Some(point), Some(kind)) = (words.nth(1), words.next()) else { continue };
        let of_type = mounts.entry(kind.to_owned()).or_default();
        of_type.count += 1;
        if of_type.points.len() < POINTS_MAX {
            of_type.points.push(plain(point));
        }
    }
    mounts
}

/// A mount point without the octal escapes of the file (`mangle()`, fs/seq_file.c): space, tab, newline, backslash, and `#`.
fn plain(point: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\")];
    escapes.into_iter().fold(point.to_owned(), |point, (escaped, character)| point.replace(escaped, character))
}

#[cfg(test)]
mod tests {
    use super::plain;

    /// Escapes are replaced once.
    #[test]
    fn mount_point_has_no_escapes() {
        assert_eq!(plain("/mnt/a\\040b\\134"), "/mnt/a b\\");
        assert_eq!(plain("/mnt/a\\134040b"), "/mnt/a\\040b");
    }
}
