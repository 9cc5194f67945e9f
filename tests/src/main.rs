//! The guest's pid 1 and everything it starts again under another name.

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
