//! Talk goes to stderr, one line each; data never does.

use std::io::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::output::sentence;

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
                say(&format!("{level}: {text}"));
                return;
            }
            // What the verifier says has many lines.
            text.lines().for_each(|line| say(&format!("{level}: {line}")));
        }
    }

    fn flush(&self) {}
}

/// Sets the level by the number of `-v`.
pub fn init(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    // Fails only when a logger is set already, and then that one stays.
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}

/// One line of talk. Names in it may be escaped already; nothing in it moves the cursor or ends the line.
pub fn say(line: &str) {
    // At once: in the kernel's log, where an initial root may send this, each write is a line of its own.
    let line = format!("kmodtrace: {}\n", sentence(line));
    // Nothing can be done, and nothing is lost, when stderr itself is gone.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// An error and its causes, each on a line.
pub fn error(error: &anyhow::Error) {
    say(&format!("error: {error}"));
    for cause in error.chain().skip(1) {
        say(&format!("  because: {cause}"));
    }
}
