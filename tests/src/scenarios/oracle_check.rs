//! The check of every scenario: the capture agrees with the kernel's own tracepoints.

use anyhow::Result;
use serde_json::Value;

use crate::ctx::{Capture, equal};
use crate::oracle::{Event, EventKind};

/// The text at a JSON pointer, empty where there is none.
pub(super) fn text(event: &Value, pointer: &str) -> String {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The number at a JSON pointer.
pub(super) fn number(event: &Value, pointer: &str) -> Option<u64> {
    event.pointer(pointer).and_then(Value::as_u64)
}

/// Checks that the capture contains exactly the oracle's events, each once and by the same thread. The capture must be of the
/// whole machine. Returns the aliases.
///
/// # Errors
/// When they differ, or the capture is incomplete.
pub(super) fn with_oracle(capture: &Capture, oracle: &[Event]) -> Result<Vec<String>> {
    with_oracle_except(capture, oracle, &[])
}

/// As [`with_oracle`], but missed runs of these programs are allowed.
///
/// # Errors
/// When they differ, or the capture is otherwise incomplete.
pub(super) fn with_oracle_except(capture: &Capture, oracle: &[Event], skipped: &[&str]) -> Result<Vec<String>> {
    capture.expect_complete_except(skipped)?;

    // The tracepoint fires only for requests that pass the LSMs and the limit.
    let stopped = |event: &&Value| {
        let status = capture.result_of(event).map(|result| text(result, "/status")).unwrap_or_default();
        // Whether the requester waits is known only for requests that reach the tracepoint.
        let stayed = status == "unknown" && event["wait"].is_null();
        stayed || matches!(status.as_str(), "denied" | "no-modprobe" | "throttled")
    };
    let key = |event: &Value| (number(event, "/process/tid").unwrap_or(0), text(event, "/name"));
    let mut ours: Vec<(u64, String)> = capture.of_type("request").filter(|event| !stopped(event)).map(key).collect();
    let mut theirs: Vec<(u64, String)> = oracle
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Request { name, .. } => Some((u64::from(event.tid), name.clone())),
            _ => None,
        })
        .collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    equal("requests by thread and alias", &ours, &theirs)?;

    let mut ours: Vec<(u64, String)> = capture
        .of_type("load")
        .map(|event| (number(event, "/process/tid").unwrap_or(0), text(event, "/module")))
        .collect();
    let mut loads: Vec<(u64, String)> = oracle
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Load { module, .. } => Some((u64::from(event.tid), module.clone())),
            _ => None,
        })
        .collect();
    ours.sort_unstable();
    loads.sort_unstable();
    equal("loads by thread and module", &ours, &loads)?;

    let ours = capture.of_type("unload").map(|event| text(event, "/module")).collect::<Vec<_>>();
    let frees: Vec<String> = oracle
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Free { module } => Some(module.clone()),
            _ => None,
        })
        .collect();
    equal("unloads in order", &ours, &frees)?;
    Ok(theirs.into_iter().map(|(_, name)| name).collect())
}

/// Whether the oracle saw the request of an event, that is, whether the kernel admitted it.
pub(super) fn is_admitted(oracle: &[Event], request: &Value) -> bool {
    let (tid, alias) = (number(request, "/process/tid"), text(request, "/name"));
    oracle.iter().any(|event| match &event.kind {
        EventKind::Request { name, .. } => Some(u64::from(event.tid)) == tid && *name == alias,
        _ => false,
    })
}

/// Checks the status and the attribution of a result.
///
/// # Errors
/// When they differ.
pub(super) fn expect_status(result: &Value, status: &str, attribution: &str) -> Result<()> {
    let found = (text(result, "/status"), text(result, "/attribution"));
    equal(&format!("status and attribution of {result}"), found, (status.to_owned(), attribution.to_owned()))
}
