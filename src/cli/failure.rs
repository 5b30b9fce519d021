//! What an error means for the one who typed: the exit status.

use std::process::ExitCode;

use super::job::JobFileError;

/// The command line asks for something that cannot be. The text names what to change.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// Something failed that the command line and the job file are not to blame for.
pub(crate) const FAILED: u8 = 1;
/// The command line or the job file is wrong; clap uses the same number.
pub(crate) const USAGE: u8 = 2;

/// The exit status of an error.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let usage = error.is::<UsageError>() || error.is::<JobFileError>() || error.is::<highwater::TopologyError>();
    ExitCode::from(if usage { USAGE } else { FAILED })
}

/// Whether the reader of our standard output went away, as `head` does: no failure of ours.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(broken)
}

/// The text of an error on standard error: a job file's problems as they are, for editors to jump to.
pub(crate) fn told(error: &anyhow::Error) -> String {
    if error.is::<JobFileError>() {
        return error.to_string();
    }
    // An error that stands for its cause says the same as it: once is enough.
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.last().is_none_or(|last| !last.contains(&cause)) {
            said.push(cause);
        }
    }
    // A setting by the name that can be typed.
    format!("error: {}", said.join(": ")).replace("`state_dir`", "`--state-dir`")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn usage_is_told_apart_from_failure() {
        let code = |error: anyhow::Error| exit_code(&error);
        assert_eq!(code(UsageError("x".to_owned()).into()), ExitCode::from(USAGE));
        assert_eq!(code(super::super::job::parse("j", "").expect_err("empty").into()), ExitCode::from(USAGE));
        assert_eq!(code(io::Error::other("disk").into()), ExitCode::from(FAILED));
    }

    #[test]
    fn a_cause_is_not_told_twice() {
        let error = anyhow::Error::from(io::Error::other(io::Error::other("disk"))).context("writing");
        assert_eq!(told(&error), "error: writing: disk");
        assert_eq!(told(&anyhow::anyhow!("give each its own `state_dir`")), "error: give each its own `--state-dir`");
    }

    #[test]
    fn a_closed_pipe_is_seen_through_its_context() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("writing")));
    }
}
