//! The kernel: its features and its lockdown.

use super::{Finding, config::KernelConfig};
use crate::causes::with_causes;
use crate::kernel::{
    btf::{Btf, BtfError},
    file::read,
    kallsyms::{Kallsyms, KallsymsError},
    modules,
    sysinfo::{Lockdown, SystemInfo},
};

pub(super) fn check(sysinfo: &SystemInfo) -> Vec<Finding> {
    let config = KernelConfig::load(sysinfo);
    vec![
        release(sysinfo),
        btf(sysinfo),
        symbols(sysinfo),
        loadable(sysinfo),
        modules_disabled(sysinfo),
        lockdown(sysinfo),
        lsm(sysinfo),
        static_helper(sysinfo, config.as_ref()),
        signatures(sysinfo, config.as_ref()),
    ]
}

fn release(sysinfo: &SystemInfo) -> Finding {
    match (sysinfo.release(), sysinfo.version()) {
        (Ok(release), Ok(version)) => Finding::ok("kernel", format!("{release}, {version}")),
        (Err(error), _) | (_, Err(error)) => {
            Finding::unknown("kernel", &error, "it is unknown which modules belong to this kernel").limiting()
        }
    }
}

fn btf(sysinfo: &SystemInfo) -> Finding {
    let Err(error) = Btf::load_from(sysinfo.root()) else {
        return Finding::ok("btf", "the kernel has type information (/sys/kernel/btf/vmlinux)");
    };
    let found = match &error {
        BtfError::Read { path, reason } => format!("cannot read {}: {reason}", path.display()),
        error => with_causes(error),
    };
    Finding::problem(
        "btf",
        found,
        "nothing can be traced: the probes need the layout of the kernel's structs",
        "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as in Debian 11, Ubuntu 20.10 and later",
    )
    .limiting()
}

fn symbols(sysinfo: &SystemInfo) -> Finding {
    let restrict = read(sysinfo.root(), "proc/sys/kernel/kptr_restrict", "mount /proc");
    let restrict = restrict.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
    match Kallsyms::load_from(sysinfo.root()) {
        Ok(kallsyms) => {
            let found = format!("{} symbols, kernel.kptr_restrict is {restrict}", kallsyms.len());
            match kallsyms.note() {
                None => Finding::ok("symbols", found),
                Some(note) => Finding::note(
                    "symbols",
                    format!("{found}; {note}"),
                    "stacks through that module show addresses",
                    "find out what loaded it: names of Linux modules have no such bytes",
                ),
            }
        }
        Err(error) => {
            let fix = match &error {
                KallsymsError::Hidden { .. } => {
                    "run as root or with CAP_SYSLOG, and if kernel.kptr_restrict is 2: `sysctl kernel.kptr_restrict=1`"
                }
                KallsymsError::Read { .. } => "boot a kernel built with CONFIG_KALLSYMS=y",
                KallsymsError::Malformed { .. } | KallsymsError::TooLarge => "please report it: the format is unknown",
            };
            let found = match error {
                KallsymsError::Hidden { .. } => format!("addresses are hidden, kernel.kptr_restrict is {restrict}"),
                KallsymsError::Read { path, reason } => format!("cannot read {}: {reason}", path.display()),
                error => with_causes(&error),
            };
            let costs = "requests that end because kernel.modprobe is empty are not seen, and before 5.13 stacks show addresses";
            Finding::problem("symbols", found, costs, fix).limiting()
        }
    }
}

fn loadable(sysinfo: &SystemInfo) -> Finding {
    match modules::load(sysinfo.root()) {
        Ok(loaded) => match loaded.note() {
            None => Finding::ok("modules", format!("{} loaded", loaded.modules.len())),
            Some(note) => Finding::note(
                "modules",
                note,
                "it is unknown which module that is, and whether it was loaded before a trace",
                "find out what loaded it: names of Linux modules have no such bytes",
            ),
        },
        Err(error) if error.is_absent() => Finding::problem(
            "modules",
            "no /proc/modules",
            "there is nothing to trace",
            "boot a kernel built with CONFIG_MODULES=y, and mount /proc",
        )
        .limiting(),
        Err(error) => {
            Finding::unknown("modules", &error, "modules that were loaded before a trace are unknown").limiting()
        }
    }
}

