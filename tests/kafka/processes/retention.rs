//! A broker that forgets positions after a minute, and an input that is silent for longer: its position stays.

use std::thread;
use std::time::Duration;

use highwater::TopicPartition;
use highwater::kafka::Connect as _;

use super::flow;
use super::herd::{Herd, Way};
use super::verdict::judge;
use crate::broker::{Broker, BrokerOptions};

const SILENT: i32 = 5;
const SILENCE: Duration = Duration::from_secs(100);

fn play(way: Way) {
    let options = BrokerOptions::default().with("offsets.retention.minutes", "1").with("offsets.retention.check.interval.ms", "1000");
    let Some(broker) = Broker::start(options) else { return };
    let mut herd = Herd::new(broker.bootstrap(), way);
    let reading = flow::read(broker.bootstrap(), herd.model.output());
    let at_first = flow::feed(broker.bootstrap(), herd.model.input(), 100, vec![SILENT]);
    ["a", "b"].iter().for_each(|name| herd.start(name, false));
    herd.settle(&["a", "b"]);
    thread::sleep(Duration::from_secs(3));
    let mut sent = at_first.end();
    herd.until_all_is_committed();
    let others = flow::feed(broker.bootstrap(), herd.model.input(), 100, (0..SILENT).collect());
    thread::sleep(SILENCE);
    sent.extend(others.end());
    herd.until_all_is_committed();
    thread::sleep(Duration::from_secs(2));
    let positions = herd.log().admin().unwrap().group_positions(&herd.model.application).unwrap();
    let silent = TopicPartition::new(herd.model.input(), SILENT);
    assert!(positions.iter().any(|(partition, position)| *partition == silent && position.offset > 0), "{positions:?}\n{}", herd.story());
    // Who comes now goes on where the others were.
    herd.kill("a");
    herd.start("c", false);
    herd.settle(&["b", "c"]);
    thread::sleep(Duration::from_secs(2));
    herd.stop_all();
    let verdict = judge(&sent, &reading.end(), way.exactly_once);
    eprintln!("{}: {} records, {} doubled; silent for {SILENCE:?}", way.name(), verdict.records, verdict.doubled);
    assert!(verdict.faults.is_empty() && verdict.doubled == 0, "{:#?}\n{}", verdict.faults, herd.story());
    assert!(herd.errors().is_empty(), "{:#?}", herd.errors());
}

#[test]
#[ignore = "two minutes of silence: `make processes`"]
fn a_silent_input_keeps_its_position_where_others_are_forgotten_after_a_minute() {
    let both = [Way::ALL[0], Way::ALL[1]].map(|way| thread::spawn(move || play(way)));
    both.into_iter().for_each(|run| run.join().unwrap());
}
