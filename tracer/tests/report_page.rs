//! The page of `kmodtrace report --html` in a real browser: names from captures remain text.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::captures;

/// Names of supported browsers.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

fn browser() -> PathBuf {
    let directories: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
    let mut found = BROWSERS.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    found.find(|path| path.is_file()).unwrap_or_else(|| panic!("no browser ({BROWSERS:?}): run cargo xtask setup"))
}

/// The page's elements after its script has run, and the browser's error messages.
fn shown(capture: &Path, hash: &str, arguments: &[&str]) -> (String, String) {
    let scratch = tempfile::tempdir().unwrap();
    let page = scratch.path().join("page.html");
    let made = Command::new(env!("CARGO_BIN_EXE_kmodtrace"))
        .arg("report")
        .arg(capture)
        .arg("--html")
        .arg(&page)
        .args(arguments)
        .output()
        .unwrap();
    assert!(made.status.success() && made.stdout.is_empty(), "{}", String::from_utf8_lossy(&made.stderr));
    let output = Command::new(browser())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"])
        // No name resolves, so any fetch causes an error message.
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", scratch.path().join("profile").display()))
        .arg(format!("file://{}#{hash}", page.display()))
        .output()
        .unwrap();
    let complaints: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("CONSOLE") || line.contains("Refused"))
        .map(str::to_owned)
        .collect();
    (String::from_utf8(output.stdout).unwrap(), complaints.join("\n"))
}

/// The cells of a table in the page.
fn cells(dom: &str, table: &str) -> Vec<String> {
    let from = dom.find(&format!("<table id=\"{table}\">")).unwrap();
    let table = &dom[from..from + dom[from..].find("</table>").unwrap()];
    table
        .split("<td")
        .skip(1)
        .map(|cell| cell[cell.find('>').unwrap() + 1..].split("</td>").next().unwrap().to_owned())
        .collect()
}

/// The script runs under the page's content security policy, draws the tables and the timeline, and filters by the URL
/// fragment.
#[test]
fn page_draws_and_filters() {
    let capture = captures().join("outage-6.1.jsonl");
    let (dom, complaints) = shown(&capture, "", &[]);
    assert!(dom.contains("data-ready=\"yes\""), "{complaints}");
    assert_eq!(complaints, "");
    let rows = cells(&dom, "rows");
    for cell in ["nf_conntrack", "/usr/sbin/xtables-legacy-multi", "\"fs-nosuchfs\"", "xfs", "225 ms"] {
        assert!(rows.iter().any(|own| own == cell), "{cell}: {rows:?}");
    }
    assert!(dom.contains("<rect"), "the timeline is empty");
    let chains = cells(&dom, "chains");
    assert!(chains.iter().any(|own| own.contains("first seen")), "{chains:?}");

    let bars = |dom: &str| dom.matches("<rect").count() - dom.matches("class=\"pick\"").count();
    let all = bars(&dom);
    // The filter also matches ancestors, and the timeline is filtered, too.
    let (dom, _) = shown(&capture, "q=from+sh+mount", &[]);
    assert!(dom.contains("what matches") && (1..all).contains(&bars(&dom)), "{all} {}", bars(&dom));
    assert!(cells(&dom, "chains").iter().any(|own| own.contains("fs-nosuchfs")));

    let (dom, _) = shown(&capture, "q=conntrack+xtables", &[]);
    let rows = cells(&dom, "rows");
    assert!(rows.iter().any(|own| own == "nf_conntrack") && !rows.iter().any(|own| own == "xfs"), "{rows:?}");
    let (dom, _) = shown(&capture, "result=not-found", &[]);
    let rows = cells(&dom, "rows");
    assert!(rows.iter().any(|own| own == "\"fs-nosuchfs\"") && !rows.iter().any(|own| own == "xfs"), "{rows:?}");
}

/// Names that contain markup are shown as text everywhere in the page, and issues are shown.
#[test]
fn hostile_names_remain_text() {
    let attack = r#"</script><script>document.title='pwned'</script><img src=x onerror="document.title='pwned'">"#;
    let json = serde_json::to_string(attack).unwrap();
    let json = &json[1..json.len() - 1];
    let mut capture = fs::read_to_string(captures().join("outage-6.1.jsonl")).unwrap();
    let places = [
        "iptables-legacy",
        "/usr/bin/busybox",
        "kmodtrace-guest",
        "fs-nosuchfs",
        "nf_conntrack",
        "\"root\"",
        "6.1.0-56-amd64",
        "d873adf4-5e48",
    ];
    for place in places {
        assert!(capture.contains(place), "{place}");
        let with = if place.starts_with('"') { format!("\"{json}\"") } else { json.to_owned() };
        capture = capture.replace(place, &with);
    }
    // A missing end, and a loss with a hostile cause.
    let end = capture.find("{\"seq\":36,").unwrap();
    capture.truncate(end);
    capture.push_str(&format!("{{\"seq\":36,\"time\":\"2026-11-23T06:30:50.7Z\",\"boot_ns\":7022898102,\"type\":\"loss\",\"stage\":\"probe\",\"cause\":\"{json}\",\"count\":3}}\n"));
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("</script><b>.jsonl".replace('/', "-"));
    fs::write(&path, capture).unwrap();
    let (dom, complaints) = shown(&path, "", &[]);
    assert!(dom.contains("data-ready=\"yes\"") && dom.contains("<title>kmodtrace report</title>"), "{complaints}");
    assert_eq!(complaints, "");
    assert!(!dom.contains("<img") && !dom.contains("<b>"));
    // Only the page's own script and its data.
    assert_eq!(dom.matches("<script").count(), 2);
    let shown_as_text = dom.matches("&lt;img src=x onerror=").count();
    assert!(shown_as_text > 10, "{shown_as_text}");
    assert!(dom.contains("3 records were lost") && dom.contains("no end: it is still"));
}
