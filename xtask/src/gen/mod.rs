//! `cargo xtask gen`: captures of any size, reproducible by a seed.

mod fixtures;
mod output;
mod random;
mod script;
mod stream;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use self::output::Output;
use self::stream::{Out, Stream};

/// Options of the generator.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Approximate number of events; the last chain is always complete.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,
    /// Seed of the random numbers.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Host name in the capture.
    #[arg(long, value_name = "NAME", default_value = "lb1")]
    host: String,
    /// Output file: JSON Lines, in sealed zstd frames if the name ends in .zst.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Options {
    /// Options for a plain capture of about `events` events.
    pub(crate) fn new(events: u64, seed: u64, output: PathBuf) -> Self {
        Self { events, seed, host: "lb1".to_owned(), output }
    }
}

/// Generates a capture.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    let path = &options.output;
    let context = || format!("cannot write to {}", path.display());
    let mut output = Output::create(path).with_context(context)?;
    let events = write(options, &mut |line| output.line(line)).with_context(context)?;
    output.finish().with_context(context)?;
    println!("{events} events in {}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// Passes the lines of a capture to `out`, and returns their number.
fn write(options: &Options, out: Out<'_>) -> Result<u64> {
    let boot_id = format!("00000000-0000-4000-8000-{:012x}", options.seed);
    let mut stream = Stream::new(options.seed, out);
    script::begin(&mut stream, &options.host, &boot_id)?;
    while stream.seq + 1 < options.events {
        script::next(&mut stream)?;
    }
    script::end(&mut stream)?;
    Ok(stream.seq)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Options, write};

    fn lines(events: u64, seed: u64) -> String {
        let output = PathBuf::new();
        let options = Options { events, seed, host: "lb1".to_owned(), output };
        let mut text = String::new();
        write(&options, &mut |line| {
            text.push_str(line.text);
            Ok(false)
        })
        .unwrap();
        text
    }

    /// The same seed gives the same capture, and sequence numbers have no gaps.
    #[test]
    fn capture_is_reproducible_by_seed() {
        let text = lines(2000, 7);
        assert_eq!(text, lines(2000, 7));
        assert_ne!(text, lines(2000, 8));
        for (place, line) in text.lines().enumerate() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["seq"], place, "{line}");
        }
    }

    /// The stored capture, which the tests of the tracer's model use, is what is generated.
    #[test]
    fn stored_capture_is_up_to_date() {
        let stored = include_str!("../../../tests/fixtures/captures/generated.jsonl");
        assert!(
            stored == lines(400, 1),
            "regenerate it: cargo xtask gen --events 400 --seed 1 -o tests/fixtures/captures/generated.jsonl"
        );
    }
}
