//! Files that verbs write: none is one that is read, no two are one, and none is there before it is whole.

use std::{
    cell::Cell,
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, bail};
use rustix::fs::{Gid, OFlags, Uid, fchown, fcntl_getfl, fcntl_setfl};
use tempfile::{Builder, TempPath};

use crate::capture::files;

/// What is written to, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Id {
    /// Standard output.
    Stdout,
    /// A file that is there: device and inode.
    Node(u64, u64),
    /// One that is not there yet.
    Path(PathBuf),
}

impl Id {
    /// A regular file; what is none can be written to by many.
    fn of(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self::Node(metadata.dev(), metadata.ino()))
    }
}

/// Outputs of one verb.
pub(super) struct Outputs {
    /// What is read, and its name.
    inputs: Vec<(Id, String)>,
    /// What is written, and its name.
    taken: Vec<(Id, String)>,
    drafts: Vec<Draft>,
    in_place: Vec<InPlace>,
    /// Written where they are wanted from the start: somebody reads along, or a right may be gone at the end.
    is_live: bool,
}

/// A file that gets its name when it is whole.
struct Draft {
    path: TempPath,
    target: PathBuf,
}

impl Outputs {
    /// Outputs of a verb that reads these: files, directories of captures, `-`.
    ///
    /// What is written is a file of another name until [`Outputs::keep`].
    pub(super) fn of(inputs: &[PathBuf]) -> anyhow::Result<Self> {
        let (stdin, named): (Vec<PathBuf>, Vec<PathBuf>) =
            inputs.iter().cloned().partition(|path| is_standard_stream(path));
        let mut nodes = Vec::new();
        for path in files::list(&named).files {
            let metadata = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
            nodes.extend(Id::of(&metadata).map(|id| (id, path.display().to_string())));
        }
        if !stdin.is_empty() {
            nodes.extend(standard(io::stdin().as_fd())?.map(|id| (id, "standard input".to_owned())));
        }
        Ok(Self { inputs: nodes, taken: Vec::new(), drafts: Vec::new(), in_place: Vec::new(), is_live: false })
    }

    /// The same, written where they are wanted from the start.
    pub(super) fn live(inputs: &[PathBuf]) -> anyhow::Result<Self> {
        let mut outputs = Self::of(inputs)?;
        outputs.is_live = true;
        Ok(outputs)
    }

    /// Takes standard output for what is written.
    pub(super) fn stdout(&mut self) -> anyhow::Result<io::Stdout> {
        if let Some(id) = standard(io::stdout().as_fd())? {
            self.is_free(&id, "standard output")?;
        }
        self.take(Id::Stdout, "standard output")?;
        Ok(io::stdout())
    }

    /// Opens an output; `-` is standard output. What cannot be written is told now, with its name.
    pub(super) fn open(&mut self, path: &Path) -> anyhow::Result<Box<dyn Write>> {
        if is_standard_stream(path) || is_stdout(path)? {
            return Ok(Box::new(self.stdout()?));
        }
        let name = path.display().to_string();
        let cannot = || format!("cannot write to {name}");
        // Whatever leads to an input is that input.
        match fs::metadata(path) {
            Ok(metadata) => Id::of(&metadata).map_or(Ok(()), |id| self.is_free(&id, &name))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(cannot),
        }
        let there = writable(path).with_context(cannot)?;
        let target = resolved(path).with_context(cannot)?;
        match &there {
            Some(metadata) => {
                if let Some(id) = Id::of(metadata) {
                    self.take(id, &name)?;
                }
            }
            None => self.take(Id::Path(target.clone()), &name)?,
        }
        let file: Box<dyn Write> = match there {
            // A terminal, a device, a pipe that the shell has opened for us.
            Some(metadata) if !metadata.is_file() => Box::new(opened(path).with_context(cannot)?),
            _ if self.is_live => Box::new(create(path).with_context(cannot)?),
            // Another name or another owner would lose it.
            Some(metadata) if metadata.nlink() > 1 || metadata.uid() != rustix::process::geteuid().as_raw() => {
                Box::new(self.in_place(path).with_context(cannot)?)
            }
            there => match draft(&target, there.as_ref()) {
                Ok((draft, file)) => {
                    self.drafts.push(draft);
                    Box::new(file)
                }
                // A directory that nothing can be made in may have a file that can be written.
                Err(_) if there.is_some() => Box::new(self.in_place(path).with_context(cannot)?),
                Err(error) => return Err(error).with_context(cannot),
            },
        };
        Ok(Box::new(Named { file, name }))
    }

    /// Everything is written: drafts get their names.
    pub(super) fn keep(&mut self) -> anyhow::Result<()> {
        for output in self.in_place.drain(..) {
            output.cut().context("cannot cut what was there before")?;
        }
        for Draft { path, target } in self.drafts.drain(..) {
            path.persist(&target).with_context(|| format!("cannot write to {}", target.display()))?;
        }
        Ok(())
    }

