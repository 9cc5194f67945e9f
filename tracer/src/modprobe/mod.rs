//! What the kernel's helper would do with a name: modprobe's configuration, the indexes of the kernel's modules, and the
//! rules of libkmod applied to both.

mod aliases;
mod cache;
mod config;
mod files;
mod helper;
mod index;
mod lines;
mod names;
mod program;
mod resolve;
mod resolver;
mod sources;

pub use crate::program::Distrust;
pub(crate) use cache::{RECHECK_INTERVAL, ResolutionCache};
pub use config::{Config, Rule, Softdep};
pub(crate) use helper::untrusted;
pub use index::{IndexError, ModuleFile, ModuleIndex};
pub(crate) use names::lossless;
pub use program::{Modprobe, ModprobeError, Step};
pub use resolve::{Command, Planned, Resolution, resolve};
pub(crate) use resolve::{for_dependency, install_line, replaced_dependencies, resolve_module};
pub(crate) use resolver::helper_view;
pub use resolver::{Doubts, Resolver, ResolverError, Unresolved};
pub use sources::{IgnoredLine, Place};
