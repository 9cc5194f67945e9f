//! The requirements of the project besides the eBPF toolchain: one table, with a reason for each.

use std::path::PathBuf;
use std::process::Command;

use crate::system::Family;
use crate::toolchain::probe;

/// The part of the project that has a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Building.
    Build,
    /// Fetching Debian's packages.
    Fetch,
    /// Booting guests.
    Guests,
    /// The tests, in addition to guests.
    Tests,
    /// Validating our output with third-party parsers.
    Parsers,
}

/// The purpose of a set-up. A verb requires only what it uses: the demo needs no browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building the tool.
    Build,
    /// Building the tool and booting guests with it.
    Guests,
    /// Building the tool and validating its output with third-party parsers.
    Parsers,
    /// Every verb.
    Everything,
}

impl Purpose {
    /// Whether the purpose includes a part.
    pub(crate) const fn needs(self, part: Part) -> bool {
        match self {
            Self::Build => matches!(part, Part::Build),
            Self::Guests => matches!(part, Part::Build | Part::Fetch | Part::Guests),
            Self::Parsers => matches!(part, Part::Build | Part::Fetch | Part::Parsers),
            Self::Everything => true,
        }
    }
}

/// How a requirement is detected.
#[derive(Clone, Copy, Debug)]
enum Detection {
    /// A program.
    Program(&'static str),
    /// A program whose name differs between systems.
    AnyProgram(&'static [&'static str]),
    /// A library that the C compiler finds.
    Library(&'static str),
    /// A file.
    File(&'static str),
}

/// A requirement.
#[derive(Debug)]
pub(crate) struct Requirement {
    /// The part that needs it.
    pub(crate) part: Part,
    /// The reason, as a predicate.
    pub(crate) reason: &'static str,
    detection: Detection,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
}

/// The table.
pub(crate) static REQUIREMENTS: &[Requirement] = &[
    Requirement {
        part: Part::Build,
        reason: "links the binaries",
        detection: Detection::Program("cc"),
        debian: "gcc",
        fedora: "gcc",
        arch: "gcc",
    },
    Requirement {
        part: Part::Build,
        reason: "is linked into the static binary",
        detection: Detection::Library("libc.a"),
        debian: "libc6-dev",
        fedora: "glibc-static",
        arch: "glibc",
    },
    Requirement {
        part: Part::Tests,
        reason: "is the reference modprobe of the tests",
        detection: Detection::Program("depmod"),
        debian: "kmod",
        fedora: "kmod",
        arch: "kmod",
    },
    Requirement {
        part: Part::Guests,
        reason: "boots the guests",
        detection: Detection::Program("qemu-system-x86_64"),
        debian: "qemu-system-x86",
        fedora: "qemu-system-x86-core",
        arch: "qemu-system-x86",
    },
    Requirement {
        part: Part::Tests,
        reason: "reads captures in the tests",
        detection: Detection::Program("zstdcat"),
        debian: "zstd",
        fedora: "zstd",
        arch: "zstd",
    },
    Requirement {
        part: Part::Tests,
        reason: "reads captures in the tests",
        detection: Detection::Program("jq"),
        debian: "jq",
        fedora: "jq",
        arch: "jq",
    },
    Requirement {
        part: Part::Tests,
        reason: "opens the web page of a report in the tests",
        detection: Detection::AnyProgram(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]),
        debian: "chromium",
        fedora: "chromium",
        arch: "chromium",
    },
    Requirement {
        part: Part::Parsers,
        reason: "runs the parsers that validate verdicts",
        detection: Detection::Program("python3"),
        debian: "python3",
        fedora: "python3",
        arch: "python",
    },
    Requirement {
        part: Part::Parsers,
        reason: "unpacks the source of a parser",
        detection: Detection::Program("xz"),
        debian: "xz-utils",
        fedora: "xz",
        arch: "xz",
    },
    Requirement {
        part: Part::Fetch,
        reason: "fetches the guests' kernels and programs",
        detection: Detection::Program("apt-get"),
        debian: "apt",
        fedora: "apt",
        arch: "apt",
    },
    Requirement {
        part: Part::Fetch,
        reason: "unpacks the guests' kernels and programs",
        detection: Detection::Program("dpkg-deb"),
        debian: "dpkg",
        fedora: "dpkg",
        arch: "dpkg",
    },
    Requirement {
        part: Part::Fetch,
        reason: "verifies fetched packages by Debian's signatures",
        detection: Detection::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        debian: "debian-archive-keyring",
        fedora: "debian-keyring",
        arch: "debian-archive-keyring",
    },
];

impl Requirement {
    /// The display name.
    pub(crate) fn name(&self) -> &'static str {
        match self.detection {
            Detection::Program(name) | Detection::Library(name) => name,
            Detection::AnyProgram(names) => names.first().copied().unwrap_or_default(),
            Detection::File(path) => path.rsplit('/').next().unwrap_or(path),
        }
    }

    /// The path, if it is present.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        match self.detection {
            Detection::Program(name) => probe::find_program(name),
            Detection::AnyProgram(names) => names.iter().find_map(|name| probe::find_program(name)),
            Detection::Library(name) => {
                let answer = probe::query(Command::new("cc").arg(format!("-print-file-name={name}"))).ok()?;
                // If the library is not found, the answer is its bare name.
                Some(PathBuf::from(answer.trim())).filter(|path| path.is_absolute())
            }
            Detection::File(path) => Some(PathBuf::from(path)).filter(|path| path.exists()),
        }
    }

    /// The package that contains it.
    pub(crate) fn package(&self, family: Family) -> &'static str {
        match family {
            Family::Debian | Family::Other => self.debian,
            Family::Fedora => self.fedora,
            Family::Arch => self.arch,
        }
    }
}

/// The missing requirements of a purpose.
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

    /// A build needs a C compiler. Guests also need QEMU and Debian packages, but nothing that only tests use.
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
