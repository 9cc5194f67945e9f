//! Dry runs: the installed modprobe reports what it would load with new lines in place.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    blocklist::{Rules, file_name},
    target::BlockTarget,
    unused::RequiredModules,
};
use crate::modprobe::{Modprobe, ModprobeError, Step};

/// Maximum number of names that are tried for one target: its own, its aliases, and those of modules that need it. Only
/// modules with thousands of device patterns have more, and patterns are not tried one by one.
const NAMES_LIMIT: usize = 512;

/// The file that blocks unused modules: modprobe reads files in the order of their names, and the first line for a module
/// counts.
pub const SURFACE_FILE: &str = "00-kmodtrace-surface.conf";

/// Number of names in one run of modprobe.
const BATCH: usize = 64;

/// Why a dry run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DryRunError {
    /// There is no directory for it.
    #[error("cannot create the directory {} for a dry run", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// modprobe failed.
    #[error(transparent)]
    Modprobe(#[from] ModprobeError),
}

/// The result of a dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DryRun {
    /// Number of names that were tried.
    pub tried: usize,
    /// Names that would still load a blocked module.
    pub holes: Vec<String>,
    /// Names that must stay loadable and would no longer load what they load now.
    pub broken: Vec<String>,
    /// Modules that need the blocked one, each with the dependencies that are still loaded before it fails.
    pub partial_loads: Vec<(String, Vec<String>)>,
}

impl DryRun {
    /// Tries the rules for one target before they are in place. `scratch` is an existing private directory.
    ///
    /// # Errors
    /// If the directory cannot be written, or modprobe cannot be run.
    pub fn of_rules(rules: &Rules, modprobe: &Modprobe, scratch: &Path) -> Result<Self, DryRunError> {
        let with_rules = with_file(modprobe, scratch, &file_name(rules.name()), &rules.text(&modprobe.release, None))?;
        let mut result = Self::default();
        let (names, unwanted): (Vec<&String>, Vec<&String>) = match &rules.target {
            BlockTarget::Module { module, aliases, needed_by, .. } => {
                ([module].into_iter().chain(aliases).chain(needed_by).collect(), vec![module])
            }
            BlockTarget::Alias { alias, modules } => (vec![alias], modules.iter().collect()),
        };
        let needed_by: &[String] = match &rules.target {
            BlockTarget::Module { needed_by, .. } => needed_by,
            BlockTarget::Alias { .. } => &[],
        };
        for name in names.into_iter().take(NAMES_LIMIT) {
            let steps = with_rules.show_depends(&[name])?;
            result.tried += 1;
            if steps.iter().any(|step| matches!(step, Step::Load(module) if unwanted.contains(&module))) {
                result.holes.push(name.clone());
            } else if needed_by.contains(name) {
                // modprobe stops at the command that fails: the steps after it are not executed.
                let loads = steps.into_iter().map_while(|step| match step {
                    Step::Load(module) => Some(module),
                    Step::Run(_) => None,
                });
                let loads: Vec<String> = loads.collect();
                if !loads.is_empty() {
                    result.partial_loads.push((name.clone(), loads));
                }
            }
        }
        Ok(result)
    }

    /// Asks modprobe itself, as the kernel runs it, whether rules hold that are in place. No configuration is added.
    ///
    /// # Errors
    /// If modprobe cannot be run.
    pub fn in_place(rules: &[&Rules], modprobe: &Modprobe) -> Result<Self, DryRunError> {
        let (unwanted, names) = names_of(rules, rules.len() == 1);
        let names: Vec<&str> = names.into_iter().collect();
        let loads_unwanted = |names: &[&str]| {
            let steps = modprobe.show_depends(names)?;
            Ok(steps.iter().any(|step| matches!(step, Step::Load(name) if unwanted.contains(&**name))))
        };
        Ok(Self { tried: names.len(), holes: filter_batched(&names, &loads_unwanted)?, ..Self::default() })
    }

