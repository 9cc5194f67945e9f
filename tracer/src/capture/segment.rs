//! Files of a recording: made, filled, rotated, kept and thrown away. What the disk does is behind a trait, so that its
//! failures are tested.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::files::EXTENSION;

/// The disk.
pub trait Disk {
    /// Makes a file that must not exist.
    ///
    /// # Errors
    /// As the system has it.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the system has it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory.
    ///
    /// # Errors
    /// As the system has it.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Bytes that are free for us.
    ///
    /// # Errors
    /// As the system has it.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
    /// Makes what was done to a directory last.
    ///
    /// # Errors
    /// As the system has it.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// A file that is being filled.
pub trait SegmentFile {
    /// Writes it all, or fails; some of it may have been written then.
    ///
    /// # Errors
    /// As the system has it.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// As the system has it.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    /// Whether a name still leads to it: what is written to a file that was removed is gone when it is closed.
    ///
    /// # Errors
    /// As the system has it.
    fn is_linked(&self) -> io::Result<bool>;
    /// Makes what was written last; with its metadata or without what is not needed to read it.
    ///
    /// # Errors
    /// As the system has it.
    fn sync(&mut self, metadata: bool) -> io::Result<()>;
}

/// The system's disk.
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
        // Appending, so that a cut file goes on where it was cut. Arguments of processes are nobody's business.
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            // A name that is no text is none of ours.
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

/// Where a recording goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Segments in a directory.
    Directory(PathBuf),
    /// One file, which must not exist.
    File(PathBuf),
}

impl Target {
    /// The directory that is written to.
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

/// What a recording is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// When it began: `20261123T101502Z`.
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

/// Captures of ours in a directory but for the one that is being written, oldest first.
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
