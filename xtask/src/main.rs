//! `cargo xtask <verb>`: development tasks of the project.

mod apt;
mod bench;
mod bless;
mod build;
mod demo;
mod doctor;
mod r#gen;
mod kernels;
mod requirements;
mod setup;
mod shell;
mod system;
mod test;
mod toolchain;
mod vm;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, about = "Set-up, demo, tests and benchmarks of kmodtrace")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install missing requirements: the eBPF toolchain, QEMU, and build dependencies.
    Setup(setup::Options),
    /// Show which requirements are present, missing or incompatible, and how to fix them.
    Doctor(doctor::Options),
    /// Build the static binary `target/dist/kmodtrace`.
    Build(build::Options),
    /// Show what `iptables -t nat -L` makes a stock kernel load, in a guest.
    Demo(demo::Options),
    /// Run all tests, on the host and in guests with real kernels.
    Test(test::Options),
    /// Regenerate the files that tests compare: manual pages, completions, schemas, expected outputs.
    Bless,
    /// Check documentation and messages for words that this project does not use.
    Words,
    /// Check docs/kernels.md: the attach methods on each kernel, and the verifier's cost per program.
    Kernels(kernels::Options),
    /// Validate our output with third-party parsers: jsonschema, kunit.py, tap.py and junitparser.
    Parsers,
    /// Generate a capture of any size, reproducible by its seed.
    Gen(r#gen::Options),
    /// Measure the cost of tracing and of reading captures, compared with other tools.
    Bench(bench::Options),
    /// Boot real kernels: fetch, list, run a command, open a shell.
    Vm(vm::Options),
}

fn main() -> ExitCode {
    let Arguments { verb } = Arguments::parse();
    let result = match verb {
        Verb::Setup(options) => setup::verb(&options),
        Verb::Doctor(options) => doctor::verb(&options),
        Verb::Build(options) => build::verb(&options),
        Verb::Demo(options) => demo::verb(&options),
        Verb::Test(options) => test::verb(&options),
        Verb::Bless => bless::verb(),
        Verb::Words => words::verb(),
        Verb::Kernels(options) => kernels::verb(&options),
        Verb::Parsers => vm::parsers::verb(),
        Verb::Gen(options) => r#gen::verb(&options),
        Verb::Bench(options) => bench::verb(&options),
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
