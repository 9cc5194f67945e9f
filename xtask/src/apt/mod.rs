//! Debian packages: a private apt that fetches the packages of guests, and the machine's own apt, which set-up uses.
//!
//! The private apt (`archive`, `private`) has its own configuration, sources, lists, cache and empty package database. From the
//! machine's apt it reads only the network settings and the mirrors. The machine's own apt (`host`) is used as it is
//! configured; if installed packages conflict with the required ones, Debian's backports are added for this one installation
//! (`backports`).

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
