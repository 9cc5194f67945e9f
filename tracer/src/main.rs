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
            // clap shows arguments as they are, and a name that a shell expanded may be anybody's.
            if !asked && std::env::args_os().any(|own| own.to_string_lossy().chars().any(char::is_control)) {
                error.render().to_string().lines().for_each(logging::say);
                return ExitCode::from(EXIT_ERROR);
            }
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
