//! `kmodtrace report`, run by an unprivileged user on a system that traces nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use kmodtrace::stream::Collector;
use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

use common::{captures, fed, kmodtrace, stderr};

/// If this variable is set, the expected outputs are written instead of compared.
const WRITE: &str = "KMODTRACE_WRITE_GOLDEN";

fn report(arguments: &[&str]) -> Output {
    kmodtrace(&captures(), &[&["report"], arguments].concat())
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs it with `text` as standard input.
fn report_of(text: &[u8], arguments: &[&str]) -> Output {
    fed(text, &[&["report", "-", "--utc"], arguments].concat())
}

fn outage() -> String {
    fs::read_to_string(captures().join("outage-6.1.jsonl")).unwrap()
}

/// Every output format matches the output that is stored next to the captures.
#[test]
fn report_formats_match_stored_outputs() {
    for (name, arguments) in [
        ("outage-6.1.table", &["outage-6.1.jsonl"][..]),
        ("outage-6.1.by-exe", &["outage-6.1.jsonl", "--by", "exe"]),
        ("outage-6.1.tree", &["outage-6.1.jsonl", "--tree"]),
        ("outage-6.1.lines", &["outage-6.1.jsonl", "--lines"]),
        ("outage-6.1.table.csv", &["outage-6.1.jsonl", "--csv"]),
        ("outage-6.1.lines.csv", &["outage-6.1.jsonl", "--csv", "--lines"]),
        ("outage-6.1.json", &["outage-6.1.jsonl", "--json"]),
        ("hosts.by-host", &["outage-6.1.jsonl", "generated.jsonl", "--by", "host"]),
        (
            "hosts.by-module",
            &["outage-6.1.jsonl", "generated.jsonl", "--by", "module", "--sort", "count", "--top", "5"],
        ),
        ("generated.by-user.json", &["generated.jsonl", "--json", "--by", "user"]),
        ("generated.by-container.csv", &["generated.jsonl", "--csv", "--by", "container"]),
        ("generated.unit", &["generated.jsonl", "--unit", "ssh.service", "--result", "!loaded", "--sort", "name"]),
        ("generated.since", &["generated.jsonl", "--since", "2026-03-01 00:00:20", "--until", "2026-03-01 00:00:22"]),
        ("generated.new", &["generated.jsonl", "--new-since", "2026-03-01 00:00:24"]),
    ] {
        let mut all = vec!["--utc"];
        all.extend(arguments);
        let printed = stdout(&report(&all));
        let path = captures().join("expected").join(name);
        if std::env::var_os(WRITE).is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &printed).unwrap();
        }
        let remedy = "run `cargo xtask bless`";
        let stored = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; {remedy}", path.display()));
        assert!(printed == stored, "{arguments:?} differs from {}; {remedy}\n{printed}", path.display());
    }
}

