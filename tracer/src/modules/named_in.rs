//! Files of the system, other than modprobe's configuration, that name a module to be loaded: at boot, in an initramfs, by udev or by
//! a unit of systemd.

mod parse;

use std::{
    collections::HashSet,
    ffi::OsString,
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    kernel::{command_line, file::read_regular},
    modprobe::Config,
};

/// Maximum size of one file and of all files, bytes, and maximum number of files and of mentions. A desktop has a few thousand rules
/// and units with a few MiB.
const FILE_BYTES: u64 = 1 << 20;
const ALL_BYTES: usize = 32 << 20;
const FILES_LIMIT: usize = 20_000;
const MENTIONS_LIMIT: usize = 10_000;

/// Depth of directories with units: `NAME.service.d/x.conf`, `NAME.target.wants/x.service`.
const DEPTH_LIMIT: usize = 2;

/// What loads the modules that a file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Loader {
    /// `modules-load.d` and `/etc/modules`: systemd-modules-load.
    ModulesLoad,
    /// Scripts of an initramfs, which has files of its own.
    Initramfs,
    /// A rule of udev.
    Udev,
    /// A unit of systemd.
    Unit,
}

impl Loader {
    /// What it does with the module.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::ModulesLoad => "loaded at boot by systemd-modules-load",
            Self::Initramfs => "included in the initramfs, and loaded there by its list",
            Self::Udev => "loaded by a rule of udev",
            Self::Unit => "loaded by a unit of systemd",
        }
    }
}

/// A line that names a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mention {
    /// The file.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The number of the line, from 1; 0 for the name of the file itself.
    pub line: usize,
    /// What loads it.
    pub loader: Loader,
    /// The normalized name: of a module, or an alias.
    pub name: String,
}

/// A path in JSON, with U+FFFD for bytes that are not UTF-8.
fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl Mention {
    /// The file and line.
    #[must_use]
    pub fn place(&self) -> String {
        match self.line {
            0 => self.path.display().to_string(),
            line => format!("{}:{line}", self.path.display()),
        }
    }
}

impl fmt::Display for Mention {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place(), self.loader.action())
    }
}

/// Directories of files whose names end with the suffix; a file in an earlier one masks those of the same name.
const MODULES_LOAD: [&str; 5] = [
    "etc/modules-load.d",
    "run/modules-load.d",
    "usr/local/lib/modules-load.d",
    "usr/lib/modules-load.d",
    "lib/modules-load.d",
];
const RULES: [&str; 5] =
    ["etc/udev/rules.d", "run/udev/rules.d", "usr/local/lib/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"];
const UNITS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
const DRACUT: [&str; 3] = ["etc/dracut.conf.d", "usr/lib/dracut.conf.d", "usr/lib/dracut/dracut.conf.d"];

/// All lines of the system that name modules.
#[derive(Clone, Debug, Default)]
pub struct Mentions {
    all: Vec<Mention>,
    root: PathBuf,
    seen: HashSet<(u64, u64)>,
    bytes: usize,
}

impl Mentions {
    /// Reads the files below a root directory. Files that cannot be read are skipped.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let mut mentions = Self { root: root.to_owned(), ..Self::default() };
        // /etc/modules-load.d/modules.conf is often a link to it: this is the name that people know.
        mentions.file("etc/modules", Loader::ModulesLoad, parse::list);
        mentions.directories(&MODULES_LOAD, ".conf", Loader::ModulesLoad, parse::list);
        mentions.file("etc/initramfs-tools/modules", Loader::Initramfs, parse::list);
        mentions.directories(&["usr/share/initramfs-tools/modules.d"], "", Loader::Initramfs, parse::list);
        mentions.file("etc/dracut.conf", Loader::Initramfs, parse::dracut);
        mentions.directories(&DRACUT, ".conf", Loader::Initramfs, parse::dracut);
        mentions.file("etc/mkinitcpio.conf", Loader::Initramfs, parse::mkinitcpio);
        mentions.directories(&["etc/mkinitcpio.conf.d"], ".conf", Loader::Initramfs, parse::mkinitcpio);
        mentions.directories(&RULES, ".rules", Loader::Udev, parse::udev);
        for directory in UNITS {
            mentions.units(&root.join(directory), DEPTH_LIMIT);
        }
        mentions.command_line();
        mentions
    }

    /// Lines that name a module by its name or one of its aliases.
    #[must_use]
    pub fn of(&self, module: &str, config: &Config) -> Vec<&Mention> {
        let aliases: HashSet<&str> = config.aliases_of(module).collect();
        self.all.iter().filter(|mention| mention.name == module || aliases.contains(mention.name.as_str())).collect()
    }

    /// Units and lists on the kernel command line: `modules_load=a,b`, `systemd.wants=modprobe@x.service`.
    fn command_line(&mut self) {
        for parameter in command_line::parameters(&self.root).unwrap_or_default() {
            let loader = match parameter.name.as_str() {
                "modules_load" => Loader::ModulesLoad,
                "rd.modules_load" | "rd.driver.pre" | "rd.driver.post" => Loader::Initramfs,
                _ => continue,
            };
            let names = parameter.value.split(',').filter_map(parse::name);
            let path = PathBuf::from("/proc/cmdline");
            self.all.extend(names.map(|name| Mention { path: path.clone(), line: 1, loader, name }));
        }
    }

    fn directories(&mut self, directories: &[&str], suffix: &str, loader: Loader, parse: Parser) {
        let mut seen: HashSet<OsString> = HashSet::new();
        for directory in directories {
            for name in names(&self.root.join(directory)) {
                let text = name.to_string_lossy();
                if text.ends_with(suffix) && !text.starts_with('.') && seen.insert(name.clone()) {
                    self.file(&format!("{directory}/{text}"), loader, parse);
                }
            }
        }
    }

    fn units(&mut self, directory: &Path, depth: usize) {
        for name in names(directory) {
            let path = directory.join(&name);
            if let Some(module) = parse::instance(&name.to_string_lossy()) {
                // A link in a directory `X.wants`.
                self.push(&path, 0, Loader::Unit, module);
            }
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() && depth > 0 => self.units(&path, depth - 1),
                Ok(metadata) if metadata.is_file() => self.read_file(&path, Loader::Unit, parse::unit),
                _ => {}
            }
        }
    }

    fn file(&mut self, path: &str, loader: Loader, parse: Parser) {
        self.read_file(&self.root.join(path), loader, parse);
    }

    fn read_file(&mut self, path: &Path, loader: Loader, parse: Parser) {
        if self.bytes > ALL_BYTES || self.seen.len() > FILES_LIMIT {
            return;
        }
        let Some((content, metadata)) = read_regular(path, FILE_BYTES) else { return };
        if self.seen.insert((metadata.dev(), metadata.ino())) {
            self.bytes += content.len();
            for (line, name) in parse(&String::from_utf8_lossy(&content)) {
                self.push(path, line, loader, name);
            }
        }
    }

    fn push(&mut self, path: &Path, line: usize, loader: Loader, name: String) {
        if self.all.len() < MENTIONS_LIMIT {
            let path = path.strip_prefix(&self.root).map_or_else(|_| path.to_owned(), |path| Path::new("/").join(path));
            let mention = Mention { path, line, loader, name };
            // Two of the directories may be one.
            if line > 0
                || !self.all.iter().any(|known| known.path.file_name() == mention.path.file_name() && known.line == 0)
            {
                self.all.push(mention);
            }
        }
    }
}

