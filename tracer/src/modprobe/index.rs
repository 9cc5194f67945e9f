//! The modules of a kernel: `modules.dep`, `modules.builtin` and `modules.builtin.modinfo`.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    glob,
    kernel::{ReadError, file::read},
};

const NEEDS_DEPMOD: &str = "install the modules of this kernel, or run `depmod` (modprobe needs this index too)";

/// The indexes without which modprobe finds no module, or none by alias.
const REQUIRED: [&str; 2] = ["modules.dep.bin", "modules.alias.bin"];

/// The first bytes of an index (`INDEX_MAGIC`, libkmod/libkmod-index.c).
const MAGIC: [u8; 4] = 0xB007_F457_u32.to_be_bytes();

/// Why modprobe cannot use the modules of a kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// They are not on disk.
    #[error("{} {state}: {fix}", directory.display())]
    NoModules {
        /// Their directory.
        directory: PathBuf,
        /// What is wrong with it.
        state: &'static str,
        /// The fix.
        fix: &'static str,
    },
    /// An index cannot be used.
    #[error("{} {state}: run `depmod`", path.display())]
    Unusable {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        state: String,
    },
}

impl IndexError {
    /// How to fix it.
    #[must_use]
    pub const fn fix(&self) -> &'static str {
        match self {
            Self::NoModules { fix, .. } => fix,
            Self::Unusable { .. } => "run `depmod`",
        }
    }
}

/// Checks whether modprobe can use the modules in `/lib/modules/<release>`.
///
/// # Errors
/// If the directory or an index is missing or unusable.
pub(super) fn check(directory: &Path) -> Result<(), IndexError> {
    let is_there = |name: &str| directory.join(name).exists();
    let gone = |state| IndexError::NoModules { directory: directory.to_owned(), state, fix: fix_of_missing(directory) };
    if !directory.exists() {
        return Err(gone("does not exist"));
    }
    // Packages leave directories behind that are not empty.
    if !is_there("kernel") && !is_there(REQUIRED[0]) {
        return Err(gone("has no modules"));
    }
    for name in REQUIRED {
        let path = directory.join(name);
        if let Some(state) = why_unusable(&path) {
            return Err(IndexError::Unusable { path, state });
        }
    }
    Ok(())
}

/// What to do if the modules of a kernel are gone.
fn fix_of_missing(directory: &Path) -> &'static str {
    let others = directory.parent().and_then(|parent| std::fs::read_dir(parent).ok()).into_iter().flatten().flatten();
    let is_kernel = |path: PathBuf| path != directory && path.join(REQUIRED[0]).exists();
    if others.map(|entry| entry.path()).any(is_kernel) {
        "the kernel was upgraded; reboot"
    } else {
        "install the modules of this kernel, or reboot if it was upgraded"
    }
}

