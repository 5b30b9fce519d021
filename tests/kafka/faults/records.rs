//! Records that cannot be handled: too large, too odd, or met by a function that panics.

use highwater::{ErrorKind, OnError, Settings, StreamsBuilder, Topology};

use super::stage::{PATIENCE, Stage, finish, one_to, stops, until};

/// Each record of `in` becomes one of `out` that is as long as its value says.
fn grows(stage: &Stage) -> Topology {
    let builder = StreamsBuilder::new();
    let stream = builder.stream(stage.topic::<String, String>("in"));
    stream.map_values(|value| "x".repeat(value.parse().unwrap())).to(stage.topic::<String, String>("out")).named("write");
    builder.build().unwrap()
}

/// How long the values of a topic are.
fn lengths(stage: &Stage, topic: &str) -> Vec<usize> {
    stage.read(topic).iter().map(|record| record.value.as_deref().map_or(0, <[u8]>::len)).collect()
}

#[test]
fn a_result_larger_than_its_topic_takes_stops_its_task_alone() {
    let Some(stage) = Stage::new("large-result") else { return };
    stage.make("in", 2, &[]);
    stage.make("out", 1, &[("max.message.bytes", "1000")]);
    stage.write("in", 0, &[("a", "10"), ("a", "20"), ("a", "2000"), ("a", "30")]);
    stage.write("in", 1, &[("b", "11"), ("b", "12")]);
    let streams = stage.start(&grows(&stage));
    let found = stops(&streams, ErrorKind::Log, &[&stage.name("out"), "2083 bytes", "takes 1000", "max.message.bytes"]);
    let place = found.error.place();
    assert_eq!((place.node.as_deref(), place.topic.as_deref()), (Some("write"), Some(stage.name("in").as_str())));
    assert_eq!((place.partition, place.offset), (Some(0), Some(2)));
    until("the other task goes on", || lengths(&stage, "out").ends_with(&[11, 12]));
    stage.write("in", 1, &[("b", "13")]);
    until("the other task goes on", || lengths(&stage, "out").ends_with(&[11, 12, 13]));
    drop(streams.stop(PATIENCE));
    assert!(streams.errors().len() == 1 && !lengths(&stage, "out").contains(&30), "it is not passed over");
}

fn with_policy(stage: &Stage, policy: OnError) -> Settings {
    let mut settings = stage.settings();
    settings.on_processing_error = policy;
    settings
}

#[test]
fn a_result_larger_than_its_topic_takes_is_skipped_or_set_aside_if_the_policy_says_so() {
    for dead in [false, true] {
        let Some(stage) = Stage::new("large-policy") else { return };
        stage.make("in", 1, &[]);
        stage.make("out", 1, &[("max.message.bytes", "1000")]);
        stage.make("dead", 1, &[]);
        stage.write("in", 0, &[("a", "10"), ("a", "2000"), ("a", "30")]);
        let policy = if dead { OnError::dead_letter(stage.name("dead")) } else { OnError::Skip };
        let streams = stage.start_with(&grows(&stage), with_policy(&stage, policy));
        until("all are taken", || streams.progress().records_in == 3 && streams.progress().dropped == 1);
        finish(streams);
        assert_eq!(lengths(&stage, "out"), [10, 30]);
        let letters = stage.read("dead");
        assert_eq!(
            letters.iter().map(|letter| letter.value.clone().unwrap()).collect::<Vec<_>>(),
            vec![b"2000".to_vec(); usize::from(dead)]
        );
        let why = |name| letters.first().map(|letter| String::from_utf8_lossy(letter.headers.last(name).unwrap()).into_owned());
        assert_eq!((why("__hw.dlq.node"), why("__hw.dlq.offset")), (dead.then(|| "write".to_owned()), dead.then(|| "1".to_owned())));
    }
}

#[test]
fn a_dead_letter_larger_than_its_topic_takes_stops_the_task() {
    let Some(stage) = Stage::new("large-letter") else { return };
    stage.make("in", 1, &[]);
    stage.make("out", 1, &[("max.message.bytes", "1000")]);
    stage.make("dead", 1, &[("max.message.bytes", "200")]);
    stage.write("in", 0, &[("a", "10"), ("a", "2000"), ("a", "30")]);
    let streams = stage.start_with(&grows(&stage), with_policy(&stage, OnError::dead_letter(stage.name("dead"))));
    let found = stops(&streams, ErrorKind::Log, &[&stage.name("dead"), "takes 200", "max.message.bytes"]);
    assert_eq!((found.error.place().node.as_deref(), found.error.place().offset), (Some("write"), Some(1)));
    drop(streams.stop(PATIENCE));
    assert!(stage.read("dead").is_empty() && streams.errors().len() == 1);
}

#[test]
fn a_change_larger_than_the_changelog_takes_stops_its_task() {
    let Some(stage) = Stage::new("large-change") else { return };
    stage.make("in", 1, &[]);
    stage.make("out", 1, &[]);
    stage.make("longest-changelog", 1, &[("cleanup.policy", "compact"), ("max.message.bytes", "1000")]);
    stage.write("in", 0, &[("a", "10"), ("a", "2000")]);
    let builder = StreamsBuilder::new();
    let stream = builder.stream(stage.topic::<String, String>("in")).map_values(|value| "x".repeat(value.parse().unwrap()));
    let longest = stream.group_by_key().reduce("longest", |one, other| if one.len() > other.len() { one } else { other });
    longest.to_stream().map_values(Option::unwrap_or_default).to(stage.topic::<String, String>("out"));
    let streams = stage.start(&builder.build().unwrap());
    stops(&streams, ErrorKind::Log, &["longest", &stage.name("longest-changelog"), "takes 1000", "max.message.bytes"]);
    drop(streams.stop(PATIENCE));
    assert!(streams.errors().len() == 1 && !lengths(&stage, "out").contains(&2000), "a result without its change is not committed");
}

#[test]
fn a_panic_stops_its_task_alone() {
    let Some(stage) = Stage::new("panic") else { return };
    stage.make("in", 2, &[]);
    stage.make("out", 2, &[]);
    let builder = StreamsBuilder::new();
    let stream = builder.stream(stage.topic::<String, String>("in"));
    let looked = stream.peek(|_, value| assert_ne!(value, "bad", "the script asked for it")).named("look");
    looked.group_by_key().count("counts").to_stream().map_values(Option::unwrap_or_default).to(stage.topic::<String, i64>("out"));
    stage.write("in", 0, &[("a", "x"), ("a", "x"), ("a", "bad"), ("a", "x")]);
    stage.write_keys("in", 1, "b", 100, 1);
    let streams = stage.start(&builder.build().unwrap());
    let found = stops(&streams, ErrorKind::Panic, &["the script asked for it"]);
    let place = found.error.place();
    assert_eq!((place.node.as_deref(), place.topic.as_deref()), (Some("look"), Some(stage.name("in").as_str())));
    assert_eq!((place.partition, place.offset), (Some(0), Some(2)));
    let of_b = || stage.counts("out").remove("b0").unwrap_or_default().len();
    until("the other task goes on", || of_b() == 100);
    stage.write_keys("in", 1, "b", 100, 1);
    until("the other task goes on", || of_b() == 200);
    streams.stop(PATIENCE).unwrap();
    assert_eq!(stage.counts("out")["b0"], one_to(200));
    let of_a = stage.counts("out").remove("a").unwrap_or_default();
    assert!(of_a == one_to(of_a.len() as i64) && of_a.len() <= 2 && streams.errors().len() == 1, "{of_a:?}");
}
