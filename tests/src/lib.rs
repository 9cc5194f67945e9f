//! Scenarios of kmodtrace, the agent that runs them in a guest, and the protocol between host and guest.

pub mod ctx;
pub mod guest;
pub mod oracle;
pub mod protocol;
pub mod scenarios;
