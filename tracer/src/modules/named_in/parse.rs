//! The syntax of files that name modules. Each function returns normalized names with their lines.

use crate::glob;

/// The variables of dracut with modules.
const DRACUT: [&str; 3] = ["add_drivers", "force_drivers", "drivers"];

/// A name, normalized; `None` if it is none.
pub(super) fn name(word: &str) -> Option<String> {
    let is_name =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'$' | b'%' | b';' | b'|' | b'&');
    let normal = glob::normalize(word.as_bytes()).filter(|_| !word.is_empty() && word.bytes().all(is_name))?;
    String::from_utf8(normal).ok()
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines().map(str::trim))
}

/// One name a line, possibly followed by parameters: `/etc/modules`, `modules-load.d`, initramfs-tools.
pub(super) fn list(text: &str) -> Vec<(usize, String)> {
    let lines = numbered(text).filter(|(_, line)| !line.starts_with(['#', ';']));
    lines.filter_map(|(number, line)| Some((number, name(line.split_ascii_whitespace().next()?)?))).collect()
}

/// `add_drivers+=" a b "`
pub(super) fn dracut(text: &str) -> Vec<(usize, String)> {
    assigned(text, |variable| DRACUT.contains(&variable.trim_end_matches('+')))
}

/// `MODULES=(a b)`
pub(super) fn mkinitcpio(text: &str) -> Vec<(usize, String)> {
    assigned(text, |variable| variable.trim_end_matches('+') == "MODULES")
}

/// The words of shell variables.
fn assigned(text: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (number, line) in numbered(text) {
        let Some((_, value)) = line.split_once('=').filter(|(variable, _)| is_wanted(variable.trim())) else {
            continue;
        };
        let value = value.split('#').next().unwrap_or_default();
        let words = value.split(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\'' | '(' | ')'));
        names.extend(words.filter_map(name).map(|name| (number, name)));
    }
    names
}

/// `RUN{builtin}+="kmod load NAME"`, `RUN+="/sbin/modprobe NAME"`
pub(super) fn udev(text: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (number, line) in numbered(text).filter(|(_, line)| !line.starts_with('#')) {
        for command in line.split('"').skip(1).step_by(2) {
            let words: Vec<&str> = command.split_ascii_whitespace().collect();
            let loaded = match words.as_slice() {
                ["kmod", "load", loaded @ ..] => loaded,
                _ => after_modprobe(&words),
            };
            names.extend(loaded.iter().filter_map(|word| name(word)).map(|name| (number, name)));
        }
    }
    names
}

/// `Wants=modprobe@NAME.service`, `ExecStartPre=/sbin/modprobe NAME`
pub(super) fn unit(text: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (number, line) in numbered(text) {
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) else { continue };
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        match key.trim() {
            "Wants" | "Requires" | "Requisite" | "BindsTo" | "Upholds" => {
                names.extend(words.into_iter().filter_map(instance).map(|name| (number, name)));
            }
            key if key.starts_with("Exec") => {
                names.extend(after_modprobe(&words).iter().filter_map(|word| name(word)).map(|name| (number, name)));
            }
            _ => {}
        }
    }
    names
}

/// The module of `modprobe@NAME.service`.
pub(super) fn instance(unit: &str) -> Option<String> {
    let escaped = unit.strip_prefix("modprobe@")?.strip_suffix(".service").filter(|name| !name.is_empty())?;
    // systemd-escape(1) writes `-` as `\x2d`.
    name(&escaped.replace("\\x2d", "-"))
}

/// The names that a modprobe in a command line loads.
fn after_modprobe<'a>(words: &'a [&'a str]) -> &'a [&'a str] {
    /// Options that list or remove modules, or show what would be done.
    const OTHERS: [&str; 7] = ["-r", "--remove", "-n", "--dry-run", "--show", "-c", "--showconfig"];
    let is_modprobe = |word: &&str| word.rsplit(['/', '-', '!', '@', '+', ':']).next() == Some("modprobe");
    let Some(at) = words.iter().position(is_modprobe) else { return &[] };
    let rest = words.get(at + 1..).unwrap_or_default();
    let options = rest.iter().take_while(|word| word.starts_with('-')).count();
    let (options, names) = rest.split_at(options);
    if options.iter().any(|option| OTHERS.contains(option)) {
        return &[];
    }
    // Without -a, words behind the first one are parameters of the module.
    let is_all = options.iter().any(|option| *option == "--all" || (!option.starts_with("--") && option.contains('a')));
    let count = if is_all { names.len() } else { names.len().min(1) };
    names.get(..count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{dracut, instance, list, mkinitcpio, udev, unit};

    fn names(found: Vec<(usize, String)>) -> Vec<String> {
        found.into_iter().map(|(_, name)| name).collect()
    }

    /// Names in shell variables are found, and other variables are not.
    #[test]
    fn shell_variables_are_split() {
        assert_eq!(
            names(dracut("force_drivers+=\" a-b c \" # d\nomit_drivers+=\" e \"\ndrivers=\"f\"\n")),
            ["a_b", "c", "f"]
        );
        assert_eq!(names(mkinitcpio("#MODULES=(a)\nMODULES=(b 'c')\nHOOKS=(udev)\n")), ["b", "c"]);
    }

    /// Commands of udev and of units that load a module are found; those that remove or show one are not.
    #[test]
    fn commands_that_load_are_found() {
        let rules = "RUN+=\"/sbin/modprobe -b a\", RUN{builtin}+=\"kmod load b $env{MODALIAS}\"\n#RUN+=\"modprobe c\"\n\
                     RUN+=\"/sbin/modprobe -r d\"\n";
        assert_eq!(names(udev(rules)), ["a", "b"]);
        let text = "[Service]\nExecStart=-/sbin/modprobe -abq x y\nExecStop=/sbin/modprobe -r x\nExecStartPre=/usr/sbin/modprobe z p=1\n\
                    Requires=modprobe@fuse.service modprobe@dm\\x2dmod.service\nAfter=modprobe@no.service\n;Wants=modprobe@c.service\n";
        assert_eq!(names(unit(text)), ["x", "y", "z", "fuse", "dm_mod"]);
        assert_eq!(instance("modprobe@.service"), None);
        assert_eq!(names(list("a\n#b\n\n; c\nd  x=1\n$e\n")), ["a", "d"]);
    }

    proptest! {
        /// Any text is accepted.
        #[test]
        fn any_text_is_accepted(text in "(RUN|ExecStart=|modprobe|add_drivers=|[ -~]|\n){0,40}") {
            for parse in [dracut, list, mkinitcpio, udev, unit] {
                for (line, name) in parse(&text) {
                    prop_assert!(line > 0 && !name.is_empty());
                }
            }
        }
    }
}
