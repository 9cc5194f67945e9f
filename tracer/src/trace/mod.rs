//! The loop of every tracing verb: ring buffer to records to events to chains to output.

mod read;

use std::{io, time::Duration};

use anyhow::Context;
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep_until},
};

use super::{
    live::{LiveArgs, Stream},
    memory,
    pace::Pace,
    sudo,
    until::{Ended, Until},
};
use crate::{
    chain::Item,
    event::{Body, End, Event},
    kernel::{
        clock::ClockTriple,
        privileges::{Capability, keep_only},
        process,
    },
    logging::say,
    output::{Output, Summary},
    policy::{Finding, Judge},
    probe::{Options, Tracer, Uevents},
    select::{Selector, Sieve, Sifted},
    session::{self, Clock, Drained, Filter, Host, Scope, Started, Tracker},
    stream::{Pipeline, StreamId},
};

/// How long the end waits for requests that are still on their way.
const GRACE: Duration = Duration::from_secs(2);

/// One thread is enough: module loads are rare.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}

/// The share of the ring that may wait for requests under way to end. Until then a crash has the next recorder see them
/// from their beginning.
const HELD_MAX: f64 = 0.25;

/// The one stream of a live trace.
const LIVE: StreamId = 0;

/// A running trace.
pub(super) struct Trace {
    tracer: Tracer,
    uevents: Option<Uevents>,
    tracker: Tracker<Host>,
    filter: Filter,
    sieve: Sieve,
    next_seq: u64,
    totals: Totals,
    until: Until,
    output: Box<dyn Output>,
    summary: Summary,
    judge: Option<Pipeline<Judge>>,
    /// Of the events that are judged, selected or not.
    judged_totals: Totals,
    /// Number of the next event that belongs to the scope.
    belonging: u64,
    pace: Pace,
    /// Whether the programs know that the ring is looked into without being woken.
    is_awake: bool,
    /// When the counters were read last.
    losses_at: Instant,
    looks_into_processes: bool,
    /// How far the ring was read last.
    drained: Drained,
}

impl Trace {
    /// Attaches; afterwards every request is caught. Says so on stderr. A judge sees all of the scope, selected or not.
    pub(super) fn start(
        live: &LiveArgs,
        probe_log: bool,
        scope: Scope,
        stream: Stream,
        judge: Option<Judge>,
    ) -> anyhow::Result<Self> {
        let output = live.open_output(stream)?;
        let options = live.probe_options(probe_log);
        Self::begin(output, options, scope, live.selector(), judge, live.names_user_stacks())
    }

    /// As [`Self::start`], with every event of the whole machine to an output that is there already.
    pub(super) fn record(output: Box<dyn Output>, options: Options) -> anyhow::Result<Self> {
        Self::begin(output, options, Scope::Host, Selector::default(), None, false)
    }

    fn begin(
        output: Box<dyn Output>,
        options: Options,
        scope: Scope,
        selector: Selector,
        judge: Option<Judge>,
        names_user_stacks: bool,
    ) -> anyhow::Result<Self> {
        let Started { tracer, uevents, mut host, clocks, header, baseline, warnings } =
            session::start(options).map_err(sudo::explain)?;
        for warning in warnings {
            say(&format!("warning: {warning}"));
        }
        if names_user_stacks {
            host.name_user_stacks();
        }
        let clock = Clock { realtime_minus_boot_ns: clocks.realtime_minus_boot_ns() };
        // Whoever judges the stream later must know that it is not all.
        let mut header = header;
        if let Body::Header(header) = &mut header {
            header.filters = selector.describe();
        }
        let mut tracker = Tracker::new(host, clock);
        tracker.push(clocks.boot_ns, header);
        tracker.push(clocks.boot_ns, baseline);

        let now = Instant::now();
        let mut trace = Self {
            tracer,
            uevents,
            tracker,
            filter: Filter::new(scope),
            sieve: Sieve::new(selector),
            next_seq: 0,
            totals: Totals::default(),
            until: Until::default(),
            output,
            summary: Summary::default(),
            judge: judge.map(|judge| {
                let mut pipeline = Pipeline::new(judge);
                pipeline.begin("");
                pipeline
            }),
            judged_totals: Totals::default(),
            belonging: 0,
            pace: Pace::new(now),
            is_awake: false,
            losses_at: now,
            looks_into_processes: names_user_stacks,
            drained: Drained { began_ns: clocks.boot_ns, ended_ns: clocks.boot_ns, is_complete: false },
        };
        if trace.tracer.resumed.is_some() {
            // Header and baseline come before what was lost while no recorder ran.
            for event in trace.tracker.take_events() {
                trace.sieve.push(event);
            }
            trace.show()?;
        }
        trace.read_symbols();
        trace.tell_resumed();
        trace.pass_on()?;
        // Not before: starting takes and frees large blocks all the time.
        memory::return_large_blocks();
        memory::give_back();
        memory::let_go_of_code();
        say("armed: every module request is caught from now on");
        Ok(trace)
    }

    /// Gives up what only attaching needed. What stays: new symbols, keeping what was told of a flight recorder (before
    /// 5.19), and `also`.
    pub(super) fn drop_privileges(&self, also: &[Capability]) -> anyhow::Result<()> {
        let mut kept = vec![Capability::Syslog];
        kept.extend(self.tracer.is_pinned().then_some(Capability::Bpf));
        kept.extend(also);
        if self.looks_into_processes {
            kept.extend([Capability::SysPtrace, Capability::DacReadSearch]);
        } else if process::are_hidden() {
            kept.push(Capability::SysPtrace);
        }
        keep_only(&kept).context("cannot give up privileges that are not needed any more")
    }

