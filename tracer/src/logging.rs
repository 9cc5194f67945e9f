//! Diagnostics on stderr, one line each. Data never goes to stderr through here.

use std::io::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::{causes::with_causes, output::sentence};

/// Writes log records to stderr.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let (level, text) = (record.level().as_str().to_lowercase(), record.args().to_string());
            if record.level() < log::Level::Debug {
                notice(&format!("{level}: {text}"));
                return;
            }
            // Output of the BPF verifier has many lines.
            text.lines().for_each(|line| notice(&format!("{level}: {line}")));
        }
    }

    fn flush(&self) {}
}

/// Sets the log level from the number of `-v`.
pub fn init(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    // Fails only if a logger is already set, which is then kept.
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}

/// Prints one line. Control characters are escaped; names that are escaped already stay as they are.
pub fn notice(line: &str) {
    // In one write: an initramfs can redirect stderr to the kernel log, where each write is one line.
    let line = format!("kmodtrace: {}\n", sentence(line));
    // A closed stderr cannot be reported anywhere.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Prints an error and its causes as one line.
pub fn error(error: &anyhow::Error) {
    notice(&format!("error: {}", with_causes(error.as_ref())));
}
