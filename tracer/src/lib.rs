//! kmodtrace: which process made the kernel load this module, why, and what came of it.
//!
//! The modules are layers, and an arrow only ever points down: see `docs/architecture.md`.

pub mod capture;
pub mod chain;
pub mod cli;
pub mod doctor;
pub mod enrich;
pub mod event;
pub mod explain;
pub mod glob;
pub mod kernel;
pub mod logging;
pub mod output;
pub mod policy;
pub mod prevent;
pub mod probe;
pub mod report;
pub mod select;
pub mod session;
pub mod stream;
mod unicode;
