//! What is run and killed: three applications, and the names they go by.

use std::time::Duration;

use highwater::{
    Consumed, EmitStrategy, KeyValueStore, StoreRef, StreamsBuilder, TimeWindows, Timestamp, Topic, Topology, Watermark, WindowStore,
};

pub(crate) const APPLICATION: &str = "app";
pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const IN: Topic<String, String> = Topic::new("in");
pub(crate) const OUT: Topic<String, String> = Topic::new("out");
pub(crate) const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
pub(crate) const WINDOWS: StoreRef<WindowStore<String, i64>> = StoreRef::new("windows");

/// Event time of the first records, long past: no record is too far ahead of the wall clock.
const BEGIN: i64 = 1_700_000_000_000;
/// From one record of a partition to the next.
const TICK: i64 = 10;
/// Within which records are out of order.
const DISORDER: i64 = 40;
pub(crate) const WINDOW: i64 = 200;
const GROUPS: u64 = 12;

/// An application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No state: a record becomes another one.
    Copy,
    /// A running count per key.
    Count,
    /// A count per group and window through a repartition topic, sent when its window closes.
    Windowed,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Copy, Kind::Count, Kind::Windowed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Copy => "copy",
            Kind::Count => "count",
            Kind::Windowed => "windowed",
        }
    }

    /// Topics that the application makes for itself.
    pub(crate) fn changelog(self) -> Option<&'static str> {
        match self {
            Kind::Copy => None,
            Kind::Count => Some("app-counts-changelog"),
            Kind::Windowed => Some("app-windows-changelog"),
        }
    }

    pub(crate) fn repartition(self) -> Option<&'static str> {
        (self == Kind::Windowed).then_some("app-windows-repartition")
    }

    pub(crate) fn topology(self) -> Topology {
        let builder = StreamsBuilder::new();
        match self {
            Kind::Copy => {
                builder.stream(IN).filter(|_, value| is_copied(value)).map_values(|value| format!("<{value}>")).to(OUT);
            }
            Kind::Count => {
                let counts = builder.stream(IN).group_by_key().count(COUNTS);
                counts.to_stream().map_values(|count| count.unwrap_or_default().to_string()).to(OUT);
            }
            Kind::Windowed => {
                let watermark = Watermark::bounded(ms(DISORDER)).never_idle();
                let groups = builder.stream(Consumed::with(IN).watermark(watermark)).group_by(|_, value| group(value));
                let windows = groups.windowed_by(TimeWindows::of(ms(WINDOW))).emit(EmitStrategy::on_window_close());
                let counts = windows.count(WINDOWS).to_stream();
                counts.map(|key, count| (format!("{}@{}", key.key, key.window.start), count.unwrap_or_default().to_string())).to(OUT);
            }
        }
        builder.build().expect("a valid topology")
    }
}

fn ms(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

/// One of 17 records goes no further.
pub(crate) fn is_copied(value: &str) -> bool {
    !sequence(value).is_multiple_of(17)
}

pub(crate) fn group(value: &str) -> String {
    format!("g{:02}", sequence(value) % GROUPS)
}

/// Each record of the input says which it is.
pub(crate) fn value(partition: i32, sequence: u64) -> String {
    format!("{partition}:{sequence}")
}

/// The number of a record within its partition.
pub(crate) fn sequence(value: &str) -> u64 {
    value.split_once(':').and_then(|(_, number)| number.parse().ok()).expect("a value of this input")
}

pub(crate) fn key(partition: i32, sequence: u64) -> String {
    format!("p{partition}-k{}", sequence % 5)
}

/// Out of order within the bound; or so late that its window was closed long ago.
pub(crate) fn time(sequence: u64) -> Timestamp {
    let jitter = (sequence * 7 % DISORDER.unsigned_abs()).cast_signed();
    let time = BEGIN + sequence.cast_signed() * TICK - jitter;
    Timestamp::from_millis(if is_late(sequence) { BEGIN - 10_000 } else { time })
}

/// Late records begin when every task knows the time.
pub(crate) fn is_late(sequence: u64) -> bool {
    sequence >= 200 && sequence % 13 == 5
}
