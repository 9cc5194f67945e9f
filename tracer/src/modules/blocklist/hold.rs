//! Whether rules that are in place hold: why they do not, what is loaded already, and which copies of them exist.

use std::path::{Path, PathBuf};

use crate::{
    kernel::modules::LoadedModule,
    modprobe::{Config, Resolver},
};

/// Programs that build an initramfs, with the command that builds the one of this kernel.
const INITRAMFS: [(&str, &str); 5] = [
    ("usr/sbin/update-initramfs", "update-initramfs -u"),
    ("usr/bin/dracut", "dracut -f"),
    ("usr/sbin/dracut", "dracut -f"),
    ("usr/bin/mkinitcpio", "mkinitcpio -P"),
    ("usr/bin/mkinitfs", "mkinitfs"),
];

/// The command that builds the initramfs of this system again; `None` if it has no such program.
#[must_use]
pub fn initramfs_command(root: &Path) -> Option<&'static str> {
    INITRAMFS.iter().find(|(program, _)| root.join(program).exists()).map(|(_, command)| *command)
}

/// Why modprobe still loads a module, although a file with rules is written.
#[must_use]
pub fn why_open(file: &Path, lines: &[&str], names: &[String], after: &Resolver) -> String {
    let modprobe = after.modprobe();
    why(file, lines, names, &modprobe.config_directories(), after.config()).unwrap_or_else(|| {
        let program = modprobe.program.display();
        format!(
            "{program}, which the kernel runs, has a configuration of its own, and does not read {}",
            file.display()
        )
    })
}

fn why(file: &Path, lines: &[&str], names: &[String], directories: &[PathBuf], config: &Config) -> Option<String> {
    let directory = file.parent()?;
    let is_same = |one: &Path, other: &Path| {
        std::fs::canonicalize(one).ok().is_some_and(|one| std::fs::canonicalize(other).ok() == Some(one))
    };
    let Some(position) = directories.iter().position(|read| is_same(read, directory)) else {
        return Some(format!("modprobe does not read the files of {}", directory.display()));
    };
    let mut earlier =
        directories.get(..position)?.iter().map(|earlier| earlier.join(file.file_name().unwrap_or_default()));
    if let Some(masking) = earlier.find(|earlier| earlier.symlink_metadata().is_ok()) {
        return Some(format!("{} is masked by {}", file.display(), masking.display()));
    }
    if !lines.iter().all(|line| config.has_line(line)) {
        return None;
    }
    let name = names.first()?;
    Some(format!("another line of the configuration takes precedence; `kmodtrace explain {name}` shows it"))
}

/// The modules to unload, in this order, so that a module can be removed: those that use it come first.
#[must_use]
pub fn unload_order(module: &str, loaded: &[LoadedModule]) -> Vec<String> {
    let mut order = Vec::new();
    // A module is added after all that use it; the kernel allows no circles.
    let mut open = vec![(module, false)];
    let mut visited: Vec<&str> = Vec::new();
    while let Some((name, is_done)) = open.pop() {
        if is_done {
            order.push(name.to_owned());
        } else if !visited.contains(&name) {
            visited.push(name);
            open.push((name, true));
            let users = loaded.iter().find(|loaded| loaded.name == name).map(|loaded| loaded.used_by.as_slice());
            open.extend(users.unwrap_or_default().iter().map(|user| (user.as_str(), false)));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{initramfs_command, unload_order, why};
    use crate::{kernel::modules, modprobe::Config};

    const END: &str = "\n# End of configuration files. Dumping indexes now:\n\n";

    /// The cause is the directory, a masking file, a configuration of the helper's own, or another line.
    #[test]
    fn cause_of_rules_that_do_not_hold_is_found() {
        let root = tempfile::tempdir().unwrap();
        let directories = ["etc", "run", "lib"].map(|name| root.path().join(name));
        for directory in &directories {
            fs::create_dir(directory).unwrap();
        }
        let names = ["udf".to_owned()];
        let cause = |file: &str, config: &str| {
            let config = Config::parse(format!("{config}{END}")).unwrap();
            why(&root.path().join(file), &["alias udf off", "blacklist udf"], &names, &directories, &config)
        };
        assert!(cause("x.conf", "").unwrap().starts_with("modprobe does not read the files of "));
        assert_eq!(cause("etc/x.conf", "alias udf off\n"), None, "its lines are not in force");
        assert!(cause("etc/x.conf", "alias udf off\nblacklist udf\n").unwrap().contains("takes precedence"));
        fs::write(root.path().join("etc/x.conf"), "").unwrap();
        assert!(cause("lib/x.conf", "").unwrap().contains("lib/x.conf is masked by "));
    }

    /// Modules that use another are unloaded before it, each once.
    #[test]
    fn users_are_unloaded_first() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        let text = "a 1 2 b,c, Live 0x0\nb 1 1 d, Live 0x0\nc 1 1 d, Live 0x0\nd 1 0 - Live 0x0\n";
        fs::write(root.path().join("proc/modules"), text).unwrap();
        let loaded = modules::load(root.path()).unwrap().modules;
        let order = unload_order("a", &loaded);
        let at = |name: &str| order.iter().position(|module| module == name);
        assert_eq!((order.len(), at("a"), at("d")), (4, Some(3), Some(0)), "{order:?}");
        assert_eq!(unload_order("d", &loaded), ["d"]);
    }

    /// The command follows the program that is there.
    #[test]
    fn initramfs_command_is_that_of_the_system() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(initramfs_command(root.path()), None);
        for (program, command) in
            [("usr/bin/dracut", "dracut -f"), ("usr/sbin/update-initramfs", "update-initramfs -u")]
        {
            let path = root.path().join(program);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            fs::write(path, "").unwrap();
            assert_eq!(initramfs_command(root.path()), Some(command));
        }
    }
}
