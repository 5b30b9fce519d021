//! The first page of the documentation, as it stands there: a windowed count, and its test that moves event time by hand.

use std::time::Duration;

use highwater::serdes::Json;
use highwater::{
    Consumed, EmitStrategy, StoreRef, StreamsBuilder, TimeWindows, Timestamp, Topic, Topology, TopologyError, TopologyTestDriver,
    Watermark, WindowStore, Windowed,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct PageView {
    page: String,
    viewed_at: Timestamp,
}
highwater::default_serde!(PageView => Json);

const VIEWS: Topic<String, PageView> = Topic::new("page-views");
const LATE_VIEWS: Topic<String, PageView> = Topic::new("late-page-views");
const VIEWS_PER_MINUTE: Topic<Windowed<String>, i64> = Topic::new("views-per-minute");
const COUNTS: StoreRef<WindowStore<String, i64>> = StoreRef::new("page-counts");

fn page_views() -> Result<Topology, TopologyError> {
    let builder = StreamsBuilder::new();
    let five_seconds_late = Watermark::bounded(Duration::from_secs(5)).idle_after(Duration::from_secs(30));

    builder
        .stream(Consumed::with(VIEWS).timestamps(|view| view.viewed_at).watermark(five_seconds_late))
        .group_by(|_user, view| view.page.clone())
        .windowed_by(TimeWindows::of(Duration::from_mins(1)))
        .emit(EmitStrategy::on_window_close())
        .late_to(LATE_VIEWS)
        .count(COUNTS)
        .to(VIEWS_PER_MINUTE);

    builder.build()
}

fn view(page: &str, second: i64) -> PageView {
    PageView { page: page.into(), viewed_at: Timestamp::from_secs(second) }
}

#[test]
fn a_count_comes_out_once_when_its_minute_is_over() -> Result<(), Box<dyn std::error::Error>> {
    let mut driver = TopologyTestDriver::new(&page_views()?);
    let see = |driver: &mut TopologyTestDriver, page: &str, second| {
        driver.pipe(&VIEWS, "ann".to_owned(), view(page, second), Timestamp::from_secs(second))
    };

    see(&mut driver, "home", 10)?;
    see(&mut driver, "home", 59)?;
    see(&mut driver, "home", 64)?; // watermark 59: the first minute may still grow
    see(&mut driver, "home", 58)?; // out of order, in time
    assert!(driver.read(&VIEWS_PER_MINUTE).is_none());

    see(&mut driver, "about", 65)?; // watermark 60: it is over
    let count = driver.read(&VIEWS_PER_MINUTE).expect("one result");
    assert_eq!((count.key.key.as_str(), count.value), ("home", 3));
    assert_eq!(count.key.window.start, Timestamp::from_secs(0));

    see(&mut driver, "home", 12)?; // too late
    assert!(driver.read(&VIEWS_PER_MINUTE).is_none());
    assert_eq!(driver.read(&LATE_VIEWS).expect("the late view").value.page, "home");

    let counts = driver.store(&COUNTS).expect("the topology has this store");
    assert_eq!(counts.get(&"about".to_owned(), Timestamp::from_secs(60))?, Some(1));
    Ok(())
}
