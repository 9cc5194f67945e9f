//! The protocol between host and guest: orders in a file, or as a line on a serial port; results as framed lines on that port.

mod bench;
mod frame;
mod orders;

pub use bench::{BootCost, Plan, Sample, TracerKind};
pub use frame::{Chunk, Counts, Decoder, Frame, FrameError, Outcome, Status, encode};
pub use orders::{Job, Orders};

/// The path of the orders in the guest.
pub const ORDERS_PATH: &str = "/kmodtrace-orders.json";

/// The agent in the guest, also linked as `/init`.
pub const GUEST_PATH: &str = "/usr/bin/kmodtrace-guest";

/// The program under test.
pub const KMODTRACE_PATH: &str = "/usr/bin/kmodtrace";
/// The library's example in the guest.
pub const EXAMPLE_PATH: &str = "/usr/lib/kmodtrace/trace_live";
