//! What the kernel's helper would do with a name: modprobe's configuration, the indexes of the kernel's modules, and the
//! rules of libkmod applied to both.

mod aliases;
mod cache;
mod config;
mod files;
mod helper;
mod index;
mod names;
mod program;
mod resolve;
mod resolver;

pub use crate::program::Distrust;
pub(crate) use cache::{RECHECK_INTERVAL, ResolutionCache};
pub use config::{Config, Rule, Softdep};
pub(crate) use helper::untrusted;
pub use index::{IndexError, ModuleFile, ModuleIndex};
pub(crate) use names::lossless;
pub use program::{Modprobe, ModprobeError, Step};
pub use resolve::{Planned, Resolution, resolve};
pub(crate) use resolve::{for_dependency, replaced_dependencies};
pub(crate) use resolver::helper_view;
pub use resolver::{Doubts, Resolver, ResolverError, Unresolved};
