//! Character devices in `/dev` and the users who may open them.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, Metadata},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{getxattr, major, minor};

/// Maximum number of entries that are examined, and depth of directories; real systems have a few hundred in three levels.
const ENTRIES_LIMIT: usize = 20_000;
const DEPTH_LIMIT: usize = 6;

const READ_OR_WRITE: u32 = 0o6;
const SEARCH: u32 = 0o1;

/// The attribute with the access control list of a file.
const ACL: &str = "system.posix_acl_access";

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceNode {
    /// Its path.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Its users.
    pub openers: Openers,
}

/// The users who may open a device node. Root always may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Openers {
    /// Root only.
    Root,
    /// A user who owns it.
    User(u32),
    /// Users who are named in its access control list.
    Listed,
    /// Members of a group: its name, or `gid 107`.
    Group(String),
    /// Any user.
    Anyone,
}

/// The character devices of a system.
#[derive(Clone, Debug, Default)]
pub struct DeviceNodes {
    nodes: BTreeMap<(u32, u32), Vec<DeviceNode>>,
    groups: HashMap<u32, String>,
    examined: usize,
}

impl DeviceNodes {
    /// Examines `/dev` under a root directory; `None` if it cannot be read.
    #[must_use]
    pub fn read(root: &Path) -> Option<Self> {
        let mut nodes = Self { groups: groups(root), ..Self::default() };
        let directory = root.join("dev");
        let metadata = fs::metadata(&directory).ok()?;
        fs::read_dir(&directory).ok()?;
        nodes.directory(&directory, Path::new("/dev"), may_search(&metadata), DEPTH_LIMIT);
        Some(nodes)
    }

    fn directory(&mut self, directory: &Path, shown: &Path, is_open: bool, depth: usize) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            self.examined += 1;
            if self.examined > ENTRIES_LIMIT {
                return;
            }
            // Symbolic links lead to other nodes here.
            let Ok(metadata) = entry.metadata() else { continue };
            let shown = shown.join(entry.file_name());
            let of = metadata.file_type();
            if of.is_dir() && depth > 0 {
                self.directory(&entry.path(), &shown, is_open && may_search(&metadata), depth - 1);
            } else if of.is_char_device() {
                let number = (major(metadata.rdev()), minor(metadata.rdev()));
                let has_acl = getxattr(entry.path(), ACL, &mut [0_u8; 0]).is_ok_and(|bytes| bytes > 0);
                self.add(number, shown, &metadata, has_acl, is_open);
            }
        }
    }

    fn add(&mut self, number: (u32, u32), path: PathBuf, metadata: &Metadata, has_acl: bool, is_open: bool) {
        let openers = match is_open {
            true => self.openers(metadata.mode(), metadata.uid(), metadata.gid(), has_acl),
            // A directory on its path is closed to users.
            false => Openers::Root,
        };
        let node = DeviceNode { path, mode: metadata.mode() & 0o7777, openers };
        self.nodes.entry(number).or_default().push(node);
    }

    fn openers(&self, mode: u32, uid: u32, gid: u32, has_acl: bool) -> Openers {
        if mode & READ_OR_WRITE != 0 {
            Openers::Anyone
        } else if (mode >> 3) & READ_OR_WRITE != 0 && gid != 0 {
            Openers::Group(self.groups.get(&gid).cloned().unwrap_or_else(|| format!("gid {gid}")))
        } else if has_acl {
            Openers::Listed
        } else if (mode >> 6) & READ_OR_WRITE != 0 && uid != 0 {
            Openers::User(uid)
        } else {
            Openers::Root
        }
    }

    /// The node that most users may open, of those with this number, or with this major number. `None` if there is no node.
    #[must_use]
    pub fn widest(&self, major: u32, minor: Option<u32>) -> Option<&DeviceNode> {
        let (first, last) = minor.map_or((0, u32::MAX), |minor| (minor, minor));
        let nodes = self.nodes.range((major, first)..=(major, last)).flat_map(|(_, nodes)| nodes);
        nodes.max_by(|one, other| one.openers.cmp(&other.openers))
    }

    /// The numbers of all nodes.
    pub fn numbers(&self) -> impl Iterator<Item = (u32, u32)> {
        self.nodes.keys().copied()
    }

    /// A system with these nodes, as `(major, minor, path, mode, group)`.
    #[cfg(test)]
    pub(crate) fn of(nodes: &[(u32, u32, &str, u32, &str)]) -> Self {
        let mut all = Self { groups: HashMap::from([(0, "root".to_owned())]), ..Self::default() };
        for (number, (major, minor, path, mode, group)) in (1..).zip(nodes) {
            let gid = if *group == "root" { 0 } else { number };
            all.groups.insert(gid, (*group).to_owned());
            let openers = all.openers(*mode, 0, gid, false);
            all.nodes.entry((*major, *minor)).or_default().push(DeviceNode { path: path.into(), mode: *mode, openers });
        }
        all
    }
}

