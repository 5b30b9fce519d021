//! A process is frozen until its session and its transaction are over and others have its tasks; then it goes on. It notices, nothing that it
//! still does counts, and it takes part again.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use highwater::TopicPartition;
use highwater::kafka::Connect as _;

use super::child::micros;
use super::flow::{self, Beside, PARTITIONS};
use super::herd::{Herd, TRANSACTION, Way, broker};
use super::verdict::judge;

const PER_SECOND: u64 = 2_000;
const CALM: Duration = Duration::from_millis(1_500);

/// Positions that went backwards, whenever the group was asked.
fn look(herd: &Herd) -> Beside<Vec<String>> {
    let (admin, application) = (herd.log().admin().unwrap(), herd.model.application.clone());
    Beside::run(move |over| {
        let (mut furthest, mut backwards): (BTreeMap<TopicPartition, i64>, _) = (BTreeMap::new(), Vec::new());
        while !over.load(std::sync::atomic::Ordering::SeqCst) {
            for (partition, position) in admin.group_positions(&application).unwrap_or_default() {
                let before = furthest.insert(partition.clone(), position.offset).unwrap_or(0);
                if position.offset < before {
                    backwards.push(format!("{partition} from {before} to {}", position.offset));
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
        backwards
    })
}

fn play(way: Way) {
    let Some(broker) = broker() else { return };
    let mut herd = Herd::new(broker.bootstrap(), way);
    let feed = flow::feed(broker.bootstrap(), herd.model.input(), PER_SECOND, (0..PARTITIONS).collect());
    let reading = flow::read(broker.bootstrap(), herd.model.output());
    ["a", "b", "c"].iter().for_each(|name| herd.start(name, false));
    herd.settle(&["a", "b", "c"]);
    let looking = look(&herd);
    thread::sleep(CALM);
    for round in 1..=2 {
        let frozen = micros();
        herd.signal("b", "STOP");
        herd.settle(&["a", "c"]);
        thread::sleep((way.session().max(TRANSACTION) + CALM).saturating_sub(Duration::from_micros((micros() - frozen).unsigned_abs())));
        let thawed = micros();
        herd.signal("b", "CONT");
        // It is told that its stay is over, or meets it: in its transaction, or as its commit is refused.
        let signs = ["Lost", "fenced", "MemberFenced"];
        herd.until("it has noticed", || herd.since("b", "log", thawed).iter().any(|line| signs.iter().any(|sign| line.contains(sign))));
        herd.settle(&["a", "b", "c"]);
        let took = (herd.last("b", "tasks").unwrap().0 - thawed) / 1000;
        eprintln!("{}, round {round}: frozen for {} ms, has tasks again {took} ms later", way.name(), (thawed - frozen) / 1000);
        thread::sleep(CALM);
    }
    let sent = feed.end();
    herd.until_all_is_committed();
    let backwards = looking.end();
    herd.stop_all();
    let verdict = judge(&sent, &reading.end(), way.exactly_once);
    eprintln!("{}: {} records, {} doubled", way.name(), verdict.records, verdict.doubled);
    assert!(verdict.faults.is_empty(), "{:#?}\n{}", &verdict.faults[..verdict.faults.len().min(10)], herd.story());
    assert!(backwards.is_empty(), "{backwards:#?}\n{}", herd.story());
    assert!(herd.errors().is_empty(), "{:#?}", herd.errors());
}

#[test]
fn exactly_once_a_zombie_writes_nothing_that_counts_and_comes_back() {
    play(Way::ALL[0]);
}

#[test]
#[ignore = "a while: `make processes`"]
fn at_least_once_a_zombie_turns_no_position_back() {
    play(Way::ALL[1]);
}

#[test]
#[ignore = "a while: `make processes`"]
fn exactly_once_a_zombie_of_a_group_run_by_the_broker() {
    play(Way::ALL[2]);
}

#[test]
#[ignore = "a while: `make processes`"]
fn at_least_once_a_zombie_of_a_group_run_by_the_broker() {
    play(Way::ALL[3]);
}
