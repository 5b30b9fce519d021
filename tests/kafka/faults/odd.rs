//! What other engines have stumbled over: records that do not decode, without keys, without values, of no sensible time; and folders that are
//! shared.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use highwater::{Consumed, ErrorKind, Launch, OnError, State, StreamsBuilder, Timestamp, Topology, Watermark};

use super::stage::{PATIENCE, Stage, declare_end, finish, one_to, stops, until};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn numbers(stage: &Stage, policy: OnError) -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(Consumed::with(stage.topic::<String, i64>("in")).on_error(policy)).to(stage.topic::<String, i64>("out"));
    builder.build().unwrap()
}

#[test]
fn a_record_that_does_not_decode_neither_blocks_nor_loops() {
    let Some(stage) = Stage::new("poison") else { return };
    for topic in ["in", "out", "dead"] {
        stage.make(topic, 1, &[]);
    }
    let poison: &[u8] = &[7, 0, 0];
    let good = 5_i64.to_be_bytes();
    stage.write_raw("in", 0, &[(Some(b"a"), Some(&good), NOW), (Some(b"b"), Some(poison), NOW), (Some(b"c"), Some(&good), NOW)]);
    let streams = stage.start(&numbers(&stage, OnError::Fail));
    let found = stops(&streams, ErrorKind::Serde, &[]);
    assert_eq!(found.error.place().offset, Some(1));
    drop(streams.stop(PATIENCE));
    let before = stage.read("out").len();
    let streams = stage.start(&numbers(&stage, OnError::dead_letter(stage.name("dead"))));
    until("all are taken", || streams.progress().dropped == 1);
    finish(streams);
    let (out, dead) = (stage.read("out"), stage.read("dead"));
    assert_eq!(out.iter().map(|record| record.key.clone().unwrap()).collect::<Vec<_>>(), [b"a", b"c"], "{before} before");
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].key.as_deref(), dead[0].value.as_deref()), (Some(&b"b"[..]), Some(poison)));
}

#[test]
fn tombstones_go_through_tables_and_sinks() {
    let Some(stage) = Stage::new("tombstones") else { return };
    for topic in ["in", "out"] {
        stage.make(topic, 1, &[]);
    }
    let builder = StreamsBuilder::new();
    let table = builder.table(stage.topic::<String, String>("in")).filter(|_, value| value != "hidden");
    table.to_stream().to(stage.topic::<String, String>("out"));
    let at = |value: Option<&'static [u8]>| (Some(&b"k"[..]), value, NOW);
    stage.write_raw("in", 0, &[at(Some(b"x")), at(None), at(Some(b"y")), at(Some(b"hidden")), at(Some(b"y"))]);
    stage.run(&builder.build().unwrap());
    let values: Vec<_> = stage.read("out").into_iter().map(|record| record.value.map(|value| String::from_utf8(value).unwrap())).collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(values, [some("x"), None, some("y"), None, some("y")]);
}

#[test]
fn an_empty_topic_has_an_end() {
    let Some(stage) = Stage::new("empty") else { return };
    stage.make("in", 2, &[]);
    stage.make("out", 1, &[]);
    stage.run(&stage.count());
    assert!(stage.counts("out").is_empty());
    stage.write_keys("in", 1, "k", 3, 1);
    stage.run(&stage.count());
    assert_eq!(stage.counts("out")["k0"], one_to(3));
}

#[test]
fn times_of_1970_and_2200_and_records_without_a_key() {
    const FAR: Timestamp = Timestamp::from_millis(7_258_118_400_000); // 2200
    let Some(stage) = Stage::new("odd-times") else { return };
    let free = [("message.timestamp.after.max.ms", "9223372036854775807")];
    stage.make("in", 1, &free);
    stage.make("out", 1, &[]);
    let builder = StreamsBuilder::new();
    let source = Consumed::with(stage.topic::<Option<String>, String>("in"));
    let stream = builder.stream(source.watermark(Watermark::bounded(Duration::from_secs(1))).bad_time_to(stage.name("bad")));
    let counts = stream.filter_map_values(Some).group_by(|key, _| key.clone().unwrap_or_default()).count("counts");
    counts.to_stream().map_values(Option::unwrap_or_default).to(stage.topic::<String, i64>("out"));
    stage.make("bad", 1, &free);
    let at = |key: Option<&'static [u8]>, millis: i64| (key, Some(&b"x"[..]), Timestamp::from_millis(millis));
    let records = [at(Some(b"k"), 0), at(Some(b"k"), 1), at(Some(b"k"), FAR.as_millis()), at(None, 2), at(Some(b"k"), 3)];
    stage.write_raw("in", 0, &records);
    stage.run(&builder.build().unwrap());
    let counts = stage.counts("out");
    assert_eq!((&counts["k"], &counts[""]), (&one_to(3), &one_to(1)), "nothing of it is late for 2200");
    let times = |topic| stage.read(topic).iter().map(|record| record.timestamp.as_millis()).collect::<Vec<_>>();
    assert_eq!((times("bad").len(), times("out")), (1, vec![0, 1, 2, 3]));
}

#[test]
fn two_applications_share_a_state_folder() {
    let Some(stage) = Stage::new("shared-one") else { return };
    let Some(other) = Stage::new("shared-two") else { return };
    for stage in [&stage, &other] {
        stage.make("in", 1, &[]);
        stage.make("out", 1, &[]);
        stage.write_keys("in", 0, "k", 10, 1);
    }
    let mut settings = other.settings();
    settings.state_dir = Some(stage.folder().to_owned());
    let (one, two) = (stage.start(&stage.count()), other.start_with(&other.count(), settings));
    declare_end(&one);
    declare_end(&two);
    for (streams, stage) in [(one, &stage), (two, &other)] {
        assert_eq!(streams.wait(PATIENCE), State::Finished, "{:?}", streams.errors());
        assert_eq!(stage.counts("out")["k0"], one_to(10));
        streams.stop(PATIENCE).unwrap();
    }
}

/// This binary runs itself, and is killed.
#[test]
fn a_state_folder_that_another_process_uses_is_refused_until_that_is_gone() {
    const CHILD: &str = "HIGHWATER_FAULT_CHILD";
    let Some(mut stage) = Stage::new("in-use") else { return };
    if let Ok(application) = std::env::var(CHILD) {
        stage.become_application(&application);
        let _streams = stage.start(&stage.count());
        thread::sleep(Duration::from_secs(600));
        std::process::exit(1);
    }
    stage.make("in", 1, &[]);
    stage.make("out", 1, &[]);
    stage.write_keys("in", 0, "k", 10, 1);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "faults::odd::a_state_folder_that_another_process_uses_is_refused_until_that_is_gone"]);
    child.env(CHILD, &stage.application).env("KAFKA_BOOTSTRAP", stage.bootstrap());
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the other one has counted", || stage.counts("out").get("k0").is_some_and(|counts| counts.len() == 10));
    let said = Launch::new(&stage.count(), stage.settings(), stage.log.clone()).start().err().map(|error| error.to_string());
    let pid = child.id();
    child.kill().unwrap();
    child.wait().unwrap();
    let said = said.expect("it is refused");
    assert!(said.contains(&format!("process {pid}")) && said.contains(&stage.folder().display().to_string()), "{said}");
    stage.write_keys("in", 0, "k", 10, 1);
    assert_eq!(stage.run(&stage.count()), 0, "the folder is free, and nothing is rebuilt");
    assert_eq!(stage.counts("out")["k0"], one_to(20));
}
