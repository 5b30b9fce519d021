//! Sources, sinks and the operators of streams.

use highwater::{Consumed, Grouped, InvalidTimestamp, Joined, KStream, KTable, OffsetReset, Repartitioned, Timestamp, Topic};

use super::super::cell::Cell;
use super::super::format::{Op, StoreField};
use super::super::functions;
use super::super::processors::StepSpec;
use super::super::steps::{Fixed, Free};
use super::super::store_commands::AnyStore;
use super::super::value::{Type, Val, ValSerde, num};
use super::options::{self, Added, span};
use super::tables::AnyTable;
use super::{Handle, Made, Node, Reader, Refused};

fn stream(stream: KStream<Val, Val>, key: &Type, value: &Type) -> Made {
    Ok(Some(Node::new(Handle::Stream(stream), key, value)))
}

/// A topic with the serdes of its types.
pub(super) fn topic(name: &str, key: &Type, value: &Type) -> Topic<Val, Val> {
    Topic::with(name.to_owned(), ValSerde(key.clone()), ValSerde(value.clone()))
}

impl Reader<'_> {
    /// The types a source declares, remembered for its topics.
    pub(super) fn declare(&mut self, op: &Op) -> (Type, Type) {
        let types = (Type::named(op.key.as_deref()), Type::named(op.value.as_deref()));
        for topic in op.topics.iter().chain(&op.topic) {
            self.types.topics.insert(topic.clone(), types.clone());
        }
        if op.pattern.is_some() {
            self.types.patterned = Some(types.clone());
        }
        types
    }

    pub(super) fn stream(&mut self, op: &Op) -> Made {
        let (key, value) = self.declare(op);
        let first = op.topics.first().map_or("", String::as_str);
        let mut consumed = Consumed::with(topic(first, &key, &value));
        for more in op.topics.iter().skip(1) {
            consumed = consumed.and(more.clone());
        }
        let made = self.builder.stream(self.consumed(consumed, op));
        stream(named(made, op), &key, &value)
    }

    /// Extractor and reset of a source.
    pub(super) fn consumed(&self, consumed: Consumed<Val, Val>, op: &Op) -> Consumed<Val, Val> {
        let extractor = op.extractor.as_deref().or_else(|| self.config("default.timestamp.extractor")).unwrap_or("fail");
        let consumed = match extractor {
            "fail" => consumed.on_invalid_timestamp(InvalidTimestamp::Fail),
            "log_and_skip" => consumed.on_invalid_timestamp(InvalidTimestamp::Skip),
            "partition_time" => consumed.on_invalid_timestamp(InvalidTimestamp::UsePartitionTime),
            "value" => consumed.timestamps_from(|_, _, _, value| Timestamp::from_millis(num(value))),
            "value_or_partition_time" => {
                consumed.timestamps_from(
                    |_, partition_time, _, value| {
                        if value.is_null() { partition_time } else { Timestamp::from_millis(num(value)) }
                    },
                )
            }
            other => panic!("invalid scenario: unknown extractor {other}"),
        };
        let consumed = op.bad_time_to.iter().fold(consumed, |consumed, topic| consumed.bad_time_to(topic.clone()));
        let consumed = op.watermark.iter().map(options::watermark).fold(consumed, Consumed::watermark);
        match op.reset.as_deref() {
            None => consumed,
            Some("earliest") => consumed.reset(OffsetReset::Earliest),
            Some("latest") => consumed.reset(OffsetReset::Latest),
            Some("none") => consumed.reset(OffsetReset::None),
            Some(other) => panic!("invalid scenario: unknown reset {other}"),
        }
    }

    pub(super) fn filter_stream(&self, op: &Op, input: &Node) -> Made {
        let test = functions::predicate(op.function());
        let made = match op.op.as_str() {
            "filter" => input.stream().filter(move |k, v| test(k, v)),
            _ => input.stream().filter_not(move |k, v| test(k, v)),
        };
        stream(named(made, op), &input.key, &input.value)
    }

    pub(super) fn map(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let f = functions::pair_mapper(op.function(), &input.key, &input.value);
        let made = input.stream().try_map(move |k, v| (f.apply)(&k, &v));
        stream(named(made, op), &f.key, &f.value)
    }

    pub(super) fn map_values_of_stream(&self, op: &Op, input: &Node) -> Made {
        let f = functions::mapper(op.function(), &input.key, &input.value);
        let made = input.stream().try_map_values_with_key(move |k, v| (f.apply)(k, &v));
        stream(named(made, op), &input.key, &f.kind)
    }

    pub(super) fn flat_map(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let f = functions::flat_mapper(op.function(), &input.key, &input.value);
        let made = input.stream().try_flat_map(move |k, v| (f.apply)(&k, &v));
        stream(named(made, op), &f.key, &f.value)
    }

    pub(super) fn flat_map_values(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let f = functions::flat_values(op.function(), &input.value);
        let made = input.stream().try_flat_map_values_with_key(move |k, v| (f.apply)(k, &v));
        stream(named(made, op), &input.key, &f.kind)
    }

    pub(super) fn select_key(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let f = functions::mapper(op.function(), &input.key, &input.value);
        let made = input.stream().try_select_key(move |k, v| (f.apply)(k, v));
        stream(named(made, op), &f.kind, &input.value)
    }

    pub(super) fn watch(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let see = self.observer(op);
        if op.op == "peek" {
            let made = input.stream().peek(move |k, v| see(k, v));
            return stream(named(made, op), &input.key, &input.value);
        }
        let end = input.stream().for_each(move |k, v| see(k, &v));
        if let Some(name) = &op.name {
            end.named(name.clone());
        }
        Ok(None)
    }

    pub(super) fn split(&mut self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let mut split = input.stream().split();
        if let Some(name) = &op.name {
            split = split.named(name.clone());
        }
        for branch in &op.branches {
            let test = functions::predicate(&branch.function);
            let mut made = split.branch(move |k, v| test(k, v));
            if let Some(name) = &branch.name {
                made = made.named(name.clone());
            }
            self.nodes.insert(branch.id.clone(), Node::new(Handle::Stream(made), &input.key, &input.value));
        }
        if let Some(rest) = &op.rest {
            let mut made = split.rest();
            if let Some(name) = &rest.name {
                made = made.named(name.clone());
            }
            self.nodes.insert(rest.id.clone(), Node::new(Handle::Stream(made), &input.key, &input.value));
        }
        Ok(None)
    }

    pub(super) fn merge(&self, op: &Op) -> Made {
        let (left, right) = (self.input(op, 0), self.input(op, 1));
        let made = left.stream().merge(right.stream());
        stream(named(made, op), &left.key, &left.value)
    }

    pub(super) fn repartition(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let (key, value) = (ValSerde(input.key.clone()), ValSerde(input.value.clone()));
        let mut topic = match &op.name {
            Some(name) => Repartitioned::with(name.clone(), key, value),
            None => Repartitioned::unnamed(key, value),
        };
        if let Some(partitions) = op.partitions {
            topic = topic.partitions(partitions);
        }
        stream(input.stream().repartition(topic), &input.key, &input.value)
    }

    /// The serdes of the types are always known here, so nothing is there to inherit.
    pub(super) fn to(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let end = match (&op.topic, &op.topic_fn) {
            (Some(name), _) => input.stream().to(topic(name, &input.key, &input.value)),
            (None, Some(spec)) => {
                let choose = functions::topic_name(spec);
                input.stream().to_each(topic(spec, &input.key, &input.value), move |k, v, from| {
                    choose(k, v.unwrap_or(&Val::Null), Some(from.topic).filter(|topic| !topic.is_empty()))
                })
            }
            (None, None) => panic!("invalid scenario: a sink without a topic"),
        };
        if let Some(name) = &op.name {
            end.named(name.clone());
        }
        Ok(None)
    }

    pub(super) fn group_by_key(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let grouped = input.stream().group_by_key_with(grouped(op, &input.key, &input.value));
        Ok(Some(Node::new(Handle::Grouped(grouped), &input.key, &input.value)))
    }

    pub(super) fn group_by(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let f = functions::mapper(op.function(), &input.key, &input.value);
        let kind = f.kind.clone();
        let grouped = input.stream().try_group_by_with(grouped(op, &f.kind, &input.value), move |k, v| (f.apply)(k, v));
        Ok(Some(Node::new(Handle::Grouped(grouped), &kind, &input.value)))
    }

    pub(super) fn join_table(&self, op: &Op) -> Made {
        let (left, right) = (self.input(op, 0), self.input(op, 1));
        let f = functions::joiner(op.function(), &left.value, &right.value);
        let made = match right.table() {
            AnyTable::Plain(table) => looked_up(&left, table, &f, op)?,
            AnyTable::PlainCount(table) => looked_up(&left, table, &f, op)?,
            _ => panic!("invalid scenario: a stream meets a windowed table"),
        };
        stream(made, &left.key, &f.kind)
    }

    pub(super) fn add_store(&self, op: &Op) -> Made {
        let Some(StoreField::Name(name)) = &op.store else { panic!("invalid scenario: a store without a name") };
        match self.added(op, name)? {
            Added::KeyValue(store, _) => self.builder.add_store(store),
            Added::Window(store, _) => self.builder.add_store(store),
            Added::Session(store) => self.builder.add_store(store),
        }
        Ok(None)
    }

    pub(super) fn process(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let step = StepSpec::new(op.function());
        let kind = step.value_type(&input.value);
        let from = input.stream();
        let free = move |store| Free { step: step.start(store), timer: None };
        let made = match self.store_of(op)? {
            None => from.process((), move |()| free(None)),
            Some(Added::KeyValue(store, stamped)) => from.process(store, move |store| free(Some(AnyStore::KeyValue { store, stamped }))),
            Some(Added::Window(store, stamped)) => from.process(store, move |store| free(Some(AnyStore::Window { store, stamped }))),
            Some(Added::Session(store)) => from.process(store, move |store| free(Some(AnyStore::Session(store)))),
        };
        stream(named(made, op), &input.key, &kind)
    }

    pub(super) fn process_values(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let step = StepSpec::new(op.function());
        let kind = step.value_type(&input.value);
        let from = input.stream();
        let fixed = move |store| Fixed(step.start(store));
        let made = match self.store_of(op)? {
            None => from.process_values((), move |()| fixed(None)),
            Some(Added::KeyValue(store, stamped)) => {
                from.process_values(store, move |store| fixed(Some(AnyStore::KeyValue { store, stamped })))
            }
            Some(Added::Window(store, stamped)) => {
                from.process_values(store, move |store| fixed(Some(AnyStore::Window { store, stamped })))
            }
            Some(Added::Session(store)) => from.process_values(store, move |store| fixed(Some(AnyStore::Session(store)))),
        };
        stream(named(made, op), &input.key, &kind)
    }
}

