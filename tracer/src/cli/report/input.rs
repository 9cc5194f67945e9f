//! Captures to lines: files, directories, standard input; ended ones and those that still grow.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::super::trace::runtime;
use super::args::{Args, is_stdin};
use crate::{
    event::{Body, Event},
    report::{Blocks, Engine},
};

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Reads everything that was named, oldest first.
pub(super) fn read(args: &Args, engine: &mut Engine) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for path in &args.files {
        expand(path, &mut files)?;
    }
    files.sort_by_cached_key(|path| began(path));
    let Some((last, before)) = files.split_last() else { return Ok(()) };
    for path in before {
        one(path, engine, None)?;
    }
    if args.follow {
        let follow = Follow::new()?;
        one(last, engine, Some(&follow))
    } else {
        one(last, engine, None)
    }
}

/// A directory stands for the captures in it.
fn expand(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if is_stdin(path) || !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let context = || format!("cannot read the directory {}", path.display());
    for entry in fs::read_dir(path).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && (name.ends_with(".jsonl") || name.ends_with(".zst")) {
            files.push(path);
        }
    }
    Ok(())
}

/// When a capture was begun; those that do not tell come first.
fn began(path: &Path) -> (Option<Timestamp>, PathBuf) {
    let first_line = || {
        let mut line = Vec::new();
        BufReader::new(File::open(path).ok()?).take(1 << 20).read_until(b'\n', &mut line).ok()?;
        let event: Event = serde_json::from_slice(&line).ok()?;
        matches!(event.body, Body::Header(_)).then_some(event.time)
    };
    (if is_stdin(path) { None } else { first_line() }, path.to_owned())
}

/// Reads one source.
fn one(path: &Path, engine: &mut Engine, follow: Option<&Follow>) -> anyhow::Result<()> {
    if is_stdin(path) {
        return lines(std::io::stdin().lock(), "standard input", engine, follow);
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    lines(file, &path.to_string_lossy(), engine, follow)
}

fn lines(reader: impl Read, source: &str, engine: &mut Engine, follow: Option<&Follow>) -> anyhow::Result<()> {
    engine.begin(source);
    let mut blocks = Blocks::new(reader);
    let mut block = Vec::new();
    loop {
        blocks.next(&mut block).with_context(|| format!("cannot read {source}"))?;
        if !block.is_empty() {
            engine.block(&block)?;
        } else if !follow.is_some_and(Follow::goes_on) {
            break;
        }
    }
    if !blocks.rest().is_empty() {
        engine.note(format!("its last line is cut off: {} bytes are left of it", blocks.rest().len()));
    }
    Ok(())
}

/// Waits for a file to grow.
struct Follow {
    runtime: tokio::runtime::Runtime,
    signals: std::cell::RefCell<[tokio::signal::unix::Signal; 2]>,
}

impl Follow {
    fn new() -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let signals = runtime
            .block_on(async { anyhow::Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]) })?;
        Ok(Self { runtime, signals: std::cell::RefCell::new(signals) })
    }

    /// Waits a moment; false when it is to end.
    fn goes_on(&self) -> bool {
        let mut signals = self.signals.borrow_mut();
        let [interrupt, terminate] = &mut *signals;
        self.runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => false,
                _ = terminate.recv() => false,
                () = tokio::time::sleep(LOOK) => true,
            }
        })
    }
}
