//! `cargo xtask vm`: real kernels in QEMU, with the distribution's own programs.

mod accel;
mod boot;
mod cpio;
mod extras;
mod guest;
mod image;
mod judged;
mod kernel_packages;
mod kernels;
mod lock;
mod modules;
mod overlay;
mod packages;
pub(crate) mod parsers;
mod paths;
mod qemu;
mod report;
mod splat;
mod suite;
mod tree;
mod validated;

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
pub(crate) use kmodtrace_tests::protocol::{Counts, Outcome};
use kmodtrace_tests::scenarios;

pub(crate) use accel::Choice;
pub(crate) use extras::Set;
pub(crate) use guest::{DEFAULT_TIMEOUT, Guest, Sink, is_of_image};
pub(crate) use kernels::DEFAULT as DEFAULT_KERNEL;
pub(crate) use report::outcome_line;

use image::Image;
use lock::Lock;
use overlay::Added;
use packages::Packages;
use paths::Paths;

/// Boots real kernels.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Fetch kernels and pack their images.
    Fetch(Fetch),
    /// List the kernel lines and what is cached of them.
    List,
    /// Run one command in a guest; its output and exit code become ours.
    Run(Run),
    /// Get a shell in a guest.
    Shell(Machine),
    /// Run scenarios in guests.
    Test(Test),
}

#[derive(Debug, Args)]
struct Fetch {
    /// Kernel line; may be given several times.
    #[arg(long, value_name = "LINE", default_value = kernels::DEFAULT)]
    kernel: Vec<String>,
    /// Fetch every line.
    #[arg(long, conflicts_with = "kernel")]
    all: bool,
    /// Look for newer packages even where some are cached.
    #[arg(long)]
    update: bool,
}

