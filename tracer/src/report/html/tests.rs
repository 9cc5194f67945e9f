use std::{cell::RefCell, rc::Rc};

use proptest::prelude::*;

use super::{FIRST_BYTES, Html, LATEST_BYTES, PAGE, ROWS_BYTES, SCRIPT, fill, hash, inert};
use crate::{
    chain::{Item, samples},
    event::Text,
    report::{Aggregates, ChainRecord, Interner, ReportData, ReportQuery, ReportSink, Stream},
};

#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes of the latest entries of a small page, and of the first.
const LIMITS: (usize, usize) = (1 << 17, 1 << 15);

/// A small page of requests that ask for these, and its data.
fn page(requested: impl Iterator<Item = String>) -> (usize, serde_json::Value) {
    let written = Written::default();
    let mut html = Html::with_limits(Box::new(written.clone()), LIMITS.0, LIMITS.1);
    let Item::Chain(template) = samples::outage() else { unreachable!("it is a chain") };
    let (stream, names) = (Stream::new("a.jsonl"), Interner::default());
    for name in requested {
        let mut chain = template.clone();
        let request = chain.request.as_mut().unwrap();
        request.process.argv = vec![Text::from(name.as_str())];
        request.name = Text::from(name);
        let item = Item::Chain(chain.clone());
        let record = ChainRecord {
            chain: &chain,
            item: &item,
            observations: &[],
            is_first: true,
            stream: &stream,
            stream_number: 0,
        };
        html.chain(&record, &names).unwrap();
    }
    let (aggregates, query) = (Aggregates::default(), ReportQuery::default());
    let streams = [stream];
    html.finish(&ReportData { aggregates: &aggregates, names: &names, streams: &streams, query: &query }).unwrap();
    let page = String::from_utf8(written.0.take()).unwrap();
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    (page.len(), serde_json::from_str(data).unwrap())
}

/// Check that the page names no resource but itself, and that the script never makes markup of text.
#[test]
fn the_page_is_self_contained() {
    for forbidden in ["http://", "https://", "src=", "href=", "@import", "url("] {
        let allowed = SCRIPT.replace("http://www.w3.org/2000/svg", "");
        assert!(!PAGE.contains(forbidden) && !allowed.contains(forbidden), "{forbidden}");
    }
    for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("] {
        assert!(!SCRIPT.contains(sink), "{sink}");
    }
}

/// Check the hash against one made by another program, and that parts are put where their names are.
#[test]
fn parts_have_their_places_and_names() {
    assert_eq!(hash("abc"), "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    let mut out = Vec::new();
    fill("<{{a}}|{{b}}>", &mut out, &mut |name, writer| writer.write_all(if name == "a" { b"{{b}}" } else { b"x" }))
        .unwrap();
    assert_eq!(out, b"<{{b}}|x>");
}

/// Check that the page has a limit in bytes whatever names hold, that it says how many are not shown, and that the latest
/// are.
#[test]
fn the_page_is_limited_in_bytes() {
    let (bytes_of_nothing, _) = page(std::iter::empty());
    // Each `<` takes six bytes.
    for (name, count) in [(&"<".repeat(100_000), 20), (&"usual".to_owned(), 300), (&"<".repeat(1000), 100)] {
        let (bytes, data) = page((0..count).map(|number| format!("{number} {name}")));
        assert!(bytes < bytes_of_nothing + LIMITS.0 + LIMITS.1 + 2000, "{bytes}");
        let chains = data["chains"].as_array().unwrap();
        let note = data["note"].as_str().unwrap();
        assert!(!chains.is_empty() && data["all"] == (chains.len() == count));
        if chains.len() < count {
            assert!(note.contains(&format!("{} of {count} are shown", chains.len())), "{note}");
        } else {
            assert_eq!(note, "");
        }
        let last = chains.last().unwrap()["asked"].as_str().unwrap();
        assert!(last.starts_with(&format!("\"{} ", count - 1)), "{}", &last[..20]);
    }
}

/// The limit that docs/report.md promises.
const _: () = assert!(LATEST_BYTES + FIRST_BYTES + ROWS_BYTES == 32 << 20);

/// Check that an entry has all that the tree tells: who, from where, the call, the helper, and each module.
#[test]
fn entries_have_details() {
    let (_, data) = page(std::iter::once("iptable_nat".to_owned()));
    let details = data["chains"][0]["details"].as_str().unwrap();
    for part in ["who ", "from ", "asked ", "helper ", "loaded ", "init ", "result "] {
        assert!(details.contains(part), "{part}: {details}");
    }
}

proptest! {
    /// Check that no text can end the block it stands in, and that it still is the same JSON.
    #[test]
    fn data_cannot_leave_its_block(text in "[<>/&!a-zA-Z\"\\\\\u{2028}-]{0,40}") {
        let shown = inert(&text).unwrap();
        let is_inert = !shown.contains(['<', '>', '&', '\u{2028}']);
        prop_assert!(is_inert);
        prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
