//! The result of a run of kmodtrace: its events, its other output, and its exit code.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// A finished run of kmodtrace.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Every event, in order.
    pub events: Vec<Value>,
    /// Lines on stdout that are not events: the output of the traced command.
    pub other: Vec<String>,
    /// The events as text, as they were written.
    pub text: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; 128 + n if signal n ended it.
    pub code: u8,
}

impl Capture {
    /// Separates stdout into events and other lines.
    pub(super) fn new(stdout: &str, stderr: String, code: u8) -> Result<Self> {
        let (mut events, mut other, mut text) = (Vec::new(), Vec::new(), String::new());
        for line in stdout.lines() {
            if line.starts_with("{\"") {
                let event: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line:?}"))?;
                if event.get("type").and_then(Value::as_str).is_none() {
                    bail!("an event without a type: {line}");
                }
                events.push(event);
                text.push_str(line);
                text.push('\n');
            } else {
                other.push(line.to_owned());
            }
        }
        Ok(Self { events, other, text, stderr, code })
    }

    /// Adds the events of a file.
    pub(super) fn with_events(self, text: &str) -> Result<Self> {
        let Self { events, text, .. } = Self::new(text, String::new(), 0)?;
        Ok(Self { events, text, ..self })
    }

    /// The events of a type.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["type"] == kind)
    }

    /// The requests for an alias.
    #[must_use]
    pub fn requests_for(&self, alias: &str) -> Vec<&Value> {
        self.of_type("request").filter(|event| event["name"] == alias).collect()
    }

    /// The only request for an alias.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn request_for(&self, alias: &str) -> Result<&Value> {
        match self.requests_for(alias)[..] {
            [request] => Ok(request),
            ref found => bail!("found {} requests for {alias}, expected one: {found:#?}", found.len()),
        }
    }

    /// The events of a type that belong to a request.
    #[must_use]
    pub fn belonging_to<'a>(&'a self, request: &Value, kind: &'a str) -> Vec<&'a Value> {
        let id = request["request"].clone();
        self.of_type(kind).filter(|event| !id.is_null() && event["request"] == id).collect()
    }

    /// The names of the modules that were loaded for a request, in order.
    #[must_use]
    pub fn modules_of(&self, request: &Value) -> Vec<String> {
        self.belonging_to(request, "load").into_iter().map(|event| text(event, "/module")).collect()
    }

    /// The names of all modules that were loaded, in order.
    #[must_use]
    pub fn modules(&self) -> Vec<String> {
        self.of_type("load").map(|event| text(event, "/module")).collect()
    }

    /// The result of a request.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn result_of(&self, request: &Value) -> Result<&Value> {
        match self.belonging_to(request, "result")[..] {
            [result] => Ok(result),
            ref found => bail!("found {} results, expected one: {found:#?}", found.len()),
        }
    }

    /// Checks that the capture is complete: no gap in the numbers, no loss, at most one result per request, and an end event.
    ///
    /// # Errors
    /// When it is not.
    pub fn expect_complete(&self) -> Result<()> {
        self.expect_complete_except(&[])
    }

    /// As [`Self::expect_complete`], but missed runs of these programs are allowed.
    ///
    /// # Errors
    /// When the capture is otherwise incomplete.
    pub fn expect_complete_except(&self, skipped: &[&str]) -> Result<()> {
        let numbers: Vec<Option<u64>> = self.events.iter().map(|event| event["seq"].as_u64()).collect();
        for pair in numbers.windows(2) {
            let [Some(before), Some(after)] = pair else { bail!("an event without a number: {numbers:?}") };
            if *after != before + 1 {
                bail!("event {after} follows event {before}");
            }
        }
        let is_skipped = |loss: &&Value| {
            loss["stage"] == "missed" && loss["cause"].as_str().is_some_and(|cause| skipped.contains(&cause))
        };
        if let Some(loss) = self.of_type("loss").find(|loss| !is_skipped(loss)) {
            bail!("the capture has a loss: {loss}");
        }
        let mut ended = BTreeSet::new();
        let results = self.of_type("result").filter(|result| !result["request"].is_null());
        if let Some(second) = results.into_iter().find(|result| !ended.insert(result["request"].to_string())) {
            bail!("a request has a second result: {second}");
        }
        match self.events.last() {
            Some(last) if last["type"] == "end" => Ok(()),
            last => bail!("the last event is {last:?}, expected an end event"),
        }
    }
}

/// The text at a JSON pointer, empty where there is none.
fn text(event: &Value, pointer: &str) -> String {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "{\"type\":\"header\",\"seq\":0}\n\
        Chain PREROUTING\n\
        {\"type\":\"request\",\"seq\":1,\"request\":7,\"name\":\"iptable_nat\"}\n\
        {\"type\":\"load\",\"seq\":2,\"request\":7,\"module\":\"nf_nat\"}\n\
        {\"type\":\"load\",\"seq\":3,\"module\":\"dummy\"}\n\
        {\"type\":\"result\",\"seq\":4,\"request\":7,\"status\":\"loaded\"}\n\
        {\"type\":\"end\",\"seq\":5}\n";

    fn capture(text: &str) -> Capture {
        Capture::new(text, String::new(), 0).unwrap()
    }

    /// Events and the output of the traced command are separated.
    #[test]
    fn stdout_with_both_is_separated() {
        let capture = capture(RUN);
        assert_eq!((capture.events.len(), capture.other.as_slice()), (6, &["Chain PREROUTING".to_owned()][..]));
        capture.expect_complete().unwrap();
    }

    /// Events of a request are found by its id, and no others.
    #[test]
    fn request_id_selects_its_events() {
        let capture = capture(RUN);
        let request = capture.request_for("iptable_nat").unwrap();
        assert_eq!(capture.modules_of(request), ["nf_nat"]);
        assert_eq!(capture.modules(), ["nf_nat", "dummy"]);
        assert_eq!(capture.result_of(request).unwrap()["status"], "loaded");
        assert!(capture.request_for("net-pf-30").is_err());
    }

    /// A gap, a loss, a second result and a missing end are errors.
    #[test]
    fn incomplete_capture_is_an_error() {
        assert!(capture(&RUN.replace("\"seq\":3", "\"seq\":4")).expect_complete().is_err());
        assert!(
            capture(&RUN.replace("\"type\":\"load\",\"seq\":3", "\"type\":\"loss\",\"seq\":3"))
                .expect_complete()
                .is_err()
        );
        let skipped = r#""type":"loss","stage":"missed","cause":"x","seq":3"#;
        let skipped = capture(&RUN.replace("\"type\":\"load\",\"seq\":3", skipped));
        skipped.expect_complete_except(&["x"]).unwrap();
        assert!(skipped.expect_complete_except(&["y"]).is_err() && skipped.expect_complete().is_err());
        assert!(capture(RUN.trim_end().rsplit_once('\n').unwrap().0).expect_complete().is_err());
        assert!(Capture::new("{\"type\":", String::new(), 0).is_err());
        let second =
            "{\"type\":\"result\",\"seq\":5,\"request\":7,\"status\":\"throttled\"}\n{\"type\":\"end\",\"seq\":6}\n";
        assert!(capture(&RUN.replace("{\"type\":\"end\",\"seq\":5}\n", second)).expect_complete().is_err());
    }
}
