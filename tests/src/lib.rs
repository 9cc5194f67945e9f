//! VM scenarios of kmodtrace, the agent that runs them in a guest, and the protocol both sides of the rig speak.

pub mod guest;
pub mod protocol;
