//! Program runs that the kernel skipped, from the fdinfo of programs, and from the fdinfo or the information of links.

use std::{
    cell::Cell,
    collections::HashMap,
    fs::{self, File},
    os::{
        fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::fs::FileExt as _,
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use super::link_info::LinkInfo;

use crate::{
    kernel::btf::Btf,
    probe::{
        ProbeError,
        attach::AttachedHook,
        hooks::{MissedRun, Program},
    },
};

/// A program and its link: each has a counter of its own. Their fdinfo files stay open, because they are read on every tick.
pub(in crate::probe) struct MissedRuns {
    /// Its name.
    pub(in crate::probe) name: &'static str,
    missed_run: MissedRun,
    /// The fdinfo file is valid as long as this is open.
    _program: OwnedFd,
    program: Option<File>,
    link: Link,
}

/// The source of a link's counter.
enum Link {
    /// Its fdinfo (since 6.17).
    Fdinfo(File),
    /// Its information (since 6.7), which takes a call of bpf(2), and the last value.
    Info { fd: OwnedFd, info: LinkInfo, last: Cell<Option<(Instant, u64)>> },
    /// The kernel does not tell: missed runs of a kprobe within another one, or without a slot, are unknown.
    Unknown,
}

/// How often the information of links is read: a trace makes few calls of bpf(2).
const INFO: Duration = Duration::from_secs(60);

/// More than the fdinfo of any program or link.
const FDINFO_BYTES: usize = 1024;

impl MissedRuns {
    /// Opens the counters of a program and of its link. `links`: the descriptors of links, by program id.
    fn new(program: Program, fd: OwnedFd, links: &HashMap<u64, LinkFd>, info: Option<LinkInfo>) -> Self {
        let fdinfo = File::open(fdinfo(&fd)).ok();
        let id = fdinfo.as_ref().and_then(|file| value(file, "prog_id"));
        let link = id.and_then(|id| links.get(&id)).map_or(Link::Unknown, |link| Link::open(link, info));
        Self { name: program.name, missed_run: program.missed_run, _program: fd, program: fdinfo, link }
    }

    /// Whether a missed run is no loss by itself, but leaves its request unresolved.
    pub(super) fn is_seen(&self) -> bool {
        self.missed_run == MissedRun::Visible
    }

    /// Number of missed runs. `is_end`: nothing is left to be read later.
    ///
    /// `recursion_misses` (since 5.12): the program was running already on that CPU.
    /// `missed` (fdinfo since 6.17, link information since 6.7): a kprobe within another, or no slot for a kretprobe.
    pub(super) fn missed(&self, is_end: bool) -> u64 {
        let program = self.program.as_ref().and_then(|file| value(file, "recursion_misses")).unwrap_or(0);
        program + self.link.missed(is_end).unwrap_or(0)
    }
}

impl Link {
    fn open(link: &LinkFd, info: Option<LinkInfo>) -> Self {
        let path = PathBuf::from(format!("/proc/self/fdinfo/{}", link.fd));
        if link.counts {
            return File::open(path).map_or(Self::Unknown, Self::Fdinfo);
        }
        // SAFETY: the caller has just found this descriptor among those of this process, and keeps its link open.
        let fd = unsafe { BorrowedFd::borrow_raw(link.fd) }.try_clone_to_owned();
        match (fd, info.filter(|_| link.is_perf)) {
            (Ok(fd), Some(info)) => Self::Info { fd, info, last: Cell::new(None) },
            _ => Self::Unknown,
        }
    }

    /// `None` if the kernel does not tell.
    fn missed(&self, is_end: bool) -> Option<u64> {
        match self {
            Self::Fdinfo(file) => value(file, "missed"),
            Self::Info { fd, info, last } => match last.get() {
                Some((at, missed)) if !is_end && at.elapsed() < INFO => Some(missed),
                before => {
                    let missed = info.missed(fd.as_fd()).or(before.map(|(_, missed)| missed))?;
                    last.set(Some((Instant::now(), missed)));
                    Some(missed)
                }
            },
            Self::Unknown => None,
        }
    }
}

/// Whether this kernel counts all missed runs of kprobes: "bpf: Count missed stats in trace_call_bpf", and the counter of links (6.7).
pub(in crate::probe) fn counts_missed_kprobes(btf: &Btf) -> bool {
    LinkInfo::new(btf).is_some()
}

/// Opens the counters of the attached programs.
pub(in crate::probe) fn missed_runs(
    hooks: &[AttachedHook],
    btf: &Btf,
    open: impl Fn(Program) -> Result<OwnedFd, ProbeError>,
) -> Result<Vec<MissedRuns>, ProbeError> {
    let (links, info) = (links(), LinkInfo::new(btf));
    counted(hooks).map(|program| Ok(MissedRuns::new(program, open(program)?, &links, info))).collect()
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

/// A descriptor of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkFd {
    fd: RawFd,
    /// Its fdinfo has a counter.
    counts: bool,
    /// It is that of a perf event: a kprobe or kretprobe.
    is_perf: bool,
}

/// The links of this process, by program id.
fn links() -> HashMap<u64, LinkFd> {
    let Ok(entries) = fs::read_dir("/proc/self/fdinfo") else { return HashMap::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let link = |path: PathBuf| {
        let fd = path.file_name()?.to_str()?.parse().ok()?;
        link(fd, &fs::read_to_string(&path).ok()?)
    };
    paths.filter_map(link).collect()
}

/// The program id of a link, and the link.
fn link(fd: RawFd, fdinfo: &str) -> Option<(u64, LinkFd)> {
    let kind = fdinfo.lines().find_map(|line| line.strip_prefix("link_type:"))?.trim();
    // The type has its own name since 6.17 (`perf` before).
    let is_perf = matches!(kind, "perf" | "kprobe" | "kretprobe");
    Some((number(fdinfo, "prog_id")?, LinkFd { fd, counts: number(fdinfo, "missed").is_some(), is_perf }))
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
        assert_eq!(link(5, LINK), Some((9, LinkFd { fd: 5, counts: true, is_perf: true })));
        assert_eq!(link(5, PROGRAM), None);
        let older = LINK.replace("missed", "offset").replace("kprobe", "perf");
        assert_eq!(link(5, &older), Some((9, LinkFd { fd: 5, counts: false, is_perf: true })));
        let tracing = older.replace("perf", "tracing");
        assert_eq!(link(5, &tracing), Some((9, LinkFd { fd: 5, counts: false, is_perf: false })));
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
