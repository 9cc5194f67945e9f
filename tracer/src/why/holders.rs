//! What uses a module now, and whether it can be removed.

use std::{fs, path::Path};

use schemars::JsonSchema;
use serde::Serialize;

use super::mounts;
use crate::{
    kernel::modules::{LoadedModule, LoadedModules},
    text::{count, escape_str},
};

/// Maximum number of names in one line.
const NAMES_MAX: usize = 6;

/// Something that uses a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Holder {
    /// `module`, `protocol`, `crypto`, `mount`, `network-device` or `device`.
    pub kind: &'static str,
    /// A description, with foreign names escaped.
    pub text: String,
}

/// Whether and how a module can be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Removal {
    /// Whether nothing is known to prevent it.
    pub possible: bool,
    /// What to do, or what prevents it.
    pub text: String,
    /// The command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What uses a module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holders {
    /// The users that were found.
    pub list: Vec<Holder>,
    /// Whether it can be removed.
    pub removal: Removal,
}

impl Holders {
    /// Finds what uses a loaded module. `file_systems` are the types of file systems that it provides.
    pub(super) fn of(root: &Path, modules: &LoadedModules, module: &LoadedModule, file_systems: &[String]) -> Self {
        let mut list = Vec::new();
        let mut add = |kind, text: Option<String>| list.extend(text.map(|text| Holder { kind, text }));
        add("module", names("module", "modules", &module.used_by));
        add("protocol", protocols(root, &module.name));
        add("crypto", ciphers(root, &module.name));
        add("mount", mounted(root, &module.name, file_systems));
        add("network-device", names("network device", "network devices", &network_devices(root, &module.name)));
        add("device", names("device", "devices", &devices(root, &module.name)));
        let removal = removal(modules, module, &list);
        Self { list, removal }
    }
}

fn removal(modules: &LoadedModules, module: &LoadedModule, list: &[Holder]) -> Removal {
    let never = |text: &str| Removal { possible: false, text: text.to_owned(), command: None };
    let Some(references) = module.references else {
        return never("this kernel cannot unload modules");
    };
    if module.is_permanent {
        return never("it cannot be unloaded: it has no exit function");
    }
    let order = removal_order(modules, module);
    let is_free = |name: &String| {
        let found = modules.modules.iter().find(|loaded| loaded.name == *name);
        found.is_some_and(|loaded| loaded.references == Some(loaded.used_by.len() as u64) && !loaded.is_permanent)
    };
    // modprobe would take another module's name for an option.
    let command = order.iter().all(|name| !name.starts_with('-')).then(|| format!("modprobe -r {}", order.join(" ")));
    let others = references.saturating_sub(module.used_by.len() as u64);
    if others > 0 {
        let text = format!("it is in use: {} not by modules", count(others, "reference", "references"));
        return Removal { possible: false, text, command: None };
    }
    match order.iter().find(|name| !is_free(name)) {
        Some(held) => never(&format!("{} needs it and is in use itself", escape_str(held))),
        None if list.iter().any(|holder| holder.kind != "module") => Removal {
            possible: true,
            text: "it has no references, but what it serves ends with it".to_owned(),
            command,
        },
        None if module.used_by.is_empty() => Removal { possible: true, text: "nothing holds it".to_owned(), command },
        None => Removal { possible: true, text: "with the modules that need it".to_owned(), command },
    }
}

/// The module, after all modules that need it, directly or not.
fn removal_order(modules: &LoadedModules, module: &LoadedModule) -> Vec<String> {
    let mut order: Vec<&str> = Vec::new();
    let mut pending: Vec<&str> = vec![&module.name];
    while let Some(name) = pending.pop() {
        if order.contains(&name) {
            continue;
        }
        order.push(name);
        let found = modules.modules.iter().find(|loaded| loaded.name == name);
        pending.extend(found.into_iter().flat_map(|loaded| loaded.used_by.iter().map(String::as_str)));
    }
    // The newest needs the older ones.
    let place = |name: &&str| modules.modules.iter().position(|loaded| loaded.name == **name);
    order.sort_by_key(place);
    order.into_iter().map(str::to_owned).collect()
}

/// `module nf_nat`, `modules a, b and 3 more`.
fn names(one: &str, many: &str, all: &[String]) -> Option<String> {
    let shown: Vec<String> = all.iter().take(NAMES_MAX).map(|name| escape_str(name)).collect();
    let more = all.len().saturating_sub(NAMES_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!all.is_empty()).then(|| format!("{} {}{rest}", if all.len() == 1 { one } else { many }, shown.join(", ")))
}

