//! What the kernel's helper would do with a name: modprobe's configuration, the indexes of the kernel's modules, and the
//! rules of libkmod applied to both.

mod aliases;
mod cache;
mod config;
mod index;
mod resolve;
mod resolver;

pub(crate) use cache::{RECHECK_INTERVAL, ResolutionCache};
pub use config::{Config, Modprobe, ModprobeError, Rule, Softdep, Step};
pub use index::{ModuleFile, ModuleIndex};
pub use resolve::{Planned, Resolution, resolve};
pub use resolver::{Resolver, ResolverError};
