//! Files of a recording. The disk is abstracted by a trait, so that its failures can be tested.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::files::EXTENSION;

/// The file system operations of a recording.
pub trait Disk {
    /// Creates a file that must not exist.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    /// Removes a file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory.
    ///
    /// # Errors
    /// Those of the operating system.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Free space that is available to this user, bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
    /// Syncs a directory.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub trait SegmentFile {
    /// Writes all bytes. If it fails, some of them may have been written.
    ///
    /// # Errors
    /// Those of the operating system.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Truncates the file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    /// Returns whether a name still refers to it: data written to a removed file is lost when the file is closed.
    ///
    /// # Errors
    /// Those of the operating system.
    fn is_linked(&self) -> io::Result<bool>;
    /// Syncs the written data, optionally with all metadata.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync(&mut self, metadata: bool) -> io::Result<()>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl SegmentFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.metadata()?.nlink() > 0)
    }

    fn sync(&mut self, metadata: bool) -> io::Result<()> {
        if metadata { self.sync_all() } else { self.sync_data() }
    }
}

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        // Append mode, so that a truncated file is continued at its end. Mode 0600, since arguments of processes may be
        // secret.
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            // The recorder creates no names that are not UTF-8.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(directory)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// The destination of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Segments in a directory.
    Directory(PathBuf),
    /// One file, which must not exist.
    File(PathBuf),
}

impl Target {
    /// The directory of the recording.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::File(path) => match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            },
        }
    }
}

/// The parts of a recording's file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its start time: `20261123T101502Z`.
    pub time: String,
    /// First digits of the boot id.
    pub boot: String,
    /// Its id.
    pub recording: String,
}

impl Label {
    /// The path of a segment.
    #[must_use]
    pub fn path(&self, target: &Target, segment: u32) -> PathBuf {
        match target {
            Target::File(path) => path.clone(),
            Target::Directory(directory) => {
                let Self { time, boot, recording } = self;
                directory.join(format!("kmodtrace-{time}-{boot}-{recording}-{segment:06}{EXTENSION}"))
            }
        }
    }
}

/// The recorder's captures in a directory except the current one, oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn closed_segments(disk: &dyn Disk, directory: &Path, current: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let names = disk.names(directory)?;
    let ours = names.into_iter().filter(|name| name.starts_with("kmodtrace-") && name.ends_with(EXTENSION));
    let mut paths: Vec<PathBuf> =
        ours.map(|name| directory.join(name)).filter(|path| Some(path.as_path()) != current).collect();
    paths.sort();
    Ok(paths)
}