    /// What is against the policy since this was asked last.
    pub(super) fn take_news(&mut self) -> Vec<Finding> {
        self.judge.as_mut().map(|pipeline| pipeline.consumer().take_news()).unwrap_or_default()
    }

    /// Narrows what is shown to a command.
    pub(super) fn set_scope(&mut self, scope: Scope) {
        self.filter.set_scope(scope);
    }

    /// Ends by itself from now on.
    pub(super) fn end_at(&mut self, until: Until) {
        self.until = until;
    }

    /// Why it is to end now.
    pub(super) fn reached(&self) -> Option<Ended> {
        self.until.reached()
    }

    /// Waits for something to happen and handles it; false when nobody reads the output any more.
    pub(super) async fn step(&mut self) -> anyhow::Result<bool> {
        let next_at = self.pace.next_at(Instant::now());
        tokio::select! {
            ready = self.tracer.ring.ready() => ready?,
            ready = heard(&mut self.uevents) => ready.context("cannot listen for devices")?,
            () = sleep_until(next_at) => {}
        }
        let is_tick = self.pace.is_tick(Instant::now());
        let reads_on = if is_tick { self.settle()? } else { self.read()? };
        let now = Instant::now();
        if self.pace.has_calmed(now, self.tracker.is_idle()) {
            memory::give_back();
            memory::let_go_of_code();
        }
        self.pace.set_next_tick(now, is_tick, self.until.deadline());
        self.sleep_or_look(now);
        self.tracer.flush_log();
        if is_tick {
            self.release(HELD_MAX)?;
        }
        Ok(reads_on && (!is_tick || written(self.output.tick(&mut self.sieve.running(), now_ns()))?))
    }

    /// Events to the output; false when nobody reads it any more.
    fn pass_on(&mut self) -> anyhow::Result<bool> {
        // What was lost was lost before the last of these events: chains that they end must know of it.
        let events = self.tracker.take_events();
        if !events.is_empty() {
            self.losses();
        }
        let losses = self.tracker.take_events();
        for mut event in losses.into_iter().chain(events) {
            if self.filter.belongs(&event) {
                // What is out of scope is not missing.
                event.seq = self.belonging;
                self.belonging += 1;
                if let Some(pipeline) = &mut self.judge {
                    let mut judged = unfiltered(event.clone());
                    self.judged_totals.count(&mut judged.body);
                    pipeline.event(LIVE, judged).context("cannot judge an event")?;
                }
                self.sieve.push(event);
            } else if let Some(pipeline) = &mut self.judge {
                pipeline.consumer().out_of_scope(&event);
            }
        }
        self.show()
    }

    /// What is selected to the output, numbered without gaps; false when nobody reads it any more.
    fn show(&mut self) -> anyhow::Result<bool> {
        while let Some(sifted) = self.sieve.next_sifted() {
            let result = match sifted {
                Sifted::Event(mut event) => {
                    event.seq = self.next_seq;
                    self.next_seq += 1;
                    self.totals.count(&mut event.body);
                    self.output.event(&event)
                }
                // What came after the end that was asked for is not shown; a loss always is.
                Sifted::Item(Item::Chain(_)) if self.until.is_full() => Ok(()),
                Sifted::Item(item) => {
                    self.summary.add(&item);
                    self.until.shown(&item);
                    self.output.item(&item)
                }
            };
            if !written(result)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits a little for what is still on its way, then ends the stream, prints the summary and gives the judge back.
    pub(super) async fn finish(mut self) -> anyhow::Result<Option<Judge>> {
        let until = Instant::now() + GRACE;
        self.settle()?;
        while !self.tracker.is_idle() && Instant::now() < until {
            if !self.step().await? {
                break;
            }
        }
        self.read()?;
        self.tracer.flush_log();
        self.losses();
        if self.tracer.is_pinned() {
            self.tracker.leave();
        }
        self.tracker.finish(self.drained);
        let reads_on = self.pass_on()?;
        self.sieve.finish();
        if reads_on && self.show()? {
            written(self.output.finish())?;
        }
        self.release(HELD_MAX)?;
        self.tracer.leave();
        for line in self.summary.lines() {
            say(&line);
        }
        let Some(pipeline) = self.judge else { return Ok(None) };
        let (judge, _) = pipeline.finish().context("cannot judge the last events")?;
        Ok(Some(judge))
    }
}

/// Counts what goes into the stream, for its last event.
#[derive(Debug, Default)]
struct Totals(End);

impl Totals {
    /// Counts an event; the last one gets the totals.
    fn count(&mut self, body: &mut Body) {
        let Self(totals) = self;
        match body {
            Body::Request(_) => totals.requests += 1,
            Body::Load(_) => totals.loads += 1,
            Body::Unload(_) => totals.unloads += 1,
            Body::Loss(loss) => totals.lost = totals.lost.saturating_add(loss.count),
            Body::End(end) => *end = totals.clone(),
            _ => {}
        }
    }
}

/// Waits until something is said of devices; for ever where nobody listens.
async fn heard(uevents: &mut Option<Uevents>) -> io::Result<()> {
    match uevents {
        Some(uevents) => uevents.ready().await,
        None => std::future::pending().await,
    }
}

/// The event for a judge, who sees everything before it is filtered.
fn unfiltered(mut event: Event) -> Event {
    if let Body::Header(header) = &mut event.body {
        header.filters.clear();
    }
    event
}

/// Nanoseconds since boot.
fn now_ns() -> u64 {
    ClockTriple::now().boot_ns
}

/// A reader that went away is a normal end.
fn written(result: io::Result<()>) -> anyhow::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write the output"),
    }
}
