//! Knowledge about modules: the causes of requests, the effects of loading, usage, the attack surface, and rules that block
//! modules.

pub mod blocklist;
mod coverage;
mod dry_run;
mod effects;
pub mod explain;
pub mod families;
pub mod machine;
mod named_in;
mod pattern;
mod prospect;
mod reach;
#[cfg(test)]
mod samples;
mod surface;
mod target;
mod unused;
mod usage;

pub use coverage::Coverage;
pub use dry_run::{DryRun, DryRunError, SURFACE_FILE};
pub use effects::effect;
pub use explain::{Answer, answer};
pub use machine::Machine;
pub use named_in::{Loader, Mention, Mentions};
pub use prospect::{Effect, Prospect};
pub use reach::Reach;
pub use surface::{Entry, State, surface};
pub use target::{BlockTarget, Blockability, classify};
pub use unused::{RequiredModules, unused_modules};
pub use usage::{HostUsage, ModuleUser, Usage};
