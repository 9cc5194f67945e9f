//! Fetches from a suite: from each mirror in turn, then with the package lists of an earlier update.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::config;
use super::mirrors::{self, Mirror};
use super::private::{AptError, Private};

pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The settings that the private apt takes from the machine.
#[derive(Clone, Debug)]
pub(super) struct HostSettings {
    /// The mirrors to try, in order.
    pub(super) mirrors: Vec<Mirror>,
    /// How fetched files are verified, as an option in `sources.list`.
    pub(super) trust: String,
    /// Network settings, as lines of an apt configuration.
    pub(super) network: String,
    /// Additional environment variables.
    pub(super) environment: Vec<(String, String)>,
}

/// Receives notes and pauses of a fetch.
pub(super) trait Progress: fmt::Debug {
    /// Reports a message to the user.
    fn note(&self, note: &str);
    /// Waits.
    fn pause(&self, time: Duration);
}

/// Prints notes to stderr, and sleeps for pauses.
#[derive(Debug)]
struct Terminal;

impl Progress for Terminal {
    fn note(&self, note: &str) {
        eprintln!("vm: {note}");
    }

    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }
}

/// One suite, from any mirror.
#[derive(Debug)]
pub(crate) struct Archive {
    root: PathBuf,
    suite: String,
    settings: HostSettings,
    progress: Box<dyn Progress>,
}

impl Archive {
    /// A suite of Debian, from the mirrors of this machine and from the public ones. Package lists are cached below `root`.
    pub(crate) fn of_debian(root: &Path, suite: &str) -> Result<Self> {
        if !Path::new(KEYRING).exists() {
            bail!("cannot find {KEYRING}; install it with: apt-get install debian-archive-keyring");
        }
        let progress = Terminal;
        let network = config::network_of(&[]).unwrap_or_else(|error| {
            progress.note(&format!("cannot read the proxies of this machine's apt, continuing without: {error:#}"));
            String::new()
        });
        let settings = HostSettings {
            mirrors: mirrors::mirrors(),
            trust: format!("signed-by={KEYRING}"),
            network,
            environment: Vec::new(),
        };
        Ok(Self::new(root, suite, settings, progress))
    }

    pub(super) fn new(root: &Path, suite: &str, settings: HostSettings, progress: impl Progress + 'static) -> Self {
        Self { root: root.to_owned(), suite: suite.to_owned(), settings, progress: Box::new(progress) }
    }

    /// Runs `work` with apt: with the current lists of each mirror until it succeeds; then with lists of an earlier update; then
    /// without the security archive, if only that failed. `work` may run several times.
    pub(crate) fn with<T>(&self, work: impl Fn(&Private<'_>) -> Result<T>) -> Result<T> {
        let mut failures = Vec::new();
        let mut not_updated = Vec::new();
        let mut without_security = Vec::new();
        for mirror in &self.settings.mirrors {
            let apt = self.private(mirror, true)?;
            let failure = match apt.update() {
                Ok(()) => match work(&apt) {
                    Ok(found) => return Ok(found),
                    Err(error) => error,
                },
                Err(error) => {
                    let error_of_apt = error.downcast_ref::<AptError>();
                    if error_of_apt.is_some_and(|error| error.concerns_only(&mirror.security)) {
                        without_security.push(mirror);
                    }
                    not_updated.push((mirror, apt));
                    error
                }
            };
            self.report(mirror, &failure);
            failures.push(format!("{}: {failure:#}", mirror.debian));
        }
        for (mirror, apt) in &not_updated {
            let Some(age) = apt.lists_age() else { continue };
            self.progress.note(&format!(
                "no mirror has usable package lists of {}: using those of {} from {} ago",
                self.suite,
                mirror.debian,
                shown(age)
            ));
            match work(apt) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    self.report(mirror, &error);
                    failures.push(format!("{}, earlier lists: {error:#}", mirror.debian));
                }
            }
        }
        for mirror in without_security {
            self.progress.note(&format!(
                "the security archive of {} is not usable: continuing with {} only",
                self.suite, mirror.debian
            ));
            let apt = self.private(mirror, false)?;
            match apt.update().and_then(|()| work(&apt)) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    self.report(mirror, &error);
                    failures.push(format!("{} only: {error:#}", mirror.debian));
                }
            }
        }
        bail!("cannot fetch from {}: all mirrors failed:\n{}", self.suite, failures.join("\n"));
    }

    fn private<'a>(&'a self, mirror: &'a Mirror, with_security: bool) -> Result<Private<'a>> {
        let with_security = with_security && mirrors::has_security(&self.suite);
        Private::prepare(&self.root, &self.suite, mirror, with_security, &self.settings, self.progress.as_ref())
    }

    fn report(&self, mirror: &Mirror, error: &anyhow::Error) {
        let error = format!("{error:#}");
        let first = error.lines().next().unwrap_or_default();
        self.progress.note(&format!("{} cannot serve {}: {first}", mirror.debian, self.suite));
    }
}

/// Formats a duration in the largest suitable unit.
fn shown(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests;
