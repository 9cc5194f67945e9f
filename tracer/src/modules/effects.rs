//! Side effects of loading a module on this system, from a data file.

use std::{path::Path, sync::LazyLock};

use super::families::rows;
use crate::kernel::file;

static EFFECTS: LazyLock<Vec<Effect>> =
    LazyLock::new(|| rows(include_str!("../../data/side-effects.tsv")).filter_map(|row| Effect::parse(&row)).collect());

#[derive(Debug)]
struct Effect {
    module: &'static str,
    /// A path that exists if the effect is active.
    path: Option<&'static str>,
    /// The description, with `{/path}` for the first word of a file.
    words: &'static str,
}

impl Effect {
    fn parse(row: &[&'static str]) -> Option<Self> {
        let [module, path, words, _source] = row else { return None };
        Some(Self { module, path: Some(*path).filter(|path| *path != "-"), words })
    }
}

/// The side effect of loading a module, with current values of the system below `root`; `None` for most modules, and if
/// the effect is not active.
#[must_use]
pub fn effect(module: &str, root: &Path) -> Option<String> {
    let effect = EFFECTS.iter().find(|effect| effect.module == module)?;
    if effect.path.is_some_and(|path| !below(root, path).exists()) {
        return None;
    }
    Some(format!("{module}: {}", fill(effect.words, root)))
}

fn below(root: &Path, path: &str) -> std::path::PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Inserts values; unreadable values are described as unknown.
fn fill(words: &str, root: &Path) -> String {
    let mut out = String::new();
    let mut rest = words;
    while let Some((before, (path, after))) =
        rest.split_once("{/").and_then(|(before, tail)| Some((before, tail.split_once('}')?)))
    {
        out.push_str(before);
        let value = file::read(root, path, "load the module").ok();
        out.push_str(value.as_deref().and_then(|text| text.split_whitespace().next()).unwrap_or("an unknown number"));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{EFFECTS, effect};

    /// The description has the system's values, and an inactive effect has none.
    #[test]
    fn effect_that_is_active_has_current_values() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(effect("nf_conntrack", root.path()), None);
        let dir = root.path().join("proc/sys/net/netfilter");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("nf_conntrack_max"), "65536\n").unwrap();
        let text = effect("nf_conntrack", root.path()).unwrap();
        assert!(text.starts_with("nf_conntrack: connection tracking"), "{text}");
        assert!(
            text.contains("now wherever a NAT table or a state rule exists. an unknown number of 65536 entries"),
            "{text}"
        );
        fs::write(dir.join("nf_conntrack_count"), "3\n").unwrap();
        assert!(effect("nf_conntrack", root.path()).unwrap().contains(" 3 of 65536 entries"));
        assert_eq!(effect("vfat", root.path()), None);
        assert!(effect("softdog", root.path()).is_some());
    }

    /// Every row of the data file is parsed, and module names are spelled as in the kernel.
    #[test]
    fn every_row_of_the_data_is_valid() {
        let lines = include_str!("../../data/side-effects.tsv").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(EFFECTS.len(), lines);
        assert!(EFFECTS.iter().all(|effect| !effect.module.contains('-')));
        assert!(EFFECTS.iter().filter_map(|effect| effect.path).all(|path| path.starts_with('/')));
    }
}
