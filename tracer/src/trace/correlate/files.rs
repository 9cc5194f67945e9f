//! Files that threads are loading: which file a module comes from.
//!
//! The kernel tells of a file when it reads it, and of a load when the module is in place; between them a thread does
//! nothing else. A file belongs to one load: the next of the same thread may have none, as `init_module(2)` has none.

use std::collections::HashMap;

use crate::event::{ProcessId, Text};

/// Files that were named by tasks which then never loaded: more than this are forgotten.
const LIMIT: usize = 4096;

/// The files.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<Thread, File>);

/// A thread of a process: its id alone is used again.
type Thread = (ProcessId, u32);

#[derive(Debug)]
struct File {
    path: Text,
    /// A module came from it already; whether that stays is not known yet.
    has_arrived: bool,
}

impl Files {
    /// A thread is about to load a file.
    pub(super) fn named(&mut self, thread: Thread, path: Text) {
        self.0.insert(thread, File { path, has_arrived: false });
    }

    /// A module arrived: the file it comes from, which no other module of the thread can come from.
    pub(super) fn arrived(&mut self, thread: Thread) -> Option<Text> {
        let file = self.0.get_mut(&thread)?;
        let is_first = !std::mem::replace(&mut file.has_arrived, true);
        is_first.then(|| file.path.clone())
    }

    /// A load is over: the file that it was about.
    pub(super) fn over(&mut self, thread: Thread) -> Option<Text> {
        self.0.remove(&thread).map(|file| file.path)
    }

    /// Forgets the files of processes that are gone, when there are many.
    pub(super) fn make_room(&mut self, mut is_alive: impl FnMut(ProcessId) -> bool) {
        if self.0.len() > LIMIT {
            self.0.retain(|(process, _), _| is_alive(*process));
        }
        // Nobody has as many threads in the middle of a load.
        if self.0.len() > LIMIT {
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Files, LIMIT, ProcessId, Text};

    /// Check that what is left by those that are gone, or by too many, is forgotten.
    #[test]
    fn room_is_made() {
        let process = |pid| ProcessId { pid, start_ns: 1 };
        let mut files = Files::default();
        (0..5_000).for_each(|pid| files.named((process(pid), pid), Text::from("/a.ko")));
        files.make_room(|process| process.pid < 10);
        assert_eq!(files.0.len(), 10);
        (0..5_000).for_each(|pid| files.named((process(pid), pid), Text::from("/a.ko")));
        files.make_room(|_| true);
        assert!(files.0.len() <= LIMIT);
    }
}
