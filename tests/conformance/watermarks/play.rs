//! Plays a scenario and writes the answer down in the form of the stored ones.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater::{Error, Headers, RawOutput, Settings, StreamsBuilder, TaskId, Timestamp, TopologyTestDriver};
use serde_json::{Value as Json, json};

use super::super::reader::{Reader, Seen};
use super::super::settings::APPLICATION;
use super::super::value::hex;
use super::scenario::{Answer, Bounded, Config, Event};

/// Plays all events.
pub(super) fn play(scenario: &Bounded) -> Result<Answer, Error> {
    let for_reader = scenario.for_reader();
    let read = Reader::new(&for_reader, StreamsBuilder::new(), Seen::default()).read();
    let topology = read.unwrap_or_else(|refused| panic!("the topology does not build: {refused:?}")).topology;
    let mut builder = TopologyTestDriver::builder(&topology)
        .settings(settings(&scenario.config))
        .wall_clock(Timestamp::from_millis(scenario.wall_clock_ms));
    for (topic, partitions) in &scenario.partitions {
        builder = builder.partitions(topic.clone(), *partitions);
    }
    if scenario.config.commit.as_deref() == Some("manual") {
        builder = builder.manual_commits();
    }
    let mut play = Play { driver: builder.build()?, noted: BTreeMap::new(), answer: Answer::default() };
    for (step, event) in scenario.events.iter().enumerate() {
        play.event(event)?;
        play.note(step);
    }
    for windows in scenario.windows() {
        let late = play.driver.late_records_of(&windows);
        play.answer.late_records_total.insert(windows, late);
    }
    play.answer.bad_time_total = play.driver.bad_time_records();
    Ok(play.answer)
}

fn settings(config: &Config) -> Settings {
    let millis = |millis: Option<u64>| millis.map(Duration::from_millis);
    let mut settings = Settings::new(APPLICATION);
    settings.record_cache_bytes = config.cache.parse().expect("a number of bytes");
    settings.watermark_interval = millis(config.watermark_interval_ms).unwrap_or_default();
    settings.watermark_refresh = Duration::MAX;
    settings.close_when_idle = millis(config.close_when_idle_ms);
    settings.max_future_skew = millis(config.max_future_skew_ms).unwrap_or(settings.max_future_skew);
    settings.close_batch = config.close_batch.unwrap_or(settings.close_batch);
    settings
}

/// A scenario while it runs.
struct Play {
    driver: TopologyTestDriver,
    noted: BTreeMap<TaskId, Option<Timestamp>>,
    answer: Answer,
}

impl Play {
    fn event(&mut self, event: &Event) -> Result<(), Error> {
        let driver = &mut self.driver;
        let bytes = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
        match event {
            Event { pipe: Some(topic), .. } => {
                let (key, value) = (bytes(&event.k), bytes(&event.v));
                let at = Timestamp::from_millis(event.t);
                driver.pipe_bytes_to(event.p, topic, key.as_deref(), value.as_deref(), at, Headers::default())
            }
            Event { advance_wall_ms: Some(millis), .. } => driver.advance_wall_clock(Duration::from_millis(*millis)),
            Event { pause: Some((topic, partition)), .. } => driver.pause(topic, *partition),
            Event { resume: Some((topic, partition)), .. } => driver.resume(topic, *partition),
            Event { finish: true, .. } => driver.finish(),
            Event { commit: true, .. } => driver.commit(),
            Event { restart: true, .. } => driver.restart(),
            Event { crash_in_close: Some(commits), .. } => driver.crash_in_close(*commits),
            other => panic!("invalid scenario: nothing happens in {other:?}"),
        }
    }

    /// Writes down what the step left.
    fn note(&mut self, step: usize) {
        for task in self.driver.tasks() {
            let watermark = self.driver.watermark(task);
            if self.noted.get(&task).copied().flatten() != watermark {
                self.noted.insert(task, watermark);
                self.answer.watermarks.push(json!([step, task.to_string(), shown(watermark)]));
            }
        }
        for said in self.driver.take_announcements() {
            self.answer.announcements.push(json!([step, said.task.to_string(), shown(said.watermark), said.idle]));
        }
        for (topic, undone) in self.driver.take_withdrawn() {
            let rows = self.answer.topics.get_mut(&topic);
            rows.into_iter().for_each(|rows| rows.truncate(rows.len() - undone));
        }
        for topic in self.driver.produced_topics() {
            for record in self.driver.take_records(&topic) {
                self.record(step, &topic, record);
            }
        }
    }

    fn record(&mut self, step: usize, topic: &str, record: RawOutput) {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(hex);
        let (key, value, time) = (text(&record.key), text(&record.value), record.timestamp.map(Timestamp::as_millis));
        let task = record.task.to_string();
        let is_control = key.is_none() && value.is_none() && record.headers.last("__hw.wm").is_some();
        if topic.ends_with("-repartition") {
            if !is_control {
                self.answer.repartition.push(json!([step, record.partition, time, key, value, "", task]));
            }
        } else if !topic.ends_with("-changelog") {
            let headers: Vec<Json> = record.headers.iter().map(|(name, value)| json!([name, value.map(hex)])).collect();
            self.answer.topics.entry(topic.to_owned()).or_default().push(json!([step, time, key, value, headers, "", task]));
        }
    }
}

fn shown(w: Option<Timestamp>) -> Json {
    w.map_or(Json::Null, |w| if w == Timestamp::MAX { json!("end") } else { json!(w.as_millis()) })
}