fn modules_disabled(sysinfo: &SystemInfo) -> Finding {
    match sysinfo.modules_disabled() {
        Ok(false) => Finding::ok("modules-disabled", "kernel.modules_disabled is 0"),
        Ok(true) => Finding::note(
            "modules-disabled",
            "kernel.modules_disabled is 1",
            "requests are seen, but no module is loaded until the next boot",
            "reboot without it (the setting is one-way)",
        ),
        Err(error) => Finding::unknown("modules-disabled", &error, "it is unknown whether modules can be loaded"),
    }
}

fn lockdown(sysinfo: &SystemInfo) -> Finding {
    match sysinfo.lockdown() {
        Ok(Lockdown::Confidentiality) => Finding::problem(
            "lockdown",
            "confidentiality",
            "nothing can be traced: kernel memory cannot be read",
            "boot with lockdown=integrity, or change the Secure Boot policy that sets it",
        )
        .limiting(),
        Ok(mode) => Finding::ok("lockdown", mode.name()),
        Err(error) => Finding::unknown("lockdown", &error, "it is unknown whether the kernel permits tracing"),
    }
}

fn lsm(sysinfo: &SystemInfo) -> Finding {
    match sysinfo.lsms() {
        Ok(list) if list.iter().any(|name| name == "bpf") => Finding::ok("lsm", list.join(",")),
        Ok(list) => Finding::note(
            "lsm",
            format!("{} (no bpf)", list.join(",")),
            "BPF programs cannot deny module requests; tracing is not affected",
            format!("boot with lsm={},bpf", list.join(",")),
        ),
        Err(error) => Finding::unknown(
            "lsm",
            &error,
            "it is unknown which security modules can deny a request; denials are traced",
        ),
    }
}

fn static_helper(sysinfo: &SystemInfo, config: Option<&KernelConfig>) -> Finding {
    const CHECK: &str = "static-usermodehelper";
    let Some(config) = config else { return no_config(sysinfo, CHECK, "CONFIG_STATIC_USERMODEHELPER") };
    if config.value("CONFIG_STATIC_USERMODEHELPER") != Some("y") {
        return Finding::ok(CHECK, "not set: the kernel runs the program in kernel.modprobe");
    }
    match config.value("CONFIG_STATIC_USERMODEHELPER_PATH") {
        None | Some("") => Finding::problem(
            CHECK,
            "CONFIG_STATIC_USERMODEHELPER is set with an empty path",
            "the kernel runs no helper: requests are seen, but load nothing",
            "boot a kernel built without it, or load modules beforehand",
        ),
        Some(path) => Finding::note(
            CHECK,
            format!("the kernel runs {path} instead of kernel.modprobe"),
            "modules are linked to their request only if that program executes modprobe or starts it as its child",
            "boot a kernel built without CONFIG_STATIC_USERMODEHELPER",
        ),
    }
}

fn signatures(sysinfo: &SystemInfo, config: Option<&KernelConfig>) -> Finding {
    const CHECK: &str = "module-signatures";
    let enforced = read(sysinfo.root(), "sys/module/module/parameters/sig_enforce", "make it readable");
    match (enforced.as_deref().map(str::trim), config) {
        (Ok("Y" | "1"), _) => Finding::note(
            CHECK,
            "enforced",
            "modules without a valid signature are refused (ENOKEY), and their requests fail",
            "sign the modules with a key that the kernel trusts, or boot without module.sig_enforce=1",
        ),
        (Ok(_), _) => Finding::ok(CHECK, "not enforced"),
        (Err(_), Some(config)) if config.value("CONFIG_MODULE_SIG") != Some("y") => {
            Finding::ok(CHECK, "this kernel does not check signatures")
        }
        (Err(_), Some(_) | None) => no_config(sysinfo, CHECK, "CONFIG_MODULE_SIG"),
    }
}

