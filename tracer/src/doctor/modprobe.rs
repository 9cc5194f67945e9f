//! The kernel's helper program, and what its configuration blocks or changes.

use super::Finding;
use crate::{
    causes::with_causes,
    environment::HelperView,
    event::Text,
    kernel::sysinfo::SystemInfo,
    modprobe::{Config, Doubts, ModuleIndex, Resolver, ResolverError, Rule, helper_view, untrusted},
    modules::{Machine, families, machine::why_not_executable},
};

/// Number of lines of modprobe.d that are shown; the others are counted.
const SHOWN: usize = 5;

/// The check of modprobe's configuration.
const MODPROBE_D: &str = "modprobe.d";

/// What the configuration is needed for.
const COSTS: &str = "blocked and unknown names cannot be distinguished, and the reasons for loads are unknown";

pub(super) fn check(sysinfo: &SystemInfo) -> Vec<Finding> {
    let view = helper_view(sysinfo);
    let helper = view.with(|| helper(sysinfo));
    let mut findings = vec![files(&view)];
    findings.extend(helper);
    match Resolver::installed(sysinfo) {
        Ok(resolver) => {
            findings.push(configuration(resolver.config(), resolver.doubts()));
            findings.extend(ignored(&resolver.config().warnings));
            findings.extend(without_effect(resolver.config()));
            findings.extend(void_blacklists(resolver.config(), resolver.index()));
        }
        Err(error) => findings.push(without_resolver(&error)),
    }
    findings.extend(refused(&Machine::read(sysinfo).refused));
    findings
}

/// Modules that the kernel itself refuses.
fn refused(modules: &[String]) -> Option<Finding> {
    (!modules.is_empty()).then(|| {
        Finding::note(
            "module_blacklist",
            format!("module_blacklist={} on the kernel command line", modules.join(",")),
            "the kernel refuses these modules with EPERM, for every loader",
            "boot without this parameter to allow them",
        )
    })
}

/// Lines that look like configuration, and have no effect or another one than they seem to have.
fn without_effect(config: &Config) -> Option<Finding> {
    // modprobe itself reports lines that it does not understand.
    let lines = config.ignored().iter().filter(|line| !line.is_reported());
    list(lines.map(ToString::to_string)).map(|found| {
        Finding::note(
            "modprobe.d-ignored",
            found,
            "these lines do not block or change what they seem to",
            "correct them, or move them to a file that modprobe reads",
        )
    })
}

/// `blacklist` lines for modules that the kernel requests by their own names.
fn void_blacklists(config: &Config, index: &ModuleIndex) -> Option<Finding> {
    let is_void =
        |module: &&String| index.file(module).is_some() && families::family(&Text::from(module.as_str())).is_some();
    let mut modules: Vec<&String> = config.blacklist.iter().filter(is_void).collect();
    modules.sort_unstable();
    modules.dedup();
    list(modules.into_iter().filter_map(|module| config.blacklist_line(module))).map(|found| {
        Finding::note(
            "modprobe.d-blacklist",
            found,
            "the kernel requests these modules by their own names, and a blacklist applies to aliases only: they are loaded",
            "`kmodtrace block NAME` prints rules that hold",
        )
    })
}

/// The first of some sentences, and the number of the others; `None` if there are none.
fn list(sentences: impl Iterator<Item = String>) -> Option<String> {
    let all: Vec<String> = sentences.collect();
    let shown = all.get(..SHOWN.min(all.len())).filter(|shown| !shown.is_empty())?.join("; ");
    let more = all.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    Some(shown + &rest)
}

/// Where the files of the helper are.
fn files(view: &HelperView) -> Finding {
    const CHECK: &str = "helper-files";
    match view {
        HelperView::Own => Finding::ok(CHECK, "the kernel runs modprobe with the files that this process sees"),
        HelperView::Other(_) => Finding::note(
            CHECK,
            "the kernel runs modprobe in another mount namespace, whose files are read there",
            "`block` and `surface --block` cannot try or write rules here",
            "run them on the host, for example by `nsenter -t 1 -m`",
        ),
        HelperView::Hidden(why) => Finding::problem(CHECK, why.to_string(), COSTS, "see above").limiting(),
    }
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
    if let Some(why) = why_not_executable(sysinfo.root(), &path) {
        return Finding::problem(
            CHECK,
            format!("{path} {why}"),
            "requests load nothing and end as helper-failed",
            "install the package kmod, or set kernel.modprobe to the installed modprobe",
        );
    }
    match untrusted(sysinfo.root(), path.as_ref()) {
        None => Finding::ok(CHECK, path),
        Some(why) => Finding::problem(
            CHECK,
            format!("{path}: {why}"),
            "every request of any user runs it as root; kmodtrace does not run it, so its configuration is unknown",
            "find out who has set it, then `sysctl kernel.modprobe=/sbin/modprobe`, or make it and its directories root's alone",
        ),
    }
}

