//! Whether a stream of events is whole enough to judge by: what is missing turns any verdict into an error.

use std::collections::{BTreeMap, HashSet};

use crate::{
    chain::{Chain, Item},
    event::{Body, Certainty, Event, HeaderHook, LossStage, Origin, RequestId, SCHEMA_VERSION},
};

/// Hooks without which a load or request is not missed: they tell of files, failed calls, unloads and devices.
const DISPENSABLE: [&str; 6] = ["file", "unload", "init_module", "finit_module", "delete_module", "uevents"];

/// Requests of kernel threads that are kept in mind at a time.
const NOBODYS_LIMIT: usize = 4096;

/// Doubts that are told one by one.
const DOUBTS_LIMIT: usize = 100;

/// What is missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Name of the stream; empty for the live one.
    source: String,
    has_header: bool,
    has_ended: bool,
    next_seq: u64,
    missing: u64,
    turns: u64,
    losses: BTreeMap<(&'static str, String), u64>,
    doubts: Vec<String>,
    more: usize,
    /// Requests outside of what is judged, by kernel threads with nobody behind them.
    nobodys: HashSet<RequestId>,
}

impl Evidence {
    /// Of a stream with a name.
    pub(super) fn of(source: &str) -> Self {
        Self { source: source.to_owned(), ..Self::default() }
    }

    /// Whether an event goes on where this stream stopped without an end.
    pub(super) const fn continues(&self, event: &Event) -> bool {
        event.seq > 0 && event.seq == self.next_seq && !self.has_ended
    }

    /// Adds what leaves a verdict open.
    pub(super) fn doubt(&mut self, doubt: String) {
        if self.doubts.len() < DOUBTS_LIMIT {
            self.doubts.push(doubt);
        } else {
            self.more += 1;
        }
    }

    /// Looks at an event as it comes.
    pub(super) fn event(&mut self, event: &Event) {
        match event.seq.checked_sub(self.next_seq) {
            Some(missing) => self.missing = self.missing.saturating_add(missing),
            None => self.turns += 1,
        }
        self.next_seq = event.seq.saturating_add(1);
        // The seal of the last frame stands after the end.
        self.has_ended &= matches!(event.body, Body::Seal(_));
        match &event.body {
            Body::Header(header) => {
                self.has_header = true;
                if header.schema > SCHEMA_VERSION {
                    let (theirs, ours) = (header.schema, SCHEMA_VERSION);
                    self.doubt(format!("it is written in version {theirs}, and this kmodtrace knows {ours}"));
                }
                if !header.filters.is_empty() {
                    let filters = header.filters.join(" ");
                    self.doubt(format!("filters left chains out when it was captured: {filters:?}"));
                }
                header.hooks.iter().filter(|hook| is_needed(hook)).for_each(|hook| {
                    let why = hook.missing.as_deref().unwrap_or("it is not attached");
                    self.doubt(format!("the probe {} is missing: {why}", hook.hook));
                });
            }
            Body::End(_) => self.has_ended = true,
            Body::Loss(loss) => {
                let stage = match loss.stage {
                    LossStage::Probe => "lost in the kernel",
                    LossStage::Missed => "missed: the kernel did not run the probe",
                    LossStage::Decode => "not understood",
                    LossStage::Write => "not written",
                };
                let lost = self.losses.entry((stage, loss.cause.clone())).or_default();
                *lost = lost.saturating_add(loss.count);
            }
            _ => {}
        }
    }

    /// Looks at a load that is nobody's: in or out of scope, it may be the one that counts.
    pub(super) fn unattributed(&mut self, event: &Event) {
        if let Body::Load(load) = &event.body
            && (load.origin == Origin::Unknown || load.attribution.attribution == Certainty::Unknown)
        {
            let pid = load.process.pid;
            self.doubt(format!("nobody knows what made {:?} load (pid {pid})", load.module));
        }
    }

    /// Looks at an event outside of what is judged. Work that was handed to a kernel thread may have been handed over by
    /// whoever is judged.
    pub(super) fn stray(&mut self, event: &Event) {
        self.unattributed(event);
        match &event.body {
            Body::Request(request) if request.process.kthread && request.behalf.is_none() => {
                if self.nobodys.len() < NOBODYS_LIMIT {
                    self.nobodys.extend(event.request);
                } else {
                    self.doubt("too many kernel threads asked for modules on nobody's behalf".to_owned());
                }
            }
            Body::Load(load) if event.request.is_some_and(|id| self.nobodys.contains(&id)) => {
                let module = &load.module;
                self.doubt(format!(
                    "a kernel thread made {module:?} load meanwhile, and on whose behalf is not known: judge the whole \
                     machine (--host)"
                ));
            }
            Body::Result(_) => {
                if let Some(id) = event.request {
                    self.nobodys.remove(&id);
                }
            }
            _ => {}
        }
    }

    /// Looks at a chain that has ended.
    pub(super) fn item(&mut self, item: &Item) {
        if let Item::Chain(chain) = item {
            self.chain(chain);
        }
    }

    fn chain(&mut self, chain: &Chain) {
        let what = || match (&chain.request, chain.modules.first()) {
            (Some(request), _) => format!("the request for {:?} by {:?}", request.name, request.process.comm),
            (None, Some(module)) => format!("the load of {:?}", module.load.module),
            (None, None) => "a request".to_owned(),
        };
        for note in &chain.incomplete {
            self.doubt(format!("{} is incomplete: {note}", what()));
        }
        if let Some(request) = &chain.request
            && request.attribution.attribution == Certainty::Unknown
        {
            self.doubt(format!("{} is nobody's: who asked is unknown", what()));
        }
        for nested in &chain.nested {
            self.chain(nested);
        }
    }

    /// All that is missing, in words. Names in them are in the debug form, which no byte escapes.
    pub(super) fn finish(mut self) -> Vec<String> {
        if !self.has_header {
            self.doubt("it has no header: its beginning is missing".to_owned());
        }
        if !self.has_ended {
            self.doubt("it has no end: what came last is missing".to_owned());
        }
        if self.missing > 0 {
            self.doubt(format!("{} events are missing from the stream", self.missing));
        }
        if self.turns > 0 {
            self.doubt("the numbers of its events go back: it is not one stream".to_owned());
        }
        for ((stage, cause), count) in std::mem::take(&mut self.losses) {
            self.doubt(format!("{count} events were {stage} ({cause:?})"));
        }
        if self.more > 0 {
            self.doubts.push(format!("and {} doubts more", self.more));
        }
        if self.source.is_empty() {
            return self.doubts;
        }
        self.doubts.iter().map(|doubt| format!("{}: {doubt}", self.source)).collect()
    }
}

fn is_needed(hook: &HeaderHook) -> bool {
    hook.attached.is_none() && !DISPENSABLE.contains(&hook.hook.as_str())
}