fn no_config(sysinfo: &SystemInfo, check: &'static str, option: &str) -> Finding {
    let fix = if sysinfo.root().join("proc/config.gz").exists() {
        format!("check it with `zgrep {option} /proc/config.gz`")
    } else {
        "install the kernel's configuration as /boot/config-$(uname -r)".to_owned()
    };
    Finding::note(check, "unknown: the kernel's configuration is not installed", "tracing is not affected", fix)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::{
        doctor::{Finding, Level},
        kernel::sysinfo::SystemInfo,
    };

    /// The finding of one check on a system with these files.
    fn finding(name: &str, files: &[(&str, &str)]) -> Finding {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let findings = check(&SystemInfo::new(root.path()));
        findings.into_iter().find(|finding| finding.check == name).unwrap()
    }

    const RELEASE: (&str, &str) = ("proc/sys/kernel/osrelease", "6.1.0-x\n");

    /// On a system without files, no check is reported as good, and every finding has a consequence and a fix.
    #[test]
    fn bare_system_has_no_good_finding() {
        let root = tempfile::tempdir().unwrap();
        for finding in check(&SystemInfo::new(root.path())) {
            assert!(finding.level > Level::Ok && finding.costs.is_some() && finding.fix.is_some(), "{finding:?}");
        }
    }

    /// Each lockdown mode is rated by its effect on tracing.
    #[test]
    fn lockdown_mode_is_rated_by_its_effect() {
        let mode = |text: &str| finding("lockdown", &[("sys/kernel/security/lockdown", text)]);
        assert_eq!(mode("[none] integrity confidentiality\n").level, Level::Ok);
        assert_eq!(mode("none [integrity] confidentiality\n").level, Level::Ok);
        let locked = mode("none integrity [confidentiality]\n");
        assert!(locked.level == Level::Problem && locked.limits_tracing, "{locked:?}");
    }

    /// Without the bpf LSM, the fix is the boot parameter with the current modules.
    #[test]
    fn missing_bpf_lsm_fix_is_the_boot_parameter() {
        let list = |text: &str| finding("lsm", &[("sys/kernel/security/lsm", text)]);
        assert_eq!(list("lockdown,capability,bpf").level, Level::Ok);
        let without = list("lockdown,capability");
        assert_eq!((without.level, without.limits_tracing), (Level::Note, false));
        assert_eq!(without.fix.as_deref(), Some("boot with lsm=lockdown,capability,bpf"));
    }

    /// A static helper differs from an empty one, and from a kernel without the option.
    #[test]
    fn static_helper_is_distinguished_from_none() {
        let with = |config: &str| finding("static-usermodehelper", &[RELEASE, ("boot/config-6.1.0-x", config)]);
        assert_eq!(with("# CONFIG_STATIC_USERMODEHELPER is not set\n").level, Level::Ok);
        let on = "CONFIG_STATIC_USERMODEHELPER=y\nCONFIG_STATIC_USERMODEHELPER_PATH=";
        assert_eq!(with(&format!("{on}\"/sbin/helper\"\n")).level, Level::Note);
        assert_eq!(with(&format!("{on}\"\"\n")).level, Level::Problem);
        let packed = finding("static-usermodehelper", &[RELEASE, ("proc/config.gz", "")]);
        assert!(packed.fix.unwrap().contains("zgrep"));
    }

    /// The running kernel's setting for signatures takes precedence over its configuration.
    #[test]
    fn signature_setting_of_the_running_kernel_wins() {
        let enforce =
            |value: &str| finding("module-signatures", &[("sys/module/module/parameters/sig_enforce", value)]);
        assert_eq!((enforce("Y\n").level, enforce("N\n").level), (Level::Note, Level::Ok));
        let none = finding("module-signatures", &[RELEASE, ("boot/config-6.1.0-x", "CONFIG_MODULES=y\n")]);
        assert_eq!(none.level, Level::Ok);
    }

    /// Hidden symbols limit tracing, and the finding names the setting.
    #[test]
    fn hidden_symbols_limit_tracing() {
        let restrict = ("proc/sys/kernel/kptr_restrict", "2\n");
        let hidden = finding("symbols", &[restrict, ("proc/kallsyms", "0000000000000000 T _text\n")]);
        assert!(hidden.limits_tracing && hidden.found.ends_with("kptr_restrict is 2"), "{hidden:?}");
        let shown = finding("symbols", &[restrict, ("proc/kallsyms", "ffffffff81000000 T _text\n")]);
        assert_eq!(shown.level, Level::Ok);
    }

    /// A kernel that loads no more modules is a note.
    #[test]
    fn disabled_modules_are_a_note() {
        let disabled = |value: &str| finding("modules-disabled", &[("proc/sys/kernel/modules_disabled", value)]).level;
        assert_eq!((disabled("1\n"), disabled("0\n")), (Level::Note, Level::Ok));
    }
}
