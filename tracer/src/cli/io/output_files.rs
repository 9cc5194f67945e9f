//! Output files: never an input, never shared, and renamed into place only when complete.

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

#[cfg(test)]
mod tests;

/// Identity of a file, independent of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Id {
    /// Standard output.
    Stdout,
    /// An existing file: device and inode.
    Node(u64, u64),
    /// A file that does not exist yet.
    Path(PathBuf),
}

impl Id {
    /// Only regular files have an identity: devices and pipes may be shared.
    fn of(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self::Node(metadata.dev(), metadata.ino()))
    }
}

/// The output files of one verb.
pub(in crate::cli) struct OutputFiles {
    /// Inputs and their names.
    inputs: Vec<(Id, String)>,
    /// Outputs and their names.
    taken: Vec<(Id, String)>,
    drafts: Vec<Draft>,
    in_place: Vec<InPlace>,
    /// Files are written in place, because a reader follows them, or because privileges are dropped before the end.
    is_live: bool,
}

/// A temporary file that is renamed when complete.
struct Draft {
    path: TempPath,
    target: PathBuf,
}

impl OutputFiles {
    /// Outputs of a verb with these inputs: files, directories of captures, `-`.
    ///
    /// OutputFiles are temporary files until [`OutputFiles::keep`].
    pub(in crate::cli) fn new(inputs: &[PathBuf]) -> anyhow::Result<Self> {
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

    /// Outputs that are written in place.
    pub(in crate::cli) fn live(inputs: &[PathBuf]) -> anyhow::Result<Self> {
        let mut outputs = Self::new(inputs)?;
        outputs.is_live = true;
        Ok(outputs)
    }

    /// Claims standard output.
    pub(in crate::cli) fn stdout(&mut self) -> anyhow::Result<io::Stdout> {
        if let Some(id) = standard(io::stdout().as_fd())? {
            self.is_free(&id, "standard output")?;
        }
        self.take(Id::Stdout, "standard output")?;
        Ok(io::stdout())
    }

    /// Opens an output; `-` is standard output. Errors contain its name.
    pub(in crate::cli) fn open(&mut self, path: &Path) -> anyhow::Result<Box<dyn Write>> {
        if is_standard_stream(path) || is_stdout(path)? {
            return Ok(Box::new(self.stdout()?));
        }
        let name = path.display().to_string();
        let cannot = || format!("cannot write to {name}");
        // Symbolic links to an input count as that input.
        match fs::metadata(path) {
            Ok(metadata) => Id::of(&metadata).map_or(Ok(()), |id| self.is_free(&id, &name))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(cannot),
        }
        let existing = writable(path).with_context(cannot)?;
        let target = resolved(path).with_context(cannot)?;
        match &existing {
            Some(metadata) => {
                if let Some(id) = Id::of(metadata) {
                    self.take(id, &name)?;
                }
            }
            None => self.take(Id::Path(target.clone()), &name)?,
        }
        let file: Box<dyn Write> = match existing {
            // A terminal, a device, or a pipe opened by the shell.
            Some(metadata) if !metadata.is_file() => Box::new(opened(path).with_context(cannot)?),
            _ if self.is_live => Box::new(create(path).with_context(cannot)?),
            // Renaming would break hard links and change the owner.
            Some(metadata) if metadata.nlink() > 1 || metadata.uid() != rustix::process::geteuid().as_raw() => {
                Box::new(self.in_place(path).with_context(cannot)?)
            }
            existing => match draft(&target, existing.as_ref()) {
                Ok((draft, file)) => {
                    self.drafts.push(draft);
                    Box::new(file)
                }
                // A read-only directory can contain a writable file.
                Err(_) if existing.is_some() => Box::new(self.in_place(path).with_context(cannot)?),
                Err(error) => return Err(error).with_context(cannot),
            },
        };
        Ok(Box::new(Named { file, name }))
    }

    /// Completes all outputs: renames the temporary files.
    pub(in crate::cli) fn keep(&mut self) -> anyhow::Result<()> {
        for output in self.in_place.drain(..) {
            output.cut().context("cannot truncate an output")?;
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
            bail!("cannot write to {name}: output is also an input ({input}); give another name");
        }
        Ok(())
    }

    fn take(&mut self, id: Id, name: &str) -> anyhow::Result<()> {
        self.is_free(&id, name)?;
        if let Some((_, other)) = self.taken.iter().find(|(taken, _)| *taken == id) {
            if other == name {
                bail!("cannot write to {name}: two outputs use it; give another name");
            }
            bail!("cannot write to {name}: it is the same file as output {other}; give another name");
        }
        self.taken.push((id, name.to_owned()));
        Ok(())
    }
}

/// Whether a path is `-`.
fn is_standard_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether a path is another name for standard output.
fn is_stdout(path: &Path) -> anyhow::Result<bool> {
    if ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name)) {
        return Ok(true);
    }
    let own = standard(io::stdout().as_fd())?;
    // A failure is reported when the path is opened.
    Ok(own.is_some() && fs::metadata(path).ok().as_ref().and_then(Id::of) == own)
}

