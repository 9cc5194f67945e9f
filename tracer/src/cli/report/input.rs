//! Captures to lines: files, directories, standard input; ended ones and those that still grow.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::super::{events::not_a_capture, trace::runtime};
use super::args::{Args, is_stdin};
use crate::{
    capture::{
        files,
        lines::{LineError, Lines},
    },
    event::{Body, Event},
    report::{Engine, ReportError},
};

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Blocks that are read ahead.
const AHEAD: usize = 2;

/// Reads everything that was named, oldest first.
pub(super) fn read(args: &Args, engine: &mut Engine) -> anyhow::Result<()> {
    let (stdin, named): (Vec<PathBuf>, Vec<PathBuf>) = args.files.iter().cloned().partition(|path| is_stdin(path));
    let mut files = files::list(&named)?;
    files.sort_by_cached_key(|path| began(path));
    files.splice(0..0, stdin);
    let Some((last, before)) = files.split_last() else { return Ok(()) };
    for path in before {
        one(path, engine, None)?;
    }
    let follow = (args.follow && grows(last)).then(Follow::new).transpose()?;
    one(last, engine, follow.as_ref())
}

/// Whether more may come after the end: a pipe that has ended stays so.
fn grows(path: &Path) -> bool {
    let metadata =
        if is_stdin(path) { File::open("/dev/stdin").and_then(|file| file.metadata()) } else { path.metadata() };
    // What cannot be looked at is told when it is opened.
    metadata.is_ok_and(|metadata| metadata.is_file())
}

/// Whether the end of the input is not the end of what is recorded.
pub(super) fn is_followed(args: &Args) -> bool {
    args.follow && args.files.iter().any(|path| grows(path) || path.is_dir())
}

/// When a capture was begun; those that do not tell come first.
fn began(path: &Path) -> Option<Timestamp> {
    // What is read of a pipe is gone.
    let file = path.is_file().then(|| File::open(path).ok())??;
    let mut lines = Lines::new(file).ok()?;
    let event: Event = serde_json::from_slice(lines.next_line().ok()??).ok()?;
    matches!(event.body, Body::Header(_)).then_some(event.time)
}

/// Lines of a source; another thread reads them.
type Text = Lines<Box<dyn Read + Send>>;

/// Reads one source.
fn one(path: &Path, engine: &mut Engine, follow: Option<&Follow>) -> anyhow::Result<()> {
    let (reader, source): (Box<dyn Read + Send>, _) = if is_stdin(path) {
        (Box::new(io::stdin()), "standard input".to_owned())
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        (Box::new(file), path.to_string_lossy().into_owned())
    };
    let mut lines = Lines::new(reader).with_context(|| source.clone())?;
    engine.begin(&source);
    let end = match follow {
        Some(follow) => followed(&mut lines, engine, follow),
        None => ended(&mut lines, engine),
    };
    let end = match end {
        // What cannot be written is not the input's fault.
        Err(error) if !matches!(error.downcast_ref(), Some(ReportError::Write(_))) => {
            Err(error).with_context(|| source.clone())
        }
        end => end,
    };
    let read = match end? {
        // What is damaged ends there; what was read before is told, and so are the other captures.
        Err(error @ (LineError::Torn { .. } | LineError::Damaged { .. } | LineError::LongLine { .. })) => {
            engine.note(format!("it {error}"));
            Ok(())
        }
        Err(LineError::NotACapture) => return Err(not_a_capture(&source)),
        end => end.with_context(|| source),
    };
    engine.ended();
    read
}

/// Reads and decompresses on another thread while this one counts. The inner result is of reading.
fn ended(lines: &mut Text, engine: &mut Engine) -> anyhow::Result<Result<(), LineError>> {
    let (full, take_full) = sync_channel::<Vec<u8>>(AHEAD);
    let (empty, take_empty) = sync_channel::<Vec<u8>>(AHEAD + 2);
    thread::scope(|scope| {
        let reader = scope.spawn(move || ahead(lines, &full, &take_empty));
        for block in take_full {
            engine.block(&block)?;
            // The reader is gone when it has read all: then nobody wants it back.
            let _ = empty.send(block);
        }
        reader.join().map_err(|_| anyhow::anyhow!("the thread that reads has died"))
    })
}

/// Reads blocks until the end, or until nobody wants more.
fn ahead(lines: &mut Text, full: &SyncSender<Vec<u8>>, empty: &Receiver<Vec<u8>>) -> Result<(), LineError> {
    while let Some(ready) = lines.next_block()? {
        let mut block = empty.try_recv().unwrap_or_default();
        block.clear();
        block.extend_from_slice(ready);
        if full.send(block).is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads what is there and what comes. The inner result is of reading.
fn followed(lines: &mut Text, engine: &mut Engine, follow: &Follow) -> anyhow::Result<Result<(), LineError>> {
    loop {
        match lines.next_block() {
            Ok(Some(block)) => engine.block(block)?,
            // What is torn is being written.
            Ok(None) | Err(LineError::Torn { .. }) => {
                if !follow.goes_on() {
                    return Ok(Ok(()));
                }
                lines.go_on();
            }
            Err(error) => return Ok(Err(error)),
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