/// The configuration, or what is known of it.
fn configuration(config: &Config, doubts: &Doubts) -> Finding {
    if let Some(why) = &doubts.config {
        return Finding::problem(
            MODPROBE_D,
            format!("{why}; names are resolved by the aliases of the modules alone"),
            COSTS,
            "set kernel.modprobe to the modprobe of kmod, unless the other program is intended",
        )
        .limiting();
    }
    if let Some(why) = doubts.helper.as_ref().or(doubts.modules.as_ref()) {
        return Finding::problem(MODPROBE_D, why, COSTS, "see kernel.modprobe").limiting();
    }
    let found = lines(config);
    if doubts.unreadable.is_empty() {
        return found;
    }
    let (shown, more) = (doubts.unreadable.iter().take(SHOWN), doubts.unreadable.len().saturating_sub(SHOWN));
    let paths: Vec<String> = shown.map(|path| path.display().to_string()).collect();
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    let readable =
        if found.level == super::Level::Ok { String::new() } else { format!("; otherwise: {}", found.found) };
    Finding::note(
        MODPROBE_D,
        format!("cannot read {}{rest}{readable}", paths.join(", ")),
        "the kernel's helper reads these files, so it is unknown what they block or change",
        "run `kmodtrace doctor` as root",
    )
}

/// Lines that modprobe does not understand, in its own words.
fn ignored(warnings: &[String]) -> Option<Finding> {
    list(warnings.iter().cloned()).map(|found| {
        Finding::note(
            "modprobe.d-warnings",
            found,
            "modprobe ignores these lines, whatever they are meant to block or change",
            "correct or remove them",
        )
    })
}

fn without_resolver(error: &ResolverError) -> Finding {
    let fix = match error {
        ResolverError::Modules(error) => {
            let costs = format!("requests for modules fail; {COSTS}");
            return Finding::problem("module-index", error.to_string(), costs, error.fix()).limiting();
        }
        ResolverError::Index(_) => "install the modules of the running kernel, or run `depmod`",
        ResolverError::Modprobe(_) => "install the package kmod",
        ResolverError::View(_) => "see helper-files",
    };
    Finding::problem(MODPROBE_D, with_causes(error), COSTS, fix).limiting()
}

