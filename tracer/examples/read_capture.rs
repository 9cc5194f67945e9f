//! Prints which process made the kernel load which modules, from captures: `cargo run --example read_capture -- FILE...`.

use std::{env, error::Error, io, path::PathBuf};

use kmodtrace::{
    chain::{Cause, Chain, Item},
    output::escape,
    stream::{CaptureSource, Consumer, Pipeline, StreamInfo},
};

/// Prints a line for each chain that loaded something.
struct Print;

impl Consumer for Print {
    fn item(&mut self, item: Item, stream: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item
            && !chain.modules.is_empty()
        {
            let modules: Vec<String> = chain.modules.iter().map(|module| escape(&module.load.module)).collect();
            println!("{} {}: {} loaded {}", chain.time, stream.host(), requester(&chain), modules.join(" "));
        }
        Ok(())
    }
}

/// The process behind a chain, as far as it is known.
fn requester(chain: &Chain) -> String {
    match Cause::of(chain) {
        Cause::Process(process) => format!("{}({})", escape(&process.comm), process.pid),
        Cause::Ran { by, .. } => escape(&by.comm),
        Cause::Through { behalf, .. } => escape(&behalf.comm),
        Cause::Kernel(process) => format!("the kernel thread {}", escape(&process.comm)),
        Cause::Unseen => "an unknown process".to_owned(),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let mut pipeline = Pipeline::new(Print);
    CaptureSource::new(&paths)?.read(&mut pipeline)?;
    let (_, issues) = pipeline.finish()?;
    // What is wrong with the evidence: an answer from what is left would not be complete.
    for issue in issues.iter() {
        eprintln!("{issue}");
    }
    Ok(())
}
