//! Program runs that the kernel skipped, from the fdinfo of programs and links.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::PathBuf,
};

use crate::probe::{
    ProbeError,
    attach::AttachedHook,
    hooks::{MissedRun, Program},
};

/// A program and its link: each has a counter of its own. Their fdinfo files stay open, because they are read on every tick.
pub(in crate::probe) struct MissedRuns {
    /// Its name.
    pub(in crate::probe) name: &'static str,
    missed_run: MissedRun,
    /// The fdinfo file is valid as long as this is open.
    _program: OwnedFd,
    program: Option<File>,
    link: Option<File>,
}

/// More than the fdinfo of any program or link.
const FDINFO_BYTES: usize = 1024;

impl MissedRuns {
    /// Opens the fdinfo of a program and of its link. `links` are the links with a counter, by program id.
    fn new(program: Program, fd: OwnedFd, links: &HashMap<u64, PathBuf>) -> Self {
        let info = File::open(fdinfo(&fd)).ok();
        let id = info.as_ref().and_then(|file| value(file, "prog_id"));
        let link = id.and_then(|id| links.get(&id)).and_then(|path| File::open(path).ok());
        Self { name: program.name, missed_run: program.missed_run, _program: fd, program: info, link }
    }

    /// Whether a missed run is no loss by itself, but leaves its request unresolved.
    pub(super) fn is_seen(&self) -> bool {
        self.missed_run == MissedRun::Visible
    }

    /// Number of missed runs.
    ///
    /// `recursion_misses` (since 5.12; earlier kernels do not skip): the program was running already on that CPU.
    /// `missed` (since 6.17): a kprobe within another, or no slot for a kretprobe.
    pub(super) fn missed(&self) -> u64 {
        let count = |file: &Option<File>, key| file.as_ref().and_then(|file| value(file, key)).unwrap_or(0);
        count(&self.program, "recursion_misses") + count(&self.link, "missed")
    }
}

/// Opens the counters of the attached programs.
pub(in crate::probe) fn missed_runs(
    hooks: &[AttachedHook],
    open: impl Fn(Program) -> Result<OwnedFd, ProbeError>,
) -> Result<Vec<MissedRuns>, ProbeError> {
    let links = links();
    counted(hooks).map(|program| Ok(MissedRuns::new(program, open(program)?, &links))).collect()
}

/// The programs whose missed runs are losses.
fn counted(hooks: &[AttachedHook]) -> impl Iterator<Item = Program> {
    // The handover record repeats the content of a `module_request` record.
    let programs = hooks.iter().flat_map(|hook| hook.programs).filter(|program| program.name != "module_request");
    programs.copied()
}

pub(in crate::probe) fn fdinfo(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))
}

/// Reads a number from an open fdinfo file.
fn value(file: &File, key: &str) -> Option<u64> {
    let mut bytes = [0; FDINFO_BYTES];
    let len = file.read_at(&mut bytes, 0).ok()?;
    number(std::str::from_utf8(bytes.get(..len)?).ok()?, key)
}

/// The fdinfo of links with a counter, by program id; empty before 6.17.
fn links() -> HashMap<u64, PathBuf> {
    let Ok(entries) = fs::read_dir("/proc/self/fdinfo") else { return HashMap::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter_map(|path| Some((link_that_counts(&fs::read_to_string(&path).ok()?)?, path))).collect()
}

/// The program id of a link with a counter of missed runs.
fn link_that_counts(fdinfo: &str) -> Option<u64> {
    number(fdinfo, "missed")?;
    fdinfo.contains("link_type:").then(|| number(fdinfo, "prog_id"))?
}

/// A number of an fdinfo text.
pub(in crate::probe) fn number(fdinfo: &str, key: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::hooks::HOOKS;

    const PROGRAM: &str = "pos:\t0\nprog_type:\t26\nprog_id:\t9\nrecursion_misses:\t37\nverified_insns:\t694\n";
    const LINK: &str = "pos:\t0\nlink_type:\tkprobe\nlink_id:\t3\nprog_id:\t9\nname:\tx\nmissed:\t2\ncookie:\t0\n";

    /// Counters are found among the other lines; older kernels have none.
    #[test]
    fn counters_are_read_from_fdinfo() {
        assert_eq!(number(PROGRAM, "recursion_misses"), Some(37));
        assert_eq!(number("pos:\t0\nprog_type:\t26\n", "recursion_misses"), None);
        assert_eq!(number(LINK, "missed"), Some(2));
        assert_eq!(link_that_counts(LINK), Some(9));
        assert_eq!(link_that_counts(PROGRAM), None);
        assert_eq!(link_that_counts(&LINK.replace("missed", "offset")), None);
    }

    /// A file that stays open returns the current value.
    #[test]
    fn open_files_are_read_again() {
        let (mut found, written) = (Vec::new(), tempfile::NamedTempFile::new().unwrap());
        let file = File::open(written.path()).unwrap();
        for text in [PROGRAM, LINK] {
            fs::write(written.path(), text).unwrap();
            found.push((value(&file, "recursion_misses"), value(&file, "missed")));
        }
        assert_eq!(found, [(Some(37), None), (None, Some(2))]);
        let own = File::open(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap();
        assert_eq!(value(&own, "pos"), Some(0));
    }

    /// The runs of every program are counted, except `module_request`.
    #[test]
    fn all_programs_but_module_request_are_counted() {
        let attached = |hook| AttachedHook { hook, programs: hook.methods[0], refused: Vec::new(), pinned: false };
        let hooks: Vec<AttachedHook> = HOOKS.iter().map(attached).collect();
        let names: Vec<&str> = counted(&hooks).map(|program| program.name).collect();
        let all = HOOKS.iter().flat_map(|hook| hook.methods[0]).map(|program| program.name);
        assert_eq!(names, all.filter(|name| *name != "module_request").collect::<Vec<_>>());
        assert!(names.contains(&"sys_finit_fexit"));
    }
}
