use std::io;

use super::{Consumer, OPEN_BYTES_MAX, Pipeline, StreamInfo};
use crate::{
    chain::{Item, growth::is_linear, samples},
    event::{Body, Event},
};

/// Counts chains, and those that were emitted early.
#[derive(Default)]
struct Count {
    chains: usize,
    early: usize,
}

impl Consumer for Count {
    fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item {
            self.chains += 1;
            self.early += usize::from(chain.incomplete.iter().any(|note| note.contains("too large together")));
        }
        Ok(())
    }
}

/// A load of a process that continues.
fn load() -> Event {
    let is_load = |event: &Event| matches!(&event.body, Body::Load(_));
    Event { request: None, seq: 0, ..samples::events().into_iter().find(is_load).unwrap() }
}

/// Feeds a number of streams that leave a chain open each.
fn open_in_each(streams: usize) -> Pipeline<Count> {
    let (mut pipeline, load) = (Pipeline::new(Count::default()), load());
    for _ in 0..streams {
        let id = pipeline.begin("a.jsonl");
        pipeline.event(id, load.clone()).unwrap();
        assert!(pipeline.open_bytes <= OPEN_BYTES_MAX);
    }
    pipeline
}

/// The open chains of any number of streams share one limit, and no chain is lost or emitted twice.
#[test]
fn open_chains_of_many_streams_share_one_limit() {
    const STREAMS: usize = 65_536;
    let (count, _) = open_in_each(STREAMS).finish().unwrap();
    assert_eq!(count.chains, STREAMS);
    assert!(count.early > 0 && count.early < STREAMS, "{}", count.early);
}

/// Processing takes linear time in the number of streams.
#[test]
fn processing_many_streams_is_linear() {
    is_linear(
        "streams with an open chain",
        10_000,
        |size| size,
        |size| {
            drop(open_in_each(size).finish().unwrap());
        },
    );
}
