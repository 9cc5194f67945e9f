//! A guest that is ready to boot, to run a command or to open a shell.

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
use super::qemu::{Accelerator, Console, Machine, Start};
use super::snapshot::Snapshot;

/// The default time limit of a guest.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// The agent in the guest. It is static, so that it works with any distribution.
const AGENT: Binary = Binary { package: "kmodtrace-tests", name: "kmodtrace-guest", is_example: false };

/// Marks an error while fetching or packing an image, which `cargo xtask vm fetch` can repeat separately.
#[derive(Debug)]
struct ImageError {
    kernel: &'static str,
}

impl fmt::Display for ImageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot fetch or pack kernel {}", self.kernel)
    }
}

/// Whether an error of `Guest::prepare` happened while fetching or packing the image.
pub(crate) fn is_image_error(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ImageError>().is_some()
}

/// Consumes the output of a command in the guest.
pub(crate) trait Sink {
    /// Bytes of stdout.
    fn stdout(&mut self, bytes: &[u8]) -> Result<()>;
    /// Bytes of stderr.
    fn stderr(&mut self, bytes: &[u8]) -> Result<()>;
}

/// A guest: a kernel, its image, added files, and boot options.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(super) paths: Paths,
    pub(super) line: &'static Line,
    pub(super) image: Image,
    extras: Option<PathBuf>,
    devices: &'static [&'static str],
    accelerator: Accelerator,
    programs: Programs,
    added: Vec<Added>,
    kernel_arguments: String,
    timeout: Duration,
}

impl Guest {
    /// Fetches, packs and builds everything that a guest with this kernel needs. Fast and offline if everything is cached.
    pub(crate) fn prepare(kernel: &str, choice: Choice) -> Result<Self> {
        let line = kernels::find(kernel)?;
        let paths = Paths::new();
        let agent = build::static_binary(AGENT)?;
        let lock = Lock::take(&paths.vm)?;
        let image = Image::prepare(&paths.vm, line).context(ImageError { kernel: line.name })?;
        let accelerator = accel::resolve(&paths.vm, choice, image.vmlinuz())?;
        lock.release()?;
        let kmodtrace = paths.target.join("dist/kmodtrace");
        let kmodtrace = kmodtrace.exists().then_some(kmodtrace);
        Ok(Self {
            paths,
            line,
            image,
            extras: None,
            devices: &[],
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

    /// The accelerator, as named by QEMU.
    pub(crate) const fn accelerator(&self) -> &'static str {
        self.accelerator.name()
    }

    /// Whether it contains the program under test.
    pub(super) const fn has_kmodtrace(&self) -> bool {
        self.programs.kmodtrace.is_some()
    }

    /// Adds a file from the host.
    pub(crate) fn with_file(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.added.push(Added { host: host.into(), guest: guest.into() });
        self
    }

    /// Adds more programs of the distribution, and the devices that they need. Fetches and packs them if they are not cached.
    pub(crate) fn with_extras(mut self, set: Set) -> Result<Self> {
        let lock = Lock::take(&self.paths.vm)?;
        self.extras = Some(extras::prepare(&self.paths.vm, self.line.suite, set)?);
        self.devices = set.devices();
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

    /// Sets the time limit of a boot, from power-on to power-off.
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs one command and returns its exit code.
    pub(crate) fn run_command(&self, argv: &[String], sink: &mut dyn Sink) -> Result<u8> {
        let orders = Orders { job: Job::Command { argv: argv.to_vec() } };
        let mut code = None;
        let mut sink_result = Ok(());
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
            if sink_result.is_ok() {
                sink_result = result;
            }
        })?;
        if let (_, Some(evidence)) = evidence {
            bail!("{evidence}");
        }
        sink_result?;
        code.context("the guest sent no exit code")
    }

    /// Opens an interactive shell in the guest.
    pub(crate) fn shell(&self) -> Result<()> {
        let (rows, columns) = terminal_size();
        let term = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
        let orders = Orders { job: Job::Shell { rows, columns, term } };
        let dir = boot::run_dir(&self.paths.vm, self.line.name)?;
        let initrd = dir.join("initrd");
        let bytes = overlay::write(&self.archives(), &self.programs, &self.added, Some(&orders), &initrd)?;
        let mut running = self.machine(&dir, (&initrd, bytes), Console::Terminal, Start::Boot).start()?;
        // An interactive shell has no time limit.
        let status = running.wait(Duration::MAX)?;
        boot::clean_up(&dir, &[])?;
        match status {
            Some(status) if status.success() => Ok(()),
            status => bail!("QEMU failed: {status:?}"),
        }
    }

    /// Boots with the given orders. The second part of the result describes a failed boot.
    pub(super) fn boot(&self, orders: &Orders, on_frame: &mut dyn FnMut(&Frame)) -> Result<(Ending, Option<String>)> {
        let dir = boot::run_dir(&self.paths.vm, self.line.name)?;
        let initrd = dir.join("initrd");
        let bytes = overlay::write(&self.archives(), &self.programs, &self.added, Some(orders), &initrd)?;
        let machine = self.machine(&dir, (&initrd, bytes), Console::Log, Start::Boot);
        let ending = boot::watch(&machine, self.timeout, on_frame)?;
        self.end(&dir, ending)
    }

    /// Boots, and stores the guest when its agent waits for orders.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let dir = boot::run_dir(&self.paths.vm, self.line.name)?;
        let initrd = dir.join("initrd");
        let bytes = overlay::write(&self.archives(), &self.programs, &self.added, None, &initrd)?;
        let machine = self.machine(&dir, (&initrd, bytes), Console::Log, Start::BootForSnapshot);
        Snapshot::make(&machine, bytes, self.timeout).or_else(|error| {
            let evidence = boot::clean_up(&dir, &[format!("cannot store a booted guest: {error:#}")])?;
            bail!("{}", evidence.unwrap_or_default())
        })
    }

