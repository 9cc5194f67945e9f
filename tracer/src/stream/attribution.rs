//! Gaps of chains although every event was read: an unknown requester or an incomplete chain.

use super::issue::IssueKind;
use crate::{
    chain::{Chain, Item},
    event::{Body, Certainty, Event},
};

/// A load with an unknown requester, which may be relevant for the answer.
pub(crate) fn of_event(event: &Event) -> Option<IssueKind> {
    let Body::Load(load) = &event.body else { return None };
    load.is_unattributed().then(|| IssueKind::Unattributed {
        what: format!("the cause of the load of {:?} is unknown (pid {})", load.module, load.process.pid),
    })
}

/// Reports the missing parts of a finished chain and its nested chains.
pub(super) fn of_item(item: &Item) -> Vec<IssueKind> {
    let mut issues = Vec::new();
    if let Item::Chain(chain) = item {
        of_chain(chain, &mut issues);
    }
    issues
}

fn of_chain(chain: &Chain, issues: &mut Vec<IssueKind>) {
    let name = || match (&chain.request, chain.modules.first()) {
        (Some(request), _) => format!("the request for {:?} by {:?}", request.name, request.process.comm),
        (None, Some(module)) => format!("the load of {:?}", module.load.module),
        (None, None) => "a request".to_owned(),
    };
    for note in &chain.incomplete {
        issues.push(IssueKind::IncompleteChain { what: format!("{} is incomplete: {note}", name()) });
    }
    if chain.request.as_ref().is_some_and(|request| request.attribution.attribution == Certainty::Unknown) {
        issues.push(IssueKind::Unattributed { what: format!("the requester of {} is unknown", name()) });
    }
    for nested in &chain.nested {
        of_chain(nested, issues);
    }
}
