//! The schema in the repository matches the event types.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "schema/page.rs"]
mod page;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use kmodtrace::event::{
    Ancestor, Attempt, Attribution, Body, Clock, Device, Event, Frame, Helper, Init, Load, Loss, LossStage, Origin,
    Process, Reason, Request, RequestId, Seal, Text, Unload,
};
use serde_json::Value;

/// If this variable is set, the schema is written instead of compared.
const WRITE: &str = "KMODTRACE_WRITE_SCHEMA";

/// docs/schema/event.json is the output of `kmodtrace schema`.
#[test]
fn stored_schema_matches_output() {
    let output = Command::new(env!("CARGO_BIN_EXE_kmodtrace")).arg("schema").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    keep("docs/schema/event.json", &output.stdout);
}

/// docs/schema/why.json is the schema of `kmodtrace why --json`.
#[test]
fn stored_schema_of_why_matches_types() {
    let schema = serde_json::to_string_pretty(&kmodtrace::why::schema()).unwrap();
    keep("docs/schema/why.json", format!("{schema}\n").as_bytes());
}

/// docs/events.md lists every event and field of the schema, each event with an example.
#[test]
fn events_page_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let captures = ["outage-6.1.jsonl", "generated.jsonl"].map(|name| root.join("tests/fixtures/captures").join(name));
    let captures = captures.map(|path| fs::read_to_string(path).unwrap());
    let rare = rare_events().into_iter().map(|event| serde_json::to_string(&event).unwrap());
    let mut examples = BTreeMap::<String, String>::new();
    for line in captures.iter().flat_map(|capture| capture.lines()).map(str::to_owned).chain(rare) {
        let event: Value = serde_json::from_str(&line).unwrap();
        let example = examples.entry(event["type"].as_str().unwrap().to_owned()).or_insert_with(|| line.clone());
        // The shortest one is the easiest to read.
        if line.len() < example.len() {
            *example = line;
        }
    }
    let schema = serde_json::to_value(kmodtrace::event::schema()).unwrap();
    keep("docs/events.md", page::page(&schema, &examples).as_bytes());
}

/// Events of the types that no fixture contains.
fn rare_events() -> Vec<Event> {
    let process =
        Process { pid: 4100, tid: 4100, comm: "rmmod".into(), user: Some("root".into()), ..Process::default() };
    let bodies = [
        Body::Attempt(Box::new(Attempt {
            syscall: "delete_module".to_owned(),
            ret: -11,
            errno: "EAGAIN".to_owned(),
            module: Some("nf_conntrack".into()),
            file: None,
            origin: Origin::Explicit,
            process,
            ancestors: Vec::new(),
            attribution: Attribution::exact(),
        })),
        Body::Loss(Loss { stage: LossStage::Probe, cause: "request".to_owned(), count: 3 }),
        Body::Clock(Clock {
            realtime_minus_boot_ns: 1_772_366_400_000_000_000,
            boot_minus_monotonic_ns: 0,
            clock_uncertainty_ns: 120,
        }),
        Body::Seal(Seal {
            first_seq: 0,
            last_seq: 16,
            previous: "0".repeat(64),
            sha256: "3f".repeat(32),
            signature: None,
        }),
    ];
    let event =
        |(seq, body)| Event { seq, time: jiff::Timestamp::UNIX_EPOCH, boot_ns: 81_000_000_000, request: None, body };
    (17..).zip(bodies).map(event).collect()
}

fn keep(path: &str, written: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path);
    if std::env::var_os(WRITE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, written).unwrap();
    }
    let kept = fs::read(&path).unwrap();
    assert!(kept == written, "{}: run `cargo xtask bless`", path.display());
}

/// Invalid UTF-8 with a quote and a line end.
fn odd() -> Text {
    Text::from(&b"a\xff\"\n\x00"[..])
}