fn text(root: &Path, path: &str) -> String {
    fs::read(root.join(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Protocols in `/proc/net/protocols`: `NAME size sockets memory press maxhdr slab module ...`.
fn protocols(root: &Path, module: &str) -> Option<String> {
    let text = text(root, "proc/net/protocols");
    let of_module = text.lines().filter_map(|line| {
        // The name of a protocol may have spaces, so the fields are counted from the module.
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let at = words.iter().skip(6).position(|word| *word == module)? + 6;
        let sockets: u64 = words.get(at.checked_sub(5)?)?.parse().ok()?;
        Some(format!("{} ({})", words.get(..at - 6)?.join(" "), count(sockets, "socket", "sockets")))
    });
    names("protocol", "protocols", &of_module.collect::<Vec<_>>())
}

/// Algorithms in `/proc/crypto`.
fn ciphers(root: &Path, module: &str) -> Option<String> {
    let text = text(root, "proc/crypto");
    let of_module = text.split("\n\n").filter_map(|block| {
        let field = |key: &str| {
            let value = |line: &'_ str| {
                let (own, value) = line.split_once(':')?;
                (own.trim_end() == key).then(|| value.trim().to_owned())
            };
            block.lines().find_map(value)
        };
        (field("module")? == module).then(|| field("name"))?
    });
    names("algorithm", "algorithms", &of_module.collect::<Vec<_>>())
}

/// Mounts of the file systems that the module provides, or of the one with its name.
fn mounted(root: &Path, module: &str, file_systems: &[String]) -> Option<String> {
    let mut of_module = Vec::new();
    for (kind, mounts) in mounts::by_type(root) {
        if kind == module || file_systems.contains(&kind) {
            of_module.extend(mounts.points.iter().cloned());
            let more = mounts.count - mounts.points.len();
            if more > 0 {
                of_module.push(format!("{more} more of type {kind}"));
            }
        }
    }
    names("mount", "mounts", &of_module)
}

/// Whether a link leads to the module's directory.
fn leads_to(link: &Path, module: &str) -> bool {
    fs::read_link(link).is_ok_and(|target| target.file_name().is_some_and(|name| name == module))
}

/// Network devices in this network namespace whose driver is the module.
fn network_devices(root: &Path, module: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter(|entry| leads_to(&entry.path().join("device/driver/module"), module))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}

/// Devices that are bound to drivers of the module. Entries other than devices are files, or links to the module.
fn devices(root: &Path, module: &str) -> Vec<String> {
    if module.starts_with('.') {
        return Vec::new();
    }
    let drivers = fs::read_dir(root.join("sys/module").join(module).join("drivers")).into_iter().flatten().flatten();
    let bound = drivers.flat_map(|driver| fs::read_dir(driver.path()).into_iter().flatten().flatten());
    let is_device =
        |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink()) && entry.file_name() != "module";
    let mut found: Vec<String> =
        bound.filter(is_device).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::Holders;
    use crate::kernel::modules;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn holders(root: &Path, module: &str, file_systems: &[String]) -> (Vec<String>, bool, String, Option<String>) {
        let loaded = modules::load(root).unwrap();
        let own = loaded.modules.iter().find(|loaded| loaded.name == module).unwrap();
        let found = Holders::of(root, &loaded, own, file_systems);
        let list = found.list.into_iter().map(|holder| holder.text).collect();
        (list, found.removal.possible, found.removal.text, found.removal.command)
    }

    /// Users of every kind are found, and hostile names are escaped.
    #[test]
    fn users_of_every_kind_are_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "proc/modules", "tipc 1 3 - Live 0x0\ncrc 1 0 - Live 0x0\n");
        let head = "protocol  size sockets  memory press maxhdr  slab module     cl co di\n";
        write(
            root,
            "proc/net/protocols",
            &format!(
                "{head}A \x1bB      1000      2      -1   NI       0   no   tipc        y\nTCP 1 7 1 no 1 yes kernel y\n"
            ),
        );
        write(
            root,
            "proc/crypto",
            "name         : crc32\ndriver       : x\nmodule       : crc\nrefcnt       : 1\n\nname : y\nmodule : kernel\n",
        );
        write(root, "proc/self/mounts", "dev /mnt/a\\040b tipcfs rw 0 0\ndev /x ext4 rw 0 0\nbad\n");
        fs::create_dir_all(root.join("sys/class/net/eth\x1b0/device/driver")).unwrap();
        symlink("../../../module/tipc", root.join("sys/class/net/eth\x1b0/device/driver/module")).unwrap();
        fs::create_dir_all(root.join("sys/module/tipc/drivers/pci:x")).unwrap();
        symlink("../0000:00:01.0", root.join("sys/module/tipc/drivers/pci:x/0000:00:01.0")).unwrap();
        let (list, possible, text, command) = holders(root, "tipc", &["tipcfs".to_owned()]);
        assert_eq!(
            list,
            ["protocol A \\x1bB (2 sockets)", "mount /mnt/a b", "network device eth\\x1b0", "device 0000:00:01.0"]
        );
        assert_eq!((possible, text.as_str(), command), (false, "it is in use: 3 references not by modules", None));
        let (list, possible, _, command) = holders(root, "crc", &[]);
        assert_eq!(list, ["algorithm crc32"]);
        assert_eq!((possible, command.as_deref()), (true, Some("modprobe -r crc")));
    }

    /// The modules that need it are removed first; what cannot be removed is said.
    #[test]
    fn removal_names_users_first() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let lines = "iptable_nat 1 0 - Live 0x0\nnf_nat 1 1 iptable_nat, Live 0x0\nnf_conntrack 1 1 nf_nat, Live 0x0\n";
        write(root, "proc/modules", lines);
        let (list, possible, text, command) = holders(root, "nf_conntrack", &[]);
        assert_eq!(
            (list, possible, text.as_str()),
            (vec!["module nf_nat".to_owned()], true, "with the modules that need it")
        );
        assert_eq!(command.as_deref(), Some("modprobe -r iptable_nat nf_nat nf_conntrack"));
        write(root, "proc/modules", &lines.replace("iptable_nat 1 0 -", "iptable_nat 1 2 -"));
        assert_eq!(holders(root, "nf_conntrack", &[]).2, "iptable_nat needs it and is in use itself");
        write(root, "proc/modules", "a 1 1 [permanent], Live 0x0\nb 1 - - Live 0x0\n");
        assert_eq!(holders(root, "a", &[]).2, "it cannot be unloaded: it has no exit function");
        assert_eq!(holders(root, "b", &[]).2, "this kernel cannot unload modules");
    }
}
