//! Read-ahead: sections are decoded and parsed on all processors while earlier ones are being consumed.

use std::{
    fs::File,
    hash::RandomState,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, Scope},
};

use crate::capture::{
    batch::{Batch, Batcher},
    files,
    section::{Section, SectionError, Sections},
    sign::PublicKey,
};

/// Limit of text that is decoded but not yet consumed, bytes, or a single frame if that is larger. Its events take
/// several times as much memory.
const AHEAD_BYTES: usize = 2 << 20;

/// Text per work item, bytes. With single frames, threads wake each other too often, and the scheduler places woken
/// threads on the processor of the waker: all on one.
const GROUP_BYTES: usize = 256 << 10;

/// Accounted size of the beginning and the end of a file, bytes.
const MARK_BYTES: usize = 1 << 10;

/// Capacity of the work queue; [`AHEAD_BYTES`] is reached first.
const GROUPS_MAX: usize = 64;

/// Maximum number of decoding threads.
const WORKERS_MAX: usize = 8;

/// One step of reading, in order.
pub(super) enum Step {
    /// Beginning of the file of this name.
    Begin(String),
    /// Its next batch.
    Batch(Batch),
    /// The rest of the file cannot be read.
    Failed(SectionError),
    /// End of the file.
    End,
}

/// A step that is not decoded yet.
enum Piece {
    Section(Section),
    Step(Step),
}

/// A work item: pieces and the channel for their steps.
type Order = (Vec<Piece>, SyncSender<Vec<Step>>);

/// The steps of a work item and their accounted size in bytes.
type Made = (Receiver<Vec<Step>>, usize);

/// The steps of files, in order.
pub(super) struct Ahead {
    made: Receiver<Made>,
    used: Sender<usize>,
}

impl Ahead {
    /// Starts to read files on threads of this scope, parsing only summaries if nothing more is needed. The threads end
    /// when they are done or this is dropped.
    ///
    /// # Errors
    /// When zstd or a thread cannot be set up.
    pub(super) fn begin<'scope>(
        scope: &'scope Scope<'scope, '_>,
        files: Vec<PathBuf>,
        key: Option<&PublicKey>,
        is_brief: bool,
    ) -> io::Result<Self> {
        let hasher = RandomState::new();
        let workers = thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
        let batcher = || Batcher::new(key.cloned(), hasher.clone(), files.len() > 1);
        let batchers = (0..workers).map(|_| Ok(batcher()?.briefly(is_brief)));
        let batchers = batchers.collect::<io::Result<Vec<_>>>()?;
        let (orders_in, orders) = sync_channel::<Order>(GROUPS_MAX);
        let (made_in, made) = sync_channel(GROUPS_MAX);
        let (used_in, used) = channel();
        let orders = Arc::new(Mutex::new(orders));
        for batcher in batchers {
            let orders = Arc::clone(&orders);
            thread::Builder::new().spawn_scoped(scope, move || work(batcher, &orders))?;
        }
        let reader = Reader { group: Vec::new(), bytes: 0, ahead: 0, used, orders: orders_in, made: made_in };
        thread::Builder::new().spawn_scoped(scope, move || reader.files(&files))?;
        Ok(Self { made, used: used_in })
    }

    /// Passes all steps to `take`, in order.
    ///
    /// # Errors
    /// The errors of `take`, and when a thread has panicked.
    pub(super) fn for_each_step<E>(
        self,
        died: impl Fn() -> E,
        mut take: impl FnMut(Step) -> Result<(), E>,
    ) -> Result<(), E> {
        for (steps, bytes) in &self.made {
            steps.recv().map_err(|_| died())?.into_iter().try_for_each(&mut take)?;
            // A reader that has finished has dropped its end.
            let _ = self.used.send(bytes);
        }
        Ok(())
    }
}

/// Decodes and parses work items until the queue is closed.
fn work(mut batcher: Batcher, orders: &Mutex<Receiver<Order>>) {
    loop {
        let order = orders.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((group, result)) = order else { return };
        let steps = group.into_iter().map(|piece| match piece {
            Piece::Section(section) => Step::Batch(batcher.batch(section)),
            Piece::Step(step) => step,
        });
        // A consumer that ended early has dropped its end.
        let _ = result.send(steps.collect());
    }
}

/// The consumer has ended early.
struct Unwanted;

/// Why the reading of a file ends early.
enum Early {
    Unwanted,
    Failed(SectionError),
}

/// Reads files one after the other and queues their sections.
struct Reader {
    group: Vec<Piece>,
    /// Accounted size of the group.
    bytes: usize,
    /// Accounted size of the queued groups that are not consumed yet.
    ahead: usize,
    used: Receiver<usize>,
    orders: SyncSender<Order>,
    made: SyncSender<Made>,
}

impl Reader {
    fn files(mut self, files: &[PathBuf]) {
        for path in files {
            if self.file(path).is_err() {
                return;
            }
        }
        // This is the last group, so a failure does not matter.
        let _ = self.give_out();
    }

    fn file(&mut self, path: &Path) -> Result<(), Unwanted> {
        let is_stdin = files::is_stdin(path);
        let name = if is_stdin { "standard input".into() } else { path.to_string_lossy().into_owned() };
        self.add(Piece::Step(Step::Begin(name)), MARK_BYTES)?;
        let input: io::Result<Box<dyn Read>> =
            if is_stdin { Ok(Box::new(io::stdin())) } else { File::open(path).map(|file| Box::new(file) as _) };
        match input
            .map_err(|error| Early::Failed(SectionError::Read(error)))
            .and_then(|input| self.sections(input, is_stdin))
        {
            Ok(()) => {}
            Err(Early::Unwanted) => return Err(Unwanted),
            Err(Early::Failed(error)) => self.add(Piece::Step(Step::Failed(error)), MARK_BYTES)?,
        }
        self.add(Piece::Step(Step::End), MARK_BYTES)
    }

    fn sections(&mut self, input: Box<dyn Read>, is_stdin: bool) -> Result<(), Early> {
        let mut sections = Sections::new(input);
        while let Some(section) = sections.next_section(true).map_err(Early::Failed)? {
            let bytes = section.memory_bytes();
            self.add(Piece::Section(section), bytes).map_err(|Unwanted| Early::Unwanted)?;
            if is_stdin {
                // The writer may pause at any time.
                self.give_out().map_err(|Unwanted| Early::Unwanted)?;
            }
        }
        Ok(())
    }

    /// Adds a piece to the group, and queues the group when it is large enough.
    fn add(&mut self, piece: Piece, bytes: usize) -> Result<(), Unwanted> {
        if self.bytes + bytes > AHEAD_BYTES {
            self.give_out()?;
        }
        self.group.push(piece);
        self.bytes += bytes;
        if self.bytes >= GROUP_BYTES { self.give_out() } else { Ok(()) }
    }

    fn give_out(&mut self) -> Result<(), Unwanted> {
        let (group, bytes) = (std::mem::take(&mut self.group), std::mem::take(&mut self.bytes));
        if group.is_empty() {
            return Ok(());
        }
        while self.ahead > 0 && self.ahead + bytes > AHEAD_BYTES {
            self.ahead -= self.used.recv().map_err(|_| Unwanted)?;
        }
        self.ahead += bytes;
        let (result, steps) = sync_channel(1);
        self.orders.send((group, result)).map_err(|_| Unwanted)?;
        self.made.send((steps, bytes)).map_err(|_| Unwanted)
    }
}
