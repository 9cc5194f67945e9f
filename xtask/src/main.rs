//! `cargo xtask <verb>`: everything the project does to itself.

mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, about = "Set-up, demo, tests and benches of kmodtrace")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Boot real kernels: fetch, list, run a command, get a shell.
    Vm(vm::Options),
}

fn main() -> ExitCode {
    let Arguments { verb } = Arguments::parse();
    let result = match verb {
        Verb::Vm(options) => vm::run(options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(125)
        }
    }
}
