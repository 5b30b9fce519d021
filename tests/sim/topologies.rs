//! What is run in the simulation. Each writes text to `out`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use highwater::{Consumed, EmitStrategy, KeyValueStore, StoreRef, StreamsBuilder, TimeWindows, Topic, Topology, Watermark};

pub(crate) const IN: Topic<String, String> = Topic::new("in");
pub(crate) const ROWS: Topic<String, String> = Topic::new("rows");
pub(crate) const OUT: Topic<String, String> = Topic::new("out");
pub(crate) const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
pub(crate) const TABLE: StoreRef<KeyValueStore<String, String>> = StoreRef::new("rows-by-key");

/// What a failure by poison says.
pub(crate) const POISON: &str = "the record was poisoned";

/// Within which the input of the bounded topology is out of order.
pub(crate) const DISORDER: i64 = 40;
const WINDOW: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No state: a record becomes another one.
    Copy,
    /// A count per key.
    Count,
    /// A count per value and window, through a repartition topic, on update.
    Windowed,
    /// The same with bounded watermarks, on close.
    Bounded,
    /// A stream that looks into a table.
    Join,
    /// Counts per window, summed up in longer windows, both with grace and on close, through two repartition topics.
    Stacked,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [Kind::Copy, Kind::Count, Kind::Windowed, Kind::Bounded, Kind::Join, Kind::Stacked];

    /// Whether it has a repartition topic behind its input.
    pub(crate) fn repartitions(self) -> bool {
        matches!(self, Kind::Windowed | Kind::Bounded | Kind::Stacked)
    }

    /// Its topology, whose first function fails whenever it is given poison.
    pub(crate) fn topology(self, poison: Poison) -> Topology {
        let builder = StreamsBuilder::new();
        let source = Consumed::with(IN);
        let bounded = Watermark::bounded(Duration::from_millis(DISORDER as u64)).never_idle();
        let source = if matches!(self, Kind::Bounded | Kind::Stacked) { source.watermark(bounded) } else { source };
        let stream = builder.stream(source).try_map_values(move |value| poison.taste(value));
        match self {
            Kind::Copy => stream.filter(|_, value| !value.ends_with('3')).map_values(|value| format!("<{value}>")).to(OUT),
            Kind::Count => {
                let counts = stream.group_by_key().count(COUNTS);
                counts.to_stream().map_values(|count| count.unwrap_or_default().to_string()).to(OUT);
                return builder.build().unwrap();
            }
            Kind::Windowed => {
                let windows = TimeWindows::of(WINDOW).grace(Duration::from_secs(86_400));
                let counts = stream.group_by(|_, value| group(value)).windowed_by(windows).count("windows").to_stream();
                counts.map(|key, count| (format!("{}@{}", key.key, key.window.start), count.unwrap_or_default().to_string())).to(OUT)
            }
            Kind::Bounded => {
                let groups = stream.group_by(|_, value| group(value));
                let counts = groups.windowed_by(TimeWindows::of(WINDOW)).emit(EmitStrategy::on_window_close()).count("windows").to_stream();
                counts.map(|key, count| (format!("{}@{}", key.key, key.window.start), count.unwrap_or_default().to_string())).to(OUT)
            }
            Kind::Stacked => {
                let grace = Duration::from_millis(20);
                let groups = stream.group_by(|_, value| group(value));
                let counts =
                    groups.windowed_by(TimeWindows::of(WINDOW).grace(grace)).emit(EmitStrategy::on_window_close()).count("windows");
                let halves = counts.to_stream().map(|key, count| (half(&key.key), count.unwrap_or_default().to_string())).group_by_key();
                let longer = halves.windowed_by(TimeWindows::of(WINDOW * 2).grace(grace)).emit(EmitStrategy::on_window_close());
                let sums = longer.reduce("sums", |one, other| (parsed(&one) + parsed(&other)).to_string()).to_stream();
                sums.map(|key, sum| (format!("{}@{}", key.key, key.window.start), sum.unwrap_or_default())).to(OUT)
            }
            Kind::Join => {
                let table = builder.table_as(TABLE, ROWS);
                stream.join_table(&table, |value, row| format!("{value}+{row}")).to(OUT)
            }
        };
        builder.build().unwrap()
    }
}

/// The key of a result, by the key and the time of a record that goes into it.
pub(crate) fn window_of(group: &str, at: i64) -> String {
    format!("{group}@{}", at - at % 100)
}

/// The first two groups, or the last two.
fn half(group: &str) -> String {
    format!("h{}", u8::from(matches!(group, "g2" | "g3")))
}

fn parsed(number: &str) -> i64 {
    number.parse().unwrap()
}

/// What makes the next record fail, on whichever instance it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Poison(Arc<AtomicBool>);

impl Poison {
    pub(crate) fn give(&self, poison: bool) {
        self.0.store(poison, Ordering::Relaxed);
    }

    fn taste(&self, value: String) -> Result<String, &'static str> {
        if self.0.swap(false, Ordering::Relaxed) { Err(POISON) } else { Ok(value) }
    }
}

/// One of four groups, by the last digit.
fn group(value: &str) -> String {
    let digit = value.bytes().last().unwrap_or(b'0') - b'0';
    format!("g{}", digit % 4)
}
