//! Thousands of recordings of many hosts: every count equals that of an independent reader.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use common::{captures, kmodtrace, stderr};
use serde_json::{Value, json};

/// Default number of recordings; KMODTRACE_FLEET overrides it.
const RECORDINGS: usize = 2_000;

const MODULES: [&str; 5] = ["xfs", "dummy", "nf_nat", "tipc", "vfat"];

fn recordings() -> usize {
    std::env::var("KMODTRACE_FLEET").map_or(RECORDINGS, |number| number.parse().unwrap())
}

/// Writes the recordings of a fleet: some hosts have several recordings and boots, and some recordings have two
/// segments.
fn record(directory: &Path) {
    let stored = fs::read_to_string(captures().join("outage-6.1.jsonl")).unwrap();
    let stored: Vec<Value> = stored.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = json!({"seq": 0, "type": "end", "requests": 0, "loads": 0, "unloads": 0, "lost": 0});
    for number in 0..recordings() {
        let mut segments: Vec<Vec<Value>> = Vec::new();
        let (mut requests, mut loads) = (0, 0);
        for segment in 0..if number % 7 == 0 { 2 } else { 1 } {
            let mut header = stored[0].clone();
            header["hostname"] = json!(format!("host-{}", number * 7 / 10));
            header["boot_id"] = json!(format!("boot-{number}"));
            header["recording"] = json!(format!("recording-{number}"));
            header["segment"] = json!(segment);
            let mut events = vec![header, stored[1].clone()];
            for story in 0..1 + number * 31 % 4 {
                let pid = 1000 + segments.len() * 100 + story;
                let module = MODULES[(number + story * 3) % MODULES.len()];
                let (mut load, mut init, mut result) = (stored[2].clone(), stored[3].clone(), stored[35].clone());
                load["module"] = json!(module);
                (load["process"]["pid"], load["process"]["tid"]) = (json!(pid), json!(pid));
                (init["module"], init["pid"]) = (json!(module), json!(pid));
                result["loader"] = json!({"pid": pid, "start_ns": init["start_ns"]});
                events.extend([load, init, result]);
                loads += 1;
                if (number + story) % 3 == 0 {
                    let id = format!("{}-{pid}", 5_000_000_000_u64 + u64::try_from(pid).unwrap());
                    for event in &stored[25..=27] {
                        events.push(event.clone());
                        events.last_mut().unwrap()["request"] = json!(id);
                    }
                    requests += 1;
                }
            }
            segments.push(events);
        }
        segments.last_mut().unwrap().push(end.clone());
        let mut seq = 0_u32;
        for (segment, events) in segments.into_iter().enumerate() {
            let mut text = String::new();
            for mut event in events {
                let time =
                    jiff::Timestamp::new(1_795_000_000 + i64::try_from(number).unwrap(), seq.cast_signed() * 1_000_000);
                event["time"] = json!(time.unwrap().to_string());
                event["seq"] = json!(seq);
                event["boot_ns"] = json!(7_000_000_000_u64 + u64::from(seq) * 1_000_000);
                if event["type"] == "end" {
                    (event["requests"], event["loads"]) = (json!(requests), json!(loads));
                }
                seq += 1;
                text += &format!("{event}\n");
            }
            fs::write(directory.join(format!("{number:05}-{segment}.jsonl")), text).unwrap();
        }
    }
}

/// The counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Loads and requests by host.
    hosts: BTreeMap<String, (u64, u64)>,
    /// Observations by host and module or alias.
    names: BTreeMap<(String, String), u64>,
}

impl Counts {
    fn load(&mut self, host: &str, module: &str) {
        self.hosts.entry(host.to_owned()).or_default().0 += 1;
        *self.names.entry((host.to_owned(), module.to_owned())).or_default() += 1;
    }

    fn request(&mut self, host: &str, alias: &str) {
        self.hosts.entry(host.to_owned()).or_default().1 += 1;
        *self.names.entry((host.to_owned(), alias.to_owned())).or_default() += 1;
    }
}

/// Counts line by line; each file begins with a header.
fn walk(directory: &Path) -> Counts {
    let mut counts = Counts::default();
    for entry in fs::read_dir(directory).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut host = String::new();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            match event["type"].as_str().unwrap() {
                "header" => host = event["hostname"].as_str().unwrap().to_owned(),
                "load" => counts.load(&host, event["module"].as_str().unwrap()),
                "request" => counts.request(&host, event["name"].as_str().unwrap()),
                _ => {}
            }
        }
    }
    counts
}

fn report(directory: &Path, arguments: &[&str]) -> String {
    let output = kmodtrace(directory, &[&["report"], arguments, &["."]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn values(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// Chains, rows and totals match the counts of a reader that does not build chains, and no events are attributed to
/// another host.
#[test]
fn fleet_counts_match_independent_reader() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path();
    record(directory);
    let wanted = walk(directory);
    let hosts: BTreeSet<&String> = wanted.hosts.keys().collect();
    assert!(hosts.len() > recordings() / 2 && wanted.hosts.values().any(|(_, requests)| *requests > 0));

    let mut chains = Counts::default();
    for chain in values(&report(directory, &["--json"])).filter(|value| value["type"] == "chain") {
        let host = chain["host"].as_str().unwrap();
        for module in chain["modules"].as_array().unwrap() {
            chains.load(host, module["module"].as_str().unwrap());
        }
        if let Some(name) = chain["request"]["name"].as_str() {
            chains.request(host, name);
        }
    }
    assert!(chains == wanted, "chains differ from lines");

    let mut rows = BTreeMap::new();
    for row in report(directory, &["--csv"]).lines().skip(1) {
        // The first columns contain no commas.
        let columns: Vec<&str> = row.split(',').collect();
        *rows.entry((columns[7].to_owned(), columns[1].to_owned())).or_default() += columns[8].parse::<u64>().unwrap();
    }
    assert!(rows == wanted.names, "rows differ from lines");

    let sums = values(&report(directory, &["--by", "host", "--json"]))
        .map(|row| {
            let number = |name: &str| row[name].as_u64().unwrap();
            (row["name"].as_str().unwrap().to_owned(), (number("loads"), number("requests")))
        })
        .collect::<BTreeMap<_, _>>();
    assert!(sums == wanted.hosts, "sums of hosts differ from lines");
}
