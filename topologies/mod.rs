//! The prebuilt jobs: topologies written against the public API only, one file each.
//!
//! [`ALL`] is the one list of them. A job is plain data, read from a job file by the command line; `build` makes its topology.

pub(crate) mod row;
pub(crate) mod time_format;
pub(crate) mod windowed_counts;

pub(crate) use windowed_counts::WindowedCounts;

/// A prebuilt job, as `highwater list` shows it.
pub(crate) struct Prebuilt {
    /// What a job file says after `job:`.
    pub(crate) name: &'static str,
    /// One line: what it answers.
    pub(crate) about: &'static str,
    /// A job file to start from.
    pub(crate) example: &'static str,
}

/// Every prebuilt job.
pub(crate) const ALL: &[Prebuilt] = &[Prebuilt {
    name: windowed_counts::NAME,
    about: "how many records per key fall into each window of event time: tumbling, hopping, sliding or session",
    example: include_str!("jobs/access-log-status.yaml"),
}];
