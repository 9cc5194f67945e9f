//! Resolves paths to captures: files, directories with captures at any depth, standard input.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The extension of captures.
pub const EXTENSION: &str = ".jsonl.zst";

/// Maximum depth of directories.
const DEPTH_MAX: usize = 32;

/// A path that cannot be used, and why.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unusable {
    /// The path.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// The captures that paths refer to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// Captures; those of a directory are sorted by name.
    pub files: Vec<PathBuf>,
    /// Paths that cannot be used.
    pub unusable: Vec<Unusable>,
    /// Directories without captures.
    pub empty: Vec<PathBuf>,
}

/// Lists captures: each file, and all captures in each directory. `-` is kept unchanged.
#[must_use]
pub fn list(paths: &[PathBuf]) -> Listing {
    let mut listing = Listing::default();
    for path in paths {
        if is_stdin(path) {
            listing.files.push(path.clone());
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let before = listing.files.len() + listing.unusable.len();
                directory(path, 0, &mut listing);
                if listing.files.len() + listing.unusable.len() == before {
                    listing.empty.push(path.clone());
                }
            }
            Ok(_) => listing.files.push(path.clone()),
            Err(error) => listing.unusable.push(Unusable { path: path.clone(), error }),
        }
    }
    listing
}

fn directory(path: &Path, depth: usize, listing: &mut Listing) {
    let mut entries = Vec::new();
    let read = fs::read_dir(path).and_then(|all| {
        all.into_iter().try_for_each(|entry| {
            entries.push(entry?.path());
            Ok(())
        })
    });
    if let Err(error) = read {
        listing.unusable.push(Unusable { path: path.to_owned(), error });
    }
    entries.sort();
    for entry in entries {
        // Links to directories are not followed, since they may form a cycle.
        let is_directory = fs::symlink_metadata(&entry).is_ok_and(|metadata| metadata.is_dir());
        if is_directory {
            if depth < DEPTH_MAX {
                directory(&entry, depth + 1, listing);
            } else {
                let error = io::Error::other(format!("more than {DEPTH_MAX} directories deep"));
                listing.unusable.push(Unusable { path: entry, error });
            }
        } else if is_capture(&entry) {
            match fs::metadata(&entry) {
                Ok(metadata) if metadata.is_file() => listing.files.push(entry),
                // Opening a FIFO would wait for a writer.
                Ok(metadata) if !metadata.is_dir() => {
                    let error = io::Error::other("not a regular file");
                    listing.unusable.push(Unusable { path: entry, error });
                }
                Ok(_) => {}
                Err(error) => listing.unusable.push(Unusable { path: entry, error }),
            }
        }
    }
}

/// Returns whether a path is standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Returns whether a name is that of a capture.
#[must_use]
pub fn is_capture(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    !name.starts_with('.') && (name.ends_with(EXTENSION) || name.ends_with(".jsonl"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::list;

    /// A directory yields its captures in order and at any depth, and entries that are no files are reported.
    #[test]
    fn list_directory_yields_captures_and_reports_others() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        assert_eq!(list(&[root.path().to_owned()]).empty, [root.path()]);
        fs::create_dir_all(path("host/day")).unwrap();
        fs::create_dir(path("e.jsonl")).unwrap();
        for name in ["b.jsonl.zst", "a.jsonl", "notes.txt", ".hidden.jsonl", "host/day/c.jsonl"] {
            fs::write(path(name), "").unwrap();
        }
        symlink("nowhere", path("d.jsonl")).unwrap();
        symlink("..", path("host/up")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path("f.jsonl"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        let listing = list(&[root.path().to_owned()]);
        assert_eq!(listing.files, [path("a.jsonl"), path("b.jsonl.zst"), path("host/day/c.jsonl")]);
        let unusable: Vec<_> = listing.unusable.iter().map(|unusable| unusable.path.clone()).collect();
        assert_eq!(unusable, [path("d.jsonl"), path("f.jsonl")]);
        assert_eq!(list(&[path("notes.txt"), "-".into()]).files, [path("notes.txt"), "-".into()]);
        assert_eq!(list(&[path("none")]).unusable.len(), 1);
    }
}
