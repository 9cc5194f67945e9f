//! `kmodtrace record`: records all events of this host into capture files.

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

use crate::{
    capture::{
        sign::Key,
        writer::{Flush, OnFull, Policy},
    },
    cli::{
        args::{
            stop::{self, StopArgs, StopConditions},
            trace::ProbeArgs,
        },
        io::capture_out::{self, CaptureOptions, CaptureWriter},
        session::{Session, runtime},
        sudo,
    },
    logging::notice,
    probe::unpin,
};

/// When data is flushed to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FlushChoice {
    /// Leave write-back to the kernel.
    None,
    /// Flush data once a second.
    Incremental,
    /// Flush data after each write.
    #[default]
    Data,
    /// Flush data and metadata after each write.
    Sync,
}

/// Action when the disk is full or fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OnFullChoice {
    /// Count unwritten events, and resume writing when the disk recovers.
    #[default]
    Drop,
    /// Remove the oldest captures in the directory until there is space.
    Rotate,
    /// Stop writing, and count all further events.
    Stop,
    /// Exit with an error.
    Exit,
}

/// External anchor for seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Anchor {
    /// Log the hash of a seal to the journal once a minute.
    Journald,
}

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 stopped by a signal or a stop condition; 124 --duration ended before --exit-on; 125 error.\n\n\
    Captures are zstd-compressed JSON Lines (`zstdcat FILE | jq`); docs/capture-format.md describes them."
)]
pub struct Args {
    /// Write to a new file in a directory, or to a file whose name ends with .zst.
    #[arg(short, long, value_name = "DIR|FILE", required_unless_present_any = ["arm", "unpin"])]
    output: Option<PathBuf>,
    /// Keep the programs attached when the recorder exits: events wait in the kernel for the next `record --pin`.
    #[arg(long)]
    pin: bool,
    /// Attach the programs as with --pin and exit, for early boot: events wait for `record --pin`.
    #[arg(long, conflicts_with_all = ["output", "unpin"])]
    arm: bool,
    /// Detach the programs that --pin or --arm left attached, and exit.
    #[arg(long, conflicts_with = "output")]
    unpin: bool,
    /// Start a new file at SIZE bytes, e.g. 64M, 1G [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Start a new file after TIME, e.g. 12h, 24h [default: no limit].
    #[arg(long, value_name = "TIME", value_parser = stop::duration)]
    max_age: Option<Duration>,
    /// Keep at most N files and remove the oldest [default: keep all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Keep SIZE bytes of the disk free, e.g. 256M [default: 0].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    min_free: Option<u64>,
    /// Action when the disk is full or fails.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    on_full: OnFullChoice,
    /// Flush policy.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    flush: FlushChoice,
    /// Sign each seal with KEY, a file of 64 hexadecimal digits and mode 0600; the public key is written to KEY.pub.
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// External anchor for seals [default: none].
    #[arg(long, value_enum, value_name = "WHERE")]
    anchor: Option<Anchor>,
    #[command(flatten)]
    stop: StopArgs,
    #[command(flatten)]
    probe: ProbeArgs,
}

/// Parses a number of bytes: `512`, `64K`, `256M`, `1G`.
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
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected a size above 0, e.g. 64M, 1G, or a number of bytes".to_owned())
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

pub(in crate::cli) fn run(args: &Args, probe_log: bool) -> anyhow::Result<ExitCode> {
    if args.unpin {
        notice(if unpin()? { "detached: no pinned programs remain" } else { "no pinned programs found" });
        return Ok(ExitCode::SUCCESS);
    }
    if args.arm {
        return arm(args, probe_log);
    }
    let path = args.output.as_deref().context("missing --output: expected a directory or file")?;
    let key = args.sign.as_deref().map(Key::load).transpose()?;
    let target = capture_out::target(path)?;
    let options = CaptureOptions { target, policy: args.policy(), key, anchor: args.anchor == Some(Anchor::Journald) };
    let writer = CaptureWriter::new(options)?;
    runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut session = Session::record(Box::new(writer), args.probe.builder(probe_log).pin(args.pin)).await?;
        session.drop_privileges(&[])?;
        session.end_at(StopConditions::new(&args.stop)?);
        notify_service_manager("READY=1");
        let mut ended = None;
        while ended.is_none() {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                go_on = session.step() => if !go_on? { break },
            }
            ended = session.reached();
        }
        notify_service_manager("STOPPING=1");
        session.finish().await?;
        Ok(stop::exit_code(ended, ExitCode::SUCCESS))
    })
}

/// Attaches the programs and leaves them pinned.
fn arm(args: &Args, probe_log: bool) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let armed = args.probe.builder(probe_log).arm().map_err(sudo::explain)?;
    for warning in armed.warnings {
        notice(&format!("warning: {warning}"));
    }
    notice(if armed.was_armed {
        "armed before: events wait for kmodtrace record --pin"
    } else {
        "armed: events from now on wait for kmodtrace record --pin"
    });
    Ok(ExitCode::SUCCESS)
}

/// Notifies the service manager, if any (sd_notify(3)). A failure does not stop recording.
fn notify_service_manager(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return };
    let send = || {
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
    };
    if let Err(error) = send() {
        notice(&format!("warning: cannot notify the service manager of {state}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    /// Sizes have binary units; zero, negative, fractional and overflowing ones are rejected.
    #[test]
    fn size_valid_forms_are_parsed() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("3GiB"), Ok(3 << 30));
        for bad in ["", "M", "0", "-1", "1.5G", "64m", "99999999999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
