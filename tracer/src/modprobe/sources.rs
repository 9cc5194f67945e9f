//! Where the lines of modprobe's configuration are: which file and line, or the kernel command line; and lines that look like
//! configuration, but have no effect.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    files::is_config,
    lines::{FileLine, lines},
};
use crate::{
    glob,
    kernel::{command_line, file::read_regular},
};

/// Maximum size of one file, and of all files, bytes. Real configurations have less than 1 MiB.
const FILE_BYTES: u64 = 1 << 20;
const ALL_BYTES: usize = 16 << 20;

/// Maximum number of lines without effect that are kept.
const IGNORED_LIMIT: usize = 1000;

/// The file that modprobe read before `modprobe.d`.
const LEGACY: &str = "/etc/modprobe.conf";

/// The parameter of the kernel command line that modprobe reads.
const BLACKLIST: &str = "modprobe.blacklist";

/// Why a line of a file that modprobe reads is ignored.
const NOT_UNDERSTOOD: &str = "modprobe does not understand this line";

/// Where a line of the configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
    },
    /// On the kernel command line (`modprobe.blacklist=`).
    CommandLine,
    /// In none of the usual files: the helper has a configuration of its own.
    Elsewhere,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(formatter, "in {}:{line}", path.display()),
            Self::CommandLine => write!(formatter, "on the kernel command line ({BLACKLIST}=)"),
            Self::Elsewhere => write!(formatter, "in the configuration of modprobe"),
        }
    }
}

/// A line that looks like configuration and has no effect, or not the one that it seems to have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IgnoredLine {
    /// The file.
    pub path: PathBuf,
    /// The number of the line, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// The reason.
    pub why: String,
    /// The words of the line as normalized names.
    names: Vec<String>,
    /// The line as modprobe would print it, if modprobe does not read its file.
    directive: Option<String>,
}

impl IgnoredLine {
    /// Whether modprobe itself reports the line.
    pub(crate) fn is_reported(&self) -> bool {
        self.why == NOT_UNDERSTOOD
    }

    /// Whether the line names one of some normalized names.
    #[must_use]
    pub fn is_about(&self, names: &[&str]) -> bool {
        self.names.iter().skip(1).any(|name| names.contains(&name.as_str()))
    }
}

impl fmt::Display for IgnoredLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}:{}: {}", self.text, self.path.display(), self.line, self.why)
    }
}

/// The lines of the configuration and their places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    places: HashMap<String, Place>,
    ignored: Vec<IgnoredLine>,
    /// Bytes read so far.
    bytes: usize,
}

impl Sources {
    /// Reads the files of the configuration directories, those with the highest priority first, and the kernel command line.
    pub(super) fn read(directories: &[PathBuf], root: &Path) -> Self {
        let mut sources = Self::default();
        let mut seen: HashMap<OsString, PathBuf> = HashMap::new();
        let mut visited = HashSet::new();
        let mut unread = Vec::new();
        for directory in directories {
            // Two of the paths may lead to one directory.
            let id = fs::metadata(directory).map(|metadata| (metadata.dev(), metadata.ino()));
            if id.is_ok_and(|id| visited.insert(id)) {
                sources.directory(directory, &mut seen, &mut unread);
            }
        }
        if let Ok(parameters) = command_line::parameters(root) {
            let lists = parameters.iter().filter(|parameter| parameter.name == BLACKLIST);
            for name in lists.flat_map(|list| list.value.split(',')) {
                let normal = glob::normalize(name.as_bytes()).map(|name| super::lossless(&name));
                let line = normal.map(|name| format!("blacklist {name}"));
                line.into_iter().for_each(|line| {
                    sources.places.entry(line).or_insert(Place::CommandLine);
                });
            }
        }
        let legacy = root.join(LEGACY.trim_start_matches('/'));
        unread.push((legacy, format!("modprobe does not read {LEGACY}; move it to modprobe.d")));
        for (path, why) in unread {
            sources.unread(&path, &why);
        }
        sources
    }

