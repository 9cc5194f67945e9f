//! Debian packages: a private apt that fetches what guests are made of, and the machine's own apt that set-up installs with.
//!
//! The private apt (`archive`, `private`) has a configuration, sources, lists, a cache and an empty package database of its
//! own. It reads nothing of the machine's apt except how the network is reached and which mirrors are used. The machine's
//! own apt (`host`) is used as it is configured; where installed packages conflict with the wanted ones, Debian's backports
//! are added for this one installation (`backports`).

mod archive;
mod backports;
mod config;
pub(crate) mod host;
mod install;
mod mirrors;
mod parse;
mod private;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use archive::Archive;
pub(crate) use parse::Dependency;
pub(crate) use private::{AptError, Private};
