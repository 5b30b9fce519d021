//! From one process to six and back, faster than the group can follow, and processes that leave while they still come in.

use std::thread;
use std::time::Duration;

use super::flow::{self, PARTITIONS};
use super::herd::{Herd, Way, broker};
use super::verdict::judge;

const PER_SECOND: u64 = 1_000;
const BEAT: Duration = Duration::from_millis(300);

fn play(way: Way) {
    let Some(broker) = broker() else { return };
    let mut herd = Herd::new(broker.bootstrap(), way);
    let feed = flow::feed(broker.bootstrap(), herd.model.input(), PER_SECOND, (0..PARTITIONS).collect());
    let reading = flow::read(broker.bootstrap(), herd.model.output());
    let names = ["a", "b", "c", "d", "e", "f"];
    herd.start("a", false);
    herd.settle(&["a"]);
    for name in &names[1..] {
        herd.start(name, false);
        thread::sleep(BEAT);
    }
    herd.settle(&names);
    for name in &names[..5] {
        herd.tell_to_stop(name);
        thread::sleep(BEAT);
    }
    names[..5].iter().for_each(|name| herd.stopped(name));
    herd.settle(&["f"]);
    // Each is told to go when the next one comes.
    let passing = ["g", "h", "i", "j", "k", "l"];
    for (at, name) in passing.iter().enumerate() {
        herd.start(name, false);
        thread::sleep(BEAT);
        passing[..at].last().iter().for_each(|before| herd.tell_to_stop(before));
    }
    herd.tell_to_stop("l");
    passing.iter().for_each(|name| herd.stopped(name));
    herd.settle(&["f"]);
    let sent = feed.end();
    herd.until_all_is_committed();
    herd.stop_all();
    let verdict = judge(&sent, &reading.end(), way.exactly_once);
    eprintln!("{}: {} records, {} doubled", way.name(), verdict.records, verdict.doubled);
    assert!(verdict.faults.is_empty(), "{:#?}\n{}", &verdict.faults[..verdict.faults.len().min(10)], herd.story());
    assert_eq!(verdict.doubled, 0, "everybody gave up what was committed\n{}", herd.story());
    assert!(herd.errors().is_empty(), "{:#?}\n{}", herd.errors(), herd.story());
}

#[test]
fn from_one_to_six_and_back() {
    play(Way::ALL[0]);
}

#[test]
#[ignore = "a while: `make processes`"]
fn at_least_once_from_one_to_six_and_back() {
    play(Way::ALL[1]);
}

#[test]
#[ignore = "a while: `make processes`"]
fn from_one_to_six_and_back_in_a_group_run_by_the_broker() {
    play(Way::ALL[2]);
}

#[test]
#[ignore = "a while: `make processes`"]
fn at_least_once_from_one_to_six_and_back_in_a_group_run_by_the_broker() {
    play(Way::ALL[3]);
}
