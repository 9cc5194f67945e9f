//! The example that reads captures works as documented. `trace_live` runs in a guest: the scenario `example-traces-live`.

use std::path::Path;

#[path = "../examples/read_capture.rs"]
#[expect(dead_code, reason = "its main function is not called")]
mod read_capture;

/// Each chain that loaded something is one line, and an intact capture has no issues.
#[test]
fn read_capture_prints_a_line_per_chain() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/captures/versions/v1.jsonl.zst");
    let mut output = Vec::new();
    let issues = read_capture::print(&[path], &mut output).unwrap();
    assert_eq!(issues.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    let text = String::from_utf8(output).unwrap();
    assert!(!text.is_empty() && text.lines().all(|line| line.contains(" loaded ")), "{text}");
}

/// The issues of a damaged capture are returned.
#[test]
fn read_capture_returns_issues() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/captures/versions/v1.jsonl.zst");
    let bytes = std::fs::read(path).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let torn = directory.path().join("torn.jsonl.zst");
    std::fs::write(&torn, &bytes[..bytes.len() - 10]).unwrap();
    assert!(read_capture::print(&[torn], Vec::new()).unwrap().iter().next().is_some());
}
