//! A cache of resolutions, valid as long as the configuration of modprobe does not change.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Resolution, Resolver, ResolverError, Unresolved, resolver::helper_view};
use crate::{causes::with_causes, environment::HelperView, event::Text, kernel::sysinfo::SystemInfo};

/// Interval of checks for changed files. It is shorter than the time a person needs to edit a file and try again, and
/// saves tens of system calls per request during a storm.
pub(crate) const RECHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Interval of retries if modprobe cannot be asked: each try may run a process. Missing modules are looked for again each time.
const RETRY: Duration = Duration::from_secs(1);

/// Maximum number of cached names. Any user can make the kernel request arbitrary names; the cache is cleared beyond this.
const LIMIT: usize = 4096;

/// The source of resolutions.
pub(crate) trait Source {
    /// Reads a changed configuration; returns whether it changed.
    fn refresh(&mut self) -> Result<bool, ResolverError>;
    /// Resolves a name, after a successful refresh.
    fn resolve(&self, name: &[u8]) -> Result<Resolution, Unresolved>;
}

/// The installed modprobe.
pub(crate) struct Installed {
    system: SystemInfo,
    /// Found at the start: later, this process may lack the privilege to look.
    view: HelperView,
    /// Created on first use, since that runs modprobe.
    resolver: Option<Resolver>,
}

impl Source for Installed {
    fn refresh(&mut self) -> Result<bool, ResolverError> {
        match &mut self.resolver {
            Some(resolver) => resolver.refresh(),
            None => {
                self.resolver = Some(Resolver::installed_in(&self.system, self.view.clone())?);
                Ok(true)
            }
        }
    }

    fn resolve(&self, name: &[u8]) -> Result<Resolution, Unresolved> {
        let Some(resolver) = &self.resolver else { return Err(Unresolved::Config("it was not read".to_owned())) };
        match resolver.doubts().sentences() {
            doubts if doubts.is_empty() => Ok(resolver.resolve(name)),
            doubts => Err(Unresolved::Config(doubts.join("; "))),
        }
    }
}

/// Cached resolutions.
pub(crate) struct ResolutionCache<S = Installed> {
    source: S,
    answers: HashMap<Text, Arc<Resolution>>,
    looked: Option<Instant>,
    /// The same, nanoseconds since 1970.
    looked_realtime_ns: i64,
    /// Why the last refresh failed. What was read before is out of date then.
    failure: Option<Unresolved>,
    /// The last error, which is logged once and not for every request.
    complaint: Option<String>,
}

impl ResolutionCache {
    /// Creates an empty cache for the modprobe below a root directory.
    pub(crate) fn new(root: &Path) -> Self {
        let system = SystemInfo::new(root);
        let view = helper_view(&system);
        Self::of(Installed { system, view, resolver: None })
    }

    /// Where the files of the helper are.
    pub(crate) const fn view(&self) -> &HelperView {
        &self.source.view
    }

    /// Whether a module has this name or alias, according to the index of the modules that was last read.
    pub(crate) fn carries(&mut self, name: &Text, module: &str) -> bool {
        self.refresh();
        self.source.resolver.as_ref().is_some_and(|resolver| resolver.carries(name.as_bytes(), module))
    }

    /// Whether there is a module file with this name.
    pub(crate) fn has_module(&self, module: &str) -> bool {
        self.source.resolver.as_ref().is_some_and(|resolver| resolver.index().file(module).is_some())
    }

    /// What is wrong with the file of a module; `None` if nothing is, or if it is unknown.
    pub(crate) fn file_problem(&self, module: &str) -> Option<String> {
        self.source.resolver.as_ref()?.file_problem(module)
    }

    /// A file of the configuration or of the indexes that was changed after a time (nanoseconds since 1970).
    pub(crate) fn changed_since(&self, realtime_ns: i64) -> Option<String> {
        let path = self.source.resolver.as_ref()?.changed_since(realtime_ns)?;
        Some(path.display().to_string())
    }
}

impl<S: Source> ResolutionCache<S> {
    fn of(source: S) -> Self {
        Self {
            source,
            answers: HashMap::new(),
            looked: None,
            looked_realtime_ns: i64::MIN,
            failure: None,
            complaint: None,
        }
    }

    /// Resolves a name.
    ///
    /// # Errors
    /// If what modprobe would do is unknown now. An earlier configuration is not used then.
    pub(crate) fn resolve(&mut self, name: &Text) -> Result<Arc<Resolution>, Unresolved> {
        self.refresh();
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if let Some(known) = self.answers.get(name) {
            return Ok(Arc::clone(known));
        }
        let answer = Arc::new(self.source.resolve(name.as_bytes())?);
        if self.answers.len() >= LIMIT {
            self.answers.clear();
        }
        self.answers.insert(name.clone(), Arc::clone(&answer));
        Ok(answer)
    }

    /// Makes the next answer check for changed files, if the last check was before this time (nanoseconds since 1970). What is
    /// unknown stays so until it is retried.
    pub(crate) fn expire_before(&mut self, realtime_ns: i64) {
        if self.failure.is_none() && self.looked_realtime_ns < realtime_ns {
            self.looked = None;
        }
    }

