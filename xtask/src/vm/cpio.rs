//! A writer of newc cpio archives, the format of an initramfs.
//!
//! The kernel accepts several concatenated archives, so a base image is packed once and a small overlay is appended for each
//! run. All files are owned by root and dated 1970, so that the same input gives the same bytes.

use std::io::{self, Write};

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
/// File type bits of `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
/// Archives are padded to this size, so that another one can follow.
const BLOCK_BYTES: u64 = 512;

/// Writes one archive.
#[derive(Debug)]
pub(crate) struct Writer<W: Write> {
    out: W,
    written_bytes: u64,
    next_inode: u32,
}

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub(crate) fn new(out: W) -> Self {
        Self { out, written_bytes: 0, next_inode: 1 }
    }

    /// Adds a directory. Parents must have been added before.
    pub(crate) fn directory(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.header(path, DIRECTORY | mode, 2, 0)
    }

    /// Adds a regular file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.header(path, REGULAR | mode, 1, data.len())?;
        self.data(data)
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.header(path, SYMLINK | 0o777, 1, target.len())?;
        self.data(target.as_bytes())
    }

    /// Ends the archive and returns the output.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.next_inode = 0;
        self.header(TRAILER, 0, 1, 0)?;
        let rest = self.written_bytes % BLOCK_BYTES;
        if rest != 0 {
            self.zeros(BLOCK_BYTES - rest)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn header(&mut self, path: &str, mode: u32, links: u32, data_len: usize) -> io::Result<()> {
        let too_large =
            |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{path}: too large for a cpio archive"));
        let data_bytes = u32::try_from(data_len).map_err(too_large)?;
        let name_bytes = u32::try_from(path.len() + 1).map_err(too_large)?;
        let inode = self.next_inode;
        self.next_inode = inode.wrapping_add(1);
        // inode, mode, uid, gid, links, mtime, size, device major and minor, rdev major and minor, name size, check
        let fields = [inode, mode, 0, 0, links, 0, data_bytes, 0, 0, 0, 0, name_bytes, 0];
        let mut header = MAGIC.to_owned();
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.raw(header.as_bytes())?;
        self.raw(path.as_bytes())?;
        self.raw(&[0])?;
        self.align()
    }

    fn data(&mut self, data: &[u8]) -> io::Result<()> {
        self.raw(data)?;
        self.align()
    }

    fn align(&mut self) -> io::Result<()> {
        self.zeros(self.written_bytes.next_multiple_of(4) - self.written_bytes)
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        const ZEROS: [u8; 512] = [0; 512];
        let count = usize::try_from(count).map_err(io::Error::other)?;
        self.raw(&ZEROS[..count])
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An entry, as parsed by a reader that was written from the description of the format.
    #[derive(Debug, Clone, PartialEq)]
    struct Found {
        path: String,
        mode: u32,
        data: Vec<u8>,
    }

    fn read(archive: &[u8]) -> Vec<Found> {
        let mut at = 0;
        let mut found = Vec::new();
        let mut inodes = std::collections::BTreeSet::new();
        loop {
            let header = std::str::from_utf8(&archive[at..at + 110]).unwrap();
            assert_eq!(&header[..6], "070701");
            let field = |index: usize| u32::from_str_radix(&header[6 + index * 8..14 + index * 8], 16).unwrap();
            let (name_bytes, data_bytes) = (field(11) as usize, field(6) as usize);
            let name = &archive[at + 110..at + 110 + name_bytes];
            assert_eq!(name.last(), Some(&0));
            let path = String::from_utf8(name[..name_bytes - 1].to_vec()).unwrap();
            let data_at = (at + 110 + name_bytes).next_multiple_of(4);
            at = (data_at + data_bytes).next_multiple_of(4);
            if path == "TRAILER!!!" {
                assert!(archive[at..].iter().all(|byte| *byte == 0));
                return found;
            }
            assert!(inodes.insert(field(0)), "inode used twice: the kernel would make a hard link");
            found.push(Found { path, mode: field(1), data: archive[data_at..data_at + data_bytes].to_vec() });
        }
    }

    /// The three kinds of entries have their type bits, and the archive ends on a block boundary.
    #[test]
    fn each_kind_is_written() {
        let mut writer = Writer::new(Vec::new());
        writer.directory("etc", 0o755).unwrap();
        writer.file("etc/passwd", 0o644, b"root").unwrap();
        writer.symlink("bin", "usr/bin").unwrap();
        let archive = writer.finish().unwrap();
        assert_eq!(archive.len() % 512, 0);
        let found = read(&archive);
        let modes: Vec<u32> = found.iter().map(|entry| entry.mode).collect();
        assert_eq!(modes, [0o040_755, 0o100_644, 0o120_777]);
        assert_eq!(found[2].data, b"usr/bin");
    }

    proptest! {
        /// Names and contents of any length round-trip.
        #[test]
        fn any_content_round_trips(files in prop::collection::vec(("[a-z/]{1,20}", prop::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let mut writer = Writer::new(Vec::new());
            for (path, data) in &files {
                writer.file(path, 0o600, data).unwrap();
            }
            let found = read(&writer.finish().unwrap());
            let wanted: Vec<Found> =
                files.into_iter().map(|(path, data)| Found { path, mode: 0o100_600, data }).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
