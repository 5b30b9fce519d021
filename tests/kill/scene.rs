//! What is run and killed: four applications, and the names they go by.

use std::sync::OnceLock;
use std::time::Duration;

use highwater::{
    Clock, Consumed, EmitStrategy, KeyValueStore, StoreRef, StreamsBuilder, SystemClock, TimeWindows, Timestamp, Topic, Topology,
    Watermark, WindowStore,
};

pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
pub(crate) const WINDOWS: StoreRef<WindowStore<String, i64>> = StoreRef::new("windows");
pub(crate) const ROWS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("rows");

/// Tells a victim [`begin`].
pub(crate) const BEGIN_VARIABLE: &str = "HIGHWATER_KILL_BEGIN";
static BEGIN: OnceLock<i64> = OnceLock::new();

/// Event time of the first records, past: no record is too far ahead of the wall clock. A cluster deletes what is longer past than it shall
/// keep, so there it is a time of today.
pub(crate) fn begin() -> i64 {
    const LONG_PAST: i64 = 1_700_000_000_000;
    *BEGIN.get_or_init(|| std::env::var(BEGIN_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(LONG_PAST))
}

/// Lets it begin some hours ago.
pub(crate) fn begin_today() {
    const HOURS: i64 = 6 * 3_600_000;
    let now = SystemClock.now().as_millis();
    BEGIN.get_or_init(|| (now - HOURS) / 10_000 * 10_000);
}

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
    /// Each record with the row of its key in a table that goes on changing in other rows.
    Join,
}

/// What topics and groups are called: every run on a cluster has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Stands before each name.
    pub(crate) prefix: String,
}

impl Names {
    pub(crate) fn application(&self) -> String {
        format!("{}app", self.prefix)
    }

    pub(crate) fn input(&self) -> String {
        format!("{}in", self.prefix)
    }

    pub(crate) fn output(&self) -> String {
        format!("{}out", self.prefix)
    }

    pub(crate) fn table(&self) -> String {
        format!("{}table", self.prefix)
    }

    /// Topics that the application makes for itself.
    pub(crate) fn changelog(&self, kind: Kind) -> Option<String> {
        let store = match kind {
            Kind::Copy => None,
            Kind::Count => Some("counts"),
            Kind::Windowed => Some("windows"),
            Kind::Join => Some("rows"),
        };
        store.map(|store| format!("{}-{store}-changelog", self.application()))
    }

    pub(crate) fn repartition(&self, kind: Kind) -> Option<String> {
        (kind == Kind::Windowed).then(|| format!("{}-windows-repartition", self.application()))
    }

    /// All topics of a run.
    pub(crate) fn topics(&self, kind: Kind) -> Vec<String> {
        let table = (kind == Kind::Join).then(|| self.table());
        let own = [Some(self.input()), Some(self.output()), table, self.changelog(kind), self.repartition(kind)];
        own.into_iter().flatten().collect()
    }
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Copy, Kind::Count, Kind::Windowed, Kind::Join];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Copy => "copy",
            Kind::Count => "count",
            Kind::Windowed => "windowed",
            Kind::Join => "join",
        }
    }

    /// How many tasks it has.
    pub(crate) fn tasks(self) -> usize {
        PARTITIONS.unsigned_abs() as usize * if self == Kind::Windowed { 2 } else { 1 }
    }

    pub(crate) fn topology(self, names: &Names) -> Topology {
        let builder = StreamsBuilder::new();
        let (input, output) = (Topic::<String, String>::named(names.input()), Topic::<String, String>::named(names.output()));
        match self {
            Kind::Copy => {
                builder.stream(input).filter(|_, value| is_copied(value)).map_values(|value| format!("<{value}>")).to(output);
            }
            Kind::Count => {
                let counts = builder.stream(input).group_by_key().count(COUNTS);
                counts.to_stream().map_values(|count| count.unwrap_or_default().to_string()).to(output);
            }
            Kind::Windowed => {
                let watermark = Watermark::bounded(ms(DISORDER)).never_idle();
                let groups = builder.stream(Consumed::with(input).watermark(watermark)).group_by(|_, value| group(value));
                let windows = groups.windowed_by(TimeWindows::of(ms(WINDOW))).emit(EmitStrategy::on_window_close());
                let counts = windows.count(WINDOWS).to_stream();
                counts.map(|key, count| (format!("{}@{}", key.key, key.window.start), count.unwrap_or_default().to_string())).to(output);
            }
            Kind::Join => {
                let table = builder.table_as(ROWS, Topic::<String, i64>::named(names.table()));
                let joined = builder.stream(input).try_join_table(&table, |key, value, row| match row == row_of(key) {
                    true => Ok(format!("<{value}>")),
                    false => Err(format!("{key} has the row {row}")),
                });
                joined.to(output);
            }
        }
        builder.build().expect("a valid topology")
    }
}

fn ms(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

/// What stands in the row of a key that records have; it was there before them.
pub(crate) fn row_of(key: &str) -> i64 {
    key.bytes().map(i64::from).sum()
}

/// Every third record comes with a change of the table, in a row that no record has.
pub(crate) fn table_change(partition: i32, sequence: u64) -> Option<(String, i64)> {
    sequence.is_multiple_of(3).then(|| (format!("p{partition}-x{}", sequence % 7), sequence.cast_signed()))
}

/// Rows that are there from the beginning.
pub(crate) fn first_rows(partition: i32) -> impl Iterator<Item = (String, i64)> {
    (0..5).map(move |sequence| key(partition, sequence)).map(|key| (key.clone(), row_of(&key)))
}

/// Before every record.
pub(crate) fn before_all() -> Timestamp {
    Timestamp::from_millis(begin() - 20_000)
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
    let time = begin() + sequence.cast_signed() * TICK - jitter;
    Timestamp::from_millis(if is_late(sequence) { begin() - 10_000 } else { time })
}

/// Late records begin when every task knows the time.
pub(crate) const LATE_BEGIN: u64 = 200;

pub(crate) fn is_late(sequence: u64) -> bool {
    sequence >= LATE_BEGIN && sequence % 13 == 5
}
