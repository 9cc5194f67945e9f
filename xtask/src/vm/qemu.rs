//! One QEMU process: its arguments, and its end with the run.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Signal, set_parent_process_death_signal};

const PROGRAM: &str = "qemu-system-x86_64";

/// The interval at which a running guest is polled.
const POLL: Duration = Duration::from_millis(20);

/// Kernel arguments of every guest. A panic ends the guest immediately, and warnings are printed on the console.
///
/// `no_timer_check`: on x86, `check_timer()` (arch/x86/kernel/apic/io_apic.c) spins for ten ticks of the emulated timer,
/// measured by the time stamp counter, and panics with "IO-APIC + timer doesn't work" when fewer than five arrived. The
/// counter advances while a busy host does not run an emulated guest, so healthy guests panicked. Kernels that detect KVM
/// skip the check themselves.
///
/// The limits of RCU stalls and soft lockups (kernel/rcu/tree_stall.h, kernel/watchdog.c) are at their maxima for the same
/// reason: a busy host may not run a guest for more than the usual 21 s.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 oops=panic loglevel=5 random.trust_cpu=on no_timer_check \
                                rcupdate.rcu_cpu_stall_timeout=300 watchdog_thresh=60";

/// The accelerator: how the guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// Execution by the host's processor.
    Kvm,
    /// Emulation with a single host thread. With several threads, guests sometimes crash in kernel text patching.
    Tcg,
}

impl Accelerator {
    /// The name in QEMU.
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

/// The destination of the guest's console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    /// `console.log` of the run. Results are read from stdout.
    Log,
    /// The user's terminal. Results are written to `results.raw` of the run.
    Terminal,
}

/// A guest to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine<'a> {
    /// The accelerator.
    pub(crate) accelerator: Accelerator,
    /// The kernel.
    pub(crate) vmlinuz: &'a Path,
    /// The initramfs and its size, if any. Without it, the kernel boots until it panics without a root.
    pub(crate) initrd: Option<(&'a Path, u64)>,
    /// The directory of the run.
    pub(crate) dir: &'a Path,
    /// The destination of its console.
    pub(crate) console: Console,
    /// Additional kernel arguments.
    pub(crate) kernel_arguments: &'a str,
    /// Additional devices.
    pub(crate) devices: &'a [&'a str],
    /// How it starts, and whether it is controlled through a monitor.
    pub(crate) start: Start,
}

/// How a guest starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It boots.
    Boot,
    /// It boots, and has a monitor that can store its state.
    BootForSnapshot,
    /// It waits for its monitor to restore the state of another guest.
    Restore,
}

/// The socket of a guest's monitor, in the directory of the run. Its whole path may be longer than the path of a socket can be.
pub(crate) const MONITOR: &str = "monitor";

impl Machine<'_> {
    /// Starts it.
    pub(crate) fn start(&self) -> Result<Running> {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.dir).args(self.arguments());
        match self.console {
            // A guest must not take part in the terminal's job control, nor read from it.
            Console::Log => command.stdin(Stdio::piped()).stdout(Stdio::piped()),
            Console::Terminal => command.stdin(Stdio::inherit()).stdout(Stdio::inherit()),
        };
        let log = File::create(self.dir.join("qemu.log")).context("cannot create qemu.log")?;
        command.stderr(log);
        // SAFETY: the closure makes one system call and accesses no memory of the parent.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let mut child = command.spawn().with_context(|| format!("cannot run {PROGRAM}; install qemu-system-x86"))?;
        let orders = child.stdin.take();
        Ok(Running { child, orders })
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
        arguments.extend(self.devices.iter().flat_map(|device| ["-device".to_owned(), (*device).to_owned()]));
        arguments.extend(["-kernel".to_owned(), self.vmlinuz.display().to_string()]);
        // The memory of a restored guest already contains it.
        if let Some((path, _)) = self.initrd.filter(|_| self.start != Start::Restore) {
            arguments.extend(["-initrd".to_owned(), path.display().to_string()]);
        }
        if self.start != Start::Boot {
            arguments.extend(["-qmp".to_owned(), format!("unix:{MONITOR},server=on,wait=off")]);
        }
        if self.start == Start::Restore {
            arguments.extend(["-S", "-incoming", "defer"].map(str::to_owned));
        }
        arguments
    }
}

