//! `highwater describe`: the topology of a job file, without running it.

use std::io::{self, Write};

use anyhow::Result;

use super::args::{DescribeArgs, DescribeFormat};
use super::job;

pub(crate) fn run(args: &DescribeArgs) -> Result<()> {
    let topology = job::read(&args.job)?.job.topology()?;
    let text = match args.format {
        _ if args.explain => topology.explain(),
        DescribeFormat::Text => topology.describe(),
        DescribeFormat::Dot => topology.to_dot(),
        DescribeFormat::Mermaid => topology.to_mermaid(),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
