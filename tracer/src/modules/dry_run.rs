//! The installed modprobe, asked what it would do with new lines in place.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    blocklist::{Rules, file_name},
    target::Target,
};
use crate::modprobe::{Modprobe, ModprobeError, Step};

/// Names that are tried: the module's own, its aliases, and those of modules that need it. None has more but by thousands
/// of device patterns, which are not tried one by one.
const NAMES_LIMIT: usize = 512;

/// Why lines could not be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// No directory for the trial.
    #[error("cannot make a directory to try the lines in ({})", path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// modprobe itself.
    #[error(transparent)]
    Modprobe(#[from] ModprobeError),
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trial {
    /// Names that were asked for.
    pub tried: usize,
    /// Names that would still load it.
    pub holes: Vec<String>,
    /// What is still loaded in vain, on the way to a module that needs it: the module, and what is loaded before it fails.
    pub in_vain: Vec<(String, Vec<String>)>,
}

/// Tries rules before they are in place: `scratch` is a directory of our own that exists.
///
/// # Errors
/// When the directory cannot be written, or modprobe cannot be asked.
pub fn try_out(rules: &Rules, modprobe: &Modprobe, scratch: &Path) -> Result<Trial, TrialError> {
    let fail = |source| TrialError::Directory { path: scratch.to_owned(), source };
    fs::write(scratch.join(file_name(rules.name())), rules.text(&modprobe.release)).map_err(fail)?;
    let mut config = vec![scratch.to_owned()];
    config.extend(modprobe.config_directories());
    let modprobe = Modprobe { config: Some(config), ..modprobe.clone() };

    let mut trial = Trial { tried: 0, holes: Vec::new(), in_vain: Vec::new() };
    let (names, unwanted): (Vec<&String>, Vec<&String>) = match &rules.target {
        Target::Module { module, aliases, needed_by, .. } => {
            ([module].into_iter().chain(aliases).chain(needed_by).collect(), vec![module])
        }
        Target::Alias { alias, modules } => (vec![alias], modules.iter().collect()),
    };
    let needed_by: &[String] = match &rules.target {
        Target::Module { needed_by, .. } => needed_by,
        Target::Alias { .. } => &[],
    };
    for name in names.into_iter().take(NAMES_LIMIT) {
        let steps = modprobe.show_depends(&[name])?;
        trial.tried += 1;
        if steps.iter().any(|step| matches!(step, Step::Load(module) if unwanted.contains(&module))) {
            trial.holes.push(name.clone());
        } else if needed_by.contains(name) {
            // modprobe stops at the command that fails: what it lists after that is not loaded.
            let loads = steps.into_iter().map_while(|step| match step {
                Step::Load(module) => Some(module),
                Step::Run(_) => None,
            });
            let loads: Vec<String> = loads.collect();
            if !loads.is_empty() {
                trial.in_vain.push((name.clone(), loads));
            }
        }
    }
    Ok(trial)
}
