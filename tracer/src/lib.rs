//! kmodtrace shows which process made the kernel load a module, why, and with which result.
//!
//! The library reads captures and builds the chains of request, helper, modules and result that they contain. The command
//! is a thin layer on top of it, behind the feature `cli`; without that feature, the library needs neither clap nor anyhow
//! and prints nothing.
//!
//! # Read a capture
//! Events flow from a source through a [`stream::Pipeline`] to a [`stream::Consumer`]. Problems of the evidence are reported as
//! [`stream::Issue`]s, which are the same for every consumer.
//! ```
//! use std::io;
//!
//! use kmodtrace::{
//!     chain::Item,
//!     stream::{CaptureSource, Consumer, Pipeline, StreamInfo},
//! };
//!
//! /// Counts the modules that were loaded.
//! #[derive(Default)]
//! struct Modules(usize);
//!
//! impl Consumer for Modules {
//!     fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
//!         if let Item::Chain(chain) = item {
//!             self.0 += chain.modules.len();
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/captures/versions/v1.jsonl.zst");
//! let mut pipeline = Pipeline::new(Modules::default());
//! CaptureSource::new(&[path.into()])?.read(&mut pipeline)?;
//! let (modules, issues) = pipeline.finish()?;
//! assert!(modules.0 > 0);
//! for issue in issues.iter() {
//!     eprintln!("{issue}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The modules are layered, and dependencies only point downward: see `docs/architecture.md`.

pub mod capture;
mod causes;
pub mod chain;
#[cfg(feature = "cli")]
pub mod cli;
pub mod doctor;
pub mod environment;
pub mod event;
pub mod glob;
pub mod kernel;
#[cfg(feature = "cli")]
pub mod logging;
pub mod modprobe;
pub mod modules;
pub mod output;
pub mod policy;
pub mod probe;
mod program;
pub mod report;
pub mod select;
pub mod stream;
pub mod text;
pub mod trace;
pub mod why;