const fn has(mode: u32, bits: u32) -> bool {
    mode & bits == bits
}

fn may_search(directory: &Metadata) -> bool {
    has(directory.mode(), SEARCH)
}

/// The names of groups, from `/etc/group`.
fn groups(root: &Path) -> HashMap<u32, String> {
    let text = fs::read(root.join("etc/group")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let groups = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    });
    let mut names = HashMap::new();
    // Of several names of one id, the first counts.
    groups.for_each(|(gid, name)| {
        names.entry(gid).or_insert(name);
    });
    names
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{DeviceNodes, Openers, groups};

    /// Others count before the group, the group before an access control list, and root's own group is root.
    #[test]
    fn openers_follow_the_mode() {
        let nodes = DeviceNodes::default();
        let openers = |mode, uid, gid, acl| nodes.openers(mode, uid, gid, acl);
        assert_eq!(openers(0o666, 0, 107, false), Openers::Anyone);
        assert_eq!(openers(0o604, 0, 0, false), Openers::Anyone);
        assert_eq!(openers(0o660, 0, 107, true), Openers::Group("gid 107".to_owned()));
        assert_eq!(openers(0o660, 0, 0, true), Openers::Listed);
        assert_eq!(openers(0o600, 1000, 0, false), Openers::User(1000));
        assert_eq!(openers(0o660, 0, 0, false), Openers::Root);
        assert_eq!(openers(0o000, 0, 107, false), Openers::Root);
    }

    /// Of several nodes with one number, the one that most users may open counts; a number without a node has none.
    #[test]
    fn widest_node_of_a_number_counts() {
        let nodes = DeviceNodes::of(&[
            (10, 200, "/dev/x", 0o600, "root"),
            (10, 200, "/dev/net/tun", 0o666, "root"),
            (10, 232, "/dev/kvm", 0o660, "kvm"),
            (108, 0, "/dev/ppp", 0o600, "root"),
        ]);
        let path = |major, minor| nodes.widest(major, minor).map(|node| node.path.display().to_string());
        assert_eq!(path(10, Some(200)).as_deref(), Some("/dev/net/tun"));
        assert_eq!(nodes.widest(10, Some(232)).map(|node| &node.openers), Some(&Openers::Group("kvm".to_owned())));
        assert_eq!((path(10, Some(9)), path(108, None).as_deref()), (None, Some("/dev/ppp")));
        assert_eq!(nodes.numbers().count(), 3);
    }

    /// The devices of this machine are found with their directories, and a missing /dev is unknown.
    #[test]
    fn devices_of_this_machine_are_found() {
        let nodes = DeviceNodes::read(Path::new("/")).unwrap();
        let null = nodes.widest(1, Some(3)).unwrap();
        assert_eq!((null.path.as_path(), &null.openers), (Path::new("/dev/null"), &Openers::Anyone));
        assert!(DeviceNodes::read(tempfile::tempdir().unwrap().path()).is_none());
    }

    /// Groups are read by number; other lines are ignored.
    #[test]
    fn groups_have_names() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/group"), "root:x:0:\nkvm:x:107:alice\nother:x:107:\nbad\n:x:9:\n").unwrap();
        let groups = groups(root.path());
        assert_eq!((groups.get(&107).map(String::as_str), groups.len()), (Some("kvm"), 2));
    }
}
