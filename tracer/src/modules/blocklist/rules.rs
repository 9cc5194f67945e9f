//! The rules for modprobe.d.

use crate::modules::target::BlockTarget;

/// Maximum number of dependent modules in a comment.
const NAMES_SHOWN: usize = 20;

/// The rules that block one target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// The target.
    pub target: BlockTarget,
    /// The directives.
    pub directives: Vec<String>,
}

impl Rules {
    /// The directives for a target.
    #[must_use]
    pub fn new(target: BlockTarget) -> Self {
        let directives = match &target {
            BlockTarget::Module { module, has_softdeps, .. } => {
                let softdep = has_softdeps.then(|| format!("softdep {module} pre:"));
                let lines = [format!("alias {module} off"), format!("blacklist {module}")];
                lines.into_iter().chain(softdep).chain([format!("install {module} /bin/false")]).collect()
            }
            BlockTarget::Alias { alias, .. } => vec![format!("alias {alias} off")],
        };
        Self { target, directives }
    }

    /// The name of the target.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.target {
            BlockTarget::Module { module, .. } => module,
            BlockTarget::Alias { alias, .. } => alias,
        }
    }

    /// The complete file with comments. `kernel` is the release for which it was tried, `initramfs` the command that builds the
    /// initramfs of this system.
    #[must_use]
    pub fn text(&self, kernel: &str, initramfs: Option<&str>) -> String {
        let name = self.name();
        let mut out = format!("# kmodtrace block {name}: tried with modprobe for kernel {kernel}.\n");
        match &self.target {
            BlockTarget::Module { needed_by, .. } => {
                out.push_str("# It is not loaded by its name, by its aliases, or as a dependency.\n");
                if !needed_by.is_empty() {
                    let shown = needed_by.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
                    let more = needed_by.len().saturating_sub(NAMES_SHOWN);
                    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
                    out.push_str(&format!("# These modules depend on it and are not loaded either: {shown}{rest}\n"));
                }
            }
            BlockTarget::Alias { modules, .. } => {
                let modules = modules.join(" ");
                out.push_str(&format!(
                    "# This alias loads nothing. These modules can still be loaded by other names: {modules}\n"
                ));
            }
        }
        out.push_str("# To undo it, remove this file.");
        if let Some(command) = initramfs {
            out.push_str(&format!(" The initramfs has its own copy: {command}."));
        }
        out.push('\n');
        for line in &self.directives {
            out.push_str(line);
            out.push('\n');
        }
        out
    }
}

/// The file name for a target: modprobe reads files in the order of their names, and the first line for a module counts.
#[must_use]
pub fn file_name(name: &str) -> String {
    format!("00-kmodtrace-block-{}.conf", name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-"))
}

#[cfg(test)]
mod tests {
    use super::{BlockTarget, Rules, file_name};

    fn module(needed_by: &[&str], has_softdeps: bool) -> Rules {
        Rules::new(BlockTarget::Module {
            module: "btrfs".to_owned(),
            has_softdeps,
            aliases: Vec::new(),
            needed_by: needed_by.iter().map(|name| (*name).to_owned()).collect(),
            loaded: None,
        })
    }

    /// The file for a module has exactly these lines.
    #[test]
    fn rules_of_module_have_all_directives() {
        let text = "# kmodtrace block btrfs: tried with modprobe for kernel 6.1.0.\n\
            # It is not loaded by its name, by its aliases, or as a dependency.\n\
            # These modules depend on it and are not loaded either: a b\n\
            # To undo it, remove this file. The initramfs has its own copy: update-initramfs -u.\n\
            alias btrfs off\nblacklist btrfs\nsoftdep btrfs pre:\ninstall btrfs /bin/false\n";
        assert_eq!(module(&["a", "b"], true).text("6.1.0", Some("update-initramfs -u")), text);
        let plain = module(&[], false).text("6.1.0", None);
        assert!(!plain.contains("softdep") && !plain.contains("initramfs"), "{plain}");
    }

    /// An alias has one directive, and its file name is safe for any alias.
    #[test]
    fn rules_of_alias_have_one_directive() {
        let rules = Rules::new(BlockTarget::Alias { alias: "net_pf_30".to_owned(), modules: vec!["tipc".to_owned()] });
        assert_eq!(rules.directives, ["alias net_pf_30 off"]);
        assert_eq!(file_name("a/../b:c"), "00-kmodtrace-block-a----b-c.conf");
    }
}
