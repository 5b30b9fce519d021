//! `highwater list`: the prebuilt jobs.

use std::io::{self, Write};

use anyhow::Result;

use super::args::ListArgs;
use super::failure::UsageError;
use super::job::nearest;
use crate::topologies::ALL;

pub(crate) fn run(args: &ListArgs) -> Result<()> {
    let mut out = io::stdout().lock();
    match &args.job {
        None => {
            for job in ALL {
                writeln!(out, "{:<18} {}", job.name, job.about)?;
            }
            writeln!(out, "\n`highwater list JOB` prints a job file to start from.")?;
        }
        Some(name) => {
            let job = ALL.iter().find(|job| job.name == name);
            let job = job.ok_or_else(|| unknown(name))?;
            out.write_all(job.example.as_bytes())?;
        }
    }
    Ok(())
}

fn unknown(name: &str) -> UsageError {
    let names: Vec<_> = ALL.iter().map(|job| job.name).collect();
    UsageError(match nearest(name, &names) {
        Some(near) => format!("there is no job `{name}`: did you mean `{near}`?"),
        None => format!("there is no job `{name}`: `highwater list` shows those that exist"),
    })
}
