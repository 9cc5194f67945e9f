//! Arbitrary bytes as a capture, in frames or plain: the reader, and every output format of `report`.
#![no_main]

use std::io::sink;

use kmodtrace::{
    output::{Colour, Lines as HumanLines, Output, Style, Tree},
    report::{By, Engine, ReportQuery, ReportSink, Sections, Sort, View, csv, html::Html, json, perfetto::Perfetto, table},
    stream::{Pipeline, read_inputs},
};
use libfuzzer_sys::fuzz_target;

const STYLE: Style = Style { colour: Colour::Ansi, unicode: true, utc: true, stacks: true, width: Some(80) };

fn human(output: Box<dyn Output>) -> Box<dyn ReportSink> {
    Box::new(Sections::new(output, Box::new(sink()), true))
}

/// A file through the engine, as `report` does it.
fn report(bytes: &[u8], sinks: Vec<Box<dyn ReportSink>>) {
    let mut pipeline = Pipeline::new(Engine::new(ReportQuery::default(), sinks));
    if read_inputs([("fuzz".to_owned(), bytes)], None, &mut pipeline).is_err() {
        return;
    }
    let Ok((mut engine, _)) = pipeline.finish() else { return };
    let _ = engine.finish();
    let data = engine.data();
    for by in [None, Some(By::Exe)] {
        let _ = csv::table(&data, by, Sort::Name, &mut sink());
        let _ = json::table(&data, by, Sort::Count, &mut sink());
        let _ = table(&data, View { by, sort: Sort::Last, top: None }, STYLE);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let frame = zstd::encode_all(bytes, 1).unwrap_or_default();
    for bytes in [bytes, &frame] {
        report(bytes, Vec::new());
        report(
            bytes,
            vec![
                Box::new(json::Chains::new(Box::new(sink()))),
                Box::new(csv::Records::new(Box::new(sink()))),
                Box::new(Perfetto::new(Box::new(sink()))),
                Box::new(Html::new(Box::new(sink()))),
                human(Box::new(HumanLines::new(Box::new(sink()), STYLE))),
                human(Box::new(Tree::new(Box::new(sink()), STYLE))),
            ],
        );
    }
});
