//! Orders: what a guest is booted for.

use serde::{Deserialize, Serialize};

/// What the guest is to do before it powers itself off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The one thing to do.
    pub job: Job,
}

/// One kind of job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// Run one command and stream what it prints.
    Command {
        /// Program and arguments; the program is looked up in `PATH`.
        argv: Vec<String>,
    },
    /// Give a person a shell on the console.
    Shell {
        /// Height of the person's terminal.
        rows: u16,
        /// Width of the person's terminal.
        columns: u16,
        /// Its `TERM`.
        term: String,
    },
    /// Run scenarios, one after another.
    Scenarios {
        /// Their names, in order.
        names: Vec<String>,
        /// How long each may take.
        timeout_s: u64,
    },
}