    fn directory(
        &mut self,
        directory: &Path,
        seen: &mut HashMap<OsString, PathBuf>,
        unread: &mut Vec<(PathBuf, String)>,
    ) {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<OsString> = entries.map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        for name in names {
            let path = directory.join(&name);
            if !is_config(&path) {
                unread.extend(why_no_config(&path).map(|why| (path, why.to_owned())));
            } else if let Some(by) = seen.get(&name) {
                unread.push((path, format!("the file is masked by {}", by.display())));
            } else {
                self.config(&path);
                seen.insert(name, path);
            }
        }
    }

    /// A file that modprobe reads.
    fn config(&mut self, path: &Path) {
        for line in self.lines_of(path) {
            let place = Place::File { path: path.to_owned(), line: line.number };
            match line.directive() {
                Some(directive) => {
                    if line.is_about_loading()
                        && let Some(why) = line.odd_character()
                    {
                        self.ignore(path, &line, why, None);
                    }
                    self.places.entry(directive).or_insert(place);
                }
                None => self.ignore(path, &line, NOT_UNDERSTOOD, None),
            }
        }
    }

    /// A file that modprobe does not read.
    fn unread(&mut self, path: &Path, why: &str) {
        for line in self.lines_of(path) {
            let directive = line.directive().filter(|_| line.is_about_loading());
            // The same line may be in force elsewhere.
            if let Some(directive) = directive.filter(|directive| !self.places.contains_key(directive)) {
                self.ignore(path, &line, why, Some(directive));
            }
        }
    }

    fn ignore(&mut self, path: &Path, line: &FileLine, why: &str, directive: Option<String>) {
        if self.ignored.len() < IGNORED_LIMIT {
            self.ignored.push(IgnoredLine {
                path: path.to_owned(),
                line: line.number,
                text: line.text(),
                why: why.to_owned(),
                names: line.names(),
                directive,
            });
        }
    }

    fn lines_of(&mut self, path: &Path) -> Vec<FileLine> {
        if self.bytes > ALL_BYTES {
            return Vec::new();
        }
        let content = read_regular(path, FILE_BYTES).map(|(content, _)| content).unwrap_or_default();
        self.bytes += content.len();
        lines(&content)
    }

    /// Where a line of the configuration is, in the form in which modprobe prints it.
    pub(super) fn place(&self, directive: &str) -> Place {
        self.places.get(directive).cloned().unwrap_or(Place::Elsewhere)
    }

    /// Removes lines that are in force all the same, because the helper reads other files than usual.
    pub(super) fn retain_ignored(&mut self, is_in_force: impl Fn(&str) -> bool) {
        self.ignored.retain(|line| line.directive.as_ref().is_none_or(|directive| !is_in_force(directive)));
    }

    /// Lines that have no effect, or not the one that they seem to have.
    pub(crate) fn ignored(&self) -> &[IgnoredLine] {
        &self.ignored
    }
}

