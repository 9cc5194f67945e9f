//! The program that runs in a guest: pid 1, the agent, the scenarios and the actors.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match kmodtrace_tests::guest::main(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kmodtrace-guest: {error:#}");
            ExitCode::from(125)
        }
    }
}
