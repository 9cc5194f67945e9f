//! Filters: the same options for every verb.

use crate::select::{Field, Pattern, PatternError, Selector};

/// Options that choose chains. Repeated they are alternatives; different ones must all hold.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters (globs; !GLOB for all others; repeated: or; different: and)")]
pub(super) struct SelectArgs {
    /// Chains that a module is part of.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Module, text))]
    module: Vec<Pattern>,
    /// Aliases as the kernel asks for them: net-pf-*, fs-xfs.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Alias, text))]
    alias: Vec<Pattern>,
    /// Families of aliases, as `kmodtrace explain` names them: 'crypto*'.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Family, text))]
    family: Vec<Pattern>,
    /// Name of the process that asked or loaded, or that is behind it.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Comm, text))]
    comm: Vec<Pattern>,
    /// Its executable: a path, or the last component alone.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Exe, text))]
    exe: Vec<Pattern>,
    /// Its process id, or that of one of its ancestors.
    #[arg(long, value_name = "PID", value_parser = |text: &str| pattern(Field::Pid, text))]
    pid: Vec<Pattern>,
    /// Its real user: number or name.
    #[arg(long, value_name = "USER", value_parser = |text: &str| pattern(Field::Uid, text))]
    uid: Vec<Pattern>,
    /// Path of its cgroup.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Cgroup, text))]
    cgroup: Vec<Pattern>,
    /// Its container: runtime:id, the id, or its first 12 digits.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Container, text))]
    container: Vec<Pattern>,
    /// Its systemd unit.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Unit, text))]
    unit: Vec<Pattern>,
    /// How it ended: loaded, not-found, blocklisted, denied, failed, ...
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Result, text))]
    result: Vec<Pattern>,
    /// What made the modules load: request, explicit, udev, unknown.
    #[arg(long, value_name = "GLOB", value_parser = |text: &str| pattern(Field::Origin, text))]
    origin: Vec<Pattern>,
}

fn pattern(field: Field, text: &str) -> Result<Pattern, PatternError> {
    Pattern::new(field, text)
}

impl SelectArgs {
    /// The selector of all patterns given.
    pub(super) fn selector(&self) -> Selector {
        let all = [
            &self.module,
            &self.alias,
            &self.family,
            &self.comm,
            &self.exe,
            &self.pid,
            &self.uid,
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
