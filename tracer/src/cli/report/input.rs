//! Captures to lines: files, directories, standard input; ended ones and those that still grow.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, ErrorKind, Read},
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
    report::{Block, Blocks, Engine},
};

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Blocks that are read ahead.
const AHEAD: usize = 2;

/// What a zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

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
        let lines = opened(File::open(path).ok()?).ok()?;
        BufReader::new(lines).take(1 << 20).read_until(b'\n', &mut line).ok()?;
        let event: Event = serde_json::from_slice(&line).ok()?;
        matches!(event.body, Body::Header(_)).then_some(event.time)
    };
    (if is_stdin(path) { None } else { first_line() }, path.to_owned())
}

/// Bytes as lines: what is compressed is decompressed.
fn opened(mut reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = Vec::new();
    let size = u64::try_from(ZSTD_MAGIC.len()).unwrap_or(u64::MAX);
    reader.by_ref().take(size).read_to_end(&mut magic)?;
    let is_zstd = magic == ZSTD_MAGIC;
    let whole = Cursor::new(magic).chain(reader);
    if is_zstd { Ok(Box::new(zstd::Decoder::new(whole)?)) } else { Ok(Box::new(whole)) }
}

/// Reads one source.
fn one(path: &Path, engine: &mut Engine, follow: Option<&Follow>) -> anyhow::Result<()> {
    let (reader, source): (io::Result<Box<dyn Read + Send>>, _) = if is_stdin(path) {
        (opened(io::stdin()), "standard input".to_owned())
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        (opened(file), path.to_string_lossy().into_owned())
    };
    let context = || format!("cannot read {source}");
    let blocks = Blocks::new(reader.with_context(context)?);
    engine.begin(&source);
    match follow {
        Some(follow) => followed(blocks, engine, follow).with_context(context),
        None => ended(blocks, engine).with_context(context),
    }
}

/// Reads and decompresses on another thread while this one counts.
fn ended(blocks: Blocks<Box<dyn Read + Send>>, engine: &mut Engine) -> anyhow::Result<()> {
    let (full, take_full) = sync_channel::<Block>(AHEAD);
    let (empty, take_empty) = sync_channel::<Block>(AHEAD + 2);
    let (told, end) = thread::scope(|scope| {
        let reader = scope.spawn(move || ahead(blocks, &full, &take_empty));
        let mut told = Ok(());
        for block in take_full {
            told = engine.block(block.lines());
            if told.is_err() {
                break;
            }
            // The reader is gone when it has read all: then nobody wants it back.
            let _ = empty.send(block);
        }
        (told, reader.join())
    });
    told?;
    let end = end.map_err(|_| anyhow::anyhow!("the thread that reads has died"))?;
    if let Some(note) = end? {
        engine.note(note);
    }
    Ok(())
}

/// Reads blocks until the end, and says what is left over.
fn ahead(
    mut blocks: Blocks<Box<dyn Read + Send>>,
    full: &SyncSender<Block>,
    empty: &Receiver<Block>,
) -> io::Result<Option<String>> {
    loop {
        let mut block = empty.try_recv().unwrap_or_default();
        let read = blocks.next(&mut block);
        let is_cut_off = match read {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => true,
            read => {
                read?;
                false
            }
        };
        if is_cut_off {
            // Nobody is left to read for when it cannot be sent.
            let _ = full.send(block);
            return Ok(Some("it is cut off: its last frame has no end".to_owned()));
        }
        if block.lines().is_empty() || full.send(block).is_err() {
            return Ok(cut_off(blocks.rest()));
        }
    }
}

fn cut_off(rest: &[u8]) -> Option<String> {
    (!rest.is_empty()).then(|| format!("it is cut off: {} bytes are left of its last line", rest.len()))
}

fn followed(mut blocks: Blocks<Box<dyn Read + Send>>, engine: &mut Engine, follow: &Follow) -> anyhow::Result<()> {
    let mut block = Block::default();
    loop {
        blocks.next(&mut block)?;
        if !block.lines().is_empty() {
            engine.block(block.lines())?;
        } else if !follow.goes_on() {
            return Ok(());
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
