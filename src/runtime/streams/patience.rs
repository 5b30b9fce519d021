//! Starting against a cluster that is not there yet.

use std::time::Duration;

use crate::clock::{Clock, let_others_go_on};
use crate::error::{Error, ErrorKind};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Does something again and again that only the cluster keeps from being done, for so long. What is wrong for good is told at once.
///
/// # Errors
/// What `act` was last answered.
pub(super) fn patiently<T>(within: Duration, clock: &dyn Clock, mut act: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let until = clock.now() + within;
    let mut told = false;
    loop {
        let error = match act() {
            Err(error) if error.kind() == ErrorKind::Retriable => error,
            answer => return answer,
        };
        if clock.now() >= until {
            let text = format!("no answer of the cluster within {within:?}, the `start_timeout`: {error}");
            return Err(Error::new(ErrorKind::Retriable, error.place().clone(), text.into()));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!("the start waits for the cluster, for at most {within:?}: {error}");
        }
        let_others_go_on(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::error::Place;
    use crate::record::Timestamp;

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, Place::default(), "nobody there".into())
    }

    #[test]
    fn what_may_pass_is_waited_for_and_what_may_not_is_told_at_once() {
        let clock = ManualClock::at(Timestamp::from_secs(0));
        let mut tries = 0;
        let done = patiently(Duration::from_secs(60), &clock, || {
            tries += 1;
            if tries < 2 { Err(error(ErrorKind::Retriable)) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap(), 2);
        let refused = patiently(Duration::from_secs(60), &clock, || Err::<(), _>(error(ErrorKind::InvalidConfig)));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidConfig);
        let late = patiently(Duration::from_secs(60), &clock, || {
            clock.advance(Duration::from_secs(61));
            Err::<(), _>(error(ErrorKind::Retriable))
        });
        let text = late.unwrap_err().to_string();
        assert!(text.contains("`start_timeout`") && text.contains("nobody there"), "{text}");
    }
}
