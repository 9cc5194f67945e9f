//! One QEMU process: how it is called, and that it never outlives its run.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Signal, set_parent_process_death_signal};

const PROGRAM: &str = "qemu-system-x86_64";

/// How often a running guest is looked at.
const POLL: Duration = Duration::from_millis(20);

/// What every guest boots with. A panic ends the guest at once, a warning reaches the console.
///
/// `no_timer_check`: on x86, `check_timer()` (arch/x86/kernel/apic/io_apic.c) spins for ten ticks of the emulated timer,
/// measured by the time stamp counter, and panics with "IO-APIC + timer doesn't work" when fewer than five arrived. The
/// counter goes on while a busy host does not run an emulated guest, so that healthy guests panicked. Kernels that find KVM
/// skip the check by themselves.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 oops=panic loglevel=5 random.trust_cpu=on no_timer_check";

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The host's processor.
    Kvm,
    /// Emulation. With several host threads it dies in kernel text patching now and then, so it gets one.
    Tcg,
}

impl Accelerator {
    /// As QEMU names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=single,tb-size=512",
        }
    }
}

/// Where the guest's console goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    /// Into `console.log` of the run; results come on standard output.
    Log,
    /// To the person's terminal; results go into `results.raw` of the run.
    Terminal,
}

/// A guest to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine<'a> {
    /// What runs it.
    pub(crate) accelerator: Accelerator,
    /// The kernel.
    pub(crate) vmlinuz: &'a Path,
    /// The initial root, if any: without one the kernel boots until it finds no root.
    pub(crate) initrd: Option<(&'a Path, u64)>,
    /// Where it runs and leaves its files.
    pub(crate) dir: &'a Path,
    /// Where its console goes.
    pub(crate) console: Console,
    /// More kernel arguments.
    pub(crate) kernel_arguments: &'a str,
}

impl Machine<'_> {
    /// Starts it.
    pub(crate) fn start(&self) -> Result<Running> {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.dir).args(self.arguments());
        match self.console {
            // A guest must not take part in the terminal's job control, nor read from it.
            Console::Log => command.stdin(Stdio::null()).stdout(Stdio::piped()),
            Console::Terminal => command.stdin(Stdio::inherit()).stdout(Stdio::inherit()),
        };
        let log = File::create(self.dir.join("qemu.log")).context("cannot create qemu.log")?;
        command.stderr(log);
        // SAFETY: the closure makes one system call and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child = command.spawn().with_context(|| format!("cannot run {PROGRAM}; install qemu-system-x86"))?;
        Ok(Running { child })
    }

    fn arguments(&self) -> Vec<String> {
        let (console, results) = match self.console {
            Console::Log => ("file,id=console,path=console.log", "stdio,id=results,signal=off"),
            Console::Terminal => ("stdio,id=console,signal=off", "file,id=results,path=results.raw"),
        };
        let initrd_bytes = self.initrd.map_or(0, |(_, bytes)| bytes);
        let append = format!("{KERNEL_ARGUMENTS} {}", self.kernel_arguments);
        let mut arguments: Vec<String> = [
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-accel",
            self.accelerator.argument(),
            "-cpu",
            "max",
            "-smp",
            "1",
            "-m",
            &memory_mib(initrd_bytes).to_string(),
            "-chardev",
            console,
            "-serial",
            "chardev:console",
            "-chardev",
            results,
            "-serial",
            "chardev:results",
            "-append",
            append.trim_end(),
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(["-kernel".to_owned(), self.vmlinuz.display().to_string()]);
        if let Some((path, _)) = self.initrd {
            arguments.extend(["-initrd".to_owned(), path.display().to_string()]);
        }
        arguments
    }
}

/// Memory for a guest: while it unpacks its initial root it holds it twice.
fn memory_mib(initrd_bytes: u64) -> u64 {
    (initrd_bytes * 2 / (1024 * 1024) + 640).max(1024)
}

/// A started guest. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// The results, once, where they come on standard output.
    pub(crate) fn results(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until QEMU ends by itself, or ends it after `limit`. `None` says that it had to be ended.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        self.wait_until(limit, || false)
    }

    /// As `wait`, but also ends QEMU as soon as `enough` says so.
    pub(crate) fn wait_until(
        &mut self,
        limit: Duration,
        mut enough: impl FnMut() -> bool,
    ) -> Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for QEMU")? {
                return Ok(Some(status));
            }
            if enough() || begun.elapsed() >= limit {
                self.end()?;
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }

    /// Ends it now.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.child.kill().context("cannot end QEMU")?;
        self.child.wait().context("cannot wait for QEMU")?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line of `qemu --version`, if QEMU is there.
pub(crate) fn version() -> Result<String> {
    let output = Command::new(PROGRAM).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {PROGRAM}; install qemu-system-x86"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned).with_context(|| format!("{PROGRAM} names no version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(console: Console) -> Machine<'static> {
        Machine {
            accelerator: Accelerator::Tcg,
            vmlinuz: Path::new("/k"),
            initrd: Some((Path::new("/i"), 150 << 20)),
            dir: Path::new("/d"),
            console,
            kernel_arguments: "module_blacklist=x",
        }
    }

    /// Emulation never gets several threads, and the console is always the first port.
    #[test]
    fn arguments_keep_the_ports_in_order() {
        let arguments = machine(Console::Log).arguments().join(" ");
        assert!(arguments.contains("-accel tcg,thread=single"), "{arguments}");
        assert!(arguments.find("chardev:console") < arguments.find("chardev:results"), "{arguments}");
        assert!(arguments.contains("module_blacklist=x -kernel /k -initrd /i"), "{arguments}");
        assert!(machine(Console::Terminal).arguments().join(" ").contains("stdio,id=console"));
    }

    /// No guest checks its emulated timer against a clock that a busy host keeps running without it.
    #[test]
    fn guests_skip_the_timer_check() {
        for console in [Console::Log, Console::Terminal] {
            let arguments = machine(console).arguments();
            let append = arguments.iter().position(|argument| argument == "-append").unwrap() + 1;
            assert!(arguments[append].split(' ').any(|word| word == "no_timer_check"), "{arguments:?}");
        }
    }

    /// There is room for the initial root twice, and never less than a gibibyte.
    #[test]
    fn memory_grows_with_the_image() {
        assert_eq!(memory_mib(0), 1024);
        assert!(memory_mib(400 << 20) >= 2 * 400 + 512);
    }
}