/// A complete capture has no issues, and each kind of damage is reported with its extent.
#[test]
fn damaged_capture_is_reported() {
    let whole = outage();
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(stderr(&report_of(whole.as_bytes(), &[])), "");
    let without = |left_out: std::ops::Range<usize>| {
        let kept = lines.iter().enumerate().filter(|(place, _)| !left_out.contains(place));
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    for (text, printed) in [
        (without(10..13), "3 events are missing in 1 place"),
        (without(36..37), "no end: it is still"),
        (without(0..1), "no header: the beginning"),
        (whole[..whole.len() - 40].to_owned(), "truncated in the frame or line at offset"),
        (whole.replace("\"type\":\"unload\"", "\"type\":\"reload\""), "1 event is of types unknown to this version"),
        (whole.replace("\"type\":\"unload\",", ""), "1 line is not an event"),
        (format!("{whole}garbage\n"), "1 line is not an event"),
    ] {
        for form in [&[][..], &["--json"]] {
            let output = report_of(text.as_bytes(), form);
            stdout(&output);
            assert!(stderr(&output).contains(printed), "{printed} {form:?}: {}", stderr(&output));
        }
    }
}

/// A compressed capture gives the same report as a plain one, and a truncated one reports everything before its end.
#[test]
fn compressed_capture_gives_same_report() {
    let whole = outage();
    let (front, back) = whole.split_at(whole.find("{\"seq\":20,").unwrap());
    let stored = |name: &str| stdout(&report(&["--utc", "--json", "--by", "module", name]));
    assert_eq!(stored("generated.jsonl.zst"), stored("generated.jsonl"));
    let frames = [front, back].map(|text| zstd::bulk::compress(text.as_bytes(), 3).unwrap()).concat();
    assert_eq!(stdout(&report_of(&frames, &[])), stdout(&report_of(whole.as_bytes(), &[])));
    let output = report_of(&frames[..frames.len() - 9], &[]);
    assert!(stdout(&output).contains("nf_conntrack"));
    assert!(stderr(&output).contains("truncated in the frame or line at offset"), "{}", stderr(&output));
    let mut broken = frames.clone();
    let middle = broken.len() - 300;
    broken[middle] ^= 0xff;
    let output = report_of(&broken, &[]);
    assert!(stdout(&output).contains("nf_conntrack"));
    assert!(stderr(&output).contains("damaged: "), "{}", stderr(&output));
}

/// Invalid input is an error that names the cause.
#[test]
fn invalid_input_error_names_cause() {
    let newer =
        outage().replace("\"schema\":1,\"tool\":\"kmodtrace 0.1.0\"", "\"schema\":99,\"tool\":\"kmodtrace 9.9\"");
    for form in [&[][..], &["--json"]] {
        let output = report_of(newer.as_bytes(), form);
        assert_eq!(output.status.code(), Some(125));
        assert!(
            stderr(&output).contains("version 99") && stderr(&output).contains("kmodtrace 9.9"),
            "{}",
            stderr(&output)
        );
    }
    for (arguments, named) in [
        (&["no-such-file.jsonl"][..], "no-such-file.jsonl"),
        (&["../../kernels.json"], "kernels.json: not a capture"),
        (&["../../../README.md"], "not a capture"),
        (&["outage-6.1.jsonl", "--since", "soon"], "2 hours ago"),
        (&["outage-6.1.jsonl", "--csv", "--json"], "--json"),
        (&["outage-6.1.jsonl", "-o", "/no/such/file"], "/no/such/file"),
    ] {
        let output = report(arguments);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(stderr(&output).contains(named) && output.stdout.is_empty(), "{arguments:?}: {}", stderr(&output));
    }
}

/// A directory is replaced by its captures, oldest first, and a new boot is a separate stream.
#[test]
fn directory_yields_its_captures_oldest_first() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().to_str().unwrap();
    fs::copy(captures().join("outage-6.1.jsonl"), scratch.path().join("a.jsonl")).unwrap();
    fs::copy(captures().join("generated.jsonl"), scratch.path().join("b.jsonl")).unwrap();
    fs::write(scratch.path().join("notes.txt"), "no capture").unwrap();
    let printed = stdout(&report(&["--utc", "--lines", directory]));
    let heads: Vec<&str> = printed.lines().filter(|line| line.starts_with("# ")).collect();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads[0].contains("2026-03-01: lb1") && heads[1].contains("2026-11-23: kmodtrace-guest"), "{heads:?}");
}

/// A capture in several files is one stream, for any order of the files.
#[test]
fn segments_in_any_order_are_one_stream() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = outage();
    let (front, back) = whole.split_at(whole.find("{\"seq\":20,").unwrap());
    let header = whole.lines().next().unwrap();
    // Each segment has a header; the event numbers continue.
    let of = |segment: u32| format!("\"recording\":\"r\",\"segment\":{segment},\"hooks\":");
    let front = front.replacen("\"hooks\":", &of(0), 1);
    let header = header.replace("\"seq\":0,", "\"seq\":20,").replace(".855299975Z", ".955299975Z");
    let header = header.replacen("\"hooks\":", &of(1), 1);
    let back: String = back
        .lines()
        .map(|line| {
            let (seq, rest) = line.strip_prefix("{\"seq\":").unwrap().split_once(',').unwrap();
            format!("{{\"seq\":{},{rest}\n", seq.parse::<u64>().unwrap() + 1)
        })
        .collect();
    fs::write(scratch.path().join("2.jsonl"), front).unwrap();
    fs::write(scratch.path().join("1.jsonl"), format!("{header}\n{back}")).unwrap();
    let output = report(&["--utc", scratch.path().to_str().unwrap()]);
    assert_eq!(stdout(&output), stdout(&report(&["--utc", "outage-6.1.jsonl"])));
    assert_eq!(stderr(&output), "");
}