/// Why modprobe does not read a file of its directory; `None` for copies, whose names say so, and for other files.
fn why_no_config(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy();
    if !path.is_file() {
        return None;
    }
    // A backup, or a file that was switched off by renaming it.
    let is_copy =
        name.ends_with('~') || [".conf.", ".alias."].iter().any(|end| name.contains(end)) || name.contains(".bak");
    if is_copy || name.starts_with("README") || name.starts_with(".kmodtrace.") {
        None
    } else if name.starts_with('.') {
        Some("modprobe does not read hidden files; rename it")
    } else {
        Some("modprobe reads only files whose name ends with .conf; rename it")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Place, Sources};

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(root: &Path) -> Sources {
        Sources::read(&["etc/modprobe.d", "run/modprobe.d", "lib/modprobe.d"].map(|path| root.join(path)), root)
    }

    fn ignored(root: &Path) -> Vec<String> {
        let root_text = format!("{}/", root.display());
        read(root).ignored().iter().map(|line| line.to_string().replace(&root_text, "/")).collect()
    }

    /// Each line has its file and number, or the kernel command line; other lines are elsewhere.
    #[test]
    fn lines_have_places() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "etc/modprobe.d/a.conf", "# x\nblacklist net-pf\ninstall udf  /bin/false \n");
        write(root.path(), "lib/modprobe.d/b.conf", "blacklist net_pf\nalias x off\n");
        write(root.path(), "proc/cmdline", "ro modprobe.blacklist=vfat,net_pf quiet\n");
        let sources = read(root.path());
        let shown = |line: &str| sources.place(line).to_string().replace(&format!("{}/", root.path().display()), "/");
        assert_eq!(shown("blacklist net_pf"), "in /etc/modprobe.d/a.conf:2");
        assert_eq!(shown("install udf /bin/false"), "in /etc/modprobe.d/a.conf:3");
        assert_eq!(shown("alias x off"), "in /lib/modprobe.d/b.conf:2");
        assert_eq!(shown("blacklist vfat"), "on the kernel command line (modprobe.blacklist=)");
        assert_eq!(sources.place("blacklist other"), Place::Elsewhere);
        assert!(sources.ignored().is_empty(), "{:?}", sources.ignored());
    }

    /// Lines of files that modprobe does not read are found with the reason, unless they are in force elsewhere.
    #[test]
    fn lines_of_unread_files_have_a_reason() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "etc/modprobe.d/blacklist", "install udf /bin/false\n");
        write(root.path(), "etc/modprobe.d/.hidden.conf", "blacklist a\n");
        write(root.path(), "etc/modprobe.d/z.conf", "install b /bin/true\n");
        write(root.path(), "lib/modprobe.d/z.conf", "install b /bin/true\ninstall c /bin/false\n");
        write(root.path(), "etc/modprobe.conf", "alias d off\n");
        for copy in ["a.conf~", "a.conf.bak1", "a.conf.dpkg-old", "README"] {
            write(
                root.path(),
                &format!("etc/modprobe.d/{copy}"),
                "Files in this directory\ninstall lines, for example.\n",
            );
        }
        fs::create_dir(root.path().join("etc/modprobe.d/d.conf")).unwrap();
        std::os::unix::fs::symlink("/nonexistent", root.path().join("etc/modprobe.d/dangling.conf")).unwrap();
        let expected = [
            "blacklist a in /etc/modprobe.d/.hidden.conf:1: modprobe does not read hidden files; rename it",
            "install udf /bin/false in /etc/modprobe.d/blacklist:1: modprobe reads only files whose name ends with .conf; rename it",
            "install c /bin/false in /lib/modprobe.d/z.conf:2: the file is masked by /etc/modprobe.d/z.conf",
            "alias d off in /etc/modprobe.conf:1: modprobe does not read /etc/modprobe.conf; move it to modprobe.d",
        ];
        assert_eq!(ignored(root.path()), expected);
    }

    /// A line that modprobe does not understand, and one about another name than it seems, are found by the name that was meant.
    #[test]
    fn lines_with_odd_characters_have_a_reason() {
        let root = tempfile::tempdir().unwrap();
        let text = "blacklist udf\r\nblacklist algif\u{2010}aead\nblack-list vfat\noptions x y=1\r\ninstall\n";
        write(root.path(), "etc/modprobe.d/a.conf", text);
        let sources = read(root.path());
        let about = |name: &str| sources.ignored().iter().filter(|line| line.is_about(&[name])).count();
        assert_eq!((about("udf"), about("algif_aead"), about("vfat"), about("x"), about("blacklist")), (1, 1, 1, 0, 0));
        assert_eq!(sources.ignored().len(), 4);
    }

    /// A file of any content and size is read within the limit, and a pipe does not block.
    #[test]
    fn hostile_files_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "etc/modprobe.d/big.conf", &"x\n".repeat(600_000));
        let pipe = root.path().join("etc/modprobe.d/pipe.conf");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert_eq!(read(root.path()).ignored().len(), super::IGNORED_LIMIT);
    }
}
