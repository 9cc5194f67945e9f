//! What a recorder has seen: the chains in which a module arrived.

use std::{collections::VecDeque, io};

use jiff::Timestamp;

use crate::{
    chain::{Chain, Item},
    event::{Body, Event, Origin, Text},
    glob,
    output::{doubt, parents, who},
    report::Requester,
    stream::{Consumer, StreamInfo},
    text::{escape_str, quoted},
};

/// Maximum number of loads that are kept: the last ones.
const LOADS_MAX: usize = 3;

/// A recorded load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordedLoad {
    pub(super) time: Timestamp,
    pub(super) host: String,
    pub(super) boot_id: String,
    /// Requester, request and outcome, with foreign names escaped.
    pub(super) text: String,
}

/// The loads of a module, or the requests for an alias, in captures.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recorded {
    /// The module, normalized; empty if only the alias is known.
    module: Vec<u8>,
    /// The alias, normalized.
    alias: Vec<u8>,
    /// The last loads, oldest first.
    pub(super) loads: VecDeque<RecordedLoad>,
    /// Number of all loads.
    pub(super) count: u64,
    /// Begin and end of what was read.
    pub(super) range: Option<(Timestamp, Timestamp)>,
    /// When the last recording began at which the module was loaded already, with its boot.
    pub(super) present: Option<(Timestamp, String)>,
    /// The time of the last unload.
    pub(super) unloaded: Option<Timestamp>,
    /// Why the captures may not have everything.
    pub(super) doubts: Vec<String>,
}

impl Recorded {
    /// Looks for a module, and for requests of a name.
    #[must_use]
    pub fn new(name: &Text, module: Option<&str>) -> Self {
        let normal = |bytes: &[u8]| glob::normalize(bytes).unwrap_or_else(|| bytes.to_vec());
        Self {
            module: module.map(|module| normal(module.as_bytes())).unwrap_or_default(),
            alias: normal(name.as_bytes()),
            ..Self::default()
        }
    }

    /// Adds a reason why the captures may not have everything.
    pub fn doubt(&mut self, doubt: String) {
        self.doubts.push(doubt);
    }

    /// Whether anything was read.
    pub(super) const fn is_empty(&self) -> bool {
        self.range.is_none()
    }

    fn at(&mut self, time: Timestamp) {
        let (first, last) = self.range.get_or_insert((time, time));
        *first = time.min(*first);
        *last = time.max(*last);
    }

    fn is_wanted(&self, module: &[u8]) -> bool {
        !self.module.is_empty() && glob::normalize(module).is_some_and(|module| module == self.module)
    }

    /// The part of a chain that loaded the module, or that requested the alias and loaded something.
    fn part<'a>(&self, chain: &'a Chain) -> Option<&'a Chain> {
        let has_module = chain.modules.iter().any(|module| self.is_wanted(module.load.module.as_bytes()));
        let asked = chain.request.as_ref().and_then(|request| glob::normalize(request.name.as_bytes()));
        let is_asked = self.module.is_empty() && asked.is_some_and(|asked| asked == self.alias);
        if has_module || is_asked {
            return Some(chain);
        }
        chain.nested.iter().find_map(|nested| self.part(nested))
    }

    fn chain(&mut self, root: &Chain, stream: &StreamInfo) {
        self.at(root.time);
        let Some(part) = self.part(root) else { return };
        self.count += 1;
        let text = self.words(root, part);
        let load = RecordedLoad {
            time: part.time,
            host: stream.host().to_owned(),
            boot_id: stream.boot_id().to_owned(),
            text,
        };
        let place = self.loads.partition_point(|known| known.time <= load.time);
        self.loads.insert(place, load);
        if self.loads.len() > LOADS_MAX {
            self.loads.pop_front();
        }
    }

    fn words(&self, root: &Chain, part: &Chain) -> String {
        let label = Requester::of(root).program.label();
        let module = part.modules.iter().find(|module| self.is_wanted(module.load.module.as_bytes()));
        let first = root.modules.first().map(|module| &module.load);
        let (process, ancestors) = match (&root.request, first) {
            (Some(request), _) => {
                (Some(&request.process), parents(&request.process, &request.ancestors, request.ancestors_truncated))
            }
            (None, Some(load)) => {
                (Some(&load.process), parents(&load.process, &load.ancestors, load.ancestors_truncated))
            }
            (None, None) => (None, String::new()),
        };
        let mut words = label;
        if let Some(process) = process {
            words += &format!(" ({})", who(process));
        }
        words += &match (&part.request, module.map(|module| module.load.origin)) {
            (Some(request), _) => format!(" made the kernel ask for {}", quoted(&request.name)),
            (None, Some(Origin::Udev)) => " loaded it for a device".to_owned(),
            (None, Some(Origin::Explicit)) => " loaded it explicitly".to_owned(),
            (None, _) => " loaded it; the request was not seen".to_owned(),
        };
        if let Some(syscall) = part.request.as_ref().and_then(|request| request.syscall.as_ref()) {
            words += &format!(" in {}()", escape_str(syscall));
        }
        if let Some(result) = &part.result {
            words += &format!(": {}", result.status.name());
        }
        words += &module.map(|module| doubt(&module.load.attribution)).unwrap_or_default();
        if !ancestors.is_empty() {
            words += &format!("; parents {ancestors}");
        }
        if !part.incomplete.is_empty() || !root.incomplete.is_empty() {
            words += "; its record is incomplete";
        }
        words
    }
}

impl Consumer for Recorded {
    fn event(&mut self, event: &Event, stream: &StreamInfo) -> io::Result<()> {
        self.at(event.time);
        match &event.body {
            Body::Baseline(baseline) if baseline.modules.iter().any(|module| self.is_wanted(module.as_bytes())) => {
                self.present = Some((event.time, stream.boot_id().to_owned()));
            }
            Body::Unload(unload) if self.is_wanted(unload.module.as_bytes()) => {
                self.unloaded = self.unloaded.max(Some(event.time));
            }
            _ => {}
        }
        Ok(())
    }

    fn item(&mut self, item: &Item, stream: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item {
            self.chain(chain, stream);
        }
        Ok(())
    }
}
