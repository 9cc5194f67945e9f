//! `cargo xtask vm`: real kernels in QEMU, with programs of the distribution.

mod accel;
mod boot;
mod cpio;
mod extras;
mod guest;
mod image;
mod kernel_packages;
mod kernels;
mod lock;
mod modules;
mod monitor;
mod overlay;
mod packages;
pub(crate) mod parsers;
mod paths;
mod policy_run;
mod qemu;
mod report;
mod schema_check;
mod snapshot;
mod splat;
mod suite;
mod tree;

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
pub(crate) use guest::{DEFAULT_TIMEOUT, Guest, Sink, is_image_error};
pub(crate) use kernels::DEFAULT as DEFAULT_KERNEL;
pub(crate) use report::outcome_line;

use image::Image;
use lock::Lock;
use overlay::Added;
use packages::Packages;
use paths::Paths;

/// Options of `cargo xtask vm`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Fetch kernels and pack their images.
    Fetch(Fetch),
    /// List the kernel lines and their cached releases.
    List,
    /// Run one command in a guest, with its output and exit code.
    Run(Run),
    /// Open a shell in a guest.
    Shell(Machine),
    /// Run scenarios in guests.
    Test(Test),
}

#[derive(Debug, Args)]
struct Fetch {
    /// Kernel line; repeatable.
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
    /// Kernel line, as in `vm list`.
    #[arg(long, value_name = "LINE", default_value = kernels::DEFAULT)]
    kernel: String,
    /// Accelerator of the guest.
    #[arg(long, value_enum, default_value_t)]
    accel: Choice,
    /// Add a file from the host to the guest; repeatable.
    #[arg(long, value_name = "HOSTPATH:GUESTPATH")]
    add: Vec<Added>,
    /// Add more programs: udev, stress-ng, and all mkfs programs.
    #[arg(long)]
    extras: bool,
    /// Add other tracers: bpftrace, trace-cmd, perf.
    #[arg(long, conflicts_with = "extras")]
    tracers: bool,
    /// Append kernel arguments; repeatable.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    append: Vec<String>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    machine: Machine,
    /// End the guest after this time, for example 90s or 5m; default 120s.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Run the command under kmodtrace with this policy, and return the exit code of the verdict. Policies in the same
    /// directory are added to the guest, so that the policy can include them.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
struct Test {
    /// Kernel line; repeatable.
    #[arg(long, value_name = "LINE", default_value = kernels::DEFAULT)]
    kernel: Vec<String>,
    /// Accelerator of the guest.
    #[arg(long, value_enum, default_value_t)]
    accel: Choice,
    /// Number of concurrent guests.
    #[arg(long, value_name = "N", default_value_t = default_parallel())]
    parallel: usize,
    /// Repeat N times in fresh guests, to find intermittent failures.
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

/// The names of the scenarios whose result depends on the kernel.
pub(crate) fn scenarios_of_the_kernel() -> Vec<String> {
    scenarios::of_the_kernel().map(|scenario| scenario.name.to_owned()).collect()
}

/// Checks that each kernel line exists, and that the filters, if any, match a scenario.
pub(crate) fn check_names(lines: &[String], filters: &[String]) -> Result<()> {
    for line in lines {
        kernels::find(line)?;
    }
    suite::choose(filters).map(drop)
}

/// Runs the subcommand.
pub(crate) fn run(options: Options) -> Result<ExitCode> {
    match options.verb {
        Verb::Fetch(fetch) => fetch_lines(&fetch),
        Verb::List => list(),
        Verb::Run(run) => {
            let guest = run.machine.guest()?.with_timeout(run.timeout.unwrap_or(DEFAULT_TIMEOUT));
            let (guest, command) = match &run.policy {
                Some(policy) => policy_run::under_policy(guest, policy, &run.command)?,
                None => (guest, run.command),
            };
            guest.run_command(&command, &mut Terminal).map(ExitCode::from)
        }
        Verb::Shell(machine) => machine.guest()?.shell().map(|()| ExitCode::SUCCESS),
        Verb::Test(test) => run_tests(&test),
    }
}

/// One guest per processor, because each guest uses one, and one more, because guests often wait: for their kernel, or until a
/// state is read.
pub(crate) fn default_parallel() -> usize {
    thread::available_parallelism().map_or(1, usize::from) + 1
}

fn run_tests(test: &Test) -> Result<ExitCode> {
    if test.list {
        for scenario in scenarios::all() {
            print_line(scenario.name)?;
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
            print_line(&report.to_string())?;
            is_good &= report.is_good();
        }
        Ok(is_good)
    })
}

/// Runs `work` for each kernel line, even after a failure. Fails at the end if any line failed.
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
        print_line(&format!(
            "{:<10} {:<9} {}{default}",
            line.name,
            line.suite,
            release.as_deref().unwrap_or("not fetched")
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(line: &kernels::Line, image: &Image) -> Result<()> {
    let mib = image.base_bytes() / (1024 * 1024);
    print_line(&format!("{:<10} {} with {} modules, image of {mib} MiB", line.name, image.release(), image.modules()))
}

fn print_line(line: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("cannot write to standard output")
}

/// Forwards the output of a guest.
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

/// Parses `90s`, `5m` or a number of seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 's')) => (&text[..at], 1),
        _ => (text, 1),
    };
    let seconds = digits.parse::<u64>().ok().filter(|number| *number > 0).and_then(|number| number.checked_mul(factor));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("invalid duration {text:?}: expected e.g. 90s, 5m, 2h, or a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A failed line does not stop the others, and the command fails at the end.
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

    /// Unknown kernels, and filters that match no scenario, are errors.
    #[test]
    fn unknown_names_are_errors() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        check_names(&words(&["6.1"]), &words(&["outage"])).unwrap();
        check_names(&[], &[]).unwrap();
        assert!(check_names(&words(&["6.1", "2.4"]), &[]).is_err());
        assert!(check_names(&[], &words(&["no such scenario"])).is_err());
    }

    /// Durations are parsed with and without a unit; others are errors.
    #[test]
    fn durations_are_parsed() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_secs(7)));
        for text in ["0", "", "s", "h", "-1", "1d", "18446744073709551615h", "7\u{e9}"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }
}
