//! `cargo xtask demo`: `iptables -t nat -L` on a stock Debian kernel without netfilter modules.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::requirements::Purpose;
use crate::vm::{self, Guest, Sink};
use crate::{build, setup};

/// The command in the guest, run by root with the login uid of alice, and with iptables-legacy, which uses x_tables.
const INCIDENT: &str = "kmodtrace run --utc -- iptables -t nat -L";
const PREPARE: &str = "echo 1000 > /proc/self/loginuid && ln -sf iptables-legacy /usr/sbin/iptables && ";
/// Lists the loaded modules afterwards.
const CHECK: &str = "cut -d ' ' -f 1 /proc/modules";

/// Options of the demo.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Kernel line, as in `cargo xtask vm list`.
    #[arg(long, value_name = "LINE", default_value = vm::DEFAULT_KERNEL)]
    kernel: String,
    /// Accelerator of the guest.
    #[arg(long, value_enum, default_value_t)]
    accel: vm::Choice,
}

/// Sets up, builds, boots, and runs the incident under kmodtrace.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    setup::run(Purpose::Guests)?;
    build::run()?;
    let guest = Guest::prepare(&options.kernel, options.accel)?;
    println!(
        "\nA guest with Debian's kernel {} and no netfilter module loaded. A user lists the firewall rules:\n",
        options.kernel
    );
    println!("# {INCIDENT}");
    let script = format!("{PREPARE}{INCIDENT} && echo && echo \"# {CHECK}\" && {CHECK}");
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned);
    let code = guest.run_command(&argv, &mut Screen)?;
    Ok(ExitCode::from(code))
}

/// Prints both streams of the guest in order.
struct Screen;

impl Sink for Screen {
    fn stdout(&mut self, bytes: &[u8]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).context("cannot write to standard output")
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout(bytes)
    }
}
