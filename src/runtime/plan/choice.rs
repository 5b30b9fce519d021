//! Which input of a task is next (KS-P1 to P3).

use std::time::Duration;

use crate::record::{Timestamp, millis};

/// What stands at the front of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A record of this time.
    Record(Timestamp),
    /// Nothing in hand, and the log has more: it will come.
    Behind,
    /// Nothing in hand and nothing in the log.
    CaughtUp,
    /// Its declared end is reached: nobody waits for it.
    Ended,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Run the head of this input.
    Take(usize),
    /// Records wait, but an empty input may bring an older one. What is waited for since then counts against `max_task_idle`.
    Wait,
    /// Nothing in hand.
    Nothing,
}

/// The input with the smallest head; equal ones in the order of the inputs. `waiting` is since when the task has records in hand and
/// stands still for a caught-up input.
pub(crate) fn choose(
    heads: impl Iterator<Item = Head> + Clone,
    waiting: Option<Timestamp>,
    now: Timestamp,
    max_task_idle: Duration,
) -> Choice {
    let records = heads.clone().enumerate().filter_map(|(input, head)| if let Head::Record(at) = head { Some((at, input)) } else { None });
    let Some((_, first)) = records.min() else { return Choice::Nothing };
    let waited = waiting.map_or(0, |since| now.as_millis().saturating_sub(since.as_millis()));
    for head in heads {
        match head {
            Head::Behind => return Choice::Wait,
            Head::CaughtUp if waited < millis(max_task_idle) => return Choice::Wait,
            _ => {}
        }
    }
    Choice::Take(first)
}

#[cfg(test)]
mod tests {
    use super::Head::{Behind, CaughtUp, Ended, Record};
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }
    fn chosen(heads: &[Head], waiting: Option<i64>, now: i64, idle: u64) -> Choice {
        choose(heads.iter().copied(), waiting.map(at), at(now), Duration::from_millis(idle))
    }

    #[test]
    fn the_smallest_head_and_the_first_of_equal_ones() {
        assert_eq!(chosen(&[Record(at(5)), Record(at(3)), Record(at(3))], None, 0, 0), Choice::Take(1));
        assert_eq!(chosen(&[CaughtUp, Behind], None, 0, 0), Choice::Nothing);
        assert_eq!(chosen(&[], None, 0, 0), Choice::Nothing);
    }

    #[test]
    fn data_known_to_be_there_is_always_waited_for() {
        assert_eq!(chosen(&[Record(at(5)), Behind], Some(0), i64::MAX, 0), Choice::Wait);
    }

    #[test]
    fn a_caught_up_input_is_waited_for_as_long_as_the_setting_says() {
        assert_eq!(chosen(&[Record(at(5)), CaughtUp], None, 100, 0), Choice::Take(0));
        assert_eq!(chosen(&[Record(at(5)), CaughtUp], None, 100, 10), Choice::Wait);
        assert_eq!(chosen(&[Record(at(5)), CaughtUp], Some(100), 109, 10), Choice::Wait);
        assert_eq!(chosen(&[Record(at(5)), CaughtUp], Some(100), 110, 10), Choice::Take(0));
        assert_eq!(chosen(&[Record(at(5)), Ended], None, 0, 10), Choice::Take(0), "an ended input brings nothing");
    }
}
