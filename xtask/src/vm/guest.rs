//! A guest made ready to boot, and the two things a person does with one: run a command, get a shell.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kmodtrace_tests::protocol::{Chunk, Frame, Job, Orders};

use crate::build::{self, Binary};

use super::accel::{self, Choice};
use super::boot::{self, Ending};
use super::extras::{self, Set};
use super::image::Image;
use super::kernels::{self, Line};
use super::lock::Lock;
use super::overlay::{self, Added, Programs};
use super::paths::Paths;
use super::qemu::{Accelerator, Console, Machine};

/// How long a guest may live where nothing else is said.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// The guest's agent: static, so that it runs with any distribution's programs.
const AGENT: Binary = Binary { package: "kmodtrace-tests", name: "kmodtrace-guest" };

/// Marks an error as one of fetching or packing an image: `cargo xtask vm fetch` repeats that step alone.
#[derive(Debug)]
struct ImageError {
    kernel: &'static str,
}

impl fmt::Display for ImageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot fetch or pack kernel {}", self.kernel)
    }
}

/// Whether an error of `Guest::prepare` is one of fetching or packing the image.
pub(crate) fn is_of_image(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ImageError>().is_some()
}

/// Takes what a command in the guest writes.
pub(crate) trait Sink {
    /// Bytes of its standard output.
    fn stdout(&mut self, bytes: &[u8]) -> Result<()>;
    /// Bytes of its standard error.
    fn stderr(&mut self, bytes: &[u8]) -> Result<()>;
}

/// A guest: a kernel with an image, what is added to it, and how it is run.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(super) paths: Paths,
    pub(super) line: &'static Line,
    pub(super) image: Image,
    extras: Option<PathBuf>,
    accelerator: Accelerator,
    programs: Programs,
    added: Vec<Added>,
    kernel_arguments: String,
    timeout: Duration,
}

impl Guest {
    /// Fetches, packs and builds whatever a guest with this kernel needs. Quick and offline when all is there.
    pub(crate) fn prepare(kernel: &str, choice: Choice) -> Result<Self> {
        let line = kernels::find(kernel)?;
        let paths = Paths::new();
        let agent = build::static_binary(AGENT)?;
        let lock = Lock::take(&paths.vm)?;
        let image = Image::prepare(&paths.vm, line).context(ImageError { kernel: line.name })?;
        let accelerator = accel::settle(&paths.vm, choice, image.vmlinuz())?;
        lock.release()?;
        let kmodtrace = paths.target.join("dist/kmodtrace");
        let kmodtrace = kmodtrace.exists().then_some(kmodtrace);
        Ok(Self {
            paths,
            line,
            image,
            extras: None,
            accelerator,
            programs: Programs { agent, kmodtrace },
            added: Vec::new(),
            kernel_arguments: String::new(),
            timeout: DEFAULT_TIMEOUT,
        })
    }

    /// The kernel's release.
    pub(crate) fn release(&self) -> &str {
        self.image.release()
    }

