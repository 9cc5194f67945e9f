//! The file tree of a guest: sorted paths, each with the source of its content.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::cpio::Writer;

/// Top-level directories that are links into `/usr` on current Debian systems.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib64"];

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory { mode: u32 },
    HostFile { path: PathBuf, mode: u32 },
    Bytes { data: Vec<u8>, mode: u32 },
    Symlink { target: String },
}

/// A file tree to be packed. Paths are relative, without a leading slash.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// An empty tree with the links of a merged `/usr`.
    pub(crate) fn merged() -> Result<Self> {
        let mut tree = Self::default();
        for name in MERGED {
            tree.directory(&format!("usr/{name}"), 0o755)?;
            tree.nodes.insert((*name).to_owned(), Node::Symlink { target: format!("usr/{name}") });
        }
        Ok(tree)
    }

    /// Adds a directory and its parents.
    pub(crate) fn directory(&mut self, path: &str, mode: u32) -> Result<()> {
        let path = normalise(path)?;
        self.parents(&path)?;
        self.nodes.insert(path, Node::Directory { mode });
        Ok(())
    }

    /// Adds a file from the host.
    pub(crate) fn host_file(&mut self, path: &str, host: &Path) -> Result<()> {
        let metadata = fs::metadata(host).with_context(|| format!("cannot read {}", host.display()))?;
        if !metadata.is_file() {
            bail!("cannot add {}: it is not a regular file", host.display());
        }
        self.insert(path, Node::HostFile { path: host.to_owned(), mode: metadata.permissions().mode() & 0o7777 })
    }

    /// Adds a file with the given content.
    pub(crate) fn bytes(&mut self, path: &str, mode: u32, data: impl Into<Vec<u8>>) -> Result<()> {
        self.insert(path, Node::Bytes { data: data.into(), mode })
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.insert(path, Node::Symlink { target: target.to_owned() })
    }

    /// Whether the tree contains a path.
    pub(crate) fn contains(&self, path: &str) -> bool {
        normalise(path).is_ok_and(|path| self.nodes.contains_key(&path))
    }

    /// Adds the content of a host directory, except paths for which `skip` returns true.
    pub(crate) fn host_tree(&mut self, host: &Path, skip: &dyn Fn(&str) -> bool) -> Result<()> {
        self.host_tree_at(host, "", skip)
    }

    fn host_tree_at(&mut self, host: &Path, prefix: &str, skip: &dyn Fn(&str) -> bool) -> Result<()> {
        let entries = fs::read_dir(host).with_context(|| format!("cannot list {}", host.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", host.display()))?;
            let source = entry.path();
            let name = entry.file_name().into_string();
            let name = name.map_err(|name| anyhow::anyhow!("{}: name {name:?} is not UTF-8", host.display()))?;
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if skip(&path) {
                continue;
            }
            let metadata =
                fs::symlink_metadata(&source).with_context(|| format!("cannot read {}", source.display()))?;
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                // Keep the top-level links of a merged `/usr`.
                if !MERGED.contains(&path.as_str()) {
                    self.directory(&path, mode)?;
                }
                self.host_tree_at(&source, &path, skip)?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(&source).with_context(|| format!("cannot read {}", source.display()))?;
                let target =
                    target.to_str().with_context(|| format!("{}: the target is not UTF-8", source.display()))?;
                self.symlink(&path, target)?;
            } else {
                self.host_file(&path, &source)?;
            }
        }
        Ok(())
    }

    /// Packs the tree as one cpio archive.
    pub(crate) fn pack<W: Write>(&self, out: W) -> Result<W> {
        let mut writer = Writer::new(out);
        for (path, node) in &self.nodes {
            write_node(&mut writer, path, node).with_context(|| format!("cannot pack {path}"))?;
        }
        writer.finish().context("cannot end the archive")
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<()> {
        let path = normalise(path)?;
        self.parents(&path)?;
        self.nodes.insert(path, node);
        Ok(())
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            match self.nodes.get(parent) {
                None => {
                    self.nodes.insert(parent.to_owned(), Node::Directory { mode: 0o755 });
                }
                Some(Node::Directory { .. }) => {}
                Some(_) => bail!("cannot add {path}: {parent} is not a directory"),
            }
        }
        Ok(())
    }
}

fn write_node<W: Write>(writer: &mut Writer<W>, path: &str, node: &Node) -> io::Result<()> {
    match node {
        Node::Directory { mode } => writer.directory(path, *mode),
        Node::HostFile { path: host, mode } => writer.file(path, *mode, &fs::read(host)?),
        Node::Bytes { data, mode } => writer.file(path, *mode, data),
        Node::Symlink { target } => writer.symlink(path, target),
    }
}

/// Normalizes a path: relative, without empty parts, and below `/usr` if it is in a merged directory.
fn normalise(path: &str) -> Result<String> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() || parts.contains(&"..") {
        bail!("invalid guest path {path:?}: expected a path without ..");
    }
    if parts.len() > 1 && MERGED.contains(&parts[0]) {
        parts.insert(0, "usr");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below `/bin` and similar are added below `/usr`, and the links are kept.
    #[test]
    fn usr_is_merged() {
        let mut tree = Tree::merged().unwrap();
        tree.bytes("/sbin/modprobe", 0o755, "x").unwrap();
        assert!(tree.contains("usr/sbin/modprobe") && tree.contains("sbin/modprobe"));
        assert_eq!(tree.nodes["sbin"], Node::Symlink { target: "usr/sbin".into() });
    }

    /// Parents are created, are packed before their children, and are never replaced.
    #[test]
    fn parents_come_first() {
        let mut tree = Tree::default();
        tree.bytes("a/b/c", 0o644, "x").unwrap();
        assert_eq!(tree.nodes.keys().collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
        assert!(tree.bytes("a/b/c/d", 0o644, "y").is_err());
    }

    /// Paths outside the root, and the root itself, are errors.
    #[test]
    fn paths_outside_are_errors() {
        let mut tree = Tree::default();
        for path in ["", "/", "../x", "a/../../x"] {
            assert!(tree.bytes(path, 0o644, "").is_err(), "{path:?}");
        }
    }

    /// A host directory is added with modes and links, except skipped paths.
    #[test]
    fn host_tree_is_added() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("bin")).unwrap();
        fs::create_dir_all(dir.path().join("usr/share/doc")).unwrap();
        fs::write(dir.path().join("bin/kmod"), "k").unwrap();
        fs::set_permissions(dir.path().join("bin/kmod"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("kmod", dir.path().join("bin/lsmod")).unwrap();
        let mut tree = Tree::merged().unwrap();
        tree.host_tree(dir.path(), &|path| path.starts_with("usr/share")).unwrap();
        let kmod = Node::HostFile { path: dir.path().join("bin/kmod"), mode: 0o755 };
        assert_eq!(tree.nodes["usr/bin/kmod"], kmod);
        assert_eq!(tree.nodes["usr/bin/lsmod"], Node::Symlink { target: "kmod".into() });
        assert!(!tree.contains("usr/share"));
    }
}