    /// Continues a stored guest with the given orders. The second part of the result describes a failed run.
    pub(super) fn continue_from(
        &self,
        snapshot: &Snapshot,
        orders: &Orders,
        on_frame: &mut dyn FnMut(&Frame),
    ) -> Result<(Ending, Option<String>)> {
        let dir = boot::run_dir(&self.paths.vm, self.line.name)?;
        let initrd = dir.join("initrd");
        let machine = self.machine(&dir, (&initrd, snapshot.initrd_bytes), Console::Log, Start::Restore);
        let ending = boot::watch_restored(&machine, snapshot, orders, self.timeout, on_frame)?;
        self.end(&dir, ending)
    }

    fn end(&self, dir: &Path, mut ending: Ending) -> Result<(Ending, Option<String>)> {
        let wanted = self.image.release();
        if let Some(release) = ending.release.as_deref().filter(|release| *release != wanted) {
            ending.problems.push(format!("the guest runs kernel {release}, expected {wanted}"));
        }
        let evidence = boot::clean_up(dir, &ending.problems)?;
        Ok((ending, evidence))
    }

    fn archives(&self) -> Vec<&Path> {
        std::iter::once(self.image.base()).chain(self.extras.as_deref()).collect()
    }

    fn machine<'a>(&'a self, dir: &'a Path, initrd: (&'a Path, u64), console: Console, start: Start) -> Machine<'a> {
        Machine {
            accelerator: self.accelerator,
            vmlinuz: self.image.vmlinuz(),
            initrd: Some(initrd),
            dir,
            console,
            kernel_arguments: &self.kernel_arguments,
            devices: self.devices,
            start,
        }
    }
}

fn bytes(chunk: &Chunk) -> Result<Vec<u8>> {
    chunk.bytes().context("the command's output is damaged")
}

/// Rows and columns of the user's terminal; 24 and 80 if unknown.
fn terminal_size() -> (u16, u16) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => (24, 80),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image error is recognized in a chain of contexts, and other errors are not.
    #[test]
    fn image_errors_are_recognized() {
        let error = anyhow::anyhow!("no mirror has the suite trixie").context(ImageError { kernel: "6.12" });
        assert_eq!(format!("{error:#}"), "cannot fetch or pack kernel 6.12: no mirror has the suite trixie");
        assert!(is_image_error(&error.context("cannot prepare a guest")));
        assert!(!is_image_error(&anyhow::anyhow!("cannot build the agent")));
    }
}
