//! `cargo xtask demo`: the incident, on a stock Debian kernel: `iptables -t nat -L` on a system without netfilter modules.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::requirements::Purpose;
use crate::vm::{self, Guest, Sink};
use crate::{build, setup};

/// What is run in the guest: by root, who logged in as alice; with the iptables of the time, which reads its tables
/// through x_tables.
const INCIDENT: &str = "kmodtrace run --utc -- iptables -t nat -L";
const SCENE: &str = "echo 1000 > /proc/self/loginuid && ln -sf iptables-legacy /usr/sbin/iptables && ";
/// What the kernel itself says afterwards.
const CHECK: &str = "cut -d ' ' -f 1 /proc/modules";

/// How to run it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Kernel line, as `cargo xtask vm list` names them.
    #[arg(long, value_name = "LINE", default_value = vm::DEFAULT_KERNEL)]
    kernel: String,
    /// What runs the guest.
    #[arg(long, value_enum, default_value_t)]
    accel: vm::Choice,
}

/// Sets up, builds, boots, and shows what kmodtrace saw.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    setup::run(Purpose::Guests)?;
    build::run()?;
    let guest = Guest::prepare(&options.kernel, options.accel)?;
    println!(
        "\nA guest with Debian's kernel {}, and no netfilter module in it. Somebody looks at the firewall:\n",
        options.kernel
    );
    println!("# {INCIDENT}");
    let script = format!("{SCENE}{INCIDENT} && echo && echo \"# {CHECK}\" && {CHECK}");
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned);
    let code = guest.run_command(&argv, &mut Screen)?;
    Ok(ExitCode::from(code))
}

/// Both streams of the guest, in the order in which they come.
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