/// Events with these bytes in every field that can contain external bytes.
fn odd_events() -> Vec<Event> {
    let request = RequestId { boot_ns: 7, tid: 8 };
    let process = Process {
        comm: odd(),
        exe: Some(odd()),
        argv: vec![odd(), "plain".into()],
        user: Some(odd()),
        login_user: Some(odd()),
        cgroup: Some(odd()),
        ..Process::default()
    };
    let ancestors = vec![Ancestor { comm: odd(), exe: Some(odd()), script: Some(odd()), ..Ancestor::default() }];
    let device = Device {
        devpath: Some(odd()),
        modalias: Some(odd()),
        subsystem: Some(odd()),
        action: Some(odd()),
        candidates: 1,
        devpaths: vec![odd(), "plain".into()],
        attribution: Attribution::inferred("uevent-modalias"),
    };
    let bodies = [
        Body::Request(Box::new(Request {
            name: odd(),
            wait: Some(true),
            process: process.clone(),
            ancestors: ancestors.clone(),
            ancestors_truncated: true,
            syscall: None,
            syscall_abi: Some("i386".to_owned()),
            stack: vec![Frame { address: "ffffffff81000000".to_owned(), symbol: None, offset: None, module: None }],
            user_stack: Vec::new(),
            parent_request: Some(request),
            parent_attribution: Some(Attribution::exact()),
            in_init: Some(odd()),
            behalf: None,
            explanation: None,
            late: false,
            attribution: Attribution::unknown(),
        })),
        Body::Helper(Helper { pid: 1, start_ns: 2, path: odd(), argv: vec![odd()], attribution: Attribution::exact() }),
        Body::Load(Box::new(Load {
            module: odd(),
            origin: Origin::Udev,
            process: process.clone(),
            ancestors: ancestors.clone(),
            ancestors_truncated: false,
            helper_depth: None,
            file: Some(odd()),
            taints: String::new(),
            reason: Some(Reason::Alias),
            device: Some(device),
            attribution: Attribution::exact(),
        })),
        Body::Init(Init { module: odd(), pid: 1, start_ns: 2, ret: -12, duration_ns: 3, effect: None }),
        Body::Attempt(Box::new(Attempt {
            syscall: "finit_module".to_owned(),
            ret: -8,
            errno: "ENOEXEC".to_owned(),
            module: Some(odd()),
            file: Some(odd()),
            origin: Origin::Explicit,
            process: process.clone(),
            ancestors: ancestors.clone(),
            attribution: Attribution::exact(),
        })),
        Body::Unload(Box::new(Unload { module: odd(), process, ancestors, init_failed: true })),
    ];
    let event =
        |(seq, body)| Event { seq, time: jiff::Timestamp::UNIX_EPOCH, boot_ns: 9, request: Some(request), body };
    (0..).zip(bodies).map(event).collect()
}

/// Invalid UTF-8 has the documented JSON form and survives a round trip.
#[test]
fn invalid_utf8_survives_round_trip() {
    let events = odd_events();
    let lines: Vec<String> = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    keep("tests/fixtures/captures/bytes.jsonl", lines.concat().as_bytes());
    for (line, event) in lines.iter().zip(&events) {
        assert_eq!(serde_json::from_str::<Event>(line).unwrap(), *event);
    }
}

/// The keys of an object and of all nested objects.
fn keys<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            out.push(key);
            keys(value, out);
        }),
        Value::Array(values) => values.iter().for_each(|value| keys(value, out)),
        _ => {}
    }
}

/// The names of all properties in a schema.
fn properties<'a>(schema: &'a Value, out: &mut Vec<&'a str>) {
    match schema {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            if let (true, Value::Object(named)) = (key == "properties", value) {
                out.extend(named.keys().map(String::as_str));
            }
            properties(value, out);
        }),
        Value::Array(values) => values.iter().for_each(|value| properties(value, out)),
        _ => {}
    }
}

/// The schema contains every field of a real capture, and no text in it may be `null`. (`cargo xtask parsers` validates
/// captures with the schema.)
#[test]
fn schema_contains_every_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let schema: Value = serde_json::from_slice(&fs::read(root.join("docs/schema/event.json")).unwrap()).unwrap();
    let mut known = Vec::new();
    properties(&schema, &mut known);
    let mut texts = 0;
    for capture in ["outage-6.1.jsonl", "generated.jsonl", "bytes.jsonl"] {
        for line in fs::read_to_string(root.join("tests/fixtures/captures").join(capture)).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let mut found = Vec::new();
            keys(&event, &mut found);
            for key in found {
                assert!(known.contains(&key), "{key} of {capture}");
                texts += usize::from(key.ends_with("_hex"));
            }
        }
    }
    assert!(texts > 0, "no capture holds a text that is not UTF-8");
    for hex in ["name_hex", "comm_hex", "argv_hex"] {
        assert!(known.contains(&hex), "{hex}");
    }
    assert!(!schema.to_string().contains("\"null\""));
}
