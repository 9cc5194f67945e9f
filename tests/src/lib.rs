//! VM scenarios of kmodtrace, the agent that runs them in a guest, and the protocol both sides of the rig speak.

pub mod ctx;
pub mod guest;
pub mod oracle;
pub mod protocol;
pub mod scenarios;
