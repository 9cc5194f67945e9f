//! Where the tool runs, compared with where the kernel's helper runs.

mod helper_view;

pub use helper_view::{HelperView, Hidden, ViewError};
