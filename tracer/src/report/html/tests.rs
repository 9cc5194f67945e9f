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

/// Byte limits of the latest and the first entries of a small page.
const LIMITS: (usize, usize) = (1 << 17, 1 << 15);

/// The size and data of a small page with requests for these names.
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

/// The page refers to no external resource, and its script never creates markup from text.
#[test]
fn page_refers_to_no_resource() {
    for forbidden in ["http://", "https://", "src=", "href=", "@import", "url("] {
        let allowed = SCRIPT.replace("http://www.w3.org/2000/svg", "");
        assert!(!PAGE.contains(forbidden) && !allowed.contains(forbidden), "{forbidden}");
    }
    for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("] {
        assert!(!SCRIPT.contains(sink), "{sink}");
    }
}

/// The hash matches that of another program, and placeholders in inserted parts are not replaced.
#[test]
fn page_parts_replace_their_placeholders() {
    assert_eq!(hash("abc"), "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    let mut out = Vec::new();
    fill("<{{a}}|{{b}}>", &mut out, &mut |name, writer| writer.write_all(if name == "a" { b"{{b}}" } else { b"x" }))
        .unwrap();
    assert_eq!(out, b"<{{b}}|x>");
}

/// A page with any names is limited in bytes, reports the number of omitted entries and keeps the latest ones.
#[test]
fn page_with_long_names_is_limited_in_bytes() {
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

/// The limit that docs/report.md documents.
const _: () = assert!(LATEST_BYTES + FIRST_BYTES + ROWS_BYTES == 32 << 20);

/// The details of an entry contain everything that the tree format prints.
#[test]
fn entry_details_contain_the_tree() {
    let (_, data) = page(std::iter::once("iptable_nat".to_owned()));
    let details = data["chains"][0]["details"].as_str().unwrap();
    for part in ["who ", "from ", "asked ", "helper ", "loaded ", "init ", "result "] {
        assert!(details.contains(part), "{part}: {details}");
    }
}

proptest! {
    /// Serialized text cannot close its HTML block and is still equivalent JSON.
    #[test]
    fn serialized_text_cannot_close_its_block(text in "[<>/&!a-zA-Z\"\\\\\u{2028}-]{0,40}") {
        let shown = inert(&text).unwrap();
        let is_inert = !shown.contains(['<', '>', '&', '\u{2028}']);
        prop_assert!(is_inert);
        prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