fn why_unusable(path: &Path) -> Option<String> {
    let mut start = [0; MAGIC.len()];
    match File::open(path).and_then(|mut file| file.read_exact(&mut start)) {
        Ok(()) if start == MAGIC => None,
        Ok(()) => Some("is damaged".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Some("does not exist".to_owned()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Some("is empty or damaged".to_owned()),
        Err(error) => Some(format!("cannot be read ({error})")),
    }
}

/// A module file and its dependencies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModuleFile {
    /// Path below the module directory.
    pub path: String,
    /// All direct and indirect dependencies, in the order in which modprobe loads them.
    pub needs: Vec<String>,
    /// Position in `modules.dep`: if an alias matches several modules, modprobe loads the first one first.
    pub position: usize,
}

/// The loadable and built-in modules of a kernel.
#[derive(Clone, Debug, Default)]
pub struct ModuleIndex {
    files: HashMap<String, ModuleFile>,
    builtin: HashSet<String>,
    builtin_aliases: Vec<(Vec<u8>, String)>,
}

impl ModuleIndex {
    /// Reads the index of one kernel: `directory` is `/lib/modules/<release>`.
    ///
    /// # Errors
    /// If there is no `modules.dep`, or a file cannot be read. The other files may be missing.
    pub fn load(directory: &Path) -> Result<Self, ReadError> {
        let dep = read(directory, "modules.dep", NEEDS_DEPMOD)?;
        let builtin = optional(directory, "modules.builtin")?;
        let modinfo = optional(directory, "modules.builtin.modinfo")?;
        Ok(Self::parse(&dep, &builtin, &modinfo))
    }

    /// Parses the text of the three files.
    #[must_use]
    pub fn parse(dep: &str, builtin: &str, builtin_modinfo: &str) -> Self {
        let files = dep.lines().enumerate().filter_map(|(position, line)| {
            let (path, needs) = line.split_once(':')?;
            // The file lists the nearest dependency first; modprobe loads the farthest first.
            let needs = needs.split_ascii_whitespace().rev().map(module_name).collect();
            Some((module_name(path), ModuleFile { path: path.to_owned(), needs, position }))
        });
        // "can.alias=net-pf-29", NUL
        let builtin_aliases = builtin_modinfo.split('\0').filter_map(|entry| {
            let (module, rest) = entry.split_once('.')?;
            let alias = glob::normalize(rest.strip_prefix("alias=")?.as_bytes())?;
            Some((alias, module.replace('-', "_")))
        });
        Self {
            files: files.collect(),
            builtin: builtin.lines().map(module_name).collect(),
            builtin_aliases: builtin_aliases.collect(),
        }
    }

    /// The file of a module; `None` if there is no such module, or if it is built in.
    #[must_use]
    pub fn file(&self, module: &str) -> Option<&ModuleFile> {
        self.files.get(module)
    }

    /// What is wrong with the file of a module in this directory; `None` if it can be read, or if there is no such module.
    pub(super) fn file_problem(&self, directory: &Path, module: &str) -> Option<String> {
        let path = directory.join(&self.file(module)?.path);
        let problem = match File::open(&path).and_then(|mut file| file.read(&mut [0; 1])) {
            Ok(0) => "is empty; reinstall the package that contains it".to_owned(),
            Ok(_) => return None,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                "does not exist, although the index names it; run `depmod`, or reinstall the package that contains it"
                    .to_owned()
            }
            Err(error) => format!("cannot be read ({error})"),
        };
        Some(format!("{} {problem}", path.display()))
    }

    /// Names of all modules that have a file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Whether a module is built in.
    #[must_use]
    pub fn is_builtin(&self, module: &str) -> bool {
        self.builtin.contains(module)
    }

    /// Built-in modules with an alias that matches a normalized name.
    pub(super) fn builtin_by_alias<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a str> + 'a {
        let found = self.builtin_aliases.iter().filter(|(pattern, _)| glob::matches(pattern, name));
        found.map(|(_, module)| module.as_str())
    }

    /// Aliases of a built-in module, as normalized patterns.
    pub(crate) fn builtin_aliases_of<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let own = self.builtin_aliases.iter().filter(move |(_, of)| of == module);
        own.map(|(pattern, _)| pattern.as_slice())
    }

    /// Modules that depend on a module, sorted by name.
    #[must_use]
    pub fn users_of(&self, module: &str) -> Vec<String> {
        let users = self.files.iter().filter(|(_, file)| file.needs.iter().any(|needed| needed == module));
        let mut names: Vec<String> = users.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }
}

fn optional(directory: &Path, name: &str) -> Result<String, ReadError> {
    match read(directory, name, "make it readable") {
        Err(error) if error.is_absent() => Ok(String::new()),
        result => result,
    }
}

/// The lines of `modules.alias`, normalized: `<pattern> <module>`.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn aliases_on_disk(directory: &Path) -> Result<Vec<String>, ReadError> {
    let text = read(directory, "modules.alias", NEEDS_DEPMOD)?;
    let lines = text.split('\n').filter_map(|line| {
        let (pattern, module) = line.strip_prefix("alias ")?.rsplit_once(' ')?;
        let pattern = String::from_utf8(glob::normalize(pattern.as_bytes())?).ok()?;
        Some(format!("{pattern} {}", module.replace('-', "_")))
    });
    Ok(lines.collect())
}

