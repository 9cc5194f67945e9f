//! What the host and the guest say to each other: orders in a file, results as framed lines on a serial port.

mod bench;
mod frame;
mod orders;

pub use bench::{Plan, Sample, Who};
pub use frame::{Chunk, Counts, Damage, Decoder, Frame, Outcome, Status, encode};
pub use orders::{Job, Orders};

/// Where the guest finds its orders.
pub const ORDERS_PATH: &str = "/kmodtrace-orders.json";

/// The guest's own program, also linked as `/init`.
pub const GUEST_PATH: &str = "/usr/bin/kmodtrace-guest";

/// The program under test.
pub const KMODTRACE_PATH: &str = "/usr/bin/kmodtrace";
