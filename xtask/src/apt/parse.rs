//! Parses the output of apt's programs in the C locale.

use std::collections::BTreeSet;

/// A dependency on a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Its name, without an architecture.
    pub(crate) name: String,
    /// The required version, if it is exact.
    pub(crate) version: Option<String>,
}

impl Dependency {
    /// The argument for apt's programs: `name` or `name=version`.
    pub(crate) fn argument(&self) -> String {
        match &self.version {
            Some(version) => format!("{}={version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// The cause of a failed fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The mirror's files are inconsistent, as during an update of the mirror.
    Syncing,
    /// A package file is in the index but not in the pool.
    Gone,
    /// Any other cause.
    Other,
}

/// A file that could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) uri: String,
    pub(super) reason: String,
    pub(super) cause: Cause,
}

/// A package file that apt would fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackageFile {
    pub(super) uri: String,
    /// Its local name, which contains the complete version.
    pub(super) file: String,
    pub(super) package: String,
    pub(super) version: String,
}

/// A version of a package, and its source. The version of a rebuilt binary package is longer than that of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) version: String,
    pub(super) source: String,
    pub(super) source_version: String,
    /// Names of its dependencies; of alternatives, the first.
    pub(super) needs: Vec<String>,
}

/// Whether the output of `apt-cache policy` has an installable version.
pub(super) fn has_candidate(policy: &str) -> bool {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"));
    candidate.is_some_and(|version| version.trim() != "(none)")
}

/// The `Depends` field in the output of `apt-cache show`, including all alternatives.
pub(super) fn dependencies(show: &str) -> Vec<Dependency> {
    let fields = show.lines().filter_map(|line| line.strip_prefix("Depends:"));
    let items = fields.flat_map(|field| field.split([',', '|']));
    let read = |item: &str| {
        let name = item.split_whitespace().next()?;
        let name = name.split(':').next().unwrap_or(name).to_owned();
        let version = item.split_once("(=").and_then(|(_, rest)| rest.split_once(')'));
        Some(Dependency { name, version: version.map(|(version, _)| version.trim().to_owned()) })
    };
    items.filter_map(read).collect()
}

/// The versions in the output of `apt-cache madison`, without duplicates, newest first.
pub(super) fn versions(madison: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for version in madison.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim) {
        if versions.iter().all(|known| known != version) {
            versions.push(version.to_owned());
        }
    }
    versions
}

/// The source package in the output of `apt-cache show`; `None` if it has the same name.
pub(super) fn source(show: &str) -> Option<&str> {
    show.lines().find_map(|line| line.strip_prefix("Source: "))?.split_whitespace().next()
}

/// Every version in the output of `apt-cache show --all-versions`.
pub(super) fn offers(show: &str) -> Vec<Offer> {
    let read = |record: &str| {
        let field = |name: &str| {
            let value = record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::trim)
        };
        let version = field("Version")?;
        let source = field("Source").or_else(|| field("Package"))?;
        let (source, source_version) = match source.split_once(" (") {
            Some((source, rest)) => (source, rest.strip_suffix(')')?),
            None => (source, version),
        };
        let needs = ["Pre-Depends", "Depends"].into_iter().filter_map(field).flat_map(|field| field.split(','));
        let needs = needs.filter_map(|item| item.split(['|', ':', ' ', '(']).find(|word| !word.is_empty()));
        Some(Offer {
            version: version.to_owned(),
            source: source.to_owned(),
            source_version: source_version.to_owned(),
            needs: needs.map(str::to_owned).collect(),
        })
    };
    show.split("\n\n").filter_map(read).collect()
}

/// Versions and their releases in the output of `apt-cache madison`: `bookworm-backports/main` is in the release
/// `bookworm-backports`.
pub(super) fn releases(madison: &str) -> Vec<(String, String)> {
    let read = |line: &str| {
        let mut columns = line.split('|').skip(1).map(str::trim);
        let (version, origin) = (columns.next()?, columns.next()?);
        let (release, _) = origin.split_whitespace().nth(1)?.split_once('/')?;
        Some((version.to_owned(), release.to_owned()))
    };
    madison.lines().filter_map(read).filter(|(_, release)| release != ".").collect()
}

