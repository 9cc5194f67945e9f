//! What the kernel did not run, where it says so.

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

/// A program, and what keeps it attached: each counts for itself. Their files stay open, as they are read over and over.
pub(super) struct Watched {
    /// Its name.
    pub(super) name: &'static str,
    skipped: Skipped,
    /// The file tells of it for as long as it is open.
    _program: OwnedFd,
    told: Option<File>,
    link: Option<File>,
}

/// More than the kernel tells of a program or a link.
const FDINFO_BYTES: usize = 1024;

impl Watched {
    /// The program that is asked. `links` are those that count, by the id of their program.
    fn new(program: Program, fd: OwnedFd, links: &HashMap<u64, PathBuf>) -> Self {
        let told = File::open(fdinfo(&fd)).ok();
        let id = told.as_ref().and_then(|file| value(file, "prog_id"));
        let link = id.and_then(|id| links.get(&id)).and_then(|path| File::open(path).ok());
        Self { name: program.name, skipped: program.skipped, _program: fd, told, link }
    }

    /// Whether what it missed is no loss by itself, but shows in a request that stays open.
    pub(super) fn is_seen(&self) -> bool {
        self.skipped == Skipped::Seen
    }

    /// How many runs were skipped.
    ///
    /// `recursion_misses` (since 5.12; earlier kernels do not skip): the program was running already on that CPU.
    /// `missed` (since 6.17): a kprobe within another, or no slot for a kretprobe.
    pub(super) fn missed(&self) -> u64 {
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

/// Programs that are asked: all but one, whose work another one does as well.
fn asked(hooks: &[AttachedHook]) -> impl Iterator<Item = Program> {
    // What `module_request` tells is told again by the hand-over.
    let programs = hooks.iter().flat_map(|hook| hook.programs).filter(|program| program.name != "module_request");
    programs.copied()
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

    /// Check that every program is asked but the one whose work another one does.
    #[test]
    fn every_program_is_asked() {
        let attached = |hook| AttachedHook { hook, programs: hook.ways[0], refused: Vec::new(), pinned: false };
        let hooks: Vec<AttachedHook> = HOOKS.iter().map(attached).collect();
        let names: Vec<&str> = asked(&hooks).map(|program| program.name).collect();
        let all = HOOKS.iter().flat_map(|hook| hook.ways[0]).map(|program| program.name);
        assert_eq!(names, all.filter(|name| *name != "module_request").collect::<Vec<_>>());
        assert!(names.contains(&"sys_finit_fexit"));
    }
}
