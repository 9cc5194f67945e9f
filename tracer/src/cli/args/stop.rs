//! Stop conditions of a trace: a duration, a number of chains, the first match.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use jiff::SignedDuration;
use tokio::time::Instant;

use crate::{
    chain::Item,
    cli::EXIT_TIMEOUT,
    event::Body,
    select::{Selector, SelectorError},
};

/// Options that stop a trace.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct StopArgs {
    /// Stop after TIME, e.g. 90s, 10m, 1h30m [default: no limit].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Stop after N requests and explicit loads [default: no limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop at the first chain that matches FIELD=GLOB[,FIELD=GLOB...], e.g. module=nf_conntrack (fields as the filters of watch;
    /// repeated: OR; exit code 124 if --duration ends first).
    #[arg(long, value_name = "MATCH", value_parser = selector)]
    exit_on: Vec<Selector>,
}

/// Parses a duration such as `1h30m`.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    let duration = duration.filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "expected a duration above 0, e.g. 90s, 10m, 1h30m".to_owned())
}

fn selector(text: &str) -> Result<Selector, SelectorError> {
    text.parse()
}

/// The condition that stopped a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum StopReason {
    /// --duration elapsed without --exit-on.
    Duration,
    /// --duration elapsed before --exit-on matched.
    Timeout,
    /// --count was reached.
    Count,
    /// --exit-on matched.
    Match,
}

/// The exit code of a trace: 124 after a timeout, else `verdict`.
pub(in crate::cli) fn exit_code(ended: Option<StopReason>, verdict: ExitCode) -> ExitCode {
    match ended {
        Some(StopReason::Timeout) => ExitCode::from(EXIT_TIMEOUT),
        Some(StopReason::Duration | StopReason::Count | StopReason::Match) | None => verdict,
    }
}

/// The stop conditions and their state.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct StopConditions {
    deadline: Option<Instant>,
    left: Option<u64>,
    exit_on: Vec<Selector>,
    reached: Option<StopReason>,
}

impl StopConditions {
    /// Starts the clock.
    pub(in crate::cli) fn new(args: &StopArgs) -> anyhow::Result<Self> {
        let deadline = args.duration.map(|duration| {
            Instant::now().checked_add(duration).context("invalid --duration: expected a shorter time")
        });
        Ok(Self { deadline: deadline.transpose()?, left: args.count, exit_on: args.exit_on.clone(), reached: None })
    }

    /// The end of --duration.
    pub(in crate::cli) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Counts and matches an item that was shown.
    pub(in crate::cli) fn shown(&mut self, item: &Item) {
        let is_of_the_stream =
            matches!(item, Item::Event(event) if !matches!(event.body, Body::Unload(_) | Body::Attempt(_)));
        if !is_of_the_stream && self.exit_on.iter().any(|selector| selector.selects_item(item)) {
            self.reached = Some(StopReason::Match);
        }
        if let (Item::Chain(_), Some(left)) = (item, &mut self.left) {
            *left = left.saturating_sub(1);
            if *left == 0 && self.reached.is_none() {
                self.reached = Some(StopReason::Count);
            }
        }
    }

    /// Whether --count was reached or --exit-on matched.
    pub(in crate::cli) fn is_full(&self) -> bool {
        self.reached.is_some()
    }

    /// The condition that is met, if any.
    pub(in crate::cli) fn reached(&self) -> Option<StopReason> {
        let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let by_time = if self.exit_on.is_empty() { StopReason::Duration } else { StopReason::Timeout };
        self.reached.or(late.then_some(by_time))
    }
}

#[cfg(test)]
mod tests {
    use super::{StopConditions, StopReason, duration};
    use crate::chain::samples;

    /// Durations have units; zero, negative and malformed ones are rejected.
    #[test]
    fn duration_valid_forms_are_parsed() {
        assert_eq!(duration("1h30m").unwrap().as_secs(), 5400);
        assert_eq!(duration("90s").unwrap().as_secs(), 90);
        for bad in ["", "abc", "-5s", "0s", "10"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    /// Only chains count: losses and unloads do not.
    #[test]
    fn count_only_chains_are_counted() {
        let mut stop = StopConditions { left: Some(2), ..StopConditions::default() };
        for item in [samples::loss(), samples::outage(), samples::unload()] {
            stop.shown(&item);
            assert_eq!(stop.reached(), None);
        }
        stop.shown(&samples::not_found());
        assert_eq!(stop.reached(), Some(StopReason::Count));
    }

    /// A chain that matches all fields of --exit-on stops the trace, no other does.
    #[test]
    fn exit_on_matching_chain_stops_the_trace() {
        let mut stop = StopConditions {
            exit_on: vec!["module=nf_conntrack,comm=iptables".parse().unwrap()],
            ..StopConditions::default()
        };
        for item in [samples::loss(), samples::not_found(), samples::nested()] {
            stop.shown(&item);
            assert_eq!(stop.reached(), None);
        }
        stop.shown(&samples::outage());
        assert_eq!(stop.reached(), Some(StopReason::Match));
    }
}
