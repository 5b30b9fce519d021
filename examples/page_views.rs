//! Views per page and minute, said once per minute when nothing can change it any more; late views kept in a topic.
//!
//! `cargo run --example page_views` shows the topology, then counts a handful of views in the test driver.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use highwater::{
    Consumed, EmitStrategy, StreamsBuilder, TimeWindows, Timestamp, Topic, Topology, TopologyError, TopologyTestDriver, Watermark, Windowed,
};

/// User, and the page they looked at.
const VIEWS: Topic<String, String> = Topic::new("page-views");
const LATE_VIEWS: Topic<String, String> = Topic::new("late-page-views");
const VIEWS_PER_MINUTE: Topic<Windowed<String>, i64> = Topic::new("views-per-minute");

fn page_views() -> Result<Topology, TopologyError> {
    let builder = StreamsBuilder::new();
    let five_seconds_late = Watermark::bounded(Duration::from_secs(5)).idle_after(Duration::from_secs(30));

    builder
        .stream(Consumed::with(VIEWS).watermark(five_seconds_late))
        .group_by(|_user, page| page.clone())
        .windowed_by(TimeWindows::of(Duration::from_mins(1)))
        .emit(EmitStrategy::on_window_close())
        .late_to(LATE_VIEWS)
        .count("views-per-page")
        .to(VIEWS_PER_MINUTE);

    builder.build()
}

fn main() -> Result<(), Box<dyn Error>> {
    let topology = page_views()?;
    println!("{}", topology.explain());

    let mut driver = TopologyTestDriver::new(&topology);
    for (user, page, second) in [("ann", "home", 10), ("bob", "home", 59), ("ann", "about", 64), ("cat", "home", 58), ("bob", "home", 65)] {
        driver.pipe(&VIEWS, user.to_owned(), page.to_owned(), Timestamp::from_secs(second))?;
    }
    while let Some(count) = driver.read(&VIEWS_PER_MINUTE) {
        println!("{} in the minute from {}: {}", count.key.key, count.key.window.start, count.value);
    }
    Ok(())
}