/// Finds the names in a file, each with its line.
type Parser = fn(&str) -> Vec<(usize, String)>;

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<OsString> = entries.take(FILES_LIMIT).map(|entry| entry.file_name()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::Mentions;
    use crate::modprobe::Config;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn config() -> Config {
        Config::parse("\n# End of configuration files. Dumping indexes now:\n\nalias fs_udf udf\n").unwrap()
    }

    /// Every kind of file is found with its line, by the name of the module or by an alias.
    #[test]
    fn each_kind_of_file_is_found() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/modules", "# comment\nloop max_loop=8\nudf\n"),
            ("etc/modules-load.d/x.conf", "; comment\nfs-udf\n"),
            ("etc/initramfs-tools/modules", "udf\n"),
            ("etc/dracut.conf.d/a.conf", "add_drivers+=\" vfat udf \"\n"),
            ("etc/mkinitcpio.conf", "MODULES=(ext4 udf)\n"),
            ("usr/lib/udev/rules.d/80-x.rules", "ACTION==\"add\", RUN{builtin}+=\"kmod load udf\"\n"),
            ("etc/systemd/system/a.service", "[Unit]\nWants=modprobe@udf.service\n"),
            ("etc/systemd/system/b.service.d/x.conf", "[Service]\nExecStartPre=-/sbin/modprobe -q udf\n"),
            ("proc/cmdline", "quiet rd.driver.pre=udf,vfat\n"),
        ] {
            write(root.path(), path, text);
        }
        fs::create_dir_all(root.path().join("etc/systemd/system/x.target.wants")).unwrap();
        symlink("/nonexistent", root.path().join("etc/systemd/system/x.target.wants/modprobe@udf.service")).unwrap();
        symlink("../modules", root.path().join("etc/modules-load.d/modules.conf")).unwrap();
        let mentions = Mentions::read(root.path());
        let shown: Vec<String> = mentions.of("udf", &config()).into_iter().map(ToString::to_string).collect();
        let expected = [
            "/etc/modules:3: loaded at boot by systemd-modules-load",
            "/etc/modules-load.d/x.conf:2: loaded at boot by systemd-modules-load",
            "/etc/initramfs-tools/modules:1: included in the initramfs, and loaded there by its list",
            "/etc/dracut.conf.d/a.conf:1: included in the initramfs, and loaded there by its list",
            "/etc/mkinitcpio.conf:1: included in the initramfs, and loaded there by its list",
            "/usr/lib/udev/rules.d/80-x.rules:1: loaded by a rule of udev",
            "/etc/systemd/system/a.service:2: loaded by a unit of systemd",
            "/etc/systemd/system/b.service.d/x.conf:2: loaded by a unit of systemd",
            "/etc/systemd/system/x.target.wants/modprobe@udf.service: loaded by a unit of systemd",
            "/proc/cmdline:1: included in the initramfs, and loaded there by its list",
        ];
        assert_eq!(shown, expected);
        assert_eq!(mentions.of("loop", &config()).len(), 1);
        assert!(mentions.of("max_loop", &config()).is_empty() && mentions.of("comment", &config()).is_empty());
    }

    /// A file masks those of the same name in directories with a lower priority, and a pipe does not block.
    #[test]
    fn masked_files_and_pipes_are_not_read() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "usr/lib/modules-load.d/x.conf", "udf\n");
        assert_eq!(Mentions::read(root.path()).of("udf", &config()).len(), 1);
        fs::create_dir_all(root.path().join("etc/modules-load.d")).unwrap();
        symlink("/dev/null", root.path().join("etc/modules-load.d/x.conf")).unwrap();
        let pipe = root.path().join("etc/modules-load.d/p.conf");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(Mentions::read(root.path()).of("udf", &config()).is_empty());
    }
}
