//! What the kernel did not run: where it says so, and what two programs of a pair both missed.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::{Path, PathBuf},
};

use super::{
    ProbeError,
    attached::AttachedHook,
    hooks::{Program, Skipped},
};

/// How long one program of a pair may be behind the other before a return counts as missed by both.
const PAIR_NS: u64 = 1_000_000_000;

/// A program, or two of a pair, of which something is missed only where the kernel skipped both.
pub(super) struct Watched {
    /// Name of the first.
    pub(super) name: &'static str,
    program: Skips,
    skipped: Skipped,
    lasting: Lasting,
}

/// One program, and what keeps it attached: each counts for itself. Their files stay open, as they are read over and over.
struct Skips {
    /// The file tells of it for as long as it is open.
    _program: OwnedFd,
    told: Option<File>,
    link: Option<File>,
}

/// More than the kernel tells of a program or a link.
const FDINFO_BYTES: usize = 1024;

impl Watched {
    /// The program that is asked; of a pair the first one. `links` are those that count, by the id of their program.
    fn new(program: Program, fd: OwnedFd, links: &HashMap<u64, PathBuf>) -> Self {
        let told = File::open(fdinfo(&fd)).ok();
        let id = told.as_ref().and_then(|file| value(file, "prog_id"));
        let link = id.and_then(|id| links.get(&id)).and_then(|path| File::open(path).ok());
        let skips = Skips { _program: fd, told, link };
        Self { name: program.name, program: skips, skipped: program.skipped, lasting: Lasting::default() }
    }

    /// Whether what it missed is no loss by itself, but shows in a request that stays open.
    pub(super) fn is_seen(&self) -> bool {
        self.skipped == Skipped::Seen
    }

    /// How many runs or returns were missed. `counted` is what a pair's programs have counted.
    pub(super) fn missed(&mut self, now_ns: Option<u64>, counted: impl Fn(u32) -> u64) -> u64 {
        let Skipped::Paired(pair) = self.skipped else { return self.program.count() };
        // In this order: what comes meanwhile is not taken for missed.
        let runs = counted(pair.runs()).saturating_add(self.program.count());
        let taken = counted(pair.taken_by_first()).saturating_add(counted(pair.taken_by_second()));
        self.lasting.take(runs.saturating_sub(taken), now_ns)
    }
}

/// A number that may be too high for a moment: of it counts what has lasted.
#[derive(Default)]
struct Lasting {
    known: u64,
    least: u64,
    since_ns: u64,
}

impl Lasting {
    /// What has lasted; without a time, all.
    fn take(&mut self, number: u64, now_ns: Option<u64>) -> u64 {
        let Some(now_ns) = now_ns else {
            self.known = self.known.max(number);
            return self.known;
        };
        self.least = self.least.min(number);
        if self.least <= self.known {
            (self.least, self.since_ns) = (number, now_ns);
        } else if now_ns.saturating_sub(self.since_ns) >= PAIR_NS {
            self.known = self.least;
        }
        self.known
    }
}

impl Skips {
    /// `recursion_misses` (since 5.12; earlier kernels do not skip): the program was running already on that CPU.
    /// `missed` (since 6.17): a kprobe within another, or no slot for a kretprobe.
    fn count(&self) -> u64 {
        let count = |file: &Option<File>, key| file.as_ref().and_then(|file| value(file, key)).unwrap_or(0);
        count(&self.told, "recursion_misses") + count(&self.link, "missed")
    }
}

/// What is asked for runs that the kernel skipped.
pub(super) fn watched(
    hooks: &[AttachedHook],
    open: impl Fn(Program) -> Result<OwnedFd, ProbeError>,
) -> Result<Vec<Watched>, ProbeError> {
    let links = links();
    asked(hooks).map(|program| Ok(Watched::new(program, open(program)?, &links))).collect()
}

