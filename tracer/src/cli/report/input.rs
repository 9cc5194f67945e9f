//! Captures to lines: files, directories, standard input; ended ones and those that still grow.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::super::trace::runtime;
use super::args::{Args, is_stdin};
use crate::{
    event::{Body, Event},
    report::{Block, Blocks, Engine, Source},
};

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Blocks that are read ahead.
const AHEAD: usize = 2;

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
    let follow = args.follow.then(Follow::new).transpose()?;
    one(last, engine, follow.as_ref())
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
        BufReader::new(Source::new(File::open(path).ok()?)).take(1 << 20).read_until(b'\n', &mut line).ok()?;
        let event: Event = serde_json::from_slice(&line).ok()?;
        matches!(event.body, Body::Header(_)).then_some(event.time)
    };
    (if is_stdin(path) { None } else { first_line() }, path.to_owned())
}

/// Where bytes come from; another thread reads them.
type Bytes = Source<Box<dyn Read + Send>>;

/// Reads one source.
fn one(path: &Path, engine: &mut Engine, follow: Option<&Follow>) -> anyhow::Result<()> {
    let (reader, source): (Box<dyn Read + Send>, _) = if is_stdin(path) {
        (Box::new(io::stdin()), "standard input".to_owned())
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        (Box::new(file), path.to_string_lossy().into_owned())
    };
    let mut blocks = Blocks::new(Source::new(reader));
    engine.begin(&source);
    let end = match follow {
        Some(follow) => followed(&mut blocks, engine, follow)?,
        None => ended(&mut blocks, engine)?,
    };
    match end {
        // What is damaged ends there; what was read before is told, and so are the other captures.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::Other | ErrorKind::UnexpectedEof) => {
            engine.note(format!("it is damaged, and was read up to there: {error}"));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {source}")),
        Ok(()) if blocks.reader().is_in_frame() => {
            engine.note("it is cut off: its last frame has no end".to_owned());
        }
        Ok(()) if !blocks.rest().is_empty() => {
            engine.note(format!("it is cut off: {} bytes are left of its last line", blocks.rest().len()));
        }
        Ok(()) => {}
    }
    Ok(())
}

/// Reads and decompresses on another thread while this one counts. The inner result is of reading.
fn ended(blocks: &mut Blocks<Bytes>, engine: &mut Engine) -> anyhow::Result<io::Result<()>> {
    let (full, take_full) = sync_channel::<Block>(AHEAD);
    let (empty, take_empty) = sync_channel::<Block>(AHEAD + 2);
    thread::scope(|scope| {
        let reader = scope.spawn(move || ahead(blocks, &full, &take_empty));
        for block in take_full {
            engine.block(block.lines())?;
            // The reader is gone when it has read all: then nobody wants it back.
            let _ = empty.send(block);
        }
        reader.join().map_err(|_| anyhow::anyhow!("the thread that reads has died"))
    })
}

/// Reads blocks until the end, or until nobody wants more.
fn ahead(blocks: &mut Blocks<Bytes>, full: &SyncSender<Block>, empty: &Receiver<Block>) -> io::Result<()> {
    loop {
        let mut block = empty.try_recv().unwrap_or_default();
        let read = blocks.next(&mut block);
        let is_last = read.is_err() || block.lines().is_empty();
        if (!block.lines().is_empty() && full.send(block).is_err()) || is_last {
            return read;
        }
    }
}

/// Reads what is there and what comes. The inner result is of reading.
fn followed(blocks: &mut Blocks<Bytes>, engine: &mut Engine, follow: &Follow) -> anyhow::Result<io::Result<()>> {
    let mut block = Block::default();
    loop {
        let read = blocks.next(&mut block);
        engine.block(block.lines())?;
        if read.is_err() || (block.lines().is_empty() && !follow.goes_on()) {
            return Ok(read);
        }
    }
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
