//! The `kmodtrace` command: parse, run, print one error with its causes, exit code.

use std::{io, process::ExitCode};

use clap::{Parser, error::ErrorKind};
use kmodtrace::{
    cli::{Cli, EXIT_ERROR},
    logging,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            match error.print() {
                // A reader that went away is a normal end.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    logging::error(&anyhow::Error::new(error).context("cannot write the help"));
                    return ExitCode::from(EXIT_ERROR);
                }
                _ => {}
            }
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(EXIT_ERROR) };
        }
    };
    logging::init(cli.verbose);
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            logging::error(&error);
            ExitCode::from(EXIT_ERROR)
        }
    }
}
