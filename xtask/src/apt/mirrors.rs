//! Mirrors of Debian packages: first the machine's own mirror, then the public ones.

use std::fs;
use std::path::Path;

/// A mirror of the Debian archive, with its security archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    /// Base address of the main archive.
    pub(super) debian: String,
    /// Base address of the security archive.
    pub(super) security: String,
    /// Whether it is an archive of suites without updates, whose release files have expired.
    pub(super) frozen: bool,
}

const DEBIAN: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";
/// A country mirror and the security team's own servers, if deb.debian.org is unusable.
const OTHER: &str = "http://ftp.us.debian.org/debian";
const OTHER_SECURITY: &str = "http://security.debian.org/debian-security";
const ARCHIVE: &str = "http://archive.debian.org/debian";
const ARCHIVE_SECURITY: &str = "http://archive.debian.org/debian-security";

/// The mirrors to try, in order.
pub(super) fn mirrors() -> Vec<Mirror> {
    let uris = configured_uris(Path::new("/etc/apt"));
    let own = Mirror {
        debian: first_ending(&uris, "debian").unwrap_or(DEBIAN).to_owned(),
        security: first_ending(&uris, "debian-security").unwrap_or(SECURITY).to_owned(),
        frozen: false,
    };
    let public = [(DEBIAN, SECURITY, false), (OTHER, OTHER_SECURITY, false), (ARCHIVE, ARCHIVE_SECURITY, true)];
    let public = public.map(|(debian, security, frozen)| Mirror {
        debian: debian.to_owned(),
        security: security.to_owned(),
        frozen,
    });
    let mut mirrors = vec![own];
    for mirror in public {
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
    }
    mirrors
}

/// The text of a `sources.list` for one suite of a mirror. `trust` is the option for verification.
pub(super) fn sources_list(mirror: &Mirror, suite: &str, trust: &str, with_security: bool) -> String {
    let mut text = format!("deb [arch=amd64 {trust}] {} {suite} main\n", mirror.debian);
    if with_security && has_security(suite) {
        text.push_str(&format!("deb [arch=amd64 {trust}] {} {suite}-security main\n", mirror.security));
    }
    text
}

/// Whether a suite has a security archive. Testing and unstable get fixes in the suite itself.
pub(super) fn has_security(suite: &str) -> bool {
    !matches!(suite, "sid" | "unstable" | "testing")
}

fn first_ending<'a>(uris: &'a [String], last: &str) -> Option<&'a str> {
    uris.iter().map(|uri| uri.trim_end_matches('/')).find(|uri| uri.rsplit('/').next() == Some(last))
}

/// The archive addresses in the apt configuration under `dir`. A file that cannot be read is skipped.
fn configured_uris(dir: &Path) -> Vec<String> {
    let mut files = vec![dir.join("sources.list")];
    if let Ok(entries) = fs::read_dir(dir.join("sources.list.d")) {
        let mut parts: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut uris = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => uris.extend(one_line_uris(&text)),
            Some("sources") => uris.extend(deb822_uris(&text)),
            _ => {}
        }
    }
    uris
}

/// Addresses of the one-line format: `deb [options] URI suite component...`.
fn one_line_uris(text: &str) -> Vec<String> {
    let words = text.lines().filter_map(|line| line.trim().strip_prefix("deb "));
    words.filter_map(|rest| rest.split_whitespace().find(|word| is_http(word))).map(str::to_owned).collect()
}

/// Addresses of the deb822 format: `URIs: a b`.
fn deb822_uris(text: &str) -> Vec<String> {
    let values = text.lines().filter_map(|line| line.strip_prefix("URIs:"));
    values.flat_map(str::split_whitespace).filter(|word| is_http(word)).map(str::to_owned).collect()
}

fn is_http(word: &str) -> bool {
    word.starts_with("http://") || word.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both formats of apt's sources are parsed; options and comments are skipped.
    #[test]
    fn both_source_formats_are_parsed() {
        let list = "# deb http://old.example/debian x main\ndeb [arch=amd64] http://a.example/debian/ x main\n";
        assert_eq!(one_line_uris(list), ["http://a.example/debian/"]);
        let deb822 = "Types: deb\n# http://no.example/debian\nURIs: http://b.example/debian cdrom:foo\nSuites: x\n";
        assert_eq!(deb822_uris(deb822), ["http://b.example/debian"]);
    }

    /// The main archive is recognized by its last path segment, so that third-party sources are not used.
    #[test]
    fn archive_is_recognized_by_last_segment() {
        let uris = [
            "https://deb.vendor.example/node".to_owned(),
            "http://m.example/debian-security".into(),
            "http://m.example/debian/".into(),
        ];
        assert_eq!(first_ending(&uris, "debian"), Some("http://m.example/debian"));
        assert_eq!(first_ending(&uris, "debian-security"), Some("http://m.example/debian-security"));
        assert_eq!(first_ending(&uris[..1], "debian"), None);
    }

    /// A released suite has its security archive in the list; unstable does not.
    #[test]
    fn security_is_listed_only_if_it_exists() {
        let mirror =
            Mirror { debian: "http://m/debian".into(), security: "http://m/debian-security".into(), frozen: false };
        let list = sources_list(&mirror, "bookworm", "signed-by=/k.gpg", true);
        assert!(list.contains("http://m/debian-security bookworm-security main"), "{list}");
        assert_eq!(sources_list(&mirror, "bookworm", "signed-by=/k.gpg", false).lines().count(), 1);
        assert_eq!(sources_list(&mirror, "sid", "signed-by=/k.gpg", true).lines().count(), 1);
    }
}