fn lines(config: &Config) -> Finding {
    let placed = |line: String| format!("{line} {}", config.place(&line));
    let installs = config.installs.iter().map(|rule| placed(format!("install {} {}", rule.pattern, rule.value)));
    let is_off = |rule: &&Rule| rule.value == "off";
    let off = config.aliases.iter().filter(is_off).map(|rule| placed(format!("alias {} off", rule.pattern)));
    let blacklist = config.blacklist.iter().map(|module| placed(format!("blacklist {module}")));
    let counts = [installs.clone().count(), off.clone().count(), blacklist.clone().count()];
    // Commands come first: they have the largest effect, and blacklists are long.
    let Some(shown) = list(installs.chain(off).chain(blacklist)) else {
        return Finding::ok(MODPROBE_D, "no install, blacklist or alias off line");
    };
    let [installs, off, blacklist] = counts;
    Finding::note(
        MODPROBE_D,
        format!("install {installs}, alias off {off}, blacklist {blacklist}: {shown}"),
        "requests for these names load nothing or something else, and are reported as blocklisted; a blacklist applies to aliases only",
        "`kmodtrace explain NAME` shows the line that blocks a name and where it is; remove the line to let it load",
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{
        Config, Doubts, Finding, ModuleIndex, SHOWN, SystemInfo, configuration, helper, ignored, lines, refused,
        void_blacklists,
    };
    use crate::doctor::Level;

    fn config(text: &str) -> Finding {
        lines(&Config::parse(format!("{text}\n# End of configuration files. Dumping indexes now:\n")).unwrap())
    }

    /// Lines are counted by kind; the first few are shown, commands first; other lines are ignored.
    #[test]
    fn modprobe_d_lines_are_counted_by_kind() {
        assert_eq!(config("options x y=1\nalias a b\nsoftdep a pre: b").level, Level::Ok);
        let few = config("blacklist pcspkr\ninstall sctp /bin/false\nalias net_pf_31 off");
        assert_eq!(
            few.found,
            "install 1, alias off 1, blacklist 1: install sctp /bin/false in the configuration of modprobe; alias net_pf_31 off in the configuration of modprobe; \
             blacklist pcspkr in the configuration of modprobe"
        );
        let many: String = (0..20).map(|number| format!("blacklist m{number}\n")).collect();
        assert!(config(&many).found.ends_with("blacklist m4 in the configuration of modprobe; and 15 more"));
    }

    /// Files that cannot be read are named, and then nothing is said to be absent.
    #[test]
    fn unreadable_files_are_named() {
        let config = |text: &str| {
            Config::parse(format!("{text}\n# End of configuration files. Dumping indexes now:\n")).unwrap()
        };
        let doubts = Doubts { unreadable: vec![PathBuf::from("/etc/modprobe.d/x.conf")], ..Doubts::default() };
        let (empty, some) = (configuration(&config(""), &doubts), configuration(&config("blacklist pcspkr"), &doubts));
        assert_eq!((empty.level, empty.found.as_str()), (Level::Note, "cannot read /etc/modprobe.d/x.conf"));
        assert!(
            some.found.contains("x.conf; otherwise: ") && some.found.contains("blacklist pcspkr"),
            "{}",
            some.found
        );
        assert_eq!(configuration(&config(""), &Doubts::default()).level, Level::Ok);
    }

    /// A helper whose configuration is unknown is a problem, whose text does not advise to install what is there.
    #[test]
    fn helper_without_configuration_is_a_problem() {
        let doubts = Doubts { config: Some("it is not kmod".to_owned()), ..Doubts::default() };
        let finding = configuration(&Config::default(), &doubts);
        assert_eq!((finding.level, finding.limits_tracing), (Level::Problem, true));
        assert!(!finding.fix.unwrap().contains("install"));
    }

    /// A blacklist is void for a module that the kernel requests by its own name, and only for that.
    #[test]
    fn void_blacklists_are_found() {
        let index = ModuleIndex::parse("kernel/algif_aead.ko:\nkernel/pcspkr.ko:\n", "", "");
        let found = |text: &str| {
            let text = format!("{text}\n# End of configuration files. Dumping indexes now:\n");
            void_blacklists(&Config::parse(text).unwrap(), &index).map(|finding| finding.found)
        };
        let void = found("blacklist algif_aead\nblacklist pcspkr\nblacklist tcp_nosuch");
        assert_eq!(void.as_deref(), Some("blacklist algif_aead in the configuration of modprobe"));
        assert_eq!(found("blacklist pcspkr"), None);
    }

    /// Modules that the kernel refuses are a finding whose fix is on the command line.
    #[test]
    fn refused_modules_are_a_finding() {
        assert!(refused(&[]).is_none());
        let found = refused(&["udf".to_owned(), "dummy".to_owned()]).unwrap();
        assert_eq!(found.found, "module_blacklist=udf,dummy on the kernel command line");
        assert!(found.fix.unwrap().starts_with("boot without"));
    }

    /// modprobe's own messages are shown, the first few in full.
    #[test]
    fn ignored_lines_are_shown() {
        assert!(ignored(&[]).is_none());
        let warnings: Vec<String> = (0..SHOWN + 2).map(|number| format!("line {number}")).collect();
        let found = ignored(&warnings).unwrap();
        assert_eq!(
            (found.level, found.found.as_str()),
            (Level::Note, "line 0; line 1; line 2; line 3; line 4; and 2 more")
        );
    }

    /// A helper that others can change is a problem that names the reason.
    #[test]
    fn helper_that_others_can_change_is_a_problem() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        for directory in ["proc/sys/kernel", "sbin"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        std::fs::write(root.path().join("proc/sys/kernel/modprobe"), "/sbin/modprobe\n").unwrap();
        let program = root.path().join("sbin/modprobe");
        std::fs::copy("/bin/true", &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o777)).unwrap();
        let finding = helper(&SystemInfo::new(root.path()));
        assert_eq!(finding.level, Level::Problem);
        let is_root = rustix::process::geteuid().is_root();
        let reason = if is_root { "can be written by other users (mode 777)" } else { "not by root" };
        assert!(finding.found.contains(reason), "{}", finding.found);
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
        // Where tests do not run as root, their files are not root's.
        let usual = if rustix::process::geteuid().is_root() { Level::Ok } else { Level::Problem };
        assert_eq!(with("/sbin/modprobe\n", true).level, usual);
        let missing = with("/sbin/modprobe\n", false);
        assert_eq!((missing.level, missing.limits_tracing), (Level::Problem, false));
        assert_eq!(with("\n", false).level, Level::Note);
    }
}
