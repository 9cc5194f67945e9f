//! Orders: the job for which a guest is booted.

use serde::{Deserialize, Serialize};

/// The orders for a guest. It powers off afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The job.
    pub job: Job,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// Run one command and stream its output.
    Command {
        /// Program and arguments; the program is looked up in `PATH`.
        argv: Vec<String>,
    },
    /// Open an interactive shell on the console.
    Shell {
        /// Rows of the user's terminal.
        rows: u16,
        /// Columns of the user's terminal.
        columns: u16,
        /// Its `TERM`.
        term: String,
    },
    /// Run scenarios, one after another.
    Scenarios {
        /// Their names, in order.
        names: Vec<String>,
        /// Time limit of each scenario.
        timeout_s: u64,
    },
}
