//! Options that are made only for the verb that is asked for: those of all verbs take longer than many a run.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id, builder::Resettable};

/// The options of a verb.
///
/// `#[command(defer = true)]` of clap's derive does this too, but has the sentences for structs that options share take the
/// place of the verb's own.
#[derive(Debug)]
pub struct Later<A>(pub A);

impl<A: Args> Args for Later<A> {
    fn group_id() -> Option<Id> {
        A::group_id()
    }

    fn augment_args(verb: Command) -> Command {
        verb.defer(|verb| with_own_about(verb, A::augment_args))
    }

    fn augment_args_for_update(verb: Command) -> Command {
        verb.defer(|verb| with_own_about(verb, A::augment_args_for_update))
    }
}

/// Has a verb described as before.
fn with_own_about(verb: Command, augment: impl FnOnce(Command) -> Command) -> Command {
    let about = verb.get_about().cloned().map_or(Resettable::Reset, Resettable::Value);
    let long_about = verb.get_long_about().cloned().map_or(Resettable::Reset, Resettable::Value);
    augment(verb).about(about).long_about(long_about)
}

impl<A: FromArgMatches> FromArgMatches for Later<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        A::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        A::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }

    fn update_from_arg_matches_mut(&mut self, matches: &mut ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches_mut(matches)
    }
}
