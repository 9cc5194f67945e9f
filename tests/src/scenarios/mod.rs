//! The scenarios, one file per behaviour. Each performs an action and checks the events that kmodtrace reports.

mod attach;
mod blind_spots;
mod causes;
mod cli;
mod comparison;
mod compat;
mod crypto;
mod depth;
mod doctor;
mod errors;
mod explain;
mod explicit;
mod failures;
mod helper_model;
mod hostile;
mod library;
mod loss;
mod names;
mod namespaces;
mod oracle_check;
mod oracle_sees_modprobe;
mod outage;
mod outcomes;
mod policy;
mod policy_baseline;
mod policy_kernels;
mod policy_recipes;
mod prevention;
mod prevention_holds;
mod privileges;
mod readme;
mod reasons;
mod record;
mod record_disk;
mod refusals;
mod report;
mod service;
mod storm;
mod udev;
mod watching;
mod why;
mod workloads;

use anyhow::Result;

use crate::ctx::Ctx;
pub use crate::guest::System;

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, which states the expected behaviour.
    pub name: &'static str,
    /// Whether it needs a guest of its own, because it must be the first to do something, or leaves something behind.
    pub fresh_boot: bool,
    /// Its requirements.
    pub needs: &'static [Need],
    /// The function that runs it.
    pub run: fn(&mut Ctx) -> Result<()>,
}

/// A requirement of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The program under test. The scenario fails without it.
    Kmodtrace,
    /// A program of the distribution. The scenario fails without it.
    Program(&'static str),
    /// At least this kernel version. The scenario is skipped on older ones; only the kernel is a reason to skip.
    Kernel(u32, u32),
    /// A kernel before this version. The scenario is skipped on others.
    KernelBefore(u32, u32),
    /// A kernel whose release has this prefix. The scenario is skipped on others.
    Release(&'static str),
    /// The standard flavour of the kernel. The scenario is skipped on the cloud flavour, which lacks most hardware drivers.
    OrdinaryFlavour,
    /// More programs of the distribution. The scenario gets a guest of its own with them.
    Extras,
    /// Other tracers. The scenario gets a guest of its own with them.
    Tracers,
    /// A system that boots as real machines do. The scenario gets a guest of its own in which systemd is pid 1.
    System(System),
    /// The example that traces with the library. The scenario gets a guest of its own with it.
    Example,
    /// An argument on the kernel's command line. The scenario gets a guest of its own that is booted with it.
    KernelArgument(&'static str),
}

/// Scenarios whose result depends on the kernel, file by file.
const OF_THE_KERNEL: &[&[Scenario]] = &[
    oracle_sees_modprobe::SCENARIOS,
    attach::SCENARIOS,
    blind_spots::SCENARIOS,
    outage::SCENARIOS,
    compat::SCENARIOS,
    outcomes::SCENARIOS,
    failures::SCENARIOS,
    helper_model::SCENARIOS,
    prevention_holds::SCENARIOS,
    refusals::SCENARIOS,
    hostile::SCENARIOS,
    loss::SCENARIOS,
    library::SCENARIOS,
    causes::SCENARIOS,
    udev::SCENARIOS,
    workloads::SCENARIOS,
    crypto::SCENARIOS,
    explicit::SCENARIOS,
    depth::SCENARIOS,
    names::SCENARIOS,
    namespaces::SCENARIOS,
    reasons::SCENARIOS,
    storm::SCENARIOS,
    errors::SCENARIOS,
    record::SCENARIOS,
    service::SCENARIOS,
    doctor::SCENARIOS,
    privileges::SCENARIOS,
    policy_kernels::SCENARIOS,
];

/// Scenarios of what kmodtrace does with the events, which is the same on each kernel.
const OF_USER_SPACE: &[&[Scenario]] = &[
    comparison::SCENARIOS,
    cli::SCENARIOS,
    readme::SCENARIOS,
    record_disk::SCENARIOS,
    report::SCENARIOS,
    explain::SCENARIOS,
    policy::SCENARIOS,
    policy_baseline::SCENARIOS,
    policy_recipes::SCENARIOS,
    watching::SCENARIOS,
    prevention::SCENARIOS,
    why::SCENARIOS,
];

/// Every scenario.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    of_the_kernel().chain(OF_USER_SPACE.iter().copied().flatten())
}

/// Every scenario whose result depends on the kernel.
pub fn of_the_kernel() -> impl Iterator<Item = &'static Scenario> {
    OF_THE_KERNEL.iter().copied().flatten()
}

