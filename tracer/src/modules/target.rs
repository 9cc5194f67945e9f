//! What a name is, and so what keeps it out.

use crate::{
    event::Text,
    glob,
    modprobe::{Config, ModuleIndex, Resolution, resolve},
    modules::Machine,
};

/// What is to be kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A module.
    Module {
        /// Its name, as the kernel spells it.
        module: String,
        /// It has soft dependencies, with which modprobe ignores `install` lines.
        has_softdeps: bool,
        /// Aliases it carries that are no patterns.
        aliases: Vec<String>,
        /// Modules that need it: they will not load either.
        needed_by: Vec<String>,
        /// It is loaded now; `None` when that is not known.
        loaded: Option<bool>,
    },
    /// An alias alone: the modules behind it can still come by other names.
    Alias {
        /// The alias, as a normal name.
        alias: String,
        /// What it leads to.
        modules: Vec<String>,
    },
}

/// What can be done about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plan {
    /// Lines for modprobe.d.
    Block(Target),
    /// The code is part of the kernel: nothing is loaded, and modprobe.d cannot help.
    BuiltIn {
        /// The module it would be.
        module: String,
    },
    /// Nothing here provides it.
    Nothing {
        /// Why, in words that hold no byte of the name.
        why: &'static str,
    },
}

/// Says what can be done about a name: a module's own, or an alias.
#[must_use]
pub fn plan(name: &Text, config: &Config, index: &ModuleIndex, machine: &Machine) -> Plan {
    let bytes = name.as_bytes();
    let is_plain =
        !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"*?[]\\#\"'/".contains(byte));
    let Some(normal) = glob::normalize(bytes).filter(|_| is_plain) else {
        return Plan::Nothing { why: "it is no plain name: give the name of a module, or one alias without patterns" };
    };
    let normal = String::from_utf8_lossy(&normal).into_owned();
    if index.is_builtin(&normal) {
        return Plan::BuiltIn { module: normal };
    }
    if index.file(&normal).is_some() {
        let is_for = |pattern: &str| glob::matches(pattern.as_bytes(), normal.as_bytes());
        return Plan::Block(Target::Module {
            has_softdeps: config.softdeps.iter().any(|softdep| is_for(&softdep.pattern)),
            aliases: config.plain_aliases_of(&normal),
            needed_by: index.users_of(&normal),
            loaded: machine.loaded.as_ref().map(|loaded| loaded.contains_key(&normal)),
            module: normal,
        });
    }
    match resolve(config, index, bytes) {
        Resolution::NotFound => {
            Plan::Nothing { why: "no module of this kernel has this name or alias: there is nothing to keep out" }
        }
        Resolution::BuiltIn { module } => Plan::BuiltIn { module },
        Resolution::Off { .. } | Resolution::Blacklisted { .. } => {
            Plan::Nothing { why: "the configuration keeps it out already: see `kmodtrace explain`" }
        }
        Resolution::Install { module, .. } => Plan::Block(Target::Alias { alias: normal, modules: vec![module] }),
        Resolution::Modules(planned) => {
            let modules = planned.into_iter().map(|planned| planned.module).collect();
            Plan::Block(Target::Alias { alias: normal, modules })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Machine, ModuleIndex, Plan, Target, Text, plan};

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

    fn plan_for(name: &[u8]) -> Plan {
        let config = Config::parse(CONFIG).unwrap();
        let index = ModuleIndex::parse(DEP, "kernel/fs/ext4.ko\n", "ext4.alias=fs-ext3\0");
        plan(&Text::from(name), &config, &index, &Machine::default())
    }

    /// Check that a module is known by its own name, with the aliases that can be tried and those that need it.
    #[test]
    fn modules_are_planned() {
        let Plan::Block(Target::Module { module, has_softdeps, aliases, .. }) = plan_for(b"btrfs") else { panic!() };
        assert_eq!((module.as_str(), has_softdeps), ("btrfs", true));
        assert_eq!(aliases, ["fs_btrfs", "devname:btrfs_control"]);
        let Plan::Block(Target::Module { needed_by, has_softdeps, .. }) = plan_for(b"udp-tunnel") else { panic!() };
        assert_eq!((needed_by, has_softdeps), (vec!["tipc".to_owned()], false));
    }

    /// Check that an alias is kept out by itself, and that built-in code and names of nothing are told apart.
    #[test]
    fn other_names_are_told_apart() {
        let modules = vec!["udp_tunnel".to_owned(), "tipc".to_owned()];
        assert_eq!(plan_for(b"net-pf-30"), Plan::Block(Target::Alias { alias: "net_pf_30".to_owned(), modules }));
        assert_eq!(plan_for(b"fs-ext3"), Plan::BuiltIn { module: "ext4".to_owned() });
        assert_eq!(plan_for(b"ext4"), Plan::BuiltIn { module: "ext4".to_owned() });
        for nothing in
            [&b"nosuch"[..], b"net-pf-31", b"crypto-*", b"a b", b"", b"x\ninstall y /bin/evil", b"../x", b"a#b"]
        {
            assert!(matches!(plan_for(nothing), Plan::Nothing { .. }), "{nothing:?}");
        }
    }
}