/// The module name of a path: `kernel/net/ipv4/netfilter/ip-tables.ko.xz` is `ip_tables`.
pub(super) fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{MAGIC, ModuleIndex, REQUIRED, aliases_on_disk, check, module_name};

    /// Compressed and uncompressed files give the same module name.
    #[test]
    fn module_name_of_any_file_has_no_suffix() {
        assert_eq!(module_name("kernel/fs/fat/vfat.ko"), "vfat");
        assert_eq!(module_name("updates/snd-hda.ko.xz"), "snd_hda");
        assert_eq!(module_name("x.ko.gz"), "x");
        assert_eq!(module_name(""), "");
    }

    /// Dependencies are in load order, built-in modules have no file, and their aliases are found.
    #[test]
    fn index_of_a_kernel_has_files_and_builtin_modules() {
        let index = ModuleIndex::parse(
            "kernel/a.ko:\nkernel/nf-nat.ko.xz: kernel/nf_conntrack.ko kernel/libcrc32c.ko\nbroken\n",
            "kernel/fs/ext4/ext4.ko\n",
            "ext4.alias=fs-ext3\0ext4.license=GPL\0odd\0",
        );
        let nat = index.file("nf_nat").unwrap();
        assert_eq!(nat.needs, ["libcrc32c", "nf_conntrack"]);
        assert_eq!(nat.path, "kernel/nf-nat.ko.xz");
        assert!(index.is_builtin("ext4") && !index.is_builtin("a"));
        assert_eq!(index.builtin_by_alias(b"fs_ext3").collect::<Vec<_>>(), ["ext4"]);
        assert_eq!(index.builtin_by_alias(b"fs_xfs").next(), None);
        assert_eq!(index.builtin_aliases_of("ext4").collect::<Vec<_>>(), [b"fs_ext3"]);
        assert_eq!(index.users_of("libcrc32c"), ["nf_nat"]);
        assert!(index.users_of("nf_nat").is_empty());
    }

    /// A missing index is an error that names depmod; missing built-in modules are not an error.
    #[test]
    fn missing_index_error_names_depmod() {
        let directory = tempfile::tempdir().unwrap();
        let error = ModuleIndex::load(directory.path()).unwrap_err();
        assert!(error.to_string().contains("depmod"), "{error}");
        fs::write(directory.path().join("modules.dep"), "kernel/a.ko:\n").unwrap();
        assert!(ModuleIndex::load(directory.path()).unwrap().file("a").is_some());
    }

    /// A module directory with usable indexes.
    fn modules(root: &Path, release: &str) -> std::path::PathBuf {
        let directory = root.join("lib/modules").join(release);
        fs::create_dir_all(directory.join("kernel")).unwrap();
        for name in REQUIRED {
            fs::write(directory.join(name), MAGIC).unwrap();
        }
        directory
    }

    /// Modules that are gone are reported with the reboot if another kernel's are there, and with their installation otherwise.
    #[test]
    fn missing_module_directory_is_reported_with_its_fix() {
        let root = tempfile::tempdir().unwrap();
        let directory = modules(root.path(), "6.1.0");
        check(&directory).unwrap();
        fs::rename(&directory, root.path().join("lib/modules/6.1.1")).unwrap();
        let expected = format!("{} does not exist: the kernel was upgraded; reboot", directory.display());
        assert_eq!(check(&directory).unwrap_err().to_string(), expected);
        fs::create_dir_all(directory.join("updates")).unwrap();
        let left = check(&directory).unwrap_err().to_string();
        assert!(left.ends_with("has no modules: the kernel was upgraded; reboot"), "{left}");
        fs::remove_dir_all(root.path().join("lib/modules/6.1.1")).unwrap();
        assert!(check(&directory).unwrap_err().to_string().contains("install the modules of this kernel"));
    }

    /// Each unusable index is reported by its path, with depmod.
    #[test]
    fn unusable_index_is_reported_with_depmod() {
        let root = tempfile::tempdir().unwrap();
        for name in REQUIRED {
            for (content, state) in
                [(None, "does not exist"), (Some(&b""[..]), "is empty or damaged"), (Some(b"abcdef"), "is damaged")]
            {
                let directory = modules(root.path(), "6.1.0");
                let path = directory.join(name);
                match content {
                    Some(content) => fs::write(&path, content).unwrap(),
                    None => fs::remove_file(&path).unwrap(),
                }
                let error = check(&directory).unwrap_err().to_string();
                assert_eq!(error, format!("{} {state}: run `depmod`", path.display()));
            }
        }
    }

    /// A module file that is missing or unreadable is reported by its path.
    #[test]
    fn unusable_module_file_is_reported_by_path() {
        let root = tempfile::tempdir().unwrap();
        let directory = modules(root.path(), "6.1.0");
        let index = ModuleIndex::parse("kernel/a.ko:\n", "", "");
        let path = directory.join("kernel/a.ko");
        let problem = || index.file_problem(&directory, "a");
        assert!(problem().unwrap().starts_with(&format!("{} does not exist", path.display())), "{:?}", problem());
        fs::write(&path, "").unwrap();
        assert!(problem().unwrap().contains("is empty"), "{:?}", problem());
        fs::write(&path, "x").unwrap();
        assert_eq!(problem(), None);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(problem().unwrap().contains("cannot be read"), "{:?}", problem());
        assert_eq!(index.file_problem(&directory, "b"), None);
    }

    /// The aliases on disk are normalized as those that modprobe prints.
    #[test]
    fn aliases_on_disk_are_normalized() {
        let root = tempfile::tempdir().unwrap();
        assert!(aliases_on_disk(root.path()).is_err());
        fs::write(root.path().join("modules.alias"), "# Aliases\nalias fs-udf udf\nalias x[a-b]-c d-e\nalias odd\n")
            .unwrap();
        assert_eq!(aliases_on_disk(root.path()).unwrap(), ["fs_udf udf", "x[a-b]_c d_e"]);
    }
}
