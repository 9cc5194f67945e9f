//! Classifies a name that is to be blocked.

use crate::{
    event::Text,
    glob,
    modprobe::{Config, ModuleIndex, Resolution, resolve},
    modules::Machine,
};

/// What is to be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockTarget {
    /// A module.
    Module {
        /// Its name, as spelled by the kernel.
        module: String,
        /// Whether it has soft dependencies, for which modprobe ignores `install` lines.
        has_softdeps: bool,
        /// Its aliases without wildcards.
        aliases: Vec<String>,
        /// Modules that depend on it: they will not load either.
        needed_by: Vec<String>,
        /// Whether it is loaded now; `None` if unknown.
        loaded: Option<bool>,
    },
    /// Only an alias: its modules can still be loaded by other names.
    Alias {
        /// The normalized alias.
        alias: String,
        /// The modules it resolves to.
        modules: Vec<String>,
    },
}

/// Whether a name can be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blockability {
    /// It can be blocked by lines for modprobe.d.
    Block(BlockTarget),
    /// It is built in: nothing is loaded, and modprobe.d has no effect.
    BuiltIn {
        /// The module.
        module: String,
    },
    /// There is nothing to block.
    NotBlockable {
        /// The reason, which contains no byte of the name.
        why: &'static str,
    },
}

/// Classifies a name: the name of a module, or an alias.
#[must_use]
pub fn classify(name: &Text, config: &Config, index: &ModuleIndex, machine: &Machine) -> Blockability {
    let bytes = name.as_bytes();
    let is_plain =
        !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"*?[]\\#\"'/".contains(byte));
    let Some(normal) = glob::normalize(bytes).filter(|_| is_plain) else {
        return Blockability::NotBlockable { why: "expected the name of a module, or one alias without wildcards" };
    };
    let normal = String::from_utf8_lossy(&normal).into_owned();
    if index.is_builtin(&normal) {
        return Blockability::BuiltIn { module: normal };
    }
    if index.file(&normal).is_some() {
        let is_for = |pattern: &str| glob::matches(pattern.as_bytes(), normal.as_bytes());
        return Blockability::Block(BlockTarget::Module {
            has_softdeps: config.softdeps.iter().any(|softdep| is_for(&softdep.pattern)),
            aliases: config.plain_aliases_of(&normal),
            needed_by: index.users_of(&normal),
            loaded: machine.loaded.as_ref().map(|loaded| loaded.contains_key(&normal)),
            module: normal,
        });
    }
    match resolve(config, index, bytes) {
        Resolution::NotFound => Blockability::NotBlockable { why: "no module of this kernel has this name or alias" },
        Resolution::BuiltIn { module } => Blockability::BuiltIn { module },
        Resolution::Off { .. } | Resolution::Blacklisted { .. } => {
            Blockability::NotBlockable { why: "the configuration blocks it already: see `kmodtrace explain`" }
        }
        Resolution::Install { module, .. } => {
            Blockability::Block(BlockTarget::Alias { alias: normal, modules: vec![module] })
        }
        Resolution::Modules(planned) => {
            let modules = planned.into_iter().map(|planned| planned.module).collect();
            Blockability::Block(BlockTarget::Alias { alias: normal, modules })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockTarget, Blockability, Config, Machine, ModuleIndex, Text, classify};

    const CONFIG: &str = "\
alias net_pf_31 off
softdep btrfs pre: crc32c

# End of configuration files. Dumping indexes now:

alias net_pf_30 tipc
alias fs_btrfs btrfs
alias devname:btrfs_control btrfs
alias usb:v*p* btrfs
";
    const DEP: &str = "kernel/tipc.ko: kernel/udp_tunnel.ko\nkernel/udp_tunnel.ko:\nkernel/fs/btrfs.ko:\n";

    fn classified(name: &[u8]) -> Blockability {
        let config = Config::parse(CONFIG).unwrap();
        let index = ModuleIndex::parse(DEP, "kernel/fs/ext4.ko\n", "ext4.alias=fs-ext3\0");
        classify(&Text::from(name), &config, &index, &Machine::default())
    }

    /// A module name is classified with its aliases and dependent modules.
    #[test]
    fn module_name_is_classified_with_aliases_and_users() {
        let Blockability::Block(BlockTarget::Module { module, has_softdeps, aliases, .. }) = classified(b"btrfs")
        else {
            panic!()
        };
        assert_eq!((module.as_str(), has_softdeps), ("btrfs", true));
        assert_eq!(aliases, ["fs_btrfs", "devname:btrfs_control"]);
        let Blockability::Block(BlockTarget::Module { needed_by, has_softdeps, .. }) = classified(b"udp-tunnel") else {
            panic!()
        };
        assert_eq!((needed_by, has_softdeps), (vec!["tipc".to_owned()], false));
    }

    /// An alias, built-in code and an unknown name are classified differently.
    #[test]
    fn alias_builtin_and_unknown_names_are_distinguished() {
        let modules = vec!["udp_tunnel".to_owned(), "tipc".to_owned()];
        assert_eq!(
            classified(b"net-pf-30"),
            Blockability::Block(BlockTarget::Alias { alias: "net_pf_30".to_owned(), modules })
        );
        assert_eq!(classified(b"fs-ext3"), Blockability::BuiltIn { module: "ext4".to_owned() });
        assert_eq!(classified(b"ext4"), Blockability::BuiltIn { module: "ext4".to_owned() });
        for nothing in
            [&b"nosuch"[..], b"net-pf-31", b"crypto-*", b"a b", b"", b"x\ninstall y /bin/evil", b"../x", b"a#b"]
        {
            assert!(matches!(classified(nothing), Blockability::NotBlockable { .. }), "{nothing:?}");
        }
    }
}