    fn in_place(&mut self, path: &Path) -> io::Result<InPlace> {
        let file = opened(path)?;
        let output = InPlace { file: Rc::new(file), is_cut: Rc::default() };
        self.in_place.push(output.clone());
        Ok(output)
    }

    fn is_free(&self, id: &Id, name: &str) -> anyhow::Result<()> {
        if let Some((_, input)) = self.inputs.iter().find(|(input, _)| input == id) {
            bail!("{name} is read, too ({input}): writing to it would destroy it");
        }
        Ok(())
    }

    fn take(&mut self, id: Id, name: &str) -> anyhow::Result<()> {
        self.is_free(&id, name)?;
        if let Some((_, other)) = self.taken.iter().find(|(taken, _)| *taken == id) {
            bail!("two outputs cannot go to one place: {other} and {name}");
        }
        self.taken.push((id, name.to_owned()));
        Ok(())
    }
}

/// Standard input or output, by its usual sign.
fn is_standard_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether a path is another name of standard output.
fn is_stdout(path: &Path) -> anyhow::Result<bool> {
    if ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name)) {
        return Ok(true);
    }
    let own = standard(io::stdout().as_fd())?;
    // One that cannot be looked at is told when it is opened.
    Ok(own.is_some() && fs::metadata(path).ok().as_ref().and_then(Id::of) == own)
}

/// The regular file that a standard stream is.
fn standard(stream: BorrowedFd<'_>) -> anyhow::Result<Option<Id>> {
    // Rust opens those that are closed, on /dev/null.
    let file = File::from(stream.try_clone_to_owned().context("cannot look at a standard stream")?);
    Ok(Id::of(&file.metadata().context("cannot look at a standard stream")?))
}

/// What has a name that is written to: a regular file or nothing, a device, or a pipe that the shell has opened for us.
///
/// No link is followed, which in a directory of everybody may be anybody's, and nothing is opened that may block.
fn writable(path: &Path) -> anyhow::Result<Option<Metadata>> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    // Links of the kernel, to what this process has open already.
    let metadata = if is_own_descriptor(path) { fs::metadata(path)? } else { metadata };
    let of = metadata.file_type();
    let kind = if of.is_file() || of.is_char_device() || (of.is_fifo() && is_own_descriptor(path)) {
        return Ok(Some(metadata));
    } else if of.is_symlink() {
        "a symbolic link: give the name of the file itself"
    } else if of.is_fifo() {
        "a named pipe: use > to write to one"
    } else if of.is_dir() {
        "a directory"
    } else {
        "no regular file"
    };
    bail!("it is {kind}")
}

/// Whether a path names something that this process has open already.
fn is_own_descriptor(path: &Path) -> bool {
    let is_stream = ["/dev/stdout", "/dev/stderr"].iter().any(|name| path == Path::new(name));
    is_stream || ["/dev/fd", "/proc/self/fd"].iter().any(|directory| path.parent() == Some(Path::new(directory)))
}

/// How what is written to is opened: it may have been replaced since it was looked at.
fn flags(path: &Path) -> i32 {
    let careful = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = if is_own_descriptor(path) { OFlags::NOCTTY } else { careful | OFlags::NOFOLLOW };
    flags.bits().cast_signed()
}

/// Opens what is there, as it is.
fn opened(path: &Path) -> io::Result<File> {
    checked(OpenOptions::new().write(true).custom_flags(flags(path)).open(path)?, path)
}

/// Opens a file that is written where it is wanted; what was in it is gone.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags(path)).open(path)?;
    let file = checked(file, path)?;
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

/// Creates an output of a live verb, which has no other output and reads nothing.
pub(super) fn create_live(path: &Path) -> anyhow::Result<File> {
    let cannot = || format!("cannot write to {}", path.display());
    writable(path).with_context(cannot)?;
    create(path).with_context(cannot)
}

/// Refuses what took the place of what was looked at, and lets writing wait again.
fn checked(file: File, path: &Path) -> io::Result<File> {
    let of = file.metadata()?.file_type();
    if is_own_descriptor(path) || of.is_file() {
        return Ok(file);
    }
    if !of.is_char_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// A path without links, whose last part need not be there.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let name = path.file_name().ok_or(error)?;
            Ok(directory.canonicalize()?.join(name))
        }
        resolved => resolved,
    }
}

