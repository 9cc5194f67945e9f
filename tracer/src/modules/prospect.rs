//! What a request would lead to on this system: what modprobe would do, and what the kernel would do with that. Every verb that says
//! whether something loads or is blocked asks here.

use super::Machine;
use crate::{
    event::Reason,
    modprobe::{
        Config, ModuleIndex, Planned, Resolution, for_dependency, install_line, replaced_dependencies, resolve,
        resolve_module,
    },
};

/// What a request would lead to, the most open one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Effect {
    /// Modules are loaded.
    Loads,
    /// Everything is loaded already.
    Loaded,
    /// The configuration or the kernel prevents it.
    Blocked,
    /// The module is built in.
    BuiltIn,
    /// No module has the name.
    NotFound,
}

/// What a request would lead to, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prospect {
    /// The effect.
    pub effect: Effect,
    /// What prevents the load.
    pub blocks: Vec<String>,
    /// Lines that would prevent the load, but have no effect now.
    pub ineffective: Vec<String>,
    /// The modules that the name is for.
    pub targets: Vec<String>,
}

impl Prospect {
    /// The prospect of a resolution.
    #[must_use]
    pub fn of(resolution: &Resolution, machine: &Machine) -> Self {
        let is_live = |module: &String| machine.is_live(module);
        let mut prospect =
            Self { effect: Effect::Blocked, blocks: Vec::new(), ineffective: Vec::new(), targets: Vec::new() };
        match resolution {
            Resolution::NotFound => prospect.effect = Effect::NotFound,
            Resolution::BuiltIn { module } => {
                prospect.effect = Effect::BuiltIn;
                prospect.targets.push(module.clone());
            }
            Resolution::Off { .. } => prospect.blocks.push(resolution.detail()),
            Resolution::Blacklisted { module, .. } | Resolution::Install { module, .. } => {
                prospect.targets.push(module.clone());
                // modprobe skips a module that is live before it looks at commands.
                if is_live(module) {
                    prospect.effect = Effect::Loaded;
                    prospect.ineffective.push(until_next_boot(&resolution.detail(), module));
                } else {
                    prospect.blocks.push(resolution.detail());
                }
            }
            Resolution::Modules(planned) => prospect.add_modules(planned, machine),
        }
        if prospect.effect == Effect::Loads || prospect.effect == Effect::Blocked {
            prospect.blocks.extend(machine.stops.iter().cloned());
        }
        if prospect.effect == Effect::Loads && !prospect.blocks.is_empty() {
            prospect.effect = Effect::Blocked;
        }
        prospect
    }

    fn add_modules(&mut self, planned: &[Planned], machine: &Machine) {
        self.effect = Effect::Loads;
        for (module, command) in replaced_dependencies(planned) {
            if machine.is_live(module) {
                self.ineffective.push(until_next_boot(&install_line(module, command), module));
            } else if self.blocks.is_empty() {
                self.blocks.push(for_dependency(module, command));
            }
        }
        // A command that replaces one of several modules loads nothing here.
        let loads = |planned: &&Planned| planned.command.is_none() || planned.reason == Reason::Dependency;
        let meant = |planned: &&Planned| matches!(planned.reason, Reason::Asked | Reason::Alias);
        self.targets.extend(planned.iter().filter(loads).filter(meant).map(|planned| planned.module.clone()));
        let mut needed = planned.iter().filter(loads).filter(|planned| planned.reason != Reason::Softdep);
        if planned.iter().filter(loads).all(|planned| machine.is_live(&planned.module)) {
            self.effect = Effect::Loaded;
        } else if let Some(refusal) =
            needed.find_map(|planned| machine.refusal(&planned.module).filter(|_| !machine.is_live(&planned.module)))
        {
            self.blocks.push(refusal);
        }
    }
}

fn until_next_boot(line: &str, module: &str) -> String {
    format!("{line}, until the next boot: {module} is loaded already")
}

/// The prospect of a name that the kernel requests, for one module: the name may lead to others.
pub(super) fn prospect_of_module(
    name: &str,
    module: &str,
    config: &Config,
    index: &ModuleIndex,
    machine: &Machine,
) -> Prospect {
    let resolution = resolve(config, index, name.as_bytes());
    let is_other = |of: &String| of != module;
    match &resolution {
        Resolution::Modules(planned) => match planned.iter().find(|planned| planned.module == module) {
            Some(Planned { command: None, .. }) => Prospect::of(&resolution, machine),
            Some(Planned { command: Some(command), .. }) => blocked(module, install_line(module, command), machine),
            None => not_planned(name, module, planned, config, index, machine),
        },
        Resolution::Off { .. } => blocked(module, resolution.detail(), machine),
        Resolution::Blacklisted { module: of, .. } | Resolution::Install { module: of, .. } if is_other(of) => {
            not_planned(name, module, &[], config, index, machine)
        }
        _ => Prospect::of(&resolution, machine),
    }
}

