//! A live trace on the command line: the trace, the pipeline, and what is printed.

use std::{io, time::Duration};

use anyhow::Context;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{
    args::{
        stop::{StopConditions, StopReason},
        trace::{Stream, TraceArgs},
    },
    memory, sudo,
};
use crate::{
    chain::{Chain, Item},
    event::Event,
    kernel::{clock::ClockTriple, privileges::Capability},
    logging::notice,
    output::{Summary, count},
    policy::{Finding, Judge},
    select::Selector,
    stream::{Consumer, Issue, Pipeline, Selection, StreamId, StreamInfo, StreamSummary},
    trace::{Batch, Observed, Scope, Trace, TraceBuilder},
};

/// How long the end waits without a message.
const SILENT: Duration = Duration::from_secs(3);

/// One thread is enough: module loads are rare.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}

/// The view of a trace: one output, its summary, and when it is complete.
struct View {
    output: Box<dyn Consumer>,
    summary: Summary,
    until: StopConditions,
    /// The reader of the output is gone.
    is_closed: bool,
}

impl View {
    /// Writes to the output until its reader is gone.
    fn write(&mut self, write: impl FnOnce(&mut dyn Consumer) -> io::Result<()>) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        match write(self.output.as_mut()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            result => result,
        }
    }
}

impl Consumer for View {
    fn event(&mut self, event: &Event, stream: &StreamInfo) -> io::Result<()> {
        self.write(|output| output.event(event, stream))
    }

    fn item(&mut self, item: &Item, stream: &StreamInfo) -> io::Result<()> {
        // Chains after the requested end are not shown; losses always are.
        if self.until.is_full() && matches!(item, Item::Chain(_)) {
            return Ok(());
        }
        self.summary.add(item);
        self.until.shown(item);
        self.write(|output| output.item(item, stream))
    }

    fn tick(&mut self, running: &mut dyn Iterator<Item = &Chain>, boot_ns: u64) -> io::Result<()> {
        self.write(|output| output.tick(running, boot_ns))
    }

    fn settle(&mut self) -> io::Result<bool> {
        self.output.settle()
    }

    fn end(&mut self, stream: &StreamSummary<'_>) -> io::Result<()> {
        self.write(|output| output.end(stream))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write(|output| output.finish())
    }
}

/// The consumers of a trace. A policy is judged on all events of the scope, the view shows the selected ones.
struct Consumers {
    judge: Option<Judge>,
    view: Selection<View>,
}

impl Consumer for Consumers {
    fn event(&mut self, event: &Event, stream: &StreamInfo) -> io::Result<()> {
        if let Some(judge) = &mut self.judge {
            judge.event(event, stream)?;
        }
        self.view.event(event, stream)
    }

    fn wants_items(&self) -> bool {
        self.judge.is_some() || self.view.wants_items()
    }

    fn item(&mut self, item: &Item, stream: &StreamInfo) -> io::Result<()> {
        if let Some(judge) = &mut self.judge {
            judge.item(item, stream)?;
        }
        self.view.item(item, stream)
    }

    fn tick(&mut self, running: &mut dyn Iterator<Item = &Chain>, boot_ns: u64) -> io::Result<()> {
        self.view.tick(running, boot_ns)
    }

    fn settle(&mut self) -> io::Result<bool> {
        self.view.settle()
    }

    fn issue(&mut self, issue: &Issue) {
        if let Some(judge) = &mut self.judge {
            judge.issue(issue);
        }
    }

    fn end(&mut self, stream: &StreamSummary<'_>) -> io::Result<()> {
        self.view.end(stream)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.view.finish()
    }
}

/// A running trace and its output.
pub(super) struct Session {
    trace: Trace,
    pipeline: Pipeline<Consumers>,
    stream: StreamId,
}

impl Session {
    /// Attaches; afterwards every request is traced. Reports that on stderr. A judge gets all events of the scope, selected or
    /// not.
    pub(super) async fn start(
        live: &TraceArgs,
        builder: TraceBuilder,
        stream: Stream,
        judge: Option<Judge>,
    ) -> anyhow::Result<Self> {
        let output = live.open_output(stream)?;
        Self::begin(output, builder, live.selector(), judge).await
    }

    /// Like [`Session::start`], with every event of the host and an output that is already open.
    pub(super) async fn record(output: Box<dyn Consumer>, builder: TraceBuilder) -> anyhow::Result<Self> {
        Self::begin(output, builder, Selector::default(), None).await
    }