fn looked_up<T: Cell>(left: &Node, table: &KTable<Val, T>, f: &functions::Joiner, op: &Op) -> Result<KStream<Val, Val>, Refused> {
    let mut joined = Joined::with(table, ValSerde(left.key.clone()), ValSerde(left.value.clone()));
    if let Some(name) = &op.name {
        joined = joined.named(name.clone());
    }
    if let Some(grace) = op.grace_ms {
        joined = joined.grace(span(grace)?);
    }
    let join = f.apply.clone();
    Ok(match op.kind.as_deref() {
        Some("left") => left.stream().try_left_join_table(joined, move |k, l, r| join(k, &l, &r.map_or(Val::Null, |r| r.val()))),
        _ => left.stream().try_join_table(joined, move |k, l, r| join(k, &l, &r.val())),
    })
}

fn named(stream: KStream<Val, Val>, op: &Op) -> KStream<Val, Val> {
    match &op.name {
        Some(name) => stream.named(name.clone()),
        None => stream,
    }
}

fn grouped(op: &Op, key: &Type, value: &Type) -> Grouped<Val, Val> {
    let (key, value) = (ValSerde(key.clone()), ValSerde(value.clone()));
    match &op.name {
        Some(name) => Grouped::with(name.clone(), key, value),
        None => Grouped::unnamed(key, value),
    }
}