/// Programs that are asked: all but what another one tells again, and of a pair the first one.
fn asked(hooks: &[AttachedHook]) -> impl Iterator<Item = Program> {
    let mut pairs = Vec::new();
    // What `module_request` tells is told again by the hand-over.
    let programs = hooks.iter().flat_map(|hook| hook.programs).filter(|program| program.name != "module_request");
    programs.copied().filter(move |program| {
        let Skipped::Paired(pair) = program.skipped else { return true };
        let is_first = !pairs.contains(&pair);
        pairs.push(pair);
        is_first
    })
}

pub(super) fn fdinfo(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))
}

pub(super) fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// A number of a file of fdinfo, as it is now.
fn value(file: &File, key: &str) -> Option<u64> {
    let mut bytes = [0; FDINFO_BYTES];
    let len = file.read_at(&mut bytes, 0).ok()?;
    number(std::str::from_utf8(bytes.get(..len)?).ok()?, key)
}

/// Where the kernel tells what links have missed, by the ids of their programs; none where it does not (before 6.17).
fn links() -> HashMap<u64, PathBuf> {
    let Ok(entries) = fs::read_dir("/proc/self/fdinfo") else { return HashMap::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter_map(|path| Some((link_that_counts(&read(&path)?)?, path))).collect()
}

/// The program of a link that counts what it has missed.
fn link_that_counts(fdinfo: &str) -> Option<u64> {
    number(fdinfo, "missed")?;
    fdinfo.contains("link_type:").then(|| number(fdinfo, "prog_id"))?
}

pub(super) fn number(fdinfo: &str, key: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::hooks::HOOKS;
    use super::*;

    const PROGRAM: &str = "pos:\t0\nprog_type:\t26\nprog_id:\t9\nrecursion_misses:\t37\nverified_insns:\t694\n";
    const LINK: &str = "pos:\t0\nlink_type:\tkprobe\nlink_id:\t3\nprog_id:\t9\nname:\tx\nmissed:\t2\ncookie:\t0\n";

    /// Check that the counts are found among the other lines, and that older kernels have none.
    #[test]
    fn reads_fdinfo() {
        assert_eq!(number(PROGRAM, "recursion_misses"), Some(37));
        assert_eq!(number("pos:\t0\nprog_type:\t26\n", "recursion_misses"), None);
        assert_eq!(number(LINK, "missed"), Some(2));
        assert_eq!(link_that_counts(LINK), Some(9));
        assert_eq!(link_that_counts(PROGRAM), None);
        assert_eq!(link_that_counts(&LINK.replace("missed", "offset")), None);
    }

    /// Check that an open file tells what is so now.
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

    /// Check that of a pair the first program is asked, whose runs are counted, and that every other one is.
    #[test]
    fn pairs_count_together() {
        let attached = |hook| AttachedHook { hook, programs: hook.ways[0], refused: Vec::new(), pinned: false };
        let hooks: Vec<AttachedHook> = HOOKS.iter().map(attached).collect();
        let names: Vec<&str> = asked(&hooks).map(|program| program.name).collect();
        let all: Vec<&str> = HOOKS.iter().flat_map(|hook| hook.ways[0]).map(|program| program.name).collect();
        let wanted: Vec<&str> =
            all.into_iter().filter(|name| !name.ends_with("_second") && *name != "module_request").collect();
        assert_eq!(names, wanted);
        assert!(names.contains(&"sys_finit_fexit"));
    }

    /// Check that a number counts when it has lasted, that what passes does not, and that all counts in the end.
    #[test]
    fn what_passes_does_not_count() {
        let mut lasting = Lasting::default();
        assert_eq!(lasting.take(2, Some(PAIR_NS)), 0);
        assert_eq!(lasting.take(0, Some(PAIR_NS + 1)), 0);
        assert_eq!(lasting.take(2, Some(PAIR_NS * 2)), 0, "it went to 0 meanwhile");
        assert_eq!(lasting.take(1, Some(PAIR_NS * 3)), 1, "1 of it has lasted");
        assert_eq!(lasting.take(4, Some(PAIR_NS * 3 + 1)), 1);
        assert_eq!(lasting.take(4, None), 4);
        assert_eq!(lasting.take(3, Some(PAIR_NS * 9)), 4, "what was told stays told");
    }
}