/// Makes a file beside the one that it will be. It is gone with its handle, unless it gets its name.
fn draft(target: &Path, there: Option<&Metadata>) -> io::Result<(Draft, File)> {
    let directory = target.parent().unwrap_or(Path::new("/"));
    let permissions = there.map_or_else(|| Permissions::from_mode(0o666), Metadata::permissions);
    // A name that no reader of directories takes for a capture.
    let made = Builder::new().prefix(".kmodtrace.").permissions(permissions.clone()).tempfile_in(directory)?;
    if let Some(there) = there {
        let own = made.as_file().metadata()?;
        // The rights of a group are those of that group.
        if own.gid() != there.gid() {
            fchown(made.as_file(), None::<Uid>, Some(Gid::from_raw(there.gid())))?;
        }
        // What making it left out: the process's own mask does not count for what was there.
        made.as_file().set_permissions(permissions)?;
    }
    let (file, path) = made.into_parts();
    Ok((Draft { path, target: target.to_owned() }, file))
}

/// A file that is there and stays the same one: what it held is cut off when something else is written.
#[derive(Clone)]
struct InPlace {
    file: Rc<File>,
    is_cut: Rc<Cell<bool>>,
}

impl InPlace {
    fn cut(&self) -> io::Result<()> {
        if !self.is_cut.replace(true) {
            self.file.set_len(0)?;
        }
        Ok(())
    }
}

impl Write for InPlace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.cut()?;
        (&*self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.file).flush()
    }
}

/// A file whose failures name it.
struct Named {
    file: Box<dyn Write>,
    name: String,
}

impl Named {
    fn told<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| io::Error::new(error.kind(), format!("cannot write to {}: {error}", self.name)))
    }
}

impl Write for Named {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.told(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.told(flushed)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::Outputs;

    fn refused(outputs: &mut Outputs, path: &Path) -> String {
        outputs.open(path).err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// Check that what is read is not written to, by whatever name, and that two outputs are two files.
    #[test]
    fn outputs_are_no_inputs() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("a.jsonl"), "kept").unwrap();
        fs::hard_link(path("a.jsonl"), path("hard")).unwrap();
        std::os::unix::fs::symlink(path("a.jsonl"), path("soft")).unwrap();
        let mut outputs = Outputs::of(&[root.path().to_owned()]).unwrap();
        for name in ["a.jsonl", "hard", "soft"] {
            assert!(refused(&mut outputs, &path(name)).contains("is read, too"), "{name}");
        }
        outputs.open(&path("new")).unwrap();
        let again = root.path().join(".").join("new");
        assert!(refused(&mut outputs, &again).contains("two outputs"), "{}", refused(&mut outputs, &again));
        assert_eq!(fs::read(path("a.jsonl")).unwrap(), b"kept");
    }

    /// Check that an output is as it was until everything is written, and that no draft stays.
    #[test]
    fn outputs_are_whole_or_not_there() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for name in ["old", "twin"] {
            fs::write(path(name), "what was there before").unwrap();
        }
        fs::hard_link(path("twin"), path("other")).unwrap();
        for is_kept in [false, true] {
            let mut outputs = Outputs::of(&[]).unwrap();
            for name in ["old", "new"] {
                outputs.open(&path(name)).unwrap().write_all(b"new").unwrap();
            }
            outputs.open(&path("twin")).unwrap();
            if is_kept {
                outputs.keep().unwrap();
            }
            drop(outputs);
            let text = |name: &str| fs::read_to_string(path(name)).ok();
            let before = Some("what was there before".to_owned());
            let (old, new, twin) = if is_kept {
                (Some("new"), Some("new"), Some(""))
            } else {
                (before.as_deref(), None, before.as_deref())
            };
            let found = [text("old"), text("new"), text("twin"), text("other")];
            assert_eq!(found.each_ref().map(Option::as_deref), [old, new, twin, twin]);
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), if is_kept { 4 } else { 3 });
        }
    }

    /// Check that no link is followed, whether a file or nothing is behind it, that a pipe never blocks, and that what a
    /// link names stays as it is.
    #[test]
    fn links_and_pipes_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("victim"), "kept").unwrap();
        std::os::unix::fs::symlink(path("victim"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for make in [Outputs::of, Outputs::live] {
            let mut outputs = make(&[]).unwrap();
            for (name, kind) in [
                ("link", "a symbolic link"),
                ("dangling", "a symbolic link"),
                ("pipe", "a named pipe"),
                ("", "a directory"),
            ] {
                let error = outputs.open(&path(name)).map(drop).unwrap_err();
                assert!(format!("{error:#}").contains(kind), "{name}: {error:#}");
            }
        }
        assert_eq!(fs::read_to_string(path("victim")).unwrap(), "kept");
        assert!(!path("nowhere").exists());
    }

    /// Check that a file that only its owner can read stays so.
    #[test]
    fn modes_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        for mode in [0o600, 0o640, 0o644] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut outputs = Outputs::of(&[]).unwrap();
            outputs.open(&path).unwrap().write_all(b"new").unwrap();
            outputs.keep().unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        }
    }
}