#[derive(Debug, Args)]
struct Machine {
    /// Kernel line, as `vm list` names them.
    #[arg(long, value_name = "LINE", default_value = kernels::DEFAULT)]
    kernel: String,
    /// What runs the guest.
    #[arg(long, value_enum, default_value_t)]
    accel: Choice,
    /// Add a file of the host to the guest; may be given several times.
    #[arg(long, value_name = "HOSTPATH:GUESTPATH")]
    add: Vec<Added>,
    /// With more of the distribution's programs: udev, stress-ng, every mkfs.
    #[arg(long)]
    extras: bool,
    /// With other tracers: bpftrace, trace-cmd, perf.
    #[arg(long, conflicts_with = "extras")]
    tracers: bool,
    /// More kernel arguments.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    append: Vec<String>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    machine: Machine,
    /// End the guest after this long, for example 90s or 5m.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Run the command under kmodtrace and judge by this policy; its exit code becomes ours. What the policy includes
    /// comes along when it lies beside it.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The command.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
struct Test {
    /// Kernel line; may be given several times.
    #[arg(long, value_name = "LINE", default_value = kernels::DEFAULT)]
    kernel: Vec<String>,
    /// What runs the guests.
    #[arg(long, value_enum, default_value_t)]
    accel: Choice,
    /// How many guests run at the same time.
    #[arg(long, value_name = "N", default_value_t = default_parallel())]
    parallel: usize,
    /// Run them this many times, in fresh guests: what fails only sometimes shows.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// List the scenarios instead of running them.
    #[arg(long)]
    list: bool,
    /// Run only scenarios whose name contains one of these.
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

impl Machine {
    fn guest(self) -> Result<Guest> {
        let mut guest = Guest::prepare(&self.kernel, self.accel)?;
        if self.extras {
            guest = guest.with_extras(Set::Programs)?;
        }
        if self.tracers {
            guest = guest.with_extras(Set::Tracers)?;
        }
        for Added { host, guest: place } in self.add {
            guest = guest.with_file(host, place);
        }
        Ok(self.append.iter().fold(guest, |guest, arguments| guest.with_kernel_arguments(arguments)))
    }
}

/// The names of all kernel lines.
pub(crate) fn kernel_lines() -> impl Iterator<Item = &'static str> {
    kernels::LINES.iter().map(|line| line.name)
}

/// Checks that each kernel line exists and that the filters, if any, name a scenario.
pub(crate) fn check_names(lines: &[String], filters: &[String]) -> Result<()> {
    for line in lines {
        kernels::find(line)?;
    }
    suite::choose(filters).map(drop)
}

/// Does what was asked.
pub(crate) fn run(options: Options) -> Result<ExitCode> {
    match options.verb {
        Verb::Fetch(fetch) => fetch_lines(&fetch),
        Verb::List => list(),
        Verb::Run(run) => {
            let guest = run.machine.guest()?.with_timeout(run.timeout.unwrap_or(DEFAULT_TIMEOUT));
            let (guest, command) = match &run.policy {
                Some(policy) => judged::under_policy(guest, policy, &run.command)?,
                None => (guest, run.command),
            };
            guest.run_command(&command, &mut Terminal).map(ExitCode::from)
        }
        Verb::Shell(machine) => machine.guest()?.shell().map(|()| ExitCode::SUCCESS),
        Verb::Test(test) => run_tests(&test),
    }
}

/// A guest keeps one processor busy.
pub(crate) fn default_parallel() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn run_tests(test: &Test) -> Result<ExitCode> {
    if test.list {
        for scenario in scenarios::all() {
            say(scenario.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    check_names(&test.kernel, &test.filter)?;
    for_each_line(&test.kernel, |kernel| {
        let guest = Guest::prepare(kernel, test.accel)?;
        let show = |outcome: &Outcome| eprintln!("{}", outcome_line(kernel, outcome));
        let mut is_good = true;
        for _ in 0..test.repeat.max(1) {
            let report = guest.run_scenarios(&test.filter, test.parallel, &show)?;
            say(&report.to_string())?;
            is_good &= report.is_good();
        }
        Ok(is_good)
    })
}

/// Does something for each kernel line, also for those after one that fails; fails at the end if any did.
fn for_each_line<T: fmt::Display>(lines: &[T], mut work: impl FnMut(&T) -> Result<bool>) -> Result<ExitCode> {
    let mut failed = Vec::new();
    for line in lines {
        match work(line) {
            Ok(true) => {}
            Ok(false) => failed.push(line.to_string()),
            Err(error) => {
                eprintln!("vm: {line}: {error:#}");
                failed.push(line.to_string());
            }
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("vm: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn fetch_lines(fetch: &Fetch) -> Result<ExitCode> {
    let paths = Paths::new();
    let lock = Lock::take(&paths.vm)?;
    let lines = if fetch.all {
        kernels::LINES.iter().collect::<Vec<_>>()
    } else {
        fetch.kernel.iter().map(|name| kernels::find(name)).collect::<Result<Vec<_>>>()?
    };
    let code = for_each_line(&lines, |line| {
        let kernel = Packages::kernel(&paths.vm, line, fetch.update)?;
        let userland = Packages::userland(&paths.vm, line.suite, fetch.update)?;
        kernel.verify().and_then(|()| userland.verify())?;
        let image = Image::prepare(&paths.vm, line)?;
        describe(line, &image)?;
        Ok(true)
    })?;
    lock.release()?;
    Ok(code)
}

fn list() -> Result<ExitCode> {
    let paths = Paths::new();
    for line in kernels::LINES {
        let cached = Packages::cached(&paths.vm.join("kernels").join(line.name))?;
        let release = cached.and_then(|packages| packages.manifest.release);
        let default = if line.name == kernels::DEFAULT { " (default)" } else { "" };
        say(&format!("{:<10} {:<9} {}{default}", line.name, line.suite, release.as_deref().unwrap_or("not fetched")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(line: &kernels::Line, image: &Image) -> Result<()> {
    let mib = image.base_bytes() / (1024 * 1024);
    say(&format!("{:<10} {} with {} modules, image of {mib} MiB", line.name, image.release(), image.modules()))
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("cannot write to standard output")
}

/// Hands a guest's output on to our own.
struct Terminal;

impl Sink for Terminal {
    fn stdout(&mut self, bytes: &[u8]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).context("cannot write to standard output")
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<()> {
        std::io::stderr().lock().write_all(bytes).context("cannot write to standard error")
    }
}

/// Reads `90s`, `5m` or a plain number of seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, factor) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    match digits.parse::<u64>() {
        Ok(number) if number > 0 => Ok(Duration::from_secs(number * factor)),
        _ => Err(format!("{text:?} is no time such as 90s or 5m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that fails does not keep the ones after it from their turn, and the verb fails.
    #[test]
    fn failed_line_does_not_stop_the_others() {
        let mut seen = Vec::new();
        let code = for_each_line(&["5.10", "6.1", "7"], |line| {
            seen.push(*line);
            if *line == "5.10" { Err(anyhow::anyhow!("no mirror")) } else { Ok(*line != "6.1") }
        });
        assert_eq!(seen, ["5.10", "6.1", "7"]);
        assert_eq!(format!("{:?}", code.unwrap()), format!("{:?}", ExitCode::FAILURE));
        let code = for_each_line(&["6.1"], |_| Ok(true));
        assert_eq!(format!("{:?}", code.unwrap()), format!("{:?}", ExitCode::SUCCESS));
    }

    /// Unknown kernels and filters that name no scenario are refused before anything runs.
    #[test]
    fn unknown_names_are_refused() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        check_names(&words(&["6.1"]), &words(&["outage"])).unwrap();
        check_names(&[], &[]).unwrap();
        assert!(check_names(&words(&["6.1", "2.4"]), &[]).is_err());
        assert!(check_names(&[], &words(&["no such scenario"])).is_err());
    }

    /// Times are read with and without unit; none and nonsense are refused.
    #[test]
    fn reads_times() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_secs(7)));
        for text in ["0", "", "s", "-1", "1h"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }
}
