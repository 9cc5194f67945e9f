//! Prints which process made the kernel load which modules, from captures: `cargo run --example read_capture -- FILE...`.

use std::{env, error::Error, io, path::PathBuf};

use kmodtrace::{
    chain::{Cause, Item},
    output::escape,
    stream::{CaptureSource, Consumer, Issues, Pipeline, StreamInfo},
};

/// Prints a line for each chain that loaded something.
struct Print<W>(W);

impl<W: io::Write> Consumer for Print<W> {
    fn item(&mut self, item: &Item, stream: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item
            && !chain.modules.is_empty()
        {
            let modules: Vec<String> = chain.modules.iter().map(|module| escape(&module.load.module)).collect();
            writeln!(
                self.0,
                "{} {}: {} loaded {}",
                chain.time,
                stream.host(),
                Cause::of(chain).name(),
                modules.join(" ")
            )?;
        }
        Ok(())
    }
}

/// Prints the contents of captures and returns their issues. The output for damaged captures is not complete.
///
/// # Errors
/// If a capture cannot be read.
pub(crate) fn print(paths: &[PathBuf], output: impl io::Write) -> Result<Issues, Box<dyn Error>> {
    let mut pipeline = Pipeline::new(Print(output));
    CaptureSource::new(paths)?.read(&mut pipeline)?;
    let (_, issues) = pipeline.finish()?;
    Ok(issues)
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    for issue in print(&paths, io::stdout())?.iter() {
        eprintln!("{issue}");
    }
    Ok(())
}
