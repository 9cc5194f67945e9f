//! Any bytes as a capture, in frames or plain: the reader, and every form of the report.
#![no_main]

use std::io::sink;

use kmodtrace::{
    capture::{lines::Lines, reader::Reader},
    output::{Colour, Lines as HumanLines, Output, Style, Tree},
    report::{By, Engine, Human, Plan, Sink, Sort, View, csv, html::Html, json, perfetto::Perfetto, table},
};
use libfuzzer_sys::fuzz_target;

const STYLE: Style = Style { colour: Colour::Ansi, unicode: true, utc: true, stacks: true, width: Some(80) };

fn human(output: Box<dyn Output>) -> Box<dyn Sink> {
    Box::new(Human::new(output, Box::new(sink()), true))
}

/// The lines of a file through the engine, as `report` does it.
fn report(bytes: &[u8], sinks: Vec<Box<dyn Sink>>) {
    let mut engine = Engine::new(Plan::default(), sinks);
    engine.begin("fuzz");
    let Ok(mut lines) = Lines::new(bytes) else { return };
    while let Ok(Some(block)) = lines.next_block() {
        if engine.block(block).is_err() {
            return;
        }
    }
    engine.note("ended".to_owned());
    let _ = engine.finish();
    let whole = engine.whole();
    for stream in whole.streams {
        let _ = stream.missing(false);
    }
    for by in [None, Some(By::Exe)] {
        let _ = csv::table(&whole, by, Sort::Name, &mut sink());
        let _ = json::table(&whole, by, Sort::Count, &mut sink());
        let _ = table(&whole, View { by, sort: Sort::Last, top: None }, STYLE);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let frame = zstd::encode_all(bytes, 1).unwrap_or_default();
    for bytes in [bytes, &frame] {
        if let Ok(reader) = Reader::new(bytes) {
            reader.for_each(drop);
        }
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