    async fn begin(
        output: Box<dyn Consumer>,
        builder: TraceBuilder,
        selector: Selector,
        judge: Option<Judge>,
    ) -> anyhow::Result<Self> {
        let trace = builder.start().map_err(sudo::explain)?;
        let view = View { output, summary: Summary::default(), until: StopConditions::default(), is_closed: false };
        let mut pipeline = Pipeline::new(Consumers { judge, view: Selection::new(selector, view) });
        let stream = pipeline.begin("");
        let mut session = Self { trace, pipeline, stream };
        // Header and baseline are available immediately.
        session.step().await?;
        if let Some(records) = session.trace.resumed_records() {
            notice(&format!(
                "resumed: pinned programs kept recording; {} waiting",
                count(records, "record", "records")
            ));
        }
        memory::trim();
        notice("armed: every module request is traced from now on");
        Ok(session)
    }

    /// Drops the privileges that only attaching needed.
    pub(super) fn drop_privileges(&self, also: &[Capability]) -> anyhow::Result<()> {
        self.trace.drop_privileges(also).context("cannot drop privileges that are no longer needed")
    }

    /// Findings against the policy since the last call.
    pub(super) fn take_news(&mut self) -> Vec<Finding> {
        self.pipeline.consumer().judge.as_mut().map(Judge::take_news).unwrap_or_default()
    }

    /// Narrows the scope to a command.
    pub(super) fn set_scope(&mut self, scope: Scope) {
        self.trace.set_scope(scope);
    }

    /// Notes that no process of the command runs any more.
    pub(super) fn command_has_exited(&mut self) {
        self.trace.command_has_exited();
    }

    /// Sets the stop conditions.
    pub(super) fn end_at(&mut self, until: StopConditions) {
        self.trace.set_deadline(until.deadline());
        self.view().until = until;
    }

    /// The stop condition that is met, if any.
    pub(super) fn reached(&mut self) -> Option<StopReason> {
        self.view().until.reached()
    }

    fn view(&mut self) -> &mut View {
        self.pipeline.consumer().view.consumer()
    }

    /// Waits for the next events and handles them; false if the reader of the output is gone.
    pub(super) async fn step(&mut self) -> anyhow::Result<bool> {
        if let Some(batch) = self.trace.next().await? {
            self.take(batch)?;
        }
        Ok(!self.view().is_closed)
    }

    fn take(&mut self, batch: Batch) -> anyhow::Result<()> {
        for warning in self.trace.take_warnings() {
            notice(&format!("warning: {warning}"));
        }
        for observed in batch.events {
            match observed {
                Observed::InScope(event) => {
                    self.pipeline.event(self.stream, event).context("cannot write the output")?;
                }
                Observed::OutOfScope(event) => {
                    if let Some(judge) = &mut self.pipeline.consumer().judge {
                        judge.out_of_scope(&event);
                    }
                }
            }
        }
        if batch.has_calmed {
            memory::trim();
        }
        if batch.is_tick {
            self.release()?;
            self.pipeline.tick(self.stream, ClockTriple::now().boot_ns).context("cannot write the output")?;
        }
        Ok(())
    }

    /// Releases the records of pinned programs once their events are stored.
    fn release(&mut self) -> anyhow::Result<()> {
        if self.trace.is_release_due() && self.pipeline.consumer().settle().context("cannot write the output")? {
            self.trace.release()?;
        }
        Ok(())
    }

    /// Waits for requests in flight, then ends the stream, prints the summary and returns the judge. Ctrl-C or SIGTERM ends the
    /// waiting.
    pub(super) async fn finish(mut self) -> anyhow::Result<Option<Judge>> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut notice_at = Some(Instant::now() + SILENT);
        self.trace.stop();
        loop {
            tokio::select! {
                batch = self.trace.next() => match batch? {
                    Some(batch) => self.take(batch)?,
                    None => break,
                },
                _ = interrupt.recv() => self.trace.stop(),
                _ = terminate.recv() => self.trace.stop(),
                () = sleep_until(notice_at.unwrap_or_else(Instant::now)), if notice_at.is_some() => {
                    notice("waiting for requests and loads in flight; Ctrl-C ends the waiting");
                    notice_at = None;
                }
            }
        }
        let Self { mut trace, pipeline, .. } = self;
        let (Consumers { judge, view }, _) = pipeline.finish().context("cannot write the output")?;
        let mut view = view.into_consumer();
        if trace.is_release_due() && view.settle().context("cannot write the output")? {
            trace.release()?;
        }
        trace.detach();
        for line in view.summary.lines() {
            notice(&line);
        }
        Ok(judge)
    }
}
