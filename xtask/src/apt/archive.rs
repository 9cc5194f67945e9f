//! Fetching from a suite: from one mirror after the other, then by the package lists of an earlier update.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::config;
use super::mirrors::{self, Mirror};
use super::private::{AptError, Private};

pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What the private apt takes over from the machine.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// The mirrors to try, in order.
    pub(super) mirrors: Vec<Mirror>,
    /// How what is fetched is checked, as an option of a `sources.list`.
    pub(super) trust: String,
    /// Settings of the network, as lines of a configuration.
    pub(super) network: String,
    /// Variables besides those of this process.
    pub(super) environment: Vec<(String, String)>,
}

/// What happens while a fetch goes on.
pub(super) trait Progress: fmt::Debug {
    /// Reports something that a person should know.
    fn note(&self, note: &str);
    /// Waits.
    fn pause(&self, time: Duration);
}

/// Notes go to standard error, and pauses take their time.
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

/// One suite, wherever it can be had.
#[derive(Debug)]
pub(crate) struct Archive {
    root: PathBuf,
    suite: String,
    surroundings: Surroundings,
    progress: Box<dyn Progress>,
}

impl Archive {
    /// A suite of Debian, from the mirrors that this machine uses and from the public ones. Lists are kept below `root`.
    pub(crate) fn of_debian(root: &Path, suite: &str) -> Result<Self> {
        if !Path::new(KEYRING).exists() {
            bail!("{KEYRING} is missing; install it with: apt-get install debian-archive-keyring");
        }
        let progress = Terminal;
        let network = config::network_of(&[]).unwrap_or_else(|error| {
            progress.note(&format!("the proxies of this machine's apt cannot be read, going on without: {error:#}"));
            String::new()
        });
        let surroundings = Surroundings {
            mirrors: mirrors::mirrors(),
            trust: format!("signed-by={KEYRING}"),
            network,
            environment: Vec::new(),
        };
        Ok(Self::new(root, suite, surroundings, progress))
    }

    pub(super) fn new(root: &Path, suite: &str, surroundings: Surroundings, progress: impl Progress + 'static) -> Self {
        Self { root: root.to_owned(), suite: suite.to_owned(), surroundings, progress: Box::new(progress) }
    }

    /// Does some work with apt: with the current lists of one mirror after the other until one can do it; then with lists of
    /// an earlier update; then without the security archive where that alone fails. The work may run several times.
    pub(crate) fn with<T>(&self, work: impl Fn(&Private<'_>) -> Result<T>) -> Result<T> {
        let mut failures = Vec::new();
        let mut not_updated = Vec::new();
        let mut without_security = Vec::new();
        for mirror in &self.surroundings.mirrors {
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
                "the security archive of {} is not usable: going on with {} alone",
                self.suite, mirror.debian
            ));
            let apt = self.private(mirror, false)?;
            match apt.update().and_then(|()| work(&apt)) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    self.report(mirror, &error);
                    failures.push(format!("{} alone: {error:#}", mirror.debian));
                }
            }
        }
        bail!("no mirror could serve {}:\n{}", self.suite, failures.join("\n"));
    }

    fn private<'a>(&'a self, mirror: &'a Mirror, with_security: bool) -> Result<Private<'a>> {
        let with_security = with_security && mirrors::has_security(&self.suite);
        Private::prepare(&self.root, &self.suite, mirror, with_security, &self.surroundings, self.progress.as_ref())
    }

    fn report(&self, mirror: &Mirror, error: &anyhow::Error) {
        let error = format!("{error:#}");
        let first = error.lines().next().unwrap_or_default();
        self.progress.note(&format!("{} cannot serve {}: {first}", mirror.debian, self.suite));
    }
}

/// A time, in the largest unit that fits.
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