/// Chains that a filter cannot decide are counted and reported, whether shown or not.
#[test]
fn undecided_chains_are_reported() {
    let printed = |filter: &[&str]| {
        let output = report_of(outage().as_bytes(), &[&["--csv"], filter].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(!printed(&["--module", "nf_conntrack"]).contains("may match"));
    // Only the end of the path is known for a shell that ran a tool.
    assert!(
        printed(&["--exe", "/usr/bin/dash"]).contains("left out that may match"),
        "{}",
        printed(&["--exe", "/usr/bin/dash"])
    );
    assert!(
        printed(&["--exe", "!/usr/bin/dash"]).contains("shown that may not match"),
        "{}",
        printed(&["--exe", "!/usr/bin/dash"])
    );
}

/// A capture that consists only of headers reaches the stream limit, and no events are attributed to another host.
#[test]
fn capture_with_many_headers_reaches_stream_limit() {
    let header = outage().lines().next().unwrap().to_owned() + "\n";
    let headers: String = (0..70_000)
        .map(|number| header.replacen("\"boot_ns\":5202220054", &format!("\"boot_ns\":{number}"), 1))
        .collect();
    let output = report_of(headers.as_bytes(), &["--by", "host"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("more than 65536 recordings"), "{}", stderr(&output));
}

/// A growing file is reported while it grows, and Ctrl-C ends the report regularly.
#[test]
fn growing_file_is_followed_until_interrupt() {
    let whole = outage();
    let middle = whole.find("{\"seq\":24,").unwrap();
    let (front, back) = whole.as_bytes().split_at(middle);
    follows(front, back);
    let [front, back] = [front, back].map(|text| zstd::bulk::compress(text, 3).unwrap());
    follows(&front, &back);
}

fn follows(front: &[u8], back: &[u8]) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("live");
    fs::write(&path, &front[..front.len() - 7]).unwrap();
    let out = scratch.path().join("out");
    let mut child = Command::new(env!("CARGO_BIN_EXE_kmodtrace"))
        .args(["report", "--utc", "--follow", "-o"])
        .args([&out, &path])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&front[front.len() - 7..]).unwrap();
    file.write_all(back).unwrap();
    while !fs::read_to_string(&out).is_ok_and(|printed| printed.contains("xfs")) {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert!(fs::read_to_string(&out).unwrap().contains("iptable_nat"));
}

/// `ssh HOST kmodtrace watch --json | kmodtrace report --lines --follow -`: a chain is shown when it ends, while the other end of the
/// pipe is still open, and the whole is the same as of the complete file.
#[test]
fn live_stream_from_pipe_is_shown_at_once() {
    use std::io::{BufRead, BufReader};
    let whole = outage();
    let middle = whole.find("{\"seq\":28,").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kmodtrace"))
        .args(["report", "--utc", "--lines", "--follow", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || output.lines().try_for_each(|line| sender.send(line.unwrap())));
    // As of another host: the pipe is written in parts of lines.
    for part in whole.as_bytes()[..middle].chunks(1000) {
        input.write_all(part).unwrap();
        input.flush().unwrap();
    }
    let mut shown = String::new();
    while !shown.contains("iptable_nat") {
        let line = lines.recv_timeout(std::time::Duration::from_secs(120));
        shown += &(line.unwrap_or_else(|error| panic!("{error} after {shown:?}")) + "\n");
    }
    input.write_all(&whole.as_bytes()[middle..]).unwrap();
    drop(input);
    shown.extend(lines.iter().map(|line| line + "\n"));
    reader.join().unwrap().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let complete = stdout(&report_of(whole.as_bytes(), &["--lines"]));
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&shown), sorted(&complete));
}

/// A boot is selected by its id: streams of other boots are left out with their issues.
#[test]
fn boot_leaves_out_other_boots() {
    let whole = outage();
    let other = whole.replace("d873adf4-5e48-481f-ab96-d5481dc48bb8", "00000000-0000-0000-0000-000000000001");
    let other = &other[..other.len() - 40];
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.jsonl"), &whole).unwrap();
    fs::write(directory.path().join("b.jsonl"), other).unwrap();
    let run = |boot: &str| kmodtrace(directory.path(), &["report", ".", "--utc", "--csv", boot]);
    let one = run("--boot=d873adf45e48481fab96d5481dc48bb8");
    assert_eq!(stdout(&one), stdout(&report_of(whole.as_bytes(), &["--csv"])));
    assert_eq!(stderr(&one), "");
    let two = run("-b=00000000-0000-0000-0000-000000000001");
    assert!(stderr(&two).contains("truncated"), "{}", stderr(&two));
    assert_eq!(stdout(&two).lines().next(), stdout(&one).lines().next());
    for form in ["--boot", "--boot=-1", "--boot=00000000000000000000000000000002"] {
        let none = run(form);
        assert_eq!(none.status.code(), Some(125), "{form}");
        assert!(
            stderr(&none).contains("d873adf4-5e48-481f-ab96-d5481dc48bb8 (kmodtrace-guest, since"),
            "{}",
            stderr(&none)
        );
    }
    let checked = kmodtrace(directory.path(), &["snapshot", "--boot=d873adf4-5e48-481f-ab96-d5481dc48bb8", "."]);
    assert_eq!((checked.status.code(), stderr(&checked).as_str()), (Some(0), ""));
}

/// Trace events are complete, each track has a name, and slices of a track are nested or disjoint.
#[test]
fn perfetto_trace_is_well_formed() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("trace.json");
    stdout(&report(&["generated.jsonl", "outage-6.1.jsonl", "--perfetto", path.to_str().unwrap()]));
    let trace: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let track = |event: &serde_json::Value| (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
    let named: std::collections::HashSet<_> =
        events.iter().filter(|event| event["name"] == "thread_name").map(track).collect();
    let mut slices = std::collections::BTreeMap::<_, Vec<(u64, u64)>>::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        assert!(named.contains(&track(event)), "{event}");
        // Microseconds with three decimals, as text: a JSON number would lose nanoseconds.
        let ns = |name: &str| event[name].as_str().unwrap().replace('.', "").parse::<u64>().unwrap();
        slices.entry(track(event)).or_default().push((ns("ts"), ns("ts") + ns("dur")));
    }
    assert!(slices.len() > 5, "{}", slices.len());
    for (track, mut slices) in slices {
        slices.sort_by_key(|(begin, end)| (*begin, std::cmp::Reverse(*end)));
        let mut open: Vec<u64> = Vec::new();
        for (begin, end) in slices {
            open.retain(|open_end| *open_end > begin);
            assert!(open.iter().all(|open_end| *open_end >= end), "{track:?} at {begin}");
            open.push(end);
        }
    }
    assert_eq!(trace["otherData"]["missing"], serde_json::json!([]));
}

