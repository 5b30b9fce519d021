//! The `highwater` binary: a user of the library like any other.

mod cli;
#[path = "../topologies/mod.rs"]
mod topologies;

fn main() -> std::process::ExitCode {
    cli::main()
}