    /// Tries a file that blocks several modules before it is in place: none of them may load, and every required name must
    /// load the same modules as now. `scratch` is an existing private directory.
    ///
    /// # Errors
    /// If the directory cannot be written, or modprobe cannot be run.
    pub fn of_file(
        text: &str,
        rules: &[&Rules],
        required: &RequiredModules,
        modprobe: &Modprobe,
        scratch: &Path,
    ) -> Result<Self, DryRunError> {
        let with_rules = with_file(modprobe, scratch, SURFACE_FILE, text)?;
        let (unwanted, names) = names_of(rules, false);
        let loads_unwanted =
            |steps: &[Step]| steps.iter().any(|step| matches!(step, Step::Load(name) if unwanted.contains(&**name)));
        let names: Vec<&str> = names.into_iter().collect();
        let required: Vec<&str> = required.names().iter().map(String::as_str).collect();
        Ok(Self {
            tried: names.len() + required.len(),
            holes: filter_batched(&names, &|names| Ok(loads_unwanted(&with_rules.show_depends(names)?)))?,
            broken: filter_batched(&required, &|names| {
                Ok(modprobe.show_depends(names)? != with_rules.show_depends(names)?)
            })?,
            partial_loads: Vec::new(),
        })
    }
}

/// The modules that rules keep out, and the names by which they could be loaded, with those of dependent modules if wanted.
fn names_of<'a>(rules: &[&'a Rules], with_dependents: bool) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
    let (mut unwanted, mut names) = (BTreeSet::new(), BTreeSet::new());
    for rules in rules {
        match &rules.target {
            BlockTarget::Module { module, aliases, needed_by, .. } => {
                unwanted.insert(module.as_str());
                names.insert(module.as_str());
                let dependents = needed_by.iter().filter(|_| with_dependents);
                names.extend(aliases.iter().chain(dependents).map(String::as_str).take(NAMES_LIMIT));
            }
            BlockTarget::Alias { alias, modules } => {
                unwanted.extend(modules.iter().map(String::as_str));
                names.insert(alias.as_str());
            }
        }
    }
    (unwanted, names)
}

/// A modprobe that reads one more file of configuration, before all others.
fn with_file(modprobe: &Modprobe, scratch: &Path, file: &str, text: &str) -> Result<Modprobe, DryRunError> {
    let fail = |source| DryRunError::Directory { path: scratch.to_owned(), source };
    fs::write(scratch.join(file), text).map_err(fail)?;
    let mut config = vec![scratch.to_owned()];
    config.extend(modprobe.config_directories());
    Ok(Modprobe { config: Some(config), ..modprobe.clone() })
}

/// The names for which a predicate is true. It is evaluated for batches, and for single names only in a batch for which it
/// is true.
fn filter_batched(
    names: &[&str],
    is_true: &dyn Fn(&[&str]) -> Result<bool, ModprobeError>,
) -> Result<Vec<String>, ModprobeError> {
    let mut found = Vec::new();
    for batch in names.chunks(BATCH) {
        if is_true(batch)? {
            for name in batch {
                if is_true(&[name])? {
                    found.push((*name).to_owned());
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{BATCH, filter_batched};

    /// Every name for which the predicate is true is found, and no name is evaluated twice if it is false for all.
    #[test]
    fn filter_batched_finds_names_in_few_runs() {
        let names: Vec<String> = (0..200).map(|number| format!("m{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let asked = Cell::new(0);
        let is_so = |wanted: &'static [&'static str]| {
            let asked = &asked;
            move |some: &[&str]| {
                asked.set(asked.get() + 1);
                Ok(some.iter().any(|name| wanted.contains(name)))
            }
        };
        assert_eq!(filter_batched(&names, &is_so(&[])).unwrap(), Vec::<String>::new());
        assert_eq!(asked.replace(0), 200_usize.div_ceil(BATCH));
        assert_eq!(filter_batched(&names, &is_so(&["m3", "m199"])).unwrap(), ["m3", "m199"]);
        assert_eq!(asked.get(), 4 + 64 + 8);
    }
}
