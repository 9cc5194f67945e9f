//! When a tracing verb ends by itself: after a time, after a number of chains, at the first that is waited for.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use jiff::SignedDuration;
use tokio::time::Instant;

use super::EXIT_TIMEOUT;
use crate::{
    chain::Item,
    event::Body,
    select::{Selector, SelectorError},
};

/// Options that end a trace.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct UntilArgs {
    /// Stop after this time: 90s, 10m, 1h30m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Stop after N requests and loads by hand.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop at the first request or load that fits FIELD=GLOB[,FIELD=GLOB...], e.g. module=nf_conntrack; the fields are
    /// those of the filters. Repeated: or. When --duration ends first, the exit code is 124.
    #[arg(long, value_name = "MATCH", value_parser = selector)]
    exit_on: Vec<Selector>,
}

/// A time as people write it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| format!("{text:?} is no time: write 90s, 10m or 1h30m"))?;
    Duration::try_from(duration)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "a time must be above 0".to_owned())
}

fn selector(text: &str) -> Result<Selector, SelectorError> {
    text.parse()
}

/// Why a trace ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The time is over, and nothing was waited for.
    Time,
    /// The time is over, and what was waited for did not come.
    TimeInVain,
    /// The number is reached.
    Count,
    /// What was waited for came.
    Hit,
}

/// What the end of a trace is to a script; `verdict` is the code of one that was not waited for in vain.
pub(super) fn exit_code(ended: Option<Ended>, verdict: ExitCode) -> ExitCode {
    match ended {
        Some(Ended::TimeInVain) => ExitCode::from(EXIT_TIMEOUT),
        Some(Ended::Time | Ended::Count | Ended::Hit) | None => verdict,
    }
}

/// Watches for the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Until {
    deadline: Option<Instant>,
    left: Option<u64>,
    exit_on: Vec<Selector>,
    reached: Option<Ended>,
}

impl Until {
    /// Counts from now.
    pub(super) fn new(args: &UntilArgs) -> anyhow::Result<Self> {
        let deadline =
            args.duration.map(|duration| Instant::now().checked_add(duration).context("--duration is too long"));
        Ok(Self { deadline: deadline.transpose()?, left: args.count, exit_on: args.exit_on.clone(), reached: None })
    }

    /// When it is over in any case.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes what was shown.
    pub(super) fn shown(&mut self, item: &Item) {
        let is_of_the_stream =
            matches!(item, Item::Event(event) if !matches!(event.body, Body::Unload(_) | Body::Attempt(_)));
        if !is_of_the_stream && self.exit_on.iter().any(|selector| selector.selects_item(item)) {
            self.reached = Some(Ended::Hit);
        }
        if let (Item::Chain(_), Some(left)) = (item, &mut self.left) {
            *left = left.saturating_sub(1);
            if *left == 0 && self.reached.is_none() {
                self.reached = Some(Ended::Count);
            }
        }
    }

    /// Whether what was asked for has come.
    pub(super) fn is_full(&self) -> bool {
        self.reached.is_some()
    }

    /// The end, when it is reached.
    pub(super) fn reached(&self) -> Option<Ended> {
        let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let by_time = if self.exit_on.is_empty() { Ended::Time } else { Ended::TimeInVain };
        self.reached.or(late.then_some(by_time))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Until, duration};
    use crate::chain::samples;

    /// Check the forms of a time, and that nonsense is told what to write.
    #[test]
    fn times_are_read() {
        assert_eq!(duration("1h30m").unwrap().as_secs(), 5400);
        assert_eq!(duration("90s").unwrap().as_secs(), 90);
        for bad in ["", "abc", "-5s", "0s", "10"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    /// Check that the count is of chains, and that losses and headers neither count nor hit.
    #[test]
    fn chains_are_counted() {
        let mut until = Until { left: Some(2), ..Until::default() };
        for item in [samples::loss(), samples::outage(), samples::unload()] {
            until.shown(&item);
            assert_eq!(until.reached(), None);
        }
        until.shown(&samples::not_found());
        assert_eq!(until.reached(), Some(Ended::Count));
    }

    /// Check that what is waited for ends the trace, and nothing else does.
    #[test]
    fn a_hit_ends() {
        let mut until =
            Until { exit_on: vec!["module=nf_conntrack,comm=iptables".parse().unwrap()], ..Until::default() };
        for item in [samples::loss(), samples::not_found(), samples::nested()] {
            until.shown(&item);
            assert_eq!(until.reached(), None);
        }
        until.shown(&samples::outage());
        assert_eq!(until.reached(), Some(Ended::Hit));
    }
}
