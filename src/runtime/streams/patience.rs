//! Starting against a cluster that is not there yet.

use std::time::Duration;

use crate::clock::{Clock, let_others_go_on};
use crate::error::{Error, ErrorKind};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Does something again and again that only the cluster keeps from being done, for so long, as [`Launch::start`](crate::Launch::start) does. What
/// is wrong for good is told at once. `on_wait` hears once what is waited for.
///
/// # Errors
/// What `act` was last answered.
pub fn patiently<T>(
    within: Duration,
    clock: &dyn Clock,
    on_wait: impl FnOnce(&Error),
    mut act: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let until = clock.now() + within;
    let mut on_wait = Some(on_wait);
    loop {
        let error = match act() {
            Err(error) if error.kind() == ErrorKind::Retriable => error,
            answer => return answer,
        };
        if clock.now() >= until {
            let text = format!("no answer of the cluster within {within:?}, the `start_timeout`: {error}");
            return Err(Error::new(ErrorKind::Retriable, error.place().clone(), text.into()));
        }
        if let Some(on_wait) = on_wait.take() {
            on_wait(&error);
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
        let (mut tries, mut told) = (0, String::new());
        let done = patiently(
            Duration::from_secs(60),
            &clock,
            |error| told += &error.to_string(),
            || {
                tries += 1;
                if tries < 2 { Err(error(ErrorKind::Retriable)) } else { Ok(tries) }
            },
        );
        assert_eq!((done.unwrap(), told.matches("nobody there").count()), (2, 1));
        let silent = |error: &Error| panic!("nothing is waited for: {error}");
        let refused = patiently(Duration::from_secs(60), &clock, silent, || Err::<(), _>(error(ErrorKind::InvalidConfig)));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidConfig);
        let late = patiently(
            Duration::from_secs(60),
            &clock,
            |_| (),
            || {
                clock.advance(Duration::from_secs(61));
                Err::<(), _>(error(ErrorKind::Retriable))
            },
        );
        let text = late.unwrap_err().to_string();
        assert!(text.contains("`start_timeout`") && text.contains("nobody there"), "{text}");
    }
}