/// The names of packages that a simulated installation removes.
pub(super) fn removals(simulation: &str) -> Vec<String> {
    let lines = simulation.lines().filter_map(|line| line.strip_prefix("Remv "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// LLVM's major version in a recursive list of dependencies, if there is exactly one.
pub(super) fn only_llvm(depends: &str) -> Option<u32> {
    let words = depends.split_whitespace().filter_map(|word| word.strip_prefix("libllvm"));
    let majors: BTreeSet<u32> = words.filter_map(|rest| rest.split(':').next()?.parse().ok()).collect();
    let mut majors = majors.into_iter();
    majors.next().filter(|_| majors.next().is_none())
}

/// The package files in the output of `--print-uris`: `'URI' NAME_VERSION_ARCHITECTURE.deb SIZE HASH`.
pub(super) fn package_files(uris: &str) -> Vec<PackageFile> {
    let read = |line: &str| {
        let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
        let file = rest.split(' ').next()?;
        let mut parts = file.strip_suffix(".deb")?.split('_');
        let (package, version) = (parts.next()?.to_owned(), parts.next()?.replace("%3a", ":"));
        Some(PackageFile { uri: uri.to_owned(), file: file.to_owned(), package, version })
    };
    uris.lines().filter_map(read).collect()
}

/// The files that apt could not fetch: `E: Failed to fetch URI  REASON`. Some versions of apt print this as a warning.
pub(super) fn failures(output: &str) -> Vec<Failure> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: ")));
    let read = |line: &str| {
        let (uri, reason) = line.strip_prefix("Failed to fetch ")?.split_once(' ')?;
        let (uri, reason) = (uri.to_owned(), reason.trim().to_owned());
        let cause = cause(&uri, &reason);
        Some(Failure { uri, reason, cause })
    };
    lines.filter_map(read).collect()
}

/// Whether apt's output has errors, and all of them concern files below `base`.
pub(super) fn concerns_only(output: &str, base: &str) -> bool {
    // The last line of a failed update contains no archive.
    let errors = output.lines().filter(|line| line.starts_with("E: ") && !line.starts_with("E: Some index files"));
    let mut errors = errors.peekable();
    let below = format!("{}/", base.trim_end_matches('/'));
    errors.peek().is_some() && errors.all(|line| line.contains(&below) || line.contains(&format!("{base} ")))
}

fn cause(uri: &str, reason: &str) -> Cause {
    /// apt's messages for files that do not match the signed index, or are truncated.
    const SYNCING: [&str; 6] = [
        "hash sum mismatch",
        "size mismatch",
        "unexpected size",
        "mirror sync in progress",
        "clearsigned file isn't valid",
        "does not start with a cleartext signature",
    ];
    let reason = reason.to_ascii_lowercase();
    let is_missing = ["404 ", "410 ", "not found", "failed to stat"].iter().any(|words| reason.contains(words));
    if SYNCING.iter().any(|words| reason.contains(words)) || is_missing && uri.contains("/dists/") {
        // An index that the release file lists is present when the update of the mirror is complete.
        Cause::Syncing
    } else if is_missing && uri.ends_with(".deb") {
        Cause::Gone
    } else {
        Cause::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package that the suite lacks, or knows only by name, has no candidate.
    #[test]
    fn candidates_are_parsed() {
        assert!(has_candidate("rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n"));
        assert!(!has_candidate("rust-src:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }

    /// Alternatives are flattened, architectures removed, and only exact versions kept.
    #[test]
    fn dependencies_are_parsed() {
        let show = "Package: linux-image-amd64\n\
                    Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2), kmod:any, a | b (>> 1), c (= 1:2)\n";
        let read = dependencies(show);
        let arguments: Vec<String> = read.iter().map(Dependency::argument).collect();
        assert_eq!(arguments, ["linux-image-6.1.0-56-amd64=6.1.192-2", "kmod", "a", "b", "c=1:2"]);
        assert!(dependencies("Package: x\n").is_empty());
    }

    /// A version in two archives is listed once.
    #[test]
    fn versions_are_parsed_without_duplicates() {
        let madison = " meta | 1:6.1.192-2 | http://m/debian-security bookworm-security/main amd64 Packages\n \
                       meta | 1:6.1.192-2 | http://m/debian bookworm/main amd64 Packages\n \
                       meta |    6.1.190-1 | http://m/debian bookworm/main amd64 Packages\n";
        assert_eq!(versions(madison), ["1:6.1.192-2", "6.1.190-1"]);
        assert!(versions("").is_empty());
    }

    /// A rebuilt package has another version than its source; without a source field, the source has the same name.
    #[test]
    fn offers_are_parsed_with_sources() {
        let show = "Package: qemu-utils\nSource: qemu (1:7.2+dfsg-7+deb12u18)\nVersion: 1:7.2+dfsg-7+deb12u18+b3\n\
                    Pre-Depends: init:any\nDepends: libc6 (>= 2.36), a | b,c:any (= 2)\n\nPackage: qemu-utils\nSource: qemu\n\
                    Version: 1:8.2~bpo12+1\n\nPackage: kmod\nVersion: 30\n\n";
        let offers = offers(show);
        let read: Vec<(&str, &str, &str)> = offers
            .iter()
            .map(|offer| (offer.version.as_str(), offer.source.as_str(), offer.source_version.as_str()))
            .collect();
        assert_eq!(
            read,
            [
                ("1:7.2+dfsg-7+deb12u18+b3", "qemu", "1:7.2+dfsg-7+deb12u18"),
                ("1:8.2~bpo12+1", "qemu", "1:8.2~bpo12+1"),
                ("30", "kmod", "30"),
            ]
        );
        assert_eq!(offers[0].needs, ["init", "libc6", "a", "c"]);
        assert!(super::offers("").is_empty());
    }

    /// A release has no component; an archive without releases is skipped.
    #[test]
    fn releases_are_parsed() {
        let madison = "qemu-utils | 1:8.2~bpo12+1 | http://m/debian bookworm-backports/main amd64 Packages\n\
                       qemu-utils | 1:8.0 | http://flat.example ./ Packages\n\
                       qemu-utils | 1:7.2 | http://m/debian bookworm/main amd64 Packages\n";
        let pair = |version: &str, release: &str| (version.to_owned(), release.to_owned());
        let wanted = [pair("1:8.2~bpo12+1", "bookworm-backports"), pair("1:7.2", "bookworm")];
        assert_eq!(releases(madison), wanted);
    }

    #[test]
    fn removals_are_parsed() {
        let text = "Inst seabios (1.16.2)\nRemv qemu-utils [1:7.2+dfsg-7+deb12u12]\nConf seabios (1.16.2)\n";
        assert_eq!(removals(text), ["qemu-utils"]);
        assert!(removals("Inst kmod (30)\n").is_empty());
    }

    #[test]
    fn source_is_parsed() {
        assert_eq!(source("Package: qemu-utils\nSource: qemu (1:7.2)\n"), Some("qemu"));
        assert_eq!(source("Package: kmod\nVersion: 30\n"), None);
    }

    #[test]
    fn llvm_version_must_be_unique() {
        assert_eq!(only_llvm("libstd-rust-web-1.96\n  Depends: libllvm22\nlibllvm22\n  Depends: libc6\n"), Some(22));
        assert_eq!(only_llvm("Depends: libllvm19:amd64\n"), Some(19));
        assert_eq!(only_llvm("Depends: libllvm19\nDepends: libllvm22\n"), None);
        assert_eq!(only_llvm("Depends: libc6\n"), None);
    }

    /// The file name contains the epoch, which the pool's name omits.
    #[test]
    fn package_files_are_parsed() {
        let text = "Reading package lists...\n'http://m/debian/pool/main/q/qemu/qemu-utils_7.2_amd64.deb' \
                    qemu-utils_1%3a7.2_amd64.deb 6 SHA256:58\n'http://m/x.dsc' x_1.dsc 6 SHA256:58\n";
        let files = package_files(text);
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].package.as_str(), files[0].version.as_str()), ("qemu-utils", "1:7.2"));
        assert_eq!(files[0].uri, "http://m/debian/pool/main/q/qemu/qemu-utils_7.2_amd64.deb");
        assert_eq!(files[0].file, "qemu-utils_1%3a7.2_amd64.deb");
    }

    /// Every message for a mirror that is being updated, and similar messages with other causes.
    #[test]
    fn causes_are_distinguished() {
        let index = "http://m/debian/dists/trixie/main/binary-amd64/by-hash/SHA256/8a3f";
        let package = "http://m/debian/pool/main/l/linux/linux-image_6.1_amd64.deb";
        let cases = [
            (
                index,
                "File has unexpected size (9468096 != 9468424). Mirror sync in progress? [IP: 1.2.3.4 80]",
                Cause::Syncing,
            ),
            (index, "Hash Sum mismatch", Cause::Syncing),
            (index, "404  Not Found [IP: 1.2.3.4 80]", Cause::Syncing),
            (
                index,
                "Clearsigned file isn't valid, got 'NOSPLIT' (does the network require authentication?)",
                Cause::Syncing,
            ),
            (index, "Could not connect to m:80 (1.2.3.4). - connect (111: Connection refused)", Cause::Other),
            (package, "Hash Sum mismatch", Cause::Syncing),
            (package, "File has unexpected size (2 != 6). Mirror sync in progress?", Cause::Syncing),
            (package, "404  Not Found [IP: 1.2.3.4 80]", Cause::Gone),
            (package, "410  Gone [IP: 1.2.3.4 80]", Cause::Gone),
            (package, "Failed to stat - stat (2: No such file or directory)", Cause::Gone),
            (package, "Temporary failure resolving 'm'", Cause::Other),
            (package, "503  Service Unavailable [IP: 1.2.3.4 80]", Cause::Other),
        ];
        for (uri, reason, cause) in cases {
            for level in ["E", "W"] {
                let output =
                    format!("Err:1 {uri}\n{level}: Failed to fetch {uri}  {reason}\n   Hashes of expected file:\n");
                let failure = Failure { uri: uri.to_owned(), reason: reason.to_owned(), cause };
                assert_eq!(failures(&output), [failure], "{reason}");
            }
        }
        assert!(failures("E: Some index files failed to download.\nW: Unable to read /x\n").is_empty());
    }

    /// An update can ignore the security archive only if every error is in that archive.
    #[test]
    fn errors_of_one_archive_are_recognized() {
        let base = "http://m/debian-security";
        let security = "E: Failed to fetch http://m/debian-security/dists/x-security/InRelease  Hash Sum mismatch\n";
        let release = "E: The repository 'http://m/debian-security x-security Release' does not have a Release file.\n";
        let main = "E: Failed to fetch http://m/debian/dists/x/InRelease  Hash Sum mismatch\n";
        let end = "E: Some index files failed to download. They have been ignored, or old ones used instead.\n";
        assert!(concerns_only(&format!("{security}{end}"), base));
        assert!(concerns_only(&format!("{release}{security}{end}"), base));
        assert!(!concerns_only(&format!("{security}{main}{end}"), base));
        assert!(!concerns_only(&format!("{security}{end}"), "http://m/debian"));
        assert!(!concerns_only(end, base));
        assert!(!concerns_only("", base));
    }
}