/// A closed output pipe is a normal end.
#[test]
fn closed_pipe_ends_report_successfully() {
    let line = format!(
        "'{}' report --json generated.jsonl | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_kmodtrace")
    );
    let output = Command::new("bash").current_dir(captures()).args(["-c", &line]).output().unwrap();
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), ("0\n", ""));
}

/// Captures generated for benchmarks are as the tracer writes them: every line survives a round trip, and every seal is
/// valid.
#[test]
fn generated_captures_are_valid() {
    let text = fs::read_to_string(captures().join("generated.jsonl")).unwrap();
    for line in text.lines() {
        let event: kmodtrace::event::Event =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
    }
    let (collector, files) = Collector::read(&[captures().join("generated.jsonl.zst")]).unwrap();
    assert_eq!(collector.broken(), Vec::<String>::new());
    assert!(files[0].has_end && files[0].events == 401 && files[0].seals == 7, "{files:?}");
}

/// The example in docs/report.md is the output of its command.
#[test]
fn documentation_example_matches_output() {
    let page = include_str!("../../docs/report.md");
    let (_, rest) = page.split_once("$ kmodtrace report --utc outage-6.1.jsonl\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let path = captures().join("outage-6.1.jsonl");
    let printed = stdout(&report(&["--utc", path.to_str().unwrap()]));
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    // Output to a file has no width limit, like the example in the page.
    for line in words(shown) {
        assert!(words(&printed).contains(&line), "{line:?}\n{printed}");
    }
}

/// `--top` shows the first rows in every table format, and invalid combinations of options are errors.
#[test]
fn top_limits_rows_of_tables() {
    let rows = |arguments: &[&str]| stdout(&report(&[&["generated.jsonl", "--utc"], arguments].concat()));
    for (form, heads) in [(&["--csv"][..], 1), (&["--csv", "--by", "exe"], 1), (&["--json", "--by", "module"], 0)] {
        // The most frequent ones, unless another order is requested.
        assert_eq!(rows(&[form, &["--top", "2"]].concat()), rows(&[form, &["--top", "2", "--sort", "count"]].concat()));
        let (all, top) = (rows(form), rows(&[form, &["--top", "2", "--sort", "first"]].concat()));
        assert_eq!(top.lines().count(), 2 + heads, "{form:?}");
        assert!(all.starts_with(&top) && all.len() > top.len(), "{form:?}");
    }
    for (arguments, named) in [
        (&["--top", "0"][..], "expected a number above 0"),
        (&["--top", "2", "--tree"], "cannot use --top: the output is not a table"),
        (&["--top", "2", "--json"], "cannot use --top: the output is not a table"),
        (&["--stacks", "--csv"], "--stacks"),
        (&["--stacks", "--lines"], "--stacks"),
        (
            &["--since", "2026-01-02", "--until", "2026-01-01"],
            "invalid --since \"2026-01-02\": expected a time before --until",
        ),
        (&["--since", "0000-01-01"], "invalid --since \"0000-01-01\": expected a year from 1678 to 2261"),
    ] {
        let output = report(&[&["generated.jsonl"], arguments].concat());
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(stderr(&output).contains(named), "{arguments:?}: {}", stderr(&output));
    }
    let tree = |arguments: &[&str]| stdout(&report(&[&["outage-6.1.jsonl", "--utc"], arguments].concat()));
    assert_eq!(tree(&["--stacks"]), tree(&["--tree", "--stacks"]));
}

/// The HTML page has the same counts of chains, unloads, streams and events as other verbs.
#[test]
fn html_page_counts_match_verify() {
    let page = stdout(&report(&["generated.jsonl.zst", "--html", "-"]));
    assert!(page.contains(": 64 requests and loads and 2 unloads from 1 stream."));
    assert!(page.contains(", 401 events, generated.jsonl.zst"));
}
