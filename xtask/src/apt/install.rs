//! Selects the versions of packages to install, so that no installed package is removed.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::parse::{self, Offer};

/// The queries that the selection needs. The machine's apt answers them without any change.
pub(super) trait PackageQueries {
    /// The output of `apt-get install --simulate` for these arguments; an error if apt finds no solution.
    fn simulate(&self, arguments: &[String]) -> Result<String>;
    /// The output of `apt-cache show --all-versions`.
    fn show(&self, package: &str) -> Result<String>;
    /// The output of `apt-cache madison`.
    fn madison(&self, package: &str) -> Result<String>;
    /// The version and source of an installed package.
    fn installed(&self, package: &str) -> Result<Offer>;
    /// All installed packages.
    fn all_installed(&self) -> Result<Vec<Offer>>;
}

/// The arguments of `apt-get install` that install these packages and remove none. If there are none, the error says what to
/// do.
pub(super) fn arguments(queries: &impl PackageQueries, packages: &[String]) -> Result<Vec<String>> {
    let removes_none =
        |arguments: &[String]| queries.simulate(arguments).is_ok_and(|text| parse::removals(&text).is_empty());
    let removed = match queries.simulate(packages) {
        Ok(text) => parse::removals(&text),
        Err(error) => {
            // For example, a newer version of another part of the same software is installed.
            let kept = installed_parts(queries, packages);
            let solution = matching(queries, packages, &kept)?.into_iter().find(|arguments| removes_none(arguments));
            let install = format!("apt-get install --no-install-recommends {}", packages.join(" "));
            return solution.ok_or_else(|| error.context(format!("apt finds no solution; see why with: {install}")));
        }
    };
    if removed.is_empty() {
        return Ok(packages.to_vec());
    }
    // Try to upgrade the conflicting packages together with the new ones.
    let together: Vec<String> = packages.iter().chain(&removed).cloned().collect();
    if removes_none(&together) {
        return Ok(together);
    }
    let mut kept = Vec::new();
    for package in &removed {
        kept.push(queries.installed(package).with_context(|| format!("cannot query the installed package {package}"))?);
    }
    for arguments in matching(queries, packages, &kept)? {
        if removes_none(&arguments) {
            return Ok(arguments);
        }
    }
    bail!("{}", advice(packages, &removed, &kept));
}

/// Arguments that select versions of the same source as installed packages: first only these versions, then with dependencies
/// from each release that has one of these versions. Empty if no requested package has the same source.
fn matching(queries: &impl PackageQueries, packages: &[String], kept: &[Offer]) -> Result<Vec<Vec<String>>> {
    let mut arguments = packages.to_vec();
    let mut chosen: Vec<(String, Offer)> = Vec::new();
    for (package, argument) in packages.iter().zip(&mut arguments) {
        if let Some(offer) = built_with(queries, package, kept) {
            *argument = format!("{package}={}", offer.version);
            chosen.push((package.clone(), offer));
        }
    }
    let mut index = 0;
    // Select the same version for dependencies from the same source too; apt would use their candidates.
    while let Some((_, offer)) = chosen.get(index) {
        for needed in offer.needs.clone() {
            let is_known = chosen.iter().any(|(known, _)| *known == needed) || packages.contains(&needed);
            if is_known {
                continue;
            }
            if let Some(offer) = built_with(queries, &needed, kept) {
                arguments.push(format!("{needed}={}", offer.version));
                chosen.push((needed, offer));
            }
        }
        index += 1;
    }
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let mut releases = BTreeSet::new();
    for (package, offer) in &chosen {
        let offered = parse::releases(&queries.madison(package)?).into_iter();
        releases.extend(offered.filter(|(version, _)| *version == offer.version).map(|(_, release)| release));
    }
    let from_releases =
        releases.iter().map(|release| [vec![format!("--target-release={release}")], arguments.clone()].concat());
    Ok([arguments.clone()].into_iter().chain(from_releases).collect())
}

/// The version of a package with the same source, in the same version, as an installed package.
fn built_with(queries: &impl PackageQueries, package: &str, kept: &[Offer]) -> Option<Offer> {
    // For a virtual package, the query fails.
    let offers = parse::offers(&queries.show(package).ok()?);
    let has_same_source =
        |offer: &Offer| kept.iter().any(|one| one.source == offer.source && one.source_version == offer.source_version);
    offers.into_iter().find(has_same_source)
}

/// Installed packages with the same source as a requested one.
fn installed_parts(queries: &impl PackageQueries, packages: &[String]) -> Vec<Offer> {
    // For a virtual package, the query fails.
    let offers = packages.iter().filter_map(|package| queries.show(package).ok()).flat_map(|show| parse::offers(&show));
    let sources: BTreeSet<String> = offers.map(|offer| offer.source).collect();
    let installed = queries.all_installed().unwrap_or_default();
    installed.into_iter().filter(|part| sources.contains(&part.source)).collect()
}

/// Advice for the user if no selection is possible.
fn advice(packages: &[String], removed: &[String], kept: &[Offer]) -> String {
    let installed: Vec<String> =
        removed.iter().zip(kept).map(|(package, offer)| format!("{package} {}", offer.version)).collect();
    let versions: Vec<String> = kept.iter().map(|offer| format!("{} {}", offer.source, offer.source_version)).collect();
    format!(
        "apt would remove {} to install {}, and has no version that is compatible with it.\n\
         To keep it, add the archive from which it was installed to apt's sources, so that apt offers packages built from {}, \
         and run this again.\n\
         To remove it, run:\n  apt-get install --no-install-recommends {}\nand run this again.",
        installed.join(", "),
        packages.join(" "),
        versions.join(", "),
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests;
