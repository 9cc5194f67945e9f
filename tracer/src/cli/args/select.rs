//! Filter options, the same for all verbs.

use crate::select::{Field, Pattern, Selector};

/// Options that select chains. Repeated filters are ORed, different filters are ANDed.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters (GLOB or !GLOB; repeated: OR; different: AND; default: all)")]
pub(in crate::cli) struct SelectArgs {
    /// Select chains by module.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Module, text))]
    module: Vec<Pattern>,
    /// Select requests by alias, e.g. net-pf-*, fs-xfs.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Alias, text))]
    alias: Vec<Pattern>,
    /// Select requests by alias family as shown by `kmodtrace explain`, e.g. 'crypto*'.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Family, text))]
    family: Vec<Pattern>,
    /// Select by name (comm) of the requester or loader, or of its thread.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Comm, text))]
    comm: Vec<Pattern>,
    /// Select by executable: path or last component.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Exe, text))]
    exe: Vec<Pattern>,
    /// Select by process id, ancestors included.
    #[arg(short, long, value_name = "PID", value_parser = |text: &str| pattern(Field::Pid, text))]
    pid: Vec<Pattern>,
    /// Select by real user: name or number.
    #[arg(long, value_name = "USER", value_parser = |text: &str| pattern(Field::Uid, text))]
    uid: Vec<Pattern>,
    /// Select by the user who logged in: name, number, or none.
    #[arg(long, value_name = "USER", value_parser = |text: &str| pattern(Field::Login, text))]
    login: Vec<Pattern>,
    /// Select by cgroup path.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Cgroup, text))]
    cgroup: Vec<Pattern>,
    /// Select by container: runtime:id, id, or the first 12 digits of the id.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Container, text))]
    container: Vec<Pattern>,
    /// Select by systemd unit.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Unit, text))]
    unit: Vec<Pattern>,
    /// Select by outcome: loaded, not-found, blocklisted, denied, failed, ...
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Result, text))]
    result: Vec<Pattern>,
    /// Select by origin: request, explicit, udev, unknown.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Origin, text))]
    origin: Vec<Pattern>,
}

/// Parses a pattern. clap prints the option and the pattern before the error.
fn pattern(field: Field, text: &str) -> Result<Pattern, String> {
    Pattern::new(field, text).map_err(|error| error.expectation())
}

impl SelectArgs {
    /// The selector of all given patterns.
    pub(in crate::cli) fn selector(&self) -> Selector {
        let all = [
            &self.module,
            &self.alias,
            &self.family,
            &self.comm,
            &self.exe,
            &self.pid,
            &self.uid,
            &self.login,
            &self.cgroup,
            &self.container,
            &self.unit,
            &self.result,
            &self.origin,
        ];
        let mut selector = Selector::default();
        all.into_iter().flatten().for_each(|pattern| selector.add(pattern.clone()));
        selector
    }
}
