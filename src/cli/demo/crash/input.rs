//! The visits that are counted, the same in every run, and what their counts must be.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use highwater::kafka::{Connect, NewTopic, Outgoing, Producer, partition_of};
use highwater::{Clock, Headers, SystemClock, Timestamp, TopicPartition};

use super::site::Site;

pub(super) const PARTITIONS: i32 = 3;

const BATCH: u64 = 3_000;

/// Each of them comes about thirty times.
pub(super) fn users(records: u64) -> u64 {
    (records / 30).max(1)
}

/// Who comes as the n-th: drawn by SplitMix64, the same on every machine.
fn user(number: u64, records: u64) -> String {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("user-{:05}", (mixed ^ (mixed >> 31)) % users(records))
}

/// The true counts.
pub(super) fn truth(records: u64) -> HashMap<String, i64> {
    let mut counts = HashMap::new();
    for number in 0..records {
        *counts.entry(user(number, records)).or_default() += 1;
    }
    counts
}

/// Makes the topics and writes all visits; tells now and then how many there are.
pub(super) fn load(log: &dyn Connect, site: &Site, records: u64, on_batch: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
    let visits = site.visits();
    let topics = [&visits, &site.totals()].map(|name| NewTopic::new(name, PARTITIONS));
    log.admin()?.create_topics(&topics).context("the topics cannot be made")?;
    // A cluster does not keep what is long past.
    let first = if site.is_cluster() { SystemClock.now().as_millis() - records.cast_signed() } else { 0 };
    let (mut producer, headers) = (log.producer()?, Headers::default());
    for begin in (0..records).step_by(usize::try_from(BATCH)?) {
        let mut lanes = vec![Vec::new(); usize::try_from(PARTITIONS)?];
        for number in begin..(begin + BATCH).min(records) {
            let user = user(number, records);
            lanes[usize::try_from(partition_of(user.as_bytes(), PARTITIONS))?]
                .push((user, Timestamp::from_millis(first + number.cast_signed())));
        }
        for (partition, lane) in (0..).zip(&lanes) {
            let sent: Vec<_> = lane
                .iter()
                .map(|(user, at)| Outgoing { key: Some(user.as_bytes()), value: Some(b"/"), timestamp: *at, headers: &headers })
                .collect();
            producer.send(&TopicPartition::new(&*visits, partition), &sent)?;
        }
        written(&mut *producer)?;
        on_batch((begin + BATCH).min(records))?;
    }
    Ok(())
}

fn written(producer: &mut dyn Producer) -> Result<()> {
    match producer.flush(Duration::from_secs(30)).failed.first() {
        Some((partition, error)) => bail!("the input could not be written to `{partition}`: {error}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visit_is_somebodys_and_everybody_comes() {
        let truth = truth(30_000);
        assert_eq!(truth.values().sum::<i64>(), 30_000);
        assert_eq!(truth.len() as u64, users(30_000));
    }
}