/// The regular file behind a standard stream, if it is one.
fn standard(stream: BorrowedFd<'_>) -> anyhow::Result<Option<Id>> {
    // Closed standard streams are /dev/null: the Rust runtime opens them.
    let file = File::from(stream.try_clone_to_owned().context("cannot stat a standard stream")?);
    Ok(Id::of(&file.metadata().context("cannot stat a standard stream")?))
}

/// Metadata of an output that exists: a regular file, a device, or a pipe opened by the shell. Others are errors.
///
/// Symbolic links are not followed, since in a world-writable directory another user can create them, and nothing is
/// opened that could block.
fn writable(path: &Path) -> anyhow::Result<Option<Metadata>> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    // Magic links to files that this process has open.
    let metadata = if is_own_descriptor(path) { fs::metadata(path)? } else { metadata };
    let of = metadata.file_type();
    let kind = if of.is_file() || of.is_char_device() || (of.is_fifo() && is_own_descriptor(path)) {
        return Ok(Some(metadata));
    } else if of.is_symlink() {
        "a symbolic link; give the name of the file itself"
    } else if of.is_fifo() {
        "a named pipe; use shell redirection (>)"
    } else if of.is_dir() {
        "a directory"
    } else {
        "not a regular file"
    };
    bail!("it is {kind}")
}

/// Whether a path names a file descriptor of this process.
fn is_own_descriptor(path: &Path) -> bool {
    let is_stream = ["/dev/stdout", "/dev/stderr"].iter().any(|name| path == Path::new(name));
    is_stream || ["/dev/fd", "/proc/self/fd"].iter().any(|directory| path.parent() == Some(Path::new(directory)))
}

/// Flags that are safe even if the file was replaced since its type was checked.
fn flags(path: &Path) -> i32 {
    let careful = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = if is_own_descriptor(path) { OFlags::NOCTTY } else { careful | OFlags::NOFOLLOW };
    flags.bits().cast_signed()
}

/// Opens an existing file without truncating it.
fn opened(path: &Path) -> io::Result<File> {
    checked(OpenOptions::new().write(true).custom_flags(flags(path)).open(path)?, path)
}

/// Creates or truncates a file.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags(path)).open(path)?;
    let file = checked(file, path)?;
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

/// Creates the only output of a live verb, which has no inputs.
pub(in crate::cli) fn create_live(path: &Path) -> anyhow::Result<File> {
    let cannot = || format!("cannot write to {}", path.display());
    writable(path).with_context(cannot)?;
    create(path).with_context(cannot)
}

/// Rejects a file that was replaced by one of another type, and makes writing block again.
fn checked(file: File, path: &Path) -> io::Result<File> {
    let of = file.metadata()?.file_type();
    if is_own_descriptor(path) || of.is_file() {
        return Ok(file);
    }
    if !of.is_char_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// The canonical path of a file that need not exist.
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

/// Creates a temporary file in the directory of its target. It is removed on drop unless renamed.
fn draft(target: &Path, existing: Option<&Metadata>) -> io::Result<(Draft, File)> {
    let directory = target.parent().unwrap_or(Path::new("/"));
    let permissions = existing.map_or_else(|| Permissions::from_mode(0o666), Metadata::permissions);
    // A name that is not listed as a capture.
    let made = Builder::new().prefix(".kmodtrace.").permissions(permissions.clone()).tempfile_in(directory)?;
    if let Some(existing) = existing {
        let own = made.as_file().metadata()?;
        // Group permissions apply to the group of the file.
        if own.gid() != existing.gid() {
            fchown(made.as_file(), None::<Uid>, Some(Gid::from_raw(existing.gid())))?;
        }
        // Creating it applied the umask, which does not apply to an existing file.
        made.as_file().set_permissions(permissions)?;
    }
    let (file, path) = made.into_parts();
    Ok((Draft { path, target: target.to_owned() }, file))
}

/// An existing file that is written in place, and truncated on the first write.
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

/// A file whose name is part of its errors.
struct Named {
    file: Box<dyn Write>,
    name: String,
}

impl Named {
    fn named<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| io::Error::new(error.kind(), format!("cannot write to {}: {error}", self.name)))
    }
}

impl Write for Named {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.named(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.named(flushed)
    }
}
