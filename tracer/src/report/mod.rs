//! Reports on captures: who loaded what and when, from events alone. Nothing is asked of this machine.

mod cells;
pub mod csv;
mod engine;
mod facts;
mod footprint;
mod grid;
pub mod html;
mod human;
pub mod json;
mod names;
mod ordered;
pub mod perfetto;
mod rows;
mod stream;
mod table;
mod timeline;
mod told;
mod when;
mod who;
mod words;

pub use cells::{CellKey, Cells, Fact, Kind, Tally, What, WhoIds};
pub use engine::{Engine, Plan, Sink, Told, Whole};
pub use human::Human;
pub use names::{NameId, Names};
pub use ordered::{Late, Ordered};
pub use rows::{By, Sort};
pub use stream::Stream;
pub use table::{View, table};
pub use when::{WhenError, parse as parse_time};
pub use who::{Program, Who};
