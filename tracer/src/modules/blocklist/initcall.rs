//! The init function of a built-in module, for `initcall_blacklist=`.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// Finds the init function of a built-in module in the kernel's symbols. `None` on kernels without CONFIG_KALLSYMS_ALL.
///
/// The symbols are `__initcall__kmod_<module>__<number>_<line>_<function><level>` (include/linux/init.h, since 5.10).
#[must_use]
pub fn initcall_of(module: &str, root: &Path) -> Option<String> {
    let symbols = File::open(root.join("proc/kallsyms")).ok()?;
    BufReader::new(symbols).lines().map_while(Result::ok).find_map(|line| {
        let symbol = line.split_ascii_whitespace().nth(2)?;
        function(symbol, module).map(str::to_owned)
    })
}

fn function<'a>(symbol: &'a str, module: &str) -> Option<&'a str> {
    let rest = symbol.strip_prefix("__initcall__kmod_")?.strip_prefix(module)?.strip_prefix("__")?;
    let (numbers, function) = rest.split_once('_').and_then(|(number, rest)| {
        let (line, function) = rest.split_once('_')?;
        Some(([number, line], function))
    })?;
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The level: a digit, optionally with `s`, or a word.
    let levels = ["early", "rootfs", "con"];
    let named = levels.iter().find_map(|level| function.strip_suffix(level));
    let numbered = || function.trim_end_matches('s').strip_suffix(|c: char| c.is_ascii_digit());
    numbers.into_iter().all(all_digits).then(|| named.or_else(numbered)).flatten()
}

#[cfg(test)]
mod tests {
    use super::{function, initcall_of};

    /// All forms of initcall symbols are parsed, and those of other modules are ignored.
    #[test]
    fn initcall_symbol_gives_its_function() {
        for (symbol, module, found) in [
            ("__initcall__kmod_ext4__645_7402_ext4_init_fs6", "ext4", Some("ext4_init_fs")),
            ("__initcall__kmod_unix__712_3800_af_unix_init5", "unix", Some("af_unix_init")),
            ("__initcall__kmod_x__1_2_x_syncs4s", "x", Some("x_syncs")),
            ("__initcall__kmod_hvc_console__1_2_hvc_console_initcon", "hvc_console", Some("hvc_console_init")),
            ("__initcall__kmod_ext4__645_7402_ext4_init_fs6", "ext", None),
            ("__initcall__kmod_ext4_x__645_7402_f6", "ext4", None),
            ("ext4_init_fs", "ext4", None),
        ] {
            assert_eq!(function(symbol, module), found, "{symbol}");
        }
    }

    /// The function is found among all symbols, and missing symbols are not an error.
    #[test]
    fn initcall_without_symbols_is_none() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(initcall_of("ext4", root.path()), None);
        std::fs::create_dir(root.path().join("proc")).unwrap();
        let symbols = "0000 T start\n0000 d __initcall__kmod_ext4__645_7402_ext4_init_fs6\n";
        std::fs::write(root.path().join("proc/kallsyms"), symbols).unwrap();
        assert_eq!(initcall_of("ext4", root.path()).as_deref(), Some("ext4_init_fs"));
        assert_eq!(initcall_of("xfs", root.path()), None);
    }
}
