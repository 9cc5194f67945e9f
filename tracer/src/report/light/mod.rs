//! The quick way from lines to facts: no event is built, only what the grouping needs is read.
//!
//! It must find what [`crate::chain::Builder`] and [`super::facts`] find; a property test holds the two together.

mod join;
mod line;
mod process;
mod scan;

#[cfg(test)]
mod tests;

pub(crate) use join::Join;
pub(crate) use line::{Line, Type};
