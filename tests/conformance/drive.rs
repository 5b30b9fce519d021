//! Plays one scenario: builds its topology, feeds a test driver, and writes down everything that can be seen from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater::{Error, Headers, RawOutput, StreamsBuilder, Timestamp, Topology, TopologyTestDriver};

use super::errors;
use super::format::{Event, InternalTopic, Phase, Read, Row, Scenario, Subtopology};
use super::outcome::Outcome;
use super::reader::{Reader, Seen, Types};
use super::settings::{self, APPLICATION};
use super::store_dump;
use super::value::{Type, bytes_of, hex, unhex};

/// `every_write`: changelogs are not deduplicated.
pub(crate) fn play(scenario: &Scenario, every_write: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let seen = Seen::default();
    let builder = StreamsBuilder::with_settings(settings::of_build(scenario));
    let built = match Reader::new(scenario, builder, seen.clone()).read() {
        Ok(built) => built,
        Err(refused) => {
            outcome.error = Some(refused.problem());
            return outcome;
        }
    };
    outcome.describe = Some(built.topology.describe());
    let settings = settings::of_run(scenario, every_write);
    let now = Timestamp::from_millis(scenario.wall_clock_ms);
    let driver = match TopologyTestDriver::with_settings(&built.topology, &settings, now) {
        Ok(driver) => driver,
        Err(error) => {
            outcome.error = Some(errors::of_run(Phase::Start, None, &error));
            return outcome;
        }
    };
    outcome.subtopologies = Some(subtopologies(&built.topology));
    let mut play = Play { scenario, types: built.types, driver, seen, outcome };
    play.events();
    play.outcome
}

/// A scenario while it runs.
struct Play<'s> {
    scenario: &'s Scenario,
    types: Types,
    driver: TopologyTestDriver,
    seen: Seen,
    outcome: Outcome,
}

impl Play<'_> {
    /// All events, then what is left behind. A failed step keeps its observations, but not its records.
    fn events(&mut self) {
        for (step, event) in (0..).zip(&self.scenario.events) {
            self.seen.lock().expect("nobody panics while writing down").step = step;
            if let Err(error) = self.event(step, event) {
                self.outcome.error = Some(errors::of_run(Phase::Event, Some(step), &error));
                break;
            }
            self.collect(step);
        }
        if self.outcome.error.is_none() {
            let names = self.driver.topology().stores();
            self.outcome.stores = Some(names.into_iter().map(|name| (name.clone(), self.content(&name))).collect());
        }
        self.outcome.dropped = Some(self.driver.dropped_records());
        self.outcome.observed = std::mem::take(&mut self.seen.lock().expect("nobody panics while writing down").rows);
    }

    fn event(&mut self, step: i64, event: &Event) -> Result<(), Error> {
        if let Some(topic) = &event.pipe {
            return self.pipe(topic, event);
        }
        if let Some(millis) = event.advance_wall_ms {
            return self.driver.advance_wall_clock(Duration::from_millis(u64::try_from(millis).expect("clocks do not go back")));
        }
        let store = event.read_store.clone().expect("an event pipes, advances or reads");
        let content = self.content(&store);
        self.outcome.reads.push(Read { step, store, content });
        Ok(())
    }

    fn pipe(&mut self, topic: &str, event: &Event) -> Result<(), Error> {
        let (key, value) = self.types.of(topic).cloned().unwrap_or((Type::Str, Type::Str));
        let bytes = |raw: &Option<String>, json, kind: Type| match raw {
            Some(raw) => Some(unhex(raw)),
            None => bytes_of(&kind.value_of_json(json)),
        };
        let (key, value) = (bytes(&event.k_hex, event.k.as_ref(), key), bytes(&event.v_hex, event.v.as_ref(), value));
        let mut headers = Headers::default();
        for (name, value) in &event.h {
            match value {
                Some(value) => headers.add(name.clone(), value.as_bytes()),
                None => headers.add_null(name.clone()),
            }
        }
        self.driver.pipe_bytes(topic, key.as_deref(), value.as_deref(), Timestamp::from_millis(event.t), headers)
    }

    /// Moves what the step produced into the outcome.
    fn collect(&mut self, step: i64) {
        for topic in self.driver.produced_topics() {
            let rows: Vec<_> = self.driver.take_records(&topic).into_iter().map(|record| row(step, record)).collect();
            self.outcome.topics.entry(topic).or_default().extend(rows);
        }
    }

    fn content(&self, store: &str) -> super::format::Content {
        store_dump::content(&self.driver, self.scenario, store)
    }
}

fn row(step: i64, record: RawOutput) -> Row {
    let of_trace = |name: &str| name == "__streams.errors.stacktrace";
    let headers = record.headers.iter().map(|(name, value)| {
        let value = if of_trace(name) { Some(b"stacktrace".as_slice()) } else { value };
        (name.to_owned(), value.map(hex))
    });
    Row {
        step,
        timestamp: record.timestamp.map(Timestamp::as_millis),
        key: record.key.as_deref().map(hex),
        value: record.value.as_deref().map(hex),
        headers: headers.collect(),
    }
}

fn subtopologies(topology: &Topology) -> Vec<Subtopology> {
    let internal = |topics: BTreeMap<String, highwater::TopicConfig>| {
        topics.into_iter().map(|(name, topic)| (name, InternalTopic { partitions: topic.partitions, config: topic.config })).collect()
    };
    let infos = topology.subtopologies(APPLICATION).into_iter();
    let parts = infos.map(|info| Subtopology {
        source_topics: info.source_topics,
        sink_topics: info.sink_topics,
        repartition_topics: internal(info.repartition_topics),
        changelog_topics: internal(info.changelog_topics),
    });
    parts.collect()
}
