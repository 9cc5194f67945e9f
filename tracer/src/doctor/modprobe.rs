//! The kernel's helper program, and what its configuration blocks or changes.

use super::Finding;
use crate::{
    causes::with_causes,
    kernel::sysinfo::SystemInfo,
    modprobe::{Config, Resolver},
    modules::machine::why_not_executable,
};

/// Number of lines of modprobe.d that are shown; the others are counted.
const SHOWN: usize = 5;

pub(super) fn check(sysinfo: &SystemInfo) -> Vec<Finding> {
    let mut findings = vec![helper(sysinfo)];
    match Resolver::installed(sysinfo) {
        Ok(resolver) => findings.push(lines(resolver.config())),
        Err(error) => findings.push(
            Finding::problem(
                "modprobe.d",
                with_causes(&error),
                "blocked and unknown names cannot be distinguished, and the reasons for loads are unknown",
                "install the package kmod and the modules of the running kernel",
            )
            .limiting(),
        ),
    }
    findings
}

fn helper(sysinfo: &SystemInfo) -> Finding {
    const CHECK: &str = "kernel.modprobe";
    let path = match sysinfo.modprobe() {
        Ok(path) => path,
        Err(error) => {
            return Finding::unknown(CHECK, &error, "it is unknown which program the kernel runs");
        }
    };
    if path.is_empty() {
        return Finding::note(
            CHECK,
            "empty",
            "requests load nothing and end as no-modprobe",
            "`sysctl kernel.modprobe=/sbin/modprobe`, unless this is intended",
        );
    }
    match why_not_executable(sysinfo.root(), &path) {
        None => Finding::ok(CHECK, path),
        Some(why) => Finding::problem(
            CHECK,
            format!("{path} {why}"),
            "requests load nothing and end as helper-failed",
            "install the package kmod, or set kernel.modprobe to the installed modprobe",
        ),
    }
}

fn lines(config: &Config) -> Finding {
    const CHECK: &str = "modprobe.d";
    let installs = config.installs.iter().map(|rule| format!("install {} {}", rule.pattern, rule.value));
    let off =
        config.aliases.iter().filter(|rule| rule.value == "off").map(|rule| format!("alias {} off", rule.pattern));
    let blacklist = config.blacklist.iter().map(|module| format!("blacklist {module}"));
    let counts = [installs.clone().count(), off.clone().count(), blacklist.clone().count()];
    // Commands come first: they have the largest effect, and blacklists are long.
    let all: Vec<String> = installs.chain(off).chain(blacklist).collect();
    if all.is_empty() {
        return Finding::ok(CHECK, "no install, blacklist or alias off line");
    }
    let [installs, off, blacklist] = counts;
    let shown = all.get(..SHOWN.min(all.len())).unwrap_or_default().join("; ");
    let more = all.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    Finding::note(
        CHECK,
        format!("install {installs}, alias off {off}, blacklist {blacklist}: {shown}{rest}"),
        "requests for these names load nothing or something else, and are reported as blocklisted",
        "`kmodtrace explain NAME` shows what blocks a name; remove its line to let it load",
    )
}

#[cfg(test)]
mod tests {
    use super::{Config, Finding, SystemInfo, helper, lines};
    use crate::doctor::Level;

    fn config(text: &str) -> Finding {
        lines(&Config::parse(&format!("{text}\n# End of configuration files. Dumping indexes now:\n")).unwrap())
    }

    /// Lines are counted by kind; the first few are shown, commands first; other lines are ignored.
    #[test]
    fn modprobe_d_lines_are_counted_by_kind() {
        assert_eq!(config("options x y=1\nalias a b\nsoftdep a pre: b").level, Level::Ok);
        let few = config("blacklist pcspkr\ninstall sctp /bin/false\nalias net_pf_31 off");
        assert_eq!(
            few.found,
            "install 1, alias off 1, blacklist 1: install sctp /bin/false; alias net_pf_31 off; blacklist pcspkr"
        );
        let many: String = (0..20).map(|number| format!("blacklist m{number}\n")).collect();
        assert!(config(&many).found.ends_with("blacklist m4; and 15 more"));
    }

    /// An empty helper is a note, a missing one a problem; neither prevents tracing.
    #[test]
    fn missing_helper_is_a_problem() {
        let with = |value: &str, exists: bool| {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
            std::fs::write(root.path().join("proc/sys/kernel/modprobe"), value).unwrap();
            if exists {
                let from = "/bin/true";
                std::fs::create_dir(root.path().join("sbin")).unwrap();
                std::fs::copy(from, root.path().join("sbin/modprobe")).unwrap();
            }
            helper(&SystemInfo::new(root.path()))
        };
        assert_eq!(with("/sbin/modprobe\n", true).level, Level::Ok);
        let missing = with("/sbin/modprobe\n", false);
        assert_eq!((missing.level, missing.limits_tracing), (Level::Problem, false));
        assert_eq!(with("\n", false).level, Level::Note);
    }
}
