//! `cargo xtask <verb>`: everything the project does to itself.

mod apt;
mod bench;
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
    /// Install what is missing: the eBPF toolchain, QEMU, and what the build needs.
    Setup(setup::Options),
    /// Show what is found, missing or does not fit, and how to fix it.
    Doctor(doctor::Options),
    /// Build the static binary and leave it at `target/dist/kmodtrace`.
    Build(build::Options),
    /// Show the incident: what `iptables -t nat -L` makes a stock kernel load, and who is blamed.
    Demo(demo::Options),
    /// Run every test: on the host, and in guests with real kernels.
    Test(test::Options),
    /// Compare how programs are attached on each kernel, and what they cost the verifier, with the table in the docs.
    Kernels(kernels::Options),
    /// Let parsers that are not ours read what we write: events by jsonschema, verdicts by kunit.py, tap.py, junitparser.
    Parsers,
    /// Generate a capture of any size, the same for the same seed.
    Gen(r#gen::Options),
    /// Measure: what reading captures costs, beside what one would take instead.
    Bench(bench::Options),
    /// Boot real kernels: fetch, list, run a command, get a shell.
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