/// Finds a scenario by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// Whether the scenario applies to a kernel with this release.
    #[must_use]
    pub fn applies_to(&self, release: &str) -> bool {
        let version = version_of(release);
        self.needs.iter().all(|need| match need {
            Need::Kernel(major, minor) => version.is_some_and(|version| version >= (*major, *minor)),
            Need::KernelBefore(major, minor) => version.is_some_and(|version| version < (*major, *minor)),
            Need::Release(prefix) => release.starts_with(prefix),
            Need::OrdinaryFlavour => !release.contains("-cloud-"),
            Need::Kmodtrace
            | Need::Program(_)
            | Need::Extras
            | Need::Tracers
            | Need::Example
            | Need::System(_)
            | Need::KernelArgument(_) => true,
        })
    }

    /// Whether it needs a guest with more programs of the distribution.
    #[must_use]
    pub fn needs_extras(&self) -> bool {
        self.needs.contains(&Need::Extras)
    }

    /// Whether it needs a guest with the library's example.
    #[must_use]
    pub fn needs_example(&self) -> bool {
        self.needs.contains(&Need::Example)
    }

    /// Whether it needs a guest with other tracers.
    #[must_use]
    pub fn needs_tracers(&self) -> bool {
        self.needs.contains(&Need::Tracers)
    }

    /// The system it needs, if any.
    #[must_use]
    pub fn system(&self) -> Option<System> {
        self.needs.iter().find_map(|need| if let Need::System(system) = need { Some(*system) } else { None })
    }

    /// The arguments that the kernel's command line must contain.
    pub fn kernel_arguments(&self) -> impl Iterator<Item = &'static str> {
        self.needs.iter().filter_map(|need| match need {
            Need::KernelArgument(argument) => Some(*argument),
            Need::System(system) => Some(system.argument()),
            _ => None,
        })
    }
}

/// Whether the running kernel has at least this version.
fn is_kernel_at_least(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    version_of(&release).is_some_and(|version| version >= (major, minor))
}

/// Major and minor of a kernel release.
fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are unique, because results are identified by them.
    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = all().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    /// Releases are compared as numbers, ignoring the suffix.
    #[test]
    fn release_is_compared_as_numbers() {
        let scenario = |needs| Scenario { name: "x", fresh_boot: false, needs, run: |_| Ok(()) };
        let at_least_6_12 = scenario(&[Need::Kernel(6, 12)]);
        assert!(at_least_6_12.applies_to("6.12.117+deb13-amd64") && at_least_6_12.applies_to("7.2.13+deb14-amd64"));
        assert!(!at_least_6_12.applies_to("6.1.0-56-amd64") && !at_least_6_12.applies_to("5.10.0-46-amd64"));
        assert!(!at_least_6_12.applies_to("odd"));
        assert!(scenario(&[Need::Kmodtrace]).applies_to("5.10.0-46-amd64"));
        let before_6_2 = scenario(&[Need::KernelBefore(6, 2)]);
        assert!(before_6_2.applies_to("5.10.0-46-amd64") && !before_6_2.applies_to("6.12.117+deb13-amd64"));
        assert!(!before_6_2.applies_to("odd"));
        let ordinary = scenario(&[Need::OrdinaryFlavour]);
        assert!(ordinary.applies_to("6.1.0-56-amd64") && !ordinary.applies_to("6.1.0-56-cloud-amd64"));
    }
}
