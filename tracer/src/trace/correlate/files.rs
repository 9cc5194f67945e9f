//! Files that threads are loading: the file of a module.
//!
//! The kernel reports a file when it reads it and a load when the module is in place; a thread does nothing else in
//! between. A file belongs to one load: the next load of the same thread may have no file, as with `init_module(2)`.

use std::collections::HashMap;

use crate::event::{ProcessId, Text};

/// Number of files kept of tasks that never completed a load.
const LIMIT: usize = 4096;

/// Files by thread.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<Thread, File>);

/// A thread with its process: thread ids are reused.
type Thread = (ProcessId, u32);

#[derive(Debug)]
struct File {
    path: Text,
    /// A module was loaded from it; its init may still fail.
    has_arrived: bool,
}

impl Files {
    /// Notes that a thread is about to load a file.
    pub(super) fn named(&mut self, thread: Thread, path: Text) {
        self.0.insert(thread, File { path, has_arrived: false });
    }

    /// Returns the file of a module that was loaded; no other module of the thread can come from it.
    pub(super) fn arrived(&mut self, thread: Thread) -> Option<Text> {
        let file = self.0.get_mut(&thread)?;
        let is_first = !std::mem::replace(&mut file.has_arrived, true);
        is_first.then(|| file.path.clone())
    }

    /// Returns the file of a load that has ended.
    pub(super) fn over(&mut self, thread: Thread) -> Option<Text> {
        self.0.remove(&thread).map(|file| file.path)
    }

    /// Drops the files of processes that have exited, if there are many.
    pub(super) fn make_room(&mut self, mut is_alive: impl FnMut(ProcessId) -> bool) {
        if self.0.len() > LIMIT {
            self.0.retain(|(process, _), _| is_alive(*process));
        }
        // No system has this many threads in the middle of a load.
        if self.0.len() > LIMIT {
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Files, LIMIT, ProcessId, Text};

    /// Files of exited processes are dropped, and the number of files is bounded.
    #[test]
    fn files_beyond_limit_are_dropped() {
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
