//! Many modules kept out by one file, tried as a whole: none of them comes, and what has to stay comes as before.

use std::{collections::BTreeSet, fs, path::Path};

use super::{blocklist::Rules, dry_run::TrialError, target::Target, unused::Kept};
use crate::modprobe::{Modprobe, ModprobeError, Step};

/// The file: modprobe reads files in order of their names, and the first line for a module counts.
pub const TOGETHER_FILE: &str = "00-kmodtrace-surface.conf";

/// Names that modprobe is asked for at once.
const AT_ONCE: usize = 64;

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Together {
    /// Names that were asked for.
    pub tried: usize,
    /// Names that would still load something that is to be kept out.
    pub holes: Vec<String>,
    /// Names that have to stay and would not load what they do now.
    pub broken: Vec<String>,
}

/// Tries a file that keeps modules out before it is in place: `scratch` is a directory of our own that exists.
///
/// # Errors
/// When the directory cannot be written, or modprobe cannot be asked.
pub fn try_together(
    text: &str,
    rules: &[&Rules],
    kept: &Kept,
    modprobe: &Modprobe,
    scratch: &Path,
) -> Result<Together, TrialError> {
    let fail = |source| TrialError::Directory { path: scratch.to_owned(), source };
    fs::write(scratch.join(TOGETHER_FILE), text).map_err(fail)?;
    let mut config = vec![scratch.to_owned()];
    config.extend(modprobe.config_directories());
    let with = Modprobe { config: Some(config), ..modprobe.clone() };

    let mut unwanted = BTreeSet::new();
    let mut names = BTreeSet::new();
    for target in rules.iter().map(|rules| &rules.target) {
        match target {
            Target::Module { module, aliases, .. } => {
                unwanted.insert(module.as_str());
                names.insert(module.as_str());
                names.extend(aliases.iter().map(String::as_str));
            }
            Target::Alias { alias, modules } => {
                unwanted.extend(modules.iter().map(String::as_str));
                names.insert(alias);
            }
        }
    }
    let comes =
        |steps: &[Step]| steps.iter().any(|step| matches!(step, Step::Load(name) if unwanted.contains(&**name)));
    let names: Vec<&str> = names.into_iter().collect();
    let stay: Vec<&str> = kept.names().iter().map(String::as_str).collect();
    Ok(Together {
        tried: names.len() + stay.len(),
        holes: those(&names, &|names| Ok(comes(&with.show_depends(names)?)))?,
        broken: those(&stay, &|names| Ok(modprobe.show_depends(names)? != with.show_depends(names)?))?,
    })
}

/// The names of which something is so. They are asked for together, and one by one only where it is so of some.
fn those(names: &[&str], is_so: &dyn Fn(&[&str]) -> Result<bool, ModprobeError>) -> Result<Vec<String>, ModprobeError> {
    let mut found = Vec::new();
    for some in names.chunks(AT_ONCE) {
        if is_so(some)? {
            for name in some {
                if is_so(&[name])? {
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

    use super::{AT_ONCE, those};

    /// Check that each name of which it is so is found, and that nothing is asked for twice where it is so of none.
    #[test]
    fn names_are_found_in_few_questions() {
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
        assert_eq!(those(&names, &is_so(&[])).unwrap(), Vec::<String>::new());
        assert_eq!(asked.replace(0), 200_usize.div_ceil(AT_ONCE));
        assert_eq!(those(&names, &is_so(&["m3", "m199"])).unwrap(), ["m3", "m199"]);
        assert_eq!(asked.get(), 4 + 64 + 8);
    }
}
