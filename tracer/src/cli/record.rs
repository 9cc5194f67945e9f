//! `kmodtrace record`: what makes the kernel load modules, into files that last.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    live::ProbeArgs,
    session::{Session, runtime},
    sink::{self, Plan, Sink},
    sudo,
    until::{self, Until, UntilArgs},
};
use crate::{
    capture::{
        sign::Key,
        writer::{Flush, OnFull, Policy},
    },
    logging::say,
    probe::unpin,
};

/// When what is written is made to outlast a crash of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FlushChoice {
    /// When the kernel likes.
    None,
    /// Once a second.
    Incremental,
    /// At once.
    #[default]
    Data,
    /// At once, with all metadata.
    Sync,
}

/// What to do when the disk is full or fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OnFullChoice {
    /// Go on, count what cannot be written, and write again when the disk does.
    #[default]
    Drop,
    /// Remove the oldest captures in the directory until there is room.
    Rotate,
    /// Write nothing more, and go on counting.
    Stop,
    /// End with an error.
    Exit,
}

/// What vouches for seals outside the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Anchor {
    /// Tell the journal the hash of a seal each minute.
    Journald,
}

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 ended when asked to, 124 --duration ended before --exit-on, 125 error. The format of captures is told in \
    docs/capture-format.md: `zstdcat FILE | jq` reads them."
)]
pub struct Args {
    /// Where captures go: a directory, in which a new file is begun each time, or a file whose name ends with .zst.
    #[arg(short, long, value_name = "DIR|FILE", required_unless_present_any = ["arm", "unpin"])]
    output: Option<PathBuf>,
    /// Keep the programs attached while no recorder runs: nothing is missed when this one is killed, restarted or upgraded.
    /// What happens meanwhile waits in the kernel.
    #[arg(long)]
    pin: bool,
    /// Attach the programs as with --pin and end: what happens from now on waits for a `record --pin`. For early boot.
    #[arg(long, conflicts_with_all = ["output", "unpin"])]
    arm: bool,
    /// Detach what --pin or --arm has left, and end.
    #[arg(long, conflicts_with = "output")]
    unpin: bool,
    /// Begin a new file when one has this size: 64M, 1G.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Begin a new file when one is this old: 12h, 24h.
    #[arg(long, value_name = "TIME", value_parser = until::duration)]
    max_age: Option<Duration>,
    /// Keep so many files, and remove older ones.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Leave so much space of the disk alone.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    min_free: Option<u64>,
    /// What to do when the disk is full or fails.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    on_full: OnFullChoice,
    /// When what is written is made to outlast a crash of the machine.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    flush: FlushChoice,
    /// Sign each seal with this key: a file of 64 hexadecimal digits that only its owner reads. Its public half, for
    /// `verify --key`, is written to KEY.pub.
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// What vouches for seals outside the capture.
    #[arg(long, value_enum, value_name = "WHERE")]
    anchor: Option<Anchor>,
    #[command(flatten)]
    until: UntilArgs,
    #[command(flatten)]
    probe: ProbeArgs,
}

/// A number of bytes: `512`, `64K`, `256M`, `1G`.
fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.find(|char: char| !char.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let factor = match unit {
        "" => Some(1),
        "K" | "KiB" => Some(1 << 10),
        "M" | "MiB" => Some(1 << 20),
        "G" | "GiB" => Some(1_u64 << 30),
        "T" | "TiB" => Some(1 << 40),
        _ => None,
    };
    let bytes = digits.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| format!("{text:?} is no size: write 64M, 1G or a number of bytes"))
}

impl Args {
    fn policy(&self) -> Policy {
        Policy {
            flush: match self.flush {
                FlushChoice::None => Flush::None,
                FlushChoice::Incremental => Flush::Incremental,
                FlushChoice::Data => Flush::Data,
                FlushChoice::Sync => Flush::Sync,
            },
            on_full: match self.on_full {
                OnFullChoice::Drop => OnFull::Drop,
                OnFullChoice::Rotate => OnFull::Rotate,
                OnFullChoice::Stop => OnFull::Stop,
                OnFullChoice::Exit => OnFull::Exit,
            },
            max_bytes: self.max_size,
            max_age_ns: self.max_age.map(|age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)),
            keep: self.keep.and_then(|keep| usize::try_from(keep).ok()),
            min_free_bytes: self.min_free,
        }
    }
}

pub(super) fn run(args: &Args, probe_log: bool) -> anyhow::Result<ExitCode> {
    if args.unpin {
        say(if unpin()? { "detached: nothing is pinned any more" } else { "nothing was pinned" });
        return Ok(ExitCode::SUCCESS);
    }
    if args.arm {
        return arm(args, probe_log);
    }
    let path = args.output.as_deref().context("no directory or file was named")?;
    let key = args.sign.as_deref().map(Key::load).transpose()?;
    let target = sink::target(path)?;
    let plan = Plan { target, policy: args.policy(), key, anchor: args.anchor == Some(Anchor::Journald) };
    let sink = Sink::new(plan)?;
    runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut session = Session::record(Box::new(sink), args.probe.builder(probe_log).pin(args.pin)).await?;
        session.drop_privileges(&[])?;
        session.end_at(Until::new(&args.until)?);
        tell_service_manager("READY=1");
        let mut ended = None;
        while ended.is_none() {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                go_on = session.step() => if !go_on? { break },
            }
            ended = session.reached();
        }
        tell_service_manager("STOPPING=1");
        session.finish().await?;
        Ok(until::exit_code(ended, ExitCode::SUCCESS))
    })
}

/// Attaches, and leaves the rest to the kernel.
fn arm(args: &Args, probe_log: bool) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let armed = args.probe.builder(probe_log).arm().map_err(sudo::explain)?;
    for warning in armed.warnings {
        say(&format!("warning: {warning}"));
    }
    say(if armed.was_armed {
        "armed before: what happens waits for kmodtrace record --pin"
    } else {
        "armed: what happens from now on waits for kmodtrace record --pin"
    });
    Ok(ExitCode::SUCCESS)
}

/// Tells the service manager, when there is one (sd_notify(3)). It is a courtesy: without it recording goes on.
fn tell_service_manager(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return };
    let told = || {
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
    };
    if let Err(error) = told() {
        say(&format!("warning: the service manager cannot be told {state}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    /// Check that sizes have units, and that anything else is refused.
    #[test]
    fn sizes_are_read() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("3GiB"), Ok(3 << 30));
        for bad in ["", "M", "0", "-1", "1.5G", "64m", "99999999999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
