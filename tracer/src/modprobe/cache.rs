//! What modprobe would do with the names that were asked for, kept as long as its configuration holds.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Resolution, Resolver, ResolverError};
use crate::{causes::with_causes, event::Text, kernel::facts::Facts};

/// Files are looked at again after this. It is shorter than a person takes to change one and to try, and spares a storm
/// tens of system calls a request.
pub(crate) const RECHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Where modprobe cannot be asked, it is asked again after this: it costs two processes.
const RETRY: Duration = Duration::from_secs(1);

/// Names an attacker can make up without end: beyond this many, answers are forgotten.
const LIMIT: usize = 4096;

/// Where answers come from.
pub(crate) trait Source {
    /// Makes sure that answers are those of the present configuration; true when it changed. On error the old answers stay.
    fn refresh(&mut self) -> Result<bool, ResolverError>;
    /// An answer; `None` where there are none.
    fn resolve(&self, name: &[u8]) -> Option<Resolution>;
}

/// The installed modprobe.
pub(crate) struct Installed {
    root: PathBuf,
    /// Made when first needed: it runs modprobe.
    resolver: Option<Resolver>,
}

impl Source for Installed {
    fn refresh(&mut self) -> Result<bool, ResolverError> {
        match &mut self.resolver {
            Some(resolver) => resolver.refresh(),
            None => {
                self.resolver = Some(Resolver::installed(&Facts::new(&self.root))?);
                Ok(true)
            }
        }
    }

    fn resolve(&self, name: &[u8]) -> Option<Resolution> {
        Some(self.resolver.as_ref()?.resolve(name))
    }
}

/// Answers, and when they were last made sure of.
pub(crate) struct ResolutionCache<S = Installed> {
    source: S,
    answers: HashMap<Text, Resolution>,
    looked: Option<Instant>,
    /// The last look failed.
    is_failing: bool,
    /// Why there are none: said once, not for every request.
    complaint: Option<String>,
}

impl ResolutionCache {
    /// Of the modprobe below a root. Nothing is asked yet.
    pub(crate) fn new(root: &Path) -> Self {
        Self::of(Installed { root: root.to_owned(), resolver: None })
    }
}

impl<S: Source> ResolutionCache<S> {
    fn of(source: S) -> Self {
        Self { source, answers: HashMap::new(), looked: None, is_failing: false, complaint: None }
    }

    /// What modprobe would do with a name; `None` when that cannot be found out.
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
    use crate::kernel::FactError;

    /// Counts how often it is looked at.
    struct Counted {
        looks: usize,
        fails: bool,
    }

    impl Source for Counted {
        fn refresh(&mut self) -> Result<bool, ResolverError> {
            self.looks += 1;
            let error = || FactError::Content { path: "/lib/modules".into(), content: String::new() };
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

    /// Check that names without end take no memory without end, also where the configuration cannot be read any more.
    #[test]
    fn names_without_end_are_forgotten() {
        for fails in [false, true] {
            let cache = asked(fails, 3 * LIMIT, Duration::ZERO);
            assert!(cache.answers.len() <= LIMIT, "{}", cache.answers.len());
        }
    }

    /// Check that a modprobe that fails is not run for every request.
    #[test]
    fn who_fails_is_asked_less_often() {
        let pause = RECHECK_INTERVAL + Duration::from_millis(5);
        assert_eq!(asked(false, 4, pause).source.looks, 4);
        assert_eq!(asked(true, 4, pause).source.looks, 1);
    }
}
