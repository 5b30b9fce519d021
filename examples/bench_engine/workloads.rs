//! The workloads, on byte arrays as the harness's other engines have them.

use std::time::Duration;

use highwater::{
    Consumed, EmitStrategy, KStream, KeyValueStore, Materialized, StoreRef, StreamsBuilder, TimeWindows, Topic, Topology, Watermark,
    WindowStore, Windowed,
};

use crate::{Failure, Options};

type Bytes = Vec<u8>;

pub(crate) const COUNTS: StoreRef<KeyValueStore<Bytes, i64>> = StoreRef::new("counts");
const GRACE: Duration = Duration::from_secs(10);
/// Times of the harness's input run backwards by at most this.
const DISORDER: Duration = Duration::from_secs(5);

pub(crate) fn build(options: &Options) -> Result<Topology, Failure> {
    let builder = StreamsBuilder::new();
    let source = Topic::<Bytes, Bytes>::named(options.text("in")?.to_owned());
    let out = options.text("out")?.to_owned();
    let closing = options.text("emit").is_ok_and(|emit| emit == "close");
    let mut consumed = Consumed::with(source);
    if closing {
        consumed = consumed.watermark(Watermark::bounded(DISORDER));
    }
    let stream = builder.stream(consumed);
    match options.text("workload")? {
        "passthrough" => {
            stream.to(Topic::<Bytes, Bytes>::named(out));
        }
        "count" => counted(&stream, &out),
        "tumbling" => windowed(&stream, TimeWindows::of(Duration::from_mins(1)).grace(GRACE), closing, options, &out)?,
        "hopping" => {
            let windows = TimeWindows::of(Duration::from_mins(5)).advance_by(Duration::from_secs(30)).grace(GRACE);
            windowed(&stream, windows, closing, options, &out)?;
        }
        "table-join" => {
            let rows = Materialized::with(StoreRef::<KeyValueStore<Bytes, Bytes>>::new("rows"));
            let table = builder.table_as(rows, Topic::<Bytes, Bytes>::named(options.text("in2")?.to_owned()));
            stream.join_table(&table, |left, right| joined(left, &right)).to(Topic::<Bytes, Bytes>::named(out));
        }
        "rekey-count" => {
            let counts = stream.select_key(|_, value: &Bytes| value[8..16].to_vec()).group_by_key().count(COUNTS);
            counts.to(Topic::<Bytes, i64>::named(out));
        }
        other => return Err(format!("unknown workload {other}").into()),
    }
    Ok(builder.build()?)
}

fn counted(stream: &KStream<Bytes, Bytes>, out: &str) {
    stream.group_by_key().count(COUNTS).to(Topic::<Bytes, i64>::named(out.to_owned()));
}

fn windowed(stream: &KStream<Bytes, Bytes>, windows: TimeWindows, closing: bool, options: &Options, out: &str) -> Result<(), Failure> {
    let mut counts = Materialized::with(StoreRef::<WindowStore<Bytes, i64>>::new("counts"));
    if let retention @ 1.. = options.number("retention-ms", 0)? {
        counts = counts.retention(Duration::from_millis(retention));
    }
    let emit = if closing { EmitStrategy::on_window_close() } else { EmitStrategy::on_window_update() };
    stream.group_by_key().windowed_by(windows).emit(emit).count(counts).to(Topic::<Windowed<Bytes>, i64>::named(out.to_owned()));
    Ok(())
}

/// The left value with its second eight bytes replaced by the first eight, the number, of the right one.
fn joined(mut left: Bytes, right: &Bytes) -> Bytes {
    left[8..16].copy_from_slice(&right[..8]);
    left
}
