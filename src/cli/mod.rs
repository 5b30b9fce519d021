//! The command line: what a person types, and what it prints.

mod application;
mod args;
mod cluster;
mod demo;
mod describe;
mod engine;
mod failure;
mod feed;
mod generator;
mod job;
mod job_topics;
mod legible;
mod list;
mod look;
mod notices;
mod output;
mod place;
mod plan;
mod read;
mod restoring;
mod run;
mod shape;
mod status;
mod tail;
mod terminal;
mod topics;
mod whole_file;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};

/// Runs the command of this process and gives its exit status.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    show_engine_events();
    match dispatch(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&failure::told(&error));
            failure::exit_code(&error)
        }
    }
}

fn dispatch(command: &Command) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(args),
        Command::List(args) => list::run(args),
        Command::Topics(args) => topics::run(args),
        Command::Status(args) => application::run(args),
        Command::Read(args) => read::run(args),
        Command::DemoWorker(args) => demo::crash::worker::run(args),
        Command::Describe(args) => describe::run(args),
        Command::Plan(args) => plan::run(args),
    }
}

/// The engine speaks through `tracing`; whether anybody listens is the program's choice. What stops a job is told by its command anyway.
fn show_engine_events() {
    let filter = EnvFilter::try_from_env("HIGHWATER_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
}

#[allow(clippy::print_stderr, reason = "the one place where the program says that something went wrong")]
fn tell(text: &str) {
    eprintln!("{text}");
}
