//! Reports on captures: which program loaded which module and when, from events alone. The local system is not queried.

mod aggregates;
mod columns;
pub mod csv;
mod engine;
mod footprint;
mod format;
mod group_by;
pub mod html;
mod interner;
pub mod json;
mod observe;
mod ordered;
pub mod perfetto;
mod query;
mod requester;
mod sections;
mod stream;
mod table;
mod timeline;

pub use aggregates::{Aggregates, GroupKey, Kind, Observation, RequesterIds, Stats, Subject};
pub use engine::Engine;
pub use group_by::{By, Sort};
pub use interner::{Interner, NameId};
pub use ordered::{Late, Ordered};
pub use query::{ChainRecord, ReportData, ReportQuery, ReportSink};
pub use requester::{Program, Requester};
pub use sections::Sections;
pub use stream::Stream;
pub use table::{View, table};
