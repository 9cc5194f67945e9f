//! What is known of modules: what asks for them, what loading them means, which processes used them, which of them users can
//! reach, and what keeps them out.

pub mod blocklist;
mod coverage;
mod dry_run;
mod effects;
pub mod explain;
pub mod families;
pub mod machine;
mod pattern;
mod surface;
mod target;
mod together;
mod unused;
mod usage;

pub use coverage::Covered;
pub use dry_run::{Trial, TrialError, try_out};
pub use effects::effect;
pub use explain::{Answer, answer};
pub use machine::Machine;
pub use surface::{Entry, State, surface};
pub use target::{Plan, Target, plan};
pub use together::{TOGETHER_FILE, Together, try_together};
pub use unused::{Kept, spare};
pub use usage::{Need, Needs};