    fn refresh(&mut self) {
        let wait = match &self.failure {
            None => RECHECK_INTERVAL,
            Some(Unresolved::Config(_)) => RETRY,
            Some(Unresolved::NoModules(_) | Unresolved::Index(_)) => Duration::ZERO,
        };
        if self.looked.is_some_and(|looked| looked.elapsed() < wait) {
            return;
        }
        let began = Instant::now();
        self.looked_realtime_ns = jiff::Timestamp::now().as_nanosecond().try_into().unwrap_or(i64::MAX);
        let refreshed = self.source.refresh();
        // Reading takes longer than the interval, and a file may change meanwhile. A failed attempt may have waited for a program,
        // which must not be repeated at once.
        self.looked = Some(if refreshed.is_ok() { began } else { Instant::now() });
        self.failure = refreshed.as_ref().err().map(Unresolved::from);
        match refreshed {
            Ok(false) => {}
            Ok(true) => self.answers.clear(),
            Err(error) => {
                self.answers.clear();
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
    use std::path::PathBuf;

    use super::{
        Duration, LIMIT, RECHECK_INTERVAL, Resolution, ResolutionCache, ResolverError, Source, Text, Unresolved,
    };
    use crate::{kernel::ReadError, modprobe::IndexError};

    /// What a refresh reports.
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Fine,
        NoConfig,
        NoModules,
    }

    /// Counts refreshes.
    struct Counted {
        looks: usize,
        state: State,
        /// How long a refresh takes.
        takes: Duration,
    }

    impl Source for Counted {
        fn refresh(&mut self) -> Result<bool, ResolverError> {
            self.looks += 1;
            std::thread::sleep(self.takes);
            let directory = PathBuf::from("/lib/modules/6.1.0");
            match self.state {
                State::Fine => Ok(false),
                State::NoConfig => Err(ReadError::Content { path: directory, content: String::new() }.into()),
                State::NoModules => {
                    Err(IndexError::NoModules { directory, state: "does not exist", fix: "reboot" }.into())
                }
            }
        }
        fn resolve(&self, _: &[u8]) -> Result<Resolution, Unresolved> {
            Ok(Resolution::NotFound)
        }
    }

    fn asked(state: State, names: usize, pause: Duration) -> ResolutionCache<Counted> {
        asked_slow(state, names, pause, Duration::ZERO)
    }

    fn asked_slow(state: State, names: usize, pause: Duration, takes: Duration) -> ResolutionCache<Counted> {
        let mut cache = ResolutionCache::of(Counted { looks: 0, state, takes });
        for number in 0..names {
            let answer = cache.resolve(&Text::from(format!("fs-{number}").as_str()));
            assert_eq!(answer.is_ok(), state == State::Fine);
            std::thread::sleep(pause);
        }
        cache
    }

    /// The number of cached names is bounded.
    #[test]
    fn cache_of_endless_names_is_bounded() {
        for state in [State::Fine, State::NoConfig] {
            let cache = asked(state, 3 * LIMIT, Duration::ZERO);
            assert!(cache.answers.len() <= LIMIT, "{}", cache.answers.len());
        }
    }

    /// A modprobe that fails is not run for every request; missing modules are looked for each time.
    #[test]
    fn failing_source_is_asked_less_often() {
        let pause = RECHECK_INTERVAL + Duration::from_millis(5);
        assert_eq!(asked(State::Fine, 4, pause).source.looks, 4);
        assert_eq!(asked(State::NoConfig, 4, pause).source.looks, 1);
        assert_eq!(asked(State::NoModules, 4, Duration::ZERO).source.looks, 4);
    }

    /// A file may change while a slow refresh reads it, so the next answer checks again; a slow failure is not repeated at once.
    #[test]
    fn slow_refresh_is_followed_by_a_check() {
        let takes = RECHECK_INTERVAL + Duration::from_millis(5);
        assert_eq!(asked_slow(State::Fine, 3, Duration::ZERO, takes).source.looks, 3);
        assert_eq!(asked_slow(State::NoConfig, 3, Duration::ZERO, takes).source.looks, 1);
    }

    /// For a request that began after the last check, files are checked again, however soon.
    #[test]
    fn check_before_a_request_is_not_enough_for_its_outcome() {
        let mut cache = asked(State::Fine, 1, Duration::ZERO);
        let name = Text::from("fs-0");
        let last_ns = cache.looked_realtime_ns;
        for (began_ns, looks) in [(last_ns - 1, 1), (last_ns, 1), (last_ns + 1, 2), (last_ns + 1, 2)] {
            cache.expire_before(began_ns);
            cache.resolve(&name).unwrap();
            assert_eq!(cache.source.looks, looks, "{began_ns}");
        }
    }

    /// After a failed refresh, earlier answers are not given; afterwards, names are resolved again.
    #[test]
    fn answers_from_before_a_failure_are_not_given() {
        let mut cache = asked(State::Fine, 1, RECHECK_INTERVAL);
        let name = Text::from("fs-0");
        cache.source.state = State::NoModules;
        let Err(Unresolved::NoModules(why)) = cache.resolve(&name) else { panic!("it is gone") };
        assert_eq!(why, "/lib/modules/6.1.0 does not exist: reboot");
        cache.source.state = State::Fine;
        assert_eq!(*cache.resolve(&name).unwrap(), Resolution::NotFound);
    }
}
