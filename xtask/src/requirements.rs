//! What the project needs on a machine besides the eBPF toolchain: one table, with the reason for each.

use std::path::PathBuf;
use std::process::Command;

use crate::system::Family;
use crate::toolchain::probe;

/// Which part of the project needs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Building.
    Build,
    /// Fetching Debian's packages.
    Fetch,
    /// Booting guests.
    Guests,
    /// The tests, beyond guests.
    Tests,
    /// Trying our output with the parsers of others.
    Parsers,
}

/// What a machine is set up for. A verb needs only what it uses itself: a demo needs no browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building the tool.
    Build,
    /// Building it and booting guests with it.
    Guests,
    /// Building it and trying what it writes with other parsers.
    Parsers,
    /// Every verb.
    Everything,
}

impl Purpose {
    /// Whether it includes a part.
    pub(crate) const fn needs(self, part: Part) -> bool {
        match self {
            Self::Build => matches!(part, Part::Build),
            Self::Guests => matches!(part, Part::Build | Part::Fetch | Part::Guests),
            Self::Parsers => matches!(part, Part::Build | Part::Fetch | Part::Parsers),
            Self::Everything => true,
        }
    }
}

/// How it is seen that something is there.
#[derive(Clone, Copy, Debug)]
enum Sign {
    /// A program.
    Program(&'static str),
    /// A program that has another name on each system.
    AnyProgram(&'static [&'static str]),
    /// A library that the C compiler finds.
    Library(&'static str),
    /// A file.
    File(&'static str),
}

/// One thing that must be there.
#[derive(Debug)]
pub(crate) struct Requirement {
    /// What needs it.
    pub(crate) part: Part,
    /// Why.
    pub(crate) reason: &'static str,
    sign: Sign,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
}

/// The table.
pub(crate) static REQUIREMENTS: &[Requirement] = &[
    Requirement {
        part: Part::Build,
        reason: "links the binaries",
        sign: Sign::Program("cc"),
        debian: "gcc",
        fedora: "gcc",
        arch: "gcc",
    },
    Requirement {
        part: Part::Build,
        reason: "is linked into the static binary",
        sign: Sign::Library("libc.a"),
        debian: "libc6-dev",
        fedora: "glibc-static",
        arch: "glibc",
    },
    Requirement {
        part: Part::Tests,
        reason: "is the modprobe that tests compare with",
        sign: Sign::Program("depmod"),
        debian: "kmod",
        fedora: "kmod",
        arch: "kmod",
    },
    Requirement {
        part: Part::Guests,
        reason: "boots the guests",
        sign: Sign::Program("qemu-system-x86_64"),
        debian: "qemu-system-x86",
        fedora: "qemu-system-x86-core",
        arch: "qemu-system-x86",
    },
    Requirement {
        part: Part::Tests,
        reason: "reads captures in the tests",
        sign: Sign::Program("zstdcat"),
        debian: "zstd",
        fedora: "zstd",
        arch: "zstd",
    },
    Requirement {
        part: Part::Tests,
        reason: "reads captures in the tests",
        sign: Sign::Program("jq"),
        debian: "jq",
        fedora: "jq",
        arch: "jq",
    },
    Requirement {
        part: Part::Tests,
        reason: "opens the page of a report in the tests",
        sign: Sign::AnyProgram(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]),
        debian: "chromium",
        fedora: "chromium",
        arch: "chromium",
    },
    Requirement {
        part: Part::Parsers,
        reason: "runs the parsers that verdicts are tried with",
        sign: Sign::Program("python3"),
        debian: "python3",
        fedora: "python3",
        arch: "python",
    },
    Requirement {
        part: Part::Parsers,
        reason: "unpacks the source of one of them",
        sign: Sign::Program("xz"),
        debian: "xz-utils",
        fedora: "xz",
        arch: "xz",
    },
    Requirement {
        part: Part::Fetch,
        reason: "fetches the guests' kernels and programs",
        sign: Sign::Program("apt-get"),
        debian: "apt",
        fedora: "apt",
        arch: "apt",
    },
    Requirement {
        part: Part::Fetch,
        reason: "unpacks the guests' kernels and programs",
        sign: Sign::Program("dpkg-deb"),
        debian: "dpkg",
        fedora: "dpkg",
        arch: "dpkg",
    },
    Requirement {
        part: Part::Fetch,
        reason: "checks what is fetched against Debian's signatures",
        sign: Sign::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        debian: "debian-archive-keyring",
        fedora: "debian-keyring",
        arch: "debian-archive-keyring",
    },
];

impl Requirement {
    /// What is looked for, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self.sign {
            Sign::Program(name) | Sign::Library(name) => name,
            Sign::AnyProgram(names) => names.first().copied().unwrap_or_default(),
            Sign::File(path) => path.rsplit('/').next().unwrap_or(path),
        }
    }

    /// Where it is, when it is there.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        match self.sign {
            Sign::Program(name) => probe::find_program(name),
            Sign::AnyProgram(names) => names.iter().find_map(|name| probe::find_program(name)),
            Sign::Library(name) => {
                let answer = probe::query(Command::new("cc").arg(format!("-print-file-name={name}"))).ok()?;
                // A library that is not found is answered with its bare name.
                Some(PathBuf::from(answer.trim())).filter(|path| path.is_absolute())
            }
            Sign::File(path) => Some(PathBuf::from(path)).filter(|path| path.exists()),
        }
    }

    /// The package that has it.
    pub(crate) fn package(&self, family: Family) -> &'static str {
        match family {
            Family::Debian | Family::Other => self.debian,
            Family::Fedora => self.fedora,
            Family::Arch => self.arch,
        }
    }
}

/// What is missing for a purpose.
pub(crate) fn missing(purpose: Purpose) -> Vec<&'static Requirement> {
    needed(purpose).filter(|one| one.find().is_none()).collect()
}

fn needed(purpose: Purpose) -> impl Iterator<Item = &'static Requirement> {
    REQUIREMENTS.iter().filter(move |one| purpose.needs(one.part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(purpose: Purpose) -> Vec<&'static str> {
        needed(purpose).map(Requirement::name).collect()
    }

    /// A build needs a compiler for C; guests need QEMU and Debian's packages besides, and nothing that only tests use.
    #[test]
    fn purposes_need_only_what_they_use() {
        assert_eq!(names(Purpose::Build), ["cc", "libc.a"]);
        let keyring = "debian-archive-keyring.gpg";
        assert_eq!(names(Purpose::Guests), ["cc", "libc.a", "qemu-system-x86_64", "apt-get", "dpkg-deb", keyring]);
        assert_eq!(names(Purpose::Parsers), ["cc", "libc.a", "python3", "xz", "apt-get", "dpkg-deb", keyring]);
        assert_eq!(names(Purpose::Everything).len(), REQUIREMENTS.len());
        assert!(names(Purpose::Everything).contains(&"chromium"));
    }
}
