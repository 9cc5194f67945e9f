//! One pipeline for every event, live or captured: a source, its integrity, chains, consumers.
//!
//! Completeness is decided here, once: consumers receive [`Issue`]s and perform no checks of their own.

mod ahead;
mod assemble;
pub(crate) mod attribution;
mod boots;
mod capture_source;
mod collector;
mod consumer;
mod copies;
mod follow;
mod identity;
mod integrity;
mod issue;
mod pipeline;
mod selection;

pub use assemble::{AssembleError, Assembler, FileSummary};
pub use boots::{SeenBoot, boots, is_same_boot};
pub use capture_source::{CaptureSource, SourceError, read_inputs};
pub use collector::Collector;
pub use consumer::Consumer;
pub use follow::follow;
pub use identity::Identity;
pub use issue::{Alteration, Issue, IssueKind, Severity};
pub use pipeline::{Issues, Pipeline, StreamId, StreamInfo, StreamSummary};
pub use selection::Selection;
