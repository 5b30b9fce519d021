//! Whether what came out is what went in, and how long it was silent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::flow::Output;

/// What there is to say about the records.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) records: u64,
    /// Came out more than once.
    pub(crate) doubled: u64,
    /// What is wrong.
    pub(crate) faults: Vec<String>,
}

/// Exactly once: every record of a key comes out once, in order, with its own number as its count. At least once: every record comes out, and
/// none was forgotten by the count.
pub(crate) fn judge(sent: &BTreeMap<String, u64>, outputs: &[Output], exactly_once: bool) -> Verdict {
    let mut verdict = Verdict { records: sent.values().sum(), ..Verdict::default() };
    let mut by_key: BTreeMap<&str, Vec<&Output>> = BTreeMap::new();
    outputs.iter().for_each(|output| by_key.entry(&output.key).or_default().push(output));
    for (key, total) in sent {
        let came = by_key.remove(key.as_str()).unwrap_or_default();
        let numbers: BTreeSet<u64> = came.iter().map(|output| output.number).collect();
        verdict.doubled += (came.len() - numbers.len()) as u64;
        if !numbers.iter().copied().eq(1..=*total) {
            let missing = (1..=*total).find(|number| !numbers.contains(number));
            verdict.faults.push(format!("{key}: {} of {total} came, the first that did not is {missing:?}", numbers.len()));
        }
        let wrong = came.iter().zip(1..).find(|(output, next)| match exactly_once {
            true => output.number != *next || output.count != *next,
            false => output.count < output.number,
        });
        verdict.faults.extend(wrong.map(|(output, next)| format!("{key}: {output:?} where {next} is due")));
    }
    verdict.faults.extend(by_key.keys().map(|key| format!("{key} was never sent")));
    verdict
}

/// A silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gap {
    pub(crate) length: Duration,
    pub(crate) partition: i32,
    /// When it began, in microseconds.
    pub(crate) from: i64,
}

/// The longest silence of some partitions that falls into a span of time, in microseconds.
pub(crate) fn longest_gap(outputs: &[Output], partitions: &BTreeSet<i32>, from: i64, until: i64) -> Gap {
    let mut longest = Gap::default();
    for partition in partitions.iter().copied() {
        let times = outputs.iter().filter(|output| output.partition == partition).map(|output| output.at);
        let mut last = None;
        for at in times.chain([until]).map(|at| at.min(until)) {
            if let Some(last) = last.filter(|_| at > from) {
                let length = Duration::from_micros(u64::try_from(at - last).unwrap_or(0));
                longest = longest.max(Gap { length, partition, from: last });
            }
            last = Some(at);
        }
    }
    longest
}

#[test]
fn what_is_lost_doubled_or_miscounted_is_seen() {
    let output = |number, count| Output { partition: 0, key: "k".to_owned(), count, number, at: 0 };
    let sent = BTreeMap::from([("k".to_owned(), 3)]);
    let faults = |outputs: &[Output], exactly_once| judge(&sent, outputs, exactly_once).faults.len();
    let good = [output(1, 1), output(2, 2), output(3, 3)];
    assert_eq!((faults(&good, true), faults(&good, false)), (0, 0));
    assert!(faults(&good[..2], true) > 0 && faults(&good[..2], false) > 0, "lost");
    let doubled = [output(1, 1), output(2, 2), output(2, 3), output(3, 4)];
    assert!(faults(&doubled, true) > 0);
    assert_eq!((faults(&doubled, false), judge(&sent, &doubled, false).doubled), (0, 1));
    let forgotten = [output(1, 1), output(2, 2), output(3, 1)];
    assert!(faults(&forgotten, true) > 0 && faults(&forgotten, false) > 0, "the count began anew");
}

#[test]
fn a_gap_counts_where_it_falls_into_the_span() {
    let output = |at| Output { partition: 0, key: String::new(), count: 0, number: 0, at };
    let outputs = [0, 10, 50, 60, 100].map(output);
    let all = BTreeSet::from([0]);
    assert_eq!(longest_gap(&outputs, &all, 20, 100).length.as_micros(), 40);
    assert_eq!(longest_gap(&outputs, &all, 0, 10).length.as_micros(), 10);
    assert_eq!(longest_gap(&outputs, &all, 70, 500).length.as_micros(), 400, "silent at the end");
}
