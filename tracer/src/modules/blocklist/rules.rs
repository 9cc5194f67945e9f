//! The lines of modprobe.d.

use crate::modules::target::Target;

/// Names of those that need a module, as far as they fit in a comment.
const NAMES_SHOWN: usize = 20;

/// Lines that keep one target out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// What they are for.
    pub target: Target,
    /// The directives.
    pub directives: Vec<String>,
}

impl Rules {
    /// The directives for a target.
    #[must_use]
    pub fn new(target: Target) -> Self {
        let directives = match &target {
            Target::Module { module, has_softdeps, .. } => {
                let softdep = has_softdeps.then(|| format!("softdep {module} pre:"));
                let lines = [format!("alias {module} off"), format!("blacklist {module}")];
                lines.into_iter().chain(softdep).chain([format!("install {module} /bin/false")]).collect()
            }
            Target::Alias { alias, .. } => vec![format!("alias {alias} off")],
        };
        Self { target, directives }
    }

    /// The name it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.target {
            Target::Module { module, .. } => module,
            Target::Alias { alias, .. } => alias,
        }
    }

    /// The whole file, with what a reader needs to know. `kernel` is the release it was tried for.
    #[must_use]
    pub fn text(&self, kernel: &str) -> String {
        let name = self.name();
        let mut out = format!("# kmodtrace block {name}: tried with modprobe for kernel {kernel}.\n");
        match &self.target {
            Target::Module { needed_by, .. } => {
                out.push_str("# It is not loaded by its name, by its aliases, or because another module needs it.\n");
                if !needed_by.is_empty() {
                    let shown = needed_by.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
                    let more = needed_by.len().saturating_sub(NAMES_SHOWN);
                    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
                    out.push_str(&format!("# These need it and do not load either: {shown}{rest}\n"));
                }
            }
            Target::Alias { modules, .. } => {
                let modules = modules.join(" ");
                out.push_str(&format!("# This alias loads nothing; by other names these still come: {modules}\n"));
            }
        }
        out.push_str("# To undo it, remove this file. An initramfs has its own copy: update-initramfs -u.\n");
        for line in &self.directives {
            out.push_str(line);
            out.push('\n');
        }
        out
    }
}

/// The file for a name: modprobe reads files in order of their names, and the first line for a module counts.
#[must_use]
pub fn file_name(name: &str) -> String {
    format!("00-kmodtrace-block-{}.conf", name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-"))
}

#[cfg(test)]
mod tests {
    use super::{Rules, Target, file_name};

    fn module(needed_by: &[&str], has_softdeps: bool) -> Rules {
        Rules::new(Target::Module {
            module: "btrfs".to_owned(),
            has_softdeps,
            aliases: Vec::new(),
            needed_by: needed_by.iter().map(|name| (*name).to_owned()).collect(),
            loaded: None,
        })
    }

    /// Check the file of a module, word for word.
    #[test]
    fn a_module_is_kept_out() {
        let text = "# kmodtrace block btrfs: tried with modprobe for kernel 6.1.0.\n\
            # It is not loaded by its name, by its aliases, or because another module needs it.\n\
            # These need it and do not load either: a b\n\
            # To undo it, remove this file. An initramfs has its own copy: update-initramfs -u.\n\
            alias btrfs off\nblacklist btrfs\nsoftdep btrfs pre:\ninstall btrfs /bin/false\n";
        assert_eq!(module(&["a", "b"], true).text("6.1.0"), text);
        assert!(!module(&[], false).text("6.1.0").contains("softdep"));
    }

    /// Check that an alias is kept out alone, and that a file's name is one whatever the alias is.
    #[test]
    fn an_alias_is_kept_out() {
        let rules = Rules::new(Target::Alias { alias: "net_pf_30".to_owned(), modules: vec!["tipc".to_owned()] });
        assert_eq!(rules.directives, ["alias net_pf_30 off"]);
        assert_eq!(file_name("a/../b:c"), "00-kmodtrace-block-a----b-c.conf");
    }
}
