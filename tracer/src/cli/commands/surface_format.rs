//! The forms in which `surface --block` prints its rules.

use crate::modules::{RequiredModules, SURFACE_FILE};

/// A form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Format {
    /// A file for modprobe.d.
    #[default]
    Modprobe,
    /// A task of Ansible that installs the file.
    Ansible,
    /// A module of NixOS with the lines.
    Nix,
    /// The list of modules that modulejail must keep.
    Modulejail,
}

impl Format {
    /// The rules in this form.
    pub(in crate::cli) fn write(self, rules: &str, required: &RequiredModules, covered: &str) -> String {
        match self {
            Self::Modprobe => rules.to_owned(),
            Self::Ansible => format!(
                "- name: Keep out unused kernel modules\n  ansible.builtin.copy:\n    dest: /etc/modprobe.d/{SURFACE_FILE}\n    \
                 owner: root\n    group: root\n    mode: \"0644\"\n    content: |\n{}",
                indented(rules, 6)
            ),
            Self::Nix => nix(rules),
            Self::Modulejail => {
                let mut out = format!(
                    "# kmodtrace surface --block: modules to keep.\n# Captures of {covered}.\n# For /etc/modulejail/whitelist.conf.\n"
                );
                for module in required.modules().filter(|module| is_plain(module)) {
                    out.push_str(module);
                    out.push('\n');
                }
                out
            }
        }
    }
}

/// Every line that is not empty, with blanks in front.
fn indented(text: &str, blanks: usize) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{:blanks$}{line}\n", "") };
    text.lines().map(line).collect()
}

/// NixOS has no `/bin/false`. In an indented string, `''` and `${` are special.
fn nix(rules: &str) -> String {
    let escaped = rules.replace("''", "'''").replace("${", "''${");
    let lines = escaped.replace(" /bin/false\n", " ${pkgs.coreutils}/bin/false\n");
    format!("{{ pkgs, ... }}:\n{{\n  boot.extraModprobeConfig = ''\n{}  '';\n}}\n", indented(&lines, 4))
}

fn is_plain(module: &str) -> bool {
    !module.is_empty() && module.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::Format;
    use crate::modules::RequiredModules;

    const RULES: &str = "# x ${y} ''z\n\n# socket\nalias tipc off\ninstall tipc /bin/false\n";

    fn written(format: Format, required: &[&str]) -> String {
        format.write(RULES, &RequiredModules::of(required), "1 host, 1 boot, 2 days")
    }

    /// Each form is a complete file, in which the lines of the rules are intact.
    #[test]
    fn forms_are_complete() {
        assert_eq!(written(Format::Modprobe, &[]), RULES);
        let ansible = written(Format::Ansible, &[]);
        let end = "    content: |\n      # x ${y} ''z\n\n      # socket\n      alias tipc off\n      install tipc /bin/false\n";
        assert!(ansible.starts_with("- name: ") && ansible.ends_with(end), "{ansible}");
        let expected = "{ pkgs, ... }:\n{\n  boot.extraModprobeConfig = ''\n    # x ''${y} '''z\n\n    # socket\n    alias tipc off\n    \
                        install tipc ${pkgs.coreutils}/bin/false\n  '';\n}\n";
        assert_eq!(written(Format::Nix, &[]), expected);
    }

    /// The list for modulejail is of the modules to keep; a name that is no module's is left out.
    #[test]
    fn modulejail_keeps_what_is_required() {
        let list = written(Format::Modulejail, &["vfat", "fat", "x\ny"]);
        assert!(list.ends_with("# For /etc/modulejail/whitelist.conf.\nfat\nvfat\n"), "{list}");
    }
}
