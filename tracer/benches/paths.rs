//! Measures each step between the ring buffer and the output separately: `cargo bench -p kmodtrace --bench paths`.

#![expect(clippy::unwrap_used, reason = "a bench without its input cannot run")]

use std::{hint::black_box, io};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kmodtrace::{
    chain::{Builder, Item},
    event::{self, Body, Event, Parsed, Text},
    modules::families,
    output::{JsonLines, Lines, Style, escape},
    policy::{self, Judge},
    probe,
    stream::{Consumer, Pipeline, StreamInfo},
};
use tracer_ebpf::wire::{Header, Kind, Request};
use zerocopy::{FromZeros, IntoBytes};

/// The output of `cargo xtask gen --events 400 --seed 1`.
const CAPTURE: &str = include_str!("../../tests/fixtures/captures/generated.jsonl");

const POLICY: &str =
    "version = 1\ndefault = \"allow\"\n\n[[rule]]\naction = \"deny\"\nmodule = \"nf_*\"\norigin = \"request\"\n";

fn events() -> Vec<Event> {
    let parsed = CAPTURE.lines().map(|line| event::parse(line.as_bytes()).unwrap());
    parsed.filter_map(|parsed| if let Parsed::Event(event) = parsed { Some(event) } else { None }).collect()
}

fn items(events: &[Event]) -> Vec<Item> {
    let mut builder = Builder::new();
    let mut items = Vec::new();
    for event in events {
        builder.push(event.clone());
        items.extend(std::iter::from_fn(|| builder.next_item()));
    }
    items.extend(builder.finish());
    items
}

/// An event of each frequent type, and a complete capture.
fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let mut bench = |name: &str, text: &[&str]| {
        group.throughput(Throughput::Bytes(text.iter().map(|line| line.len() as u64).sum()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| text.iter().filter(|line| event::parse(black_box(line.as_bytes())).is_ok()).count());
        });
    };
    let lines: Vec<&str> = CAPTURE.lines().collect();
    for kind in ["request", "helper", "load", "init", "result"] {
        let is_it = |line: &&&str| line.contains(&format!("\"type\":\"{kind}\""));
        bench(kind, &[*lines.iter().find(is_it).unwrap()]);
    }
    bench("a capture", &lines);
    group.finish();
}

fn paths(criterion: &mut Criterion) {
    let events = events();
    let count = Throughput::Elements(u64::try_from(events.len()).unwrap());

    let mut request = Request::new_zeroed();
    request.header = Header { kind: Kind::Request as u32, ..Header::new_zeroed() };
    criterion.bench_function("decode a request", |bencher| {
        bencher.iter(|| probe::decode(black_box(request.as_bytes())).unwrap());
    });

    parsing(criterion);

    let mut group = criterion.benchmark_group("a capture");
    group.throughput(count);
    group.bench_function("build chains", |bencher| {
        bencher.iter_batched(|| events.clone(), |events| items(&events), BatchSize::SmallInput);
    });
    group.bench_function("write JSON", |bencher| {
        let mut output = JsonLines::new(Box::new(io::sink()));
        bencher.iter(|| events.iter().for_each(|event| output.event(event, &StreamInfo::default()).unwrap()));
    });
    group.bench_function("judge", |bencher| {
        let judge = || Judge::new(policy::parse(POLICY, "policy.toml").unwrap());
        bencher.iter_batched(
            || (Pipeline::new(judge()), events.clone()),
            |(mut pipeline, events)| {
                let stream = pipeline.begin("bench");
                events.into_iter().for_each(|event| pipeline.event(stream, event).unwrap());
                pipeline.finish().unwrap().0.finish(&policy::UnknownKernel("a bench".to_owned()))
            },
            BatchSize::SmallInput,
        );
    });
    let items = items(&events);
    group.bench_function("show lines", |bencher| {
        let mut output = Lines::new(Box::new(io::sink()), Style::default());
        bencher.iter(|| items.iter().for_each(|item| output.item(item, &StreamInfo::default()).unwrap()));
    });
    group.finish();

    let names: Vec<Text> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Request(request) => Some(request.name.clone()),
            _ => None,
        })
        .collect();
    let mut group = criterion.benchmark_group("a name");
    group.throughput(Throughput::Elements(u64::try_from(names.len()).unwrap()));
    group.bench_function("escape", |bencher| {
        bencher.iter(|| names.iter().map(escape).map(|text| text.len()).sum::<usize>());
    });
    group.bench_function("explain", |bencher| bencher.iter(|| names.iter().filter_map(families::explain).count()));
    group.finish();
}

criterion_group!(benches, paths);
criterion_main!(benches);
