//! The modules of a kernel: `modules.dep`, `modules.builtin` and `modules.builtin.modinfo`.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use crate::{
    glob,
    kernel::{ReadError, file::read},
};

const NEEDS_DEPMOD: &str = "install the modules of this kernel, or run `depmod` (modprobe needs this index too)";

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

/// The module name of a path: `kernel/net/ipv4/netfilter/ip-tables.ko.xz` is `ip_tables`.
pub(super) fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::{ModuleIndex, module_name};

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
        std::fs::write(directory.path().join("modules.dep"), "kernel/a.ko:\n").unwrap();
        assert!(ModuleIndex::load(directory.path()).unwrap().file("a").is_some());
    }
}