/// The prospect of a module that has the name and is not loaded for it: a line keeps it out, or leads the name to others.
fn not_planned(
    name: &str,
    module: &str,
    planned: &[Planned],
    config: &Config,
    index: &ModuleIndex,
    machine: &Machine,
) -> Prospect {
    let own = resolve_module(config, index, module, true);
    let line = match &own {
        Resolution::Blacklisted { .. } | Resolution::Install { .. } => own.detail(),
        _ => {
            let other = planned.last().map_or("another module", |planned| planned.module.as_str());
            format!("an alias line of the configuration leads {name} to {other}")
        }
    };
    blocked(module, line, machine)
}

fn blocked(module: &str, line: String, machine: &Machine) -> Prospect {
    let is_live = machine.is_live(module);
    Prospect {
        effect: if is_live { Effect::Loaded } else { Effect::Blocked },
        ineffective: is_live.then(|| until_next_boot(&line, module)).into_iter().collect(),
        blocks: (!is_live).then_some(line).into_iter().collect(),
        targets: vec![module.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Effect, Machine, Prospect, prospect_of_module};
    use crate::{
        kernel::modules::State,
        modprobe::{Config, ModuleIndex, resolve},
    };

    const DEP: &str = "kernel/udf.ko: kernel/crc.ko\nkernel/crc.ko:\nkernel/a.ko:\nkernel/b.ko:\n";
    const INDEX: &str =
        "\n# End of configuration files. Dumping indexes now:\n\nalias fs_udf udf\nalias two a\nalias two b\n";

    fn config(lines: &str) -> (Config, ModuleIndex) {
        (Config::parse(format!("{lines}{INDEX}")).unwrap(), ModuleIndex::parse(DEP, "", ""))
    }

    fn machine(live: &[&str], refused: &[&str]) -> Machine {
        let loaded: HashMap<_, _> = live.iter().map(|name| ((*name).to_owned(), State::Live)).collect();
        let refused = refused.iter().map(|name| (*name).to_owned()).collect();
        Machine { loaded: Some(loaded), refused, ..Machine::default() }
    }

    fn prospect(lines: &str, name: &str, machine: &Machine) -> Prospect {
        let (config, index) = config(lines);
        Prospect::of(&resolve(&config, &index, name.as_bytes()), machine)
    }

    /// A module that is live is loaded, whatever a line says; the line has no effect until the next boot.
    #[test]
    fn live_module_is_loaded_whatever_the_lines_say() {
        for line in ["install udf /bin/false\n", "blacklist udf\n"] {
            let live = prospect(line, "fs_udf", &machine(&["udf", "crc"], &[]));
            assert_eq!((live.effect, live.blocks.len(), live.ineffective.len()), (Effect::Loaded, 0, 1), "{line}");
            assert_eq!(prospect(line, "fs_udf", &machine(&[], &[])).effect, Effect::Blocked);
        }
        let dependency = prospect("install crc /bin/false\n", "fs_udf", &machine(&["crc"], &[]));
        assert_eq!((dependency.effect, dependency.ineffective.len()), (Effect::Loads, 1));
    }

    /// A module that the kernel refuses is blocked, also as a dependency, unless it is live.
    #[test]
    fn module_that_the_kernel_refuses_is_blocked() {
        for refused in ["udf", "crc"] {
            let found = prospect("", "fs_udf", &machine(&[], &[refused]));
            assert_eq!(found.effect, Effect::Blocked, "{refused}");
            assert!(found.blocks[0].contains("module_blacklist="), "{:?}", found.blocks);
        }
        assert_eq!(prospect("", "fs_udf", &machine(&["crc"], &["crc"])).effect, Effect::Loads);
        assert_eq!(prospect("", "fs_udf", &machine(&[], &["a"])).effect, Effect::Loads);
    }

    /// If an alias has several modules, a line about one of them blocks this one only.
    #[test]
    fn one_of_several_modules_is_blocked_alone() {
        for lines in ["blacklist a\n", "install a /bin/false\n"] {
            let (config, index) = config(lines);
            let of = |module: &str| prospect_of_module("two", module, &config, &index, &machine(&[], &[]));
            assert_eq!((of("a").effect, of("b").effect), (Effect::Blocked, Effect::Loads), "{lines}");
            assert!(of("a").blocks[0].starts_with(lines.trim_end()), "{:?}", of("a").blocks);
        }
        let (config, index) = config("alias two udf\n");
        let found = prospect_of_module("two", "a", &config, &index, &machine(&[], &[]));
        assert_eq!(found.blocks, ["an alias line of the configuration leads two to udf"]);
    }
}
