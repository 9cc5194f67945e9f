//! A cache of resolutions, valid as long as the configuration of modprobe does not change.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Resolution, Resolver, ResolverError};
use crate::{causes::with_causes, event::Text, kernel::sysinfo::SystemInfo};

/// Interval of checks for changed files. It is shorter than the time a person needs to edit a file and try again, and
/// saves tens of system calls per request during a storm.
pub(crate) const RECHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Interval of retries if modprobe fails: each try runs two processes.
const RETRY: Duration = Duration::from_secs(1);

/// Maximum number of cached names. Any user can make the kernel request arbitrary names; the cache is cleared beyond this.
const LIMIT: usize = 4096;

/// The source of resolutions.
pub(crate) trait Source {
    /// Reads a changed configuration; returns whether it changed. On error the previous one is kept.
    fn refresh(&mut self) -> Result<bool, ResolverError>;
    /// Resolves a name; `None` if there is no configuration.
    fn resolve(&self, name: &[u8]) -> Option<Resolution>;
}

/// The installed modprobe.
pub(crate) struct Installed {
    root: PathBuf,
    /// Created on first use, since that runs modprobe.
    resolver: Option<Resolver>,
}

impl Source for Installed {
    fn refresh(&mut self) -> Result<bool, ResolverError> {
        match &mut self.resolver {
            Some(resolver) => resolver.refresh(),
            None => {
                self.resolver = Some(Resolver::installed(&SystemInfo::new(&self.root))?);
                Ok(true)
            }
        }
    }

    fn resolve(&self, name: &[u8]) -> Option<Resolution> {
        Some(self.resolver.as_ref()?.resolve(name))
    }
}

/// Cached resolutions.
pub(crate) struct ResolutionCache<S = Installed> {
    source: S,
    answers: HashMap<Text, Resolution>,
    looked: Option<Instant>,
    /// The last refresh failed.
    is_failing: bool,
    /// The last error, which is logged once and not for every request.
    complaint: Option<String>,
}

impl ResolutionCache {
    /// Creates an empty cache for the modprobe below a root directory.
    pub(crate) fn new(root: &Path) -> Self {
        Self::of(Installed { root: root.to_owned(), resolver: None })
    }
}

impl<S: Source> ResolutionCache<S> {
    fn of(source: S) -> Self {
        Self { source, answers: HashMap::new(), looked: None, is_failing: false, complaint: None }
    }

    /// Resolves a name; `None` if that is not possible.
    pub(crate) fn resolve(&mut self, name: &Text) -> Option<Resolution> {
        self.refresh();
        if let Some(known) = self.answers.get(name) {
            return Some(known.clone());
        }
        let answer = self.source.resolve(name.as_bytes())?;
        if self.answers.len() >= LIMIT {
            self.answers.clear();
        }
        self.answers.insert(name.clone(), answer.clone());
        Some(answer)
    }

    fn refresh(&mut self) {
        let wait = if self.is_failing { RETRY } else { RECHECK_INTERVAL };
        if self.looked.is_some_and(|looked| looked.elapsed() < wait) {
            return;
        }
        let refreshed = self.source.refresh();
        self.looked = Some(Instant::now());
        self.is_failing = refreshed.is_err();
        match refreshed {
            Ok(true) => self.answers.clear(),
            Ok(false) => {}
            Err(error) => {
                let complaint = with_causes(&error);
                if self.complaint.as_ref() != Some(&complaint) {
                    log::warn!("{complaint}");
                    self.complaint = Some(complaint);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, LIMIT, RECHECK_INTERVAL, Resolution, ResolutionCache, ResolverError, Source, Text};
    use crate::kernel::ReadError;

    /// Counts refreshes.
    struct Counted {
        looks: usize,
        fails: bool,
    }

    impl Source for Counted {
        fn refresh(&mut self) -> Result<bool, ResolverError> {
            self.looks += 1;
            let error = || ReadError::Content { path: "/lib/modules".into(), content: String::new() };
            if self.fails { Err(error().into()) } else { Ok(false) }
        }
        fn resolve(&self, _: &[u8]) -> Option<Resolution> {
            Some(Resolution::NotFound)
        }
    }

    fn asked(fails: bool, names: usize, pause: Duration) -> ResolutionCache<Counted> {
        let mut cache = ResolutionCache::of(Counted { looks: 0, fails });
        for number in 0..names {
            assert!(cache.resolve(&Text::from(format!("fs-{number}").as_str())).is_some());
            std::thread::sleep(pause);
        }
        cache
    }

    /// The number of cached names is bounded, even if the configuration can no longer be read.
    #[test]
    fn cache_of_endless_names_is_bounded() {
        for fails in [false, true] {
            let cache = asked(fails, 3 * LIMIT, Duration::ZERO);
            assert!(cache.answers.len() <= LIMIT, "{}", cache.answers.len());
        }
    }

    /// A modprobe that fails is not run for every request.
    #[test]
    fn failing_source_is_asked_less_often() {
        let pause = RECHECK_INTERVAL + Duration::from_millis(5);
        assert_eq!(asked(false, 4, pause).source.looks, 4);
        assert_eq!(asked(true, 4, pause).source.looks, 1);
    }
}
