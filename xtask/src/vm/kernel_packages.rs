//! Finds and fetches the packages of a kernel line.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::apt::{AptError, Dependency, Private};

use super::kernels::Line;

/// Downloads the newest kernel of a line that is in the pool, and returns its release.
pub(super) fn fetch(apt: &Private<'_>, line: &Line, into: &Path) -> Result<String> {
    let mut versions = apt.versions(line.metapackage)?.into_iter().peekable();
    while let Some(version) = versions.next() {
        let metapackage = format!("{}={version}", line.metapackage);
        let packages = choose(&metapackage, |package| apt.depends(package))?;
        let release = packages.iter().find_map(|package| release_of(&package.name));
        let release = release.with_context(|| format!("{metapackage} names no kernel release"))?;
        let arguments: Vec<String> = packages.iter().map(Dependency::argument).collect();
        apt.note(&format!("fetching kernel {}: {}", line.name, arguments.join(" ")));
        match apt.download(&arguments, into) {
            Ok(()) => return Ok(release.to_owned()),
            Err(error)
                if versions.peek().is_some() && error.downcast_ref::<AptError>().is_some_and(AptError::is_gone) =>
            {
                apt.note(&format!("kernel {release} is not in the pool: using the previous version"));
            }
            Err(error) => return Err(error),
        }
    }
    bail!("cannot find the package {}", line.metapackage);
}

/// The packages of the kernel itself: the image and, if Debian splits it, its base, binary and modules.
fn choose(metapackage: &str, depends: impl Fn(&str) -> Result<Vec<Dependency>>) -> Result<Vec<Dependency>> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut open = vec![metapackage.to_owned()];
    while let Some(package) = open.pop() {
        for dependency in depends(&package)? {
            if release_of(&dependency.name).is_some() && found.iter().all(|known| known.name != dependency.name) {
                open.push(dependency.argument());
                found.push(dependency);
            }
        }
    }
    if found.is_empty() {
        bail!("cannot find a kernel: {metapackage} depends on no image");
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The kernel release in a package name, if it is one of the kernel's own packages.
fn release_of(package: &str) -> Option<&str> {
    let kinds = ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"];
    let release = kinds.iter().find_map(|kind| package.strip_prefix(kind))?;
    release.starts_with(|first: char| first.is_ascii_digit()).then_some(release)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::apt::testing::{Package, Repository, SUITE, Watcher, archive, package};

    const LINE: Line = Line { name: "6.1", suite: SUITE, metapackage: "linux-image-amd64" };

    fn dependencies(words: &[&str]) -> Vec<Dependency> {
        words.iter().map(|&word| Dependency { name: word.to_owned(), version: None }).collect()
    }

    /// The packages of a split kernel are found from its metapackage, and no others.
    #[test]
    fn split_kernel_is_resolved() {
        let depends = |package: &str| {
            Ok(dependencies(match package {
                "linux-image-amd64" => &["linux-base-amd64", "linux-image-7.2.13+deb14-amd64"],
                "linux-image-7.2.13+deb14-amd64" => &[
                    "linux-base-7.2.13+deb14-amd64",
                    "linux-base",
                    "dracut",
                    "linux-binary-7.2.13+deb14-amd64",
                    "linux-modules-7.2.13+deb14-amd64",
                ],
                "linux-modules-7.2.13+deb14-amd64" => &["linux-base-7.2.13+deb14-amd64"],
                _ => &["kmod"],
            }))
        };
        let packages = choose("linux-image-amd64", depends).unwrap();
        let kinds: Vec<&str> = packages.iter().map(|package| package.name.split('-').nth(1).unwrap()).collect();
        assert_eq!(kinds, ["base", "binary", "image", "modules"]);
    }

    /// A metapackage without an image is an error.
    #[test]
    fn metapackage_without_image_is_an_error() {
        assert!(choose("linux-image-amd64", |_| Ok(dependencies(&["kmod"]))).is_err());
    }

    const fn depending(name: &'static str, version: &'static str, depends: &'static str) -> Package {
        Package { depends, source: "linux", ..package(name, version) }
    }

    const KERNELS: [Package; 6] = [
        depending("linux-image-amd64", "6.1.3-1", "linux-image-6.1.0-3-amd64 (= 6.1.3-1)"),
        depending("linux-image-6.1.0-3-amd64", "6.1.3-1", "kmod"),
        // Two releases can share a name.
        depending("linux-image-amd64", "6.1.2-2", "linux-image-6.1.0-2-amd64 (= 6.1.2-2)"),
        depending("linux-image-6.1.0-2-amd64", "6.1.2-2", "kmod"),
        depending("linux-image-amd64", "6.1.2-1", "linux-image-6.1.0-2-amd64 (= 6.1.2-1)"),
        depending("linux-image-6.1.0-2-amd64", "6.1.2-1", "kmod"),
    ];

    /// A kernel that is in the index but not in the pool is replaced by the previous one, which is reported.
    #[test]
    fn kernel_missing_in_pool_falls_back() {
        let dir = tempfile::tempdir().unwrap();
        let mirror = Repository::create(dir.path().join("mirror"), SUITE, &KERNELS);
        let watcher = Watcher::default();
        let archive = archive(dir.path(), &[&mirror], &watcher);
        let into = dir.path().join("into");
        let steps = [
            ("6.1.0-3-amd64", "linux-image-6.1.0-3-amd64_6.1.3-1_amd64.deb", "6.1.3-1"),
            ("6.1.0-2-amd64", "linux-image-6.1.0-2-amd64_6.1.2-2_amd64.deb", "6.1.2-2"),
            ("6.1.0-2-amd64", "linux-image-6.1.0-2-amd64_6.1.2-1_amd64.deb", "6.1.2-1"),
        ];
        for (release, file, version) in steps {
            assert_eq!(archive.with(|apt| fetch(apt, &LINE, &into)).unwrap(), release);
            let found = fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert_eq!(found.filter(|name| name.ends_with(".deb")).collect::<Vec<_>>(), [file]);
            fs::remove_file(mirror.deb(&format!("linux-image-{release}"), version)).unwrap();
            fs::remove_dir_all(&into).unwrap();
        }
        assert!(
            watcher.has_noted("kernel 6.1.0-3-amd64 is not in the pool: using the previous version"),
            "{watcher:?}"
        );
        // A version that is requested explicitly is not replaced.
        assert!(!watcher.has_noted("using the previous version\""), "{watcher:?}");
        let error = archive.with(|apt| fetch(apt, &LINE, &into)).unwrap_err();
        assert!(format!("{error:#}").contains("linux-image-6.1.0-2-amd64_6.1.2-1_amd64.deb"), "{error:#}");
    }
}