    /// What runs it, as QEMU names it.
    pub(crate) const fn accelerator(&self) -> &'static str {
        self.accelerator.name()
    }

    /// Whether the program under test is in it.
    pub(super) const fn has_kmodtrace(&self) -> bool {
        self.programs.kmodtrace.is_some()
    }

    /// Adds a file of the host.
    pub(crate) fn with_file(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.added.push(Added { host: host.into(), guest: guest.into() });
        self
    }

    /// Adds more of the distribution's programs; fetches and packs them where they are not there yet.
    pub(crate) fn with_extras(mut self, set: Set) -> Result<Self> {
        let lock = Lock::take(&self.paths.vm)?;
        self.extras = Some(extras::prepare(&self.paths.vm, self.line.suite, set)?);
        lock.release()?;
        Ok(self)
    }

    /// Adds kernel arguments.
    pub(crate) fn with_kernel_arguments(mut self, arguments: &str) -> Self {
        if !self.kernel_arguments.is_empty() {
            self.kernel_arguments.push(' ');
        }
        self.kernel_arguments.push_str(arguments);
        self
    }

    /// Sets how long a boot may last, from power-on to power-off.
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs one command and gives its exit code.
    pub(crate) fn run_command(&self, argv: &[String], sink: &mut dyn Sink) -> Result<u8> {
        let orders = Orders { job: Job::Command { argv: argv.to_vec() } };
        let mut code = None;
        let mut sunk = Ok(());
        let evidence = self.boot(&orders, &mut |frame| {
            let result = match frame {
                Frame::Stdout { data } => bytes(data).and_then(|bytes| sink.stdout(&bytes)),
                Frame::Stderr { data } => bytes(data).and_then(|bytes| sink.stderr(&bytes)),
                Frame::Exit { code: exit } => {
                    code = Some(*exit);
                    Ok(())
                }
                _ => Ok(()),
            };
            if sunk.is_ok() {
                sunk = result;
            }
        })?;
        if let (_, Some(evidence)) = evidence {
            bail!("{evidence}");
        }
        sunk?;
        code.context("the guest gave no exit code")
    }

    /// Gives the person at the terminal a shell in the guest.
    pub(crate) fn shell(&self) -> Result<()> {
        let (rows, columns) = terminal_size();
        let term = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
        let orders = Orders { job: Job::Shell { rows, columns, term } };
        let dir = boot::run_dir(&self.paths.vm, self.line.name)?;
        let initrd = dir.join("initrd");
        let bytes = overlay::write(&self.archives(), &self.programs, &self.added, &orders, &initrd)?;
        let mut running = self.machine(&dir, Some((&initrd, bytes)), Console::Terminal).start()?;
        // A person has all the time they want.
        let status = running.wait(Duration::MAX)?;
        boot::settle(&dir, &[])?;
        match status {
            Some(status) if status.success() => Ok(()),
            status => bail!("QEMU did not end well: {status:?}"),
        }
    }

    /// Boots with some orders. The second part of the result is the evidence of a boot that went wrong.
    pub(super) fn boot(&self, orders: &Orders, on_frame: &mut dyn FnMut(&Frame)) -> Result<(Ending, Option<String>)> {
        let dir = boot::run_dir(&self.paths.vm, self.line.name)?;
        let initrd = dir.join("initrd");
        let bytes = overlay::write(&self.archives(), &self.programs, &self.added, orders, &initrd)?;
        let machine = self.machine(&dir, Some((&initrd, bytes)), Console::Log);
        let mut ending = boot::watch(&machine, self.timeout, on_frame)?;
        let wanted = self.image.release();
        if let Some(release) = ending.release.as_deref().filter(|release| *release != wanted) {
            ending.problems.push(format!("kernel {release} runs where {wanted} was booted"));
        }
        let evidence = boot::settle(&dir, &ending.problems)?;
        Ok((ending, evidence))
    }

    fn archives(&self) -> Vec<&Path> {
        std::iter::once(self.image.base()).chain(self.extras.as_deref()).collect()
    }

    fn machine<'a>(&'a self, dir: &'a Path, initrd: Option<(&'a Path, u64)>, console: Console) -> Machine<'a> {
        Machine {
            accelerator: self.accelerator,
            vmlinuz: self.image.vmlinuz(),
            initrd,
            dir,
            console,
            kernel_arguments: &self.kernel_arguments,
        }
    }
}

fn bytes(chunk: &Chunk) -> Result<Vec<u8>> {
    chunk.bytes().context("the command's output is damaged")
}

/// Rows and columns of the person's terminal, or those of a real VT100.
fn terminal_size() -> (u16, u16) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => (24, 80),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of the image is recognised under whatever is put around it, and others are not taken for one.
    #[test]
    fn image_errors_are_recognised() {
        let error = anyhow::anyhow!("no mirror has the suite trixie").context(ImageError { kernel: "6.12" });
        assert_eq!(format!("{error:#}"), "cannot fetch or pack kernel 6.12: no mirror has the suite trixie");
        assert!(is_of_image(&error.context("cannot prepare a guest")));
        assert!(!is_of_image(&anyhow::anyhow!("cannot build the agent")));
    }
}
