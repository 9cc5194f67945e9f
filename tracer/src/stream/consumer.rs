//! The trait of everything that takes events: formats, recorders, judges, reports.

use std::io;

use super::{Issue, StreamInfo, StreamSummary};
use crate::{
    chain::{Chain, Item},
    event::Event,
};

/// A consumer of events, chains and issues.
///
/// Errors are write errors; `BrokenPipe` means that the reader of the output has closed the pipe.
pub trait Consumer {
    /// Called for each event except seals.
    ///
    /// # Errors
    /// When it cannot be written.
    fn event(&mut self, _event: &Event, _stream: &StreamInfo) -> io::Result<()> {
        Ok(())
    }

    /// Returns whether the consumer needs events. If it needs neither events nor chains, readers only count most
    /// events, and [`Consumer::event`] gets just those that integrity checks need.
    fn wants_events(&self) -> bool {
        true
    }

    /// Returns whether the consumer needs chains. Building them takes most of the time.
    fn wants_items(&self) -> bool {
        true
    }

    /// Called for each chain that has ended and each event that belongs to no chain.
    ///
    /// # Errors
    /// When it cannot be written.
    fn item(&mut self, _item: &Item, _stream: &StreamInfo) -> io::Result<()> {
        Ok(())
    }

    /// Called periodically for a live stream: several times a second while events arrive, otherwise rarely. Buffered
    /// output may be due, and a request that blocks its requester for long can be shown before it ends. `running` are
    /// the chains of requests in flight, `boot_ns` is the time since boot.
    ///
    /// # Errors
    /// When it cannot be written.
    fn tick(&mut self, _running: &mut dyn Iterator<Item = &Chain>, _boot_ns: u64) -> io::Result<()> {
        Ok(())
    }

    /// Persists everything up to the last event against a crash of this process; returns whether that succeeded. The
    /// flight recorder then releases the records in the kernel.
    ///
    /// # Errors
    /// When it cannot be written.
    fn settle(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    /// Called for each issue.
    fn issue(&mut self, _issue: &Issue) {}

    /// Called at the end of a stream.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end(&mut self, _stream: &StreamSummary<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Called after all streams were read.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Implements [`Consumer`] for a pointer to one.
macro_rules! pointer_consumer {
    ($pointer:ty) => {
        impl<C: Consumer + ?Sized> Consumer for $pointer {
            fn event(&mut self, event: &Event, stream: &StreamInfo) -> io::Result<()> {
                (**self).event(event, stream)
            }

            fn wants_events(&self) -> bool {
                (**self).wants_events()
            }

            fn wants_items(&self) -> bool {
                (**self).wants_items()
            }

            fn item(&mut self, item: &Item, stream: &StreamInfo) -> io::Result<()> {
                (**self).item(item, stream)
            }

            fn tick(&mut self, running: &mut dyn Iterator<Item = &Chain>, boot_ns: u64) -> io::Result<()> {
                (**self).tick(running, boot_ns)
            }

            fn settle(&mut self) -> io::Result<bool> {
                (**self).settle()
            }

            fn issue(&mut self, issue: &Issue) {
                (**self).issue(issue);
            }

            fn end(&mut self, stream: &StreamSummary<'_>) -> io::Result<()> {
                (**self).end(stream)
            }

            fn finish(&mut self) -> io::Result<()> {
                (**self).finish()
            }
        }
    };
}

pointer_consumer!(&mut C);
pointer_consumer!(Box<C>);
