//! The `kmodtrace` command: parses arguments, runs a verb, prints its error, sets the exit code.

use std::{io, process::ExitCode};

use clap::error::ErrorKind;
use kmodtrace::{
    cli::{Cli, EXIT_ERROR},
    logging,
};

fn main() -> ExitCode {
    let cli = match Cli::from_arguments() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // clap prints arguments unescaped, and a file name expanded by a shell can contain control characters.
            if !asked && std::env::args_os().any(|own| own.to_string_lossy().chars().any(char::is_control)) {
                error.render().to_string().lines().for_each(logging::notice);
                return ExitCode::from(EXIT_ERROR);
            }
            match error.print() {
                // A closed pipe is not an error.
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