/// The memory of a guest: it needs the size of the initramfs twice while it unpacks it.
fn memory_mib(initrd_bytes: u64) -> u64 {
    (initrd_bytes * 2 / (1024 * 1024) + 640).max(1024)
}

/// A running guest. It is killed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// The input of its results port.
    orders: Option<ChildStdin>,
}

impl Running {
    /// The lines of the results port, if results are read from stdout. Only for the first call.
    pub(super) fn lines(&mut self) -> Result<Receiver<Vec<u8>>> {
        let results = self.child.stdout.take().context("QEMU has no stdout pipe")?;
        let (sender, receiver) = channel();
        // The thread ends when QEMU exits or closes its end of the pipe.
        thread::spawn(move || {
            for line in BufReader::new(results).split(b'\n') {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    /// Sends bytes to the agent through the results port.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let orders = self.orders.as_mut().context("the guest has no input")?;
        orders.write_all(bytes).and_then(|()| orders.flush()).context("cannot send the orders to the guest")
    }

    /// Waits until QEMU exits, or kills it after `limit`. `None` means that it was killed.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        self.wait_until(limit, || false)
    }

    /// As `wait`, but also kills QEMU as soon as `enough` returns true.
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
                self.kill()?;
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }

    /// Kills QEMU.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill QEMU")?;
        self.child.wait().context("cannot wait for QEMU")?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both calls fail only if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line of `qemu --version`.
pub(crate) fn version() -> Result<String> {
    let output = Command::new(PROGRAM).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {PROGRAM}; install qemu-system-x86"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned).with_context(|| format!("{PROGRAM} prints no version"))
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
            devices: &["virtio-rng-pci"],
            start: Start::Boot,
        }
    }

    /// Emulation uses one thread, and the console is the first port.
    #[test]
    fn arguments_have_ports_in_order() {
        let arguments = machine(Console::Log).arguments().join(" ");
        assert!(arguments.contains("-accel tcg,thread=single"), "{arguments}");
        assert!(arguments.find("chardev:console") < arguments.find("chardev:results"), "{arguments}");
        assert!(arguments.contains("module_blacklist=x -device virtio-rng-pci -kernel /k -initrd /i"), "{arguments}");
        assert!(machine(Console::Terminal).arguments().join(" ").contains("stdio,id=console"));
    }

    /// A restored guest has the memory of the stored one, which contains the initramfs, and waits for its monitor.
    #[test]
    fn restored_guest_waits_for_its_monitor() {
        let stored = Machine { start: Start::BootForSnapshot, ..machine(Console::Log) }.arguments().join(" ");
        assert!(stored.contains("-initrd /i -qmp unix:monitor") && !stored.contains("-incoming"), "{stored}");
        let restored = Machine { start: Start::Restore, ..machine(Console::Log) }.arguments().join(" ");
        assert!(restored.ends_with("-S -incoming defer") && !restored.contains("-initrd"), "{restored}");
        assert!(restored.contains("-m 1024 ") && stored.contains("-m 1024 "), "{restored}");
    }

    /// Every guest boots with no_timer_check.
    #[test]
    fn guests_skip_the_timer_check() {
        for console in [Console::Log, Console::Terminal] {
            let arguments = machine(console).arguments();
            let append = arguments.iter().position(|argument| argument == "-append").unwrap() + 1;
            assert!(arguments[append].split(' ').any(|word| word == "no_timer_check"), "{arguments:?}");
        }
    }

    /// The memory has room for the initramfs twice, and is at least 1 GiB.
    #[test]
    fn memory_grows_with_the_image() {
        assert_eq!(memory_mib(0), 1024);
        assert!(memory_mib(400 << 20) >= 2 * 400 + 512);
    }
}
