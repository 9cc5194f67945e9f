//! Prints which process makes the kernel load which modules, as it happens, until Ctrl-C:
//! `cargo run --example trace_live` (as root).

use std::{error::Error, io};

use kmodtrace::{
    chain::{Cause, Item},
    output::escape,
    stream::{Consumer, Pipeline, StreamInfo},
    trace::{Observed, TraceBuilder},
};

/// Prints a line for each chain that loaded something.
struct Print;

impl Consumer for Print {
    fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item
            && !chain.modules.is_empty()
        {
            let modules: Vec<String> = chain.modules.iter().map(|module| escape(&module.load.module)).collect();
            println!("{} {} loaded {}", chain.time, Cause::of(chain).name(), modules.join(" "));
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut trace = TraceBuilder::new().start()?;
    let mut pipeline = Pipeline::new(Print);
    let stream = pipeline.begin("this machine");
    eprintln!("armed");
    loop {
        let batch = tokio::select! {
            batch = trace.next() => batch?,
            _ = interrupt.recv() => {
                // The stream continues briefly, until requests in flight have ended.
                trace.stop();
                continue;
            }
        };
        trace.take_warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
        let Some(batch) = batch else { break };
        for observed in batch.events {
            if let Observed::InScope(event) = observed {
                pipeline.event(stream, event)?;
            }
        }
    }
    let (_, issues) = pipeline.finish()?;
    // For example lost records: the answer would not be complete.
    issues.iter().for_each(|issue| eprintln!("{issue}"));
    trace.detach();
    Ok(())
}
