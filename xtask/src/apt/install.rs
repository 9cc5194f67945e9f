//! Decides how packages are installed beside those that the machine has: none of these is ever removed.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::parse::{self, Offer};

/// Where the decision gets its facts: the machine's apt, which is only asked here and changes nothing.
pub(super) trait Facts {
    /// What `apt-get install --simulate` prints for these arguments; an error when apt finds no solution.
    fn simulate(&self, arguments: &[String]) -> Result<String>;
    /// What `apt-cache show --all-versions` prints.
    fn show(&self, package: &str) -> Result<String>;
    /// What `apt-cache madison` prints.
    fn madison(&self, package: &str) -> Result<String>;
    /// The version of an installed package, and the source it was built from.
    fn installed(&self, package: &str) -> Result<Offer>;
    /// All installed packages.
    fn all_installed(&self) -> Result<Vec<Offer>>;
}

/// The arguments of `apt-get install` that install these packages and remove none. It is an error, which says what to do, when
/// there are no such arguments.
pub(super) fn arguments(facts: &impl Facts, packages: &[String]) -> Result<Vec<String>> {
    let removes_none =
        |arguments: &[String]| facts.simulate(arguments).is_ok_and(|text| parse::removals(&text).is_empty());
    let removed = match facts.simulate(packages) {
        Ok(text) => parse::removals(&text),
        Err(error) => {
            // For example because a newer version of a part of the same software is installed.
            let kept = installed_parts(facts, packages);
            let solution = matching(facts, packages, &kept)?.into_iter().find(|arguments| removes_none(arguments));
            let install = format!("apt-get install --no-install-recommends {}", packages.join(" "));
            return solution.ok_or_else(|| error.context(format!("apt cannot do it; see why with: {install}")));
        }
    };
    if removed.is_empty() {
        return Ok(packages.to_vec());
    }
    // Packages that are outdated are brought up to date together with those that clash with them.
    let together: Vec<String> = packages.iter().chain(&removed).cloned().collect();
    if removes_none(&together) {
        return Ok(together);
    }
    let mut kept = Vec::new();
    for package in &removed {
        kept.push(facts.installed(package).with_context(|| format!("cannot look at the installed {package}"))?);
    }
    for arguments in matching(facts, packages, &kept)? {
        if removes_none(&arguments) {
            return Ok(arguments);
        }
    }
    bail!("{}", advice(packages, &removed, &kept));
}

/// Arguments that choose versions of the same source as what is installed: these versions alone, then with what they need from
/// each release that has one of these versions. None when nothing that is wanted is built from the same source.
fn matching(facts: &impl Facts, packages: &[String], kept: &[Offer]) -> Result<Vec<Vec<String>>> {
    let mut arguments = packages.to_vec();
    let mut chosen: Vec<(String, Offer)> = Vec::new();
    for (package, argument) in packages.iter().zip(&mut arguments) {
        if let Some(offer) = built_with(facts, package, kept) {
            *argument = format!("{package}={}", offer.version);
            chosen.push((package.clone(), offer));
        }
    }
    let mut index = 0;
    // Parts of the same software that they need, in the same version: apt would choose the candidates.
    while let Some((_, offer)) = chosen.get(index) {
        for needed in offer.needs.clone() {
            let is_known = chosen.iter().any(|(known, _)| *known == needed) || packages.contains(&needed);
            if is_known {
                continue;
            }
            if let Some(offer) = built_with(facts, &needed, kept) {
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
        let offered = parse::releases(&facts.madison(package)?).into_iter();
        releases.extend(offered.filter(|(version, _)| *version == offer.version).map(|(_, release)| release));
    }
    let from_releases =
        releases.iter().map(|release| [vec![format!("--target-release={release}")], arguments.clone()].concat());
    Ok([arguments.clone()].into_iter().chain(from_releases).collect())
}

/// The version of a package that is built from the same version of the same source as something that is installed.
fn built_with(facts: &impl Facts, package: &str, kept: &[Offer]) -> Option<Offer> {
    // A package that is only virtual is shown as an error.
    let offers = parse::offers(&facts.show(package).ok()?);
    let has_same_source =
        |offer: &Offer| kept.iter().any(|one| one.source == offer.source && one.source_version == offer.source_version);
    offers.into_iter().find(has_same_source)
}

/// Installed packages that are built from the same source as one that is wanted.
fn installed_parts(facts: &impl Facts, packages: &[String]) -> Vec<Offer> {
    // A package that is only virtual is shown as an error.
    let offers = packages.iter().filter_map(|package| facts.show(package).ok()).flat_map(|show| parse::offers(&show));
    let sources: BTreeSet<String> = offers.map(|offer| offer.source).collect();
    let installed = facts.all_installed().unwrap_or_default();
    installed.into_iter().filter(|part| sources.contains(&part.source)).collect()
}

/// What a person can do where nothing can be decided for them.
fn advice(packages: &[String], removed: &[String], kept: &[Offer]) -> String {
    let installed: Vec<String> =
        removed.iter().zip(kept).map(|(package, offer)| format!("{package} {}", offer.version)).collect();
    let versions: Vec<String> = kept.iter().map(|offer| format!("{} {}", offer.source, offer.source_version)).collect();
    format!(
        "apt would remove {} to install {}, and offers no version that fits beside it.\n\
         Either keep it: add the archive that it came from to apt's sources, so that apt offers packages built from {}, and \
         run this again.\n\
         Or give it up:\n  apt-get install --no-install-recommends {}\nand run this again.",
        installed.join(", "),
        packages.join(" "),
        versions.join(", "),
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests;
