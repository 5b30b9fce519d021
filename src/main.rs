//! The `highwater` binary: a user of the library like any other.

mod cli;
#[path = "../topologies/mod.rs"]
mod topologies;

/// That of the system keeps what one thread frees from the others, and RocksDB and librdkafka have many.
#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
