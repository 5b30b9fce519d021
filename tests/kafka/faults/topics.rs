//! Topics that are not as the topology needs them: inputs that were widened, internal topics that somebody else made.

use highwater::{ErrorKind, StreamsBuilder, Topology};

use super::stage::{PATIENCE, Stage, one_to, stops, taken};

fn copies(stage: &Stage) -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(stage.topic::<String, String>("in")).to(stage.topic::<String, String>("out"));
    builder.build().unwrap()
}

/// Counted by value, so that there is a repartition topic.
fn recount(stage: &Stage) -> Topology {
    let builder = StreamsBuilder::new();
    let counts = builder.stream(stage.topic::<String, String>("in")).group_by(|_, value| value.clone()).count("counts");
    counts.to_stream().map_values(Option::unwrap_or_default).to(stage.topic::<String, i64>("out"));
    builder.build().unwrap()
}

#[test]
fn partitions_added_to_an_input_with_state_are_refused_and_to_one_without_are_read() {
    let Some(stage) = Stage::new("widened") else { return };
    stage.make("in", 1, &[]);
    stage.make("out", 1, &[]);
    stage.write_keys("in", 0, "k", 4, 1);
    stage.run(&stage.count());
    let streams = stage.start(&stage.count());
    stage.admin().create_partitions(&stage.name("in"), 2).unwrap();
    stops(&streams, ErrorKind::InvalidConfig, &[&stage.name("in"), "has 2 partitions now, and had 1"]);
    drop(streams.stop(PATIENCE));
    let text = stage.refused(&stage.count());
    assert!(text.contains("has 1 partitions") && text.contains("needs 2"), "{text}");
    assert_eq!(stage.counts("out")["k0"], one_to(4));

    let Some(stage) = Stage::new("widened-stateless") else { return };
    stage.make("in", 1, &[]);
    stage.make("out", 1, &[]);
    stage.write_keys("in", 0, "a", 4, 1);
    let streams = stage.start(&copies(&stage));
    taken(&streams, 4);
    stage.admin().create_partitions(&stage.name("in"), 2).unwrap();
    stage.write_keys("in", 1, "b", 5, 1);
    stage.write_keys("in", 0, "a", 2, 1);
    taken(&streams, 6);
    streams.stop(PATIENCE).unwrap();
    stage.run(&copies(&stage));
    let of = |key: &[u8]| stage.read("out").iter().filter(|record| record.key.as_deref() == Some(key)).count();
    assert_eq!((of(b"a0"), of(b"b0")), (6, 5), "each record once");
}

#[test]
fn internal_topics_with_a_wrong_shape_are_refused_at_start() {
    let cases = [
        ("counts-repartition", 2, "delete", "has 2 partitions, this topology needs 1"),
        ("counts-repartition", 1, "compact", "`cleanup.policy` = `compact`, this topology needs `delete`"),
        ("counts-changelog", 3, "compact", "has 3 partitions, this topology needs 1"),
        ("counts-changelog", 1, "delete", "`cleanup.policy` = `delete`, this topology needs `compact`"),
    ];
    for (number, (topic, partitions, policy, words)) in cases.into_iter().enumerate() {
        let Some(stage) = Stage::new(&format!("misshapen-{number}")) else { return };
        stage.make("in", 1, &[]);
        stage.make("out", 1, &[]);
        stage.make(topic, partitions, &[("cleanup.policy", policy)]);
        let text = stage.refused(&recount(&stage));
        assert!(text.contains(words) && text.contains(&stage.name(topic)), "{text}");
    }
}

/// `highwater plan` on the cluster, for a job of that application.
#[cfg(feature = "cli")]
fn plan(stage: &Stage) -> std::process::Output {
    let job = stage.folder().join("job.yaml");
    std::fs::create_dir_all(stage.folder()).unwrap();
    let text = format!(
        "job: windowed-counts\napplication: {}\ninput:\n  topic: {}\n  format: json\n  event-time: {{field: at, format: epoch-ms}}\ngroup-by: page\n\
         window: {{tumbling: 1s}}\noutput: {{topic: {}}}\n",
        stage.application,
        stage.name("in"),
        stage.name("out")
    );
    std::fs::write(&job, text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.arg("plan").arg(&job).args(["--bootstrap", stage.bootstrap()]).output().unwrap()
}

#[cfg(feature = "cli")]
#[test]
fn the_plan_tells_of_internal_topics_with_a_wrong_shape() {
    let Some(stage) = Stage::new("misplanned") else { return };
    stage.make("in", 1, &[]);
    stage.make("out", 1, &[]);
    assert!(plan(&stage).status.success());
    stage.make("regrouped-repartition", 2, &[]);
    stage.make("counts-changelog", 1, &[("cleanup.policy", "delete")]);
    let told = plan(&stage);
    let text = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(1), "{text}");
    for words in ["regrouped-repartition` has 2 partitions, this topology needs 1", "counts-changelog` has `cleanup.policy` = `delete`"] {
        assert!(text.contains(words), "{text}");
    }
}
