//! All in-scope cases of the shared conformance corpus: describe, topics, build errors.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::topology::built::Topology;
use crate::topology::internal_topic::{SubtopologyInfo, TopicConfig};
use crate::topology::tests::reader::{self, Skip};

/// Where the cases are: `HIGHWATER_SHARED`, or beside the package.
fn folder() -> Option<PathBuf> {
    let shared = std::env::var("HIGHWATER_SHARED").map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let cases = shared.join("conformance/cases");
    cases.is_dir().then_some(cases)
}

/// What a case came to.
enum Outcome {
    Equal,
    Refused,
    Skipped,
    Different(String),
}

fn config(config: &TopicConfig) -> Value {
    let mut shown = json!({ "config": config.config });
    if let Some(partitions) = config.partitions {
        shown["partitions"] = json!(partitions);
    }
    shown
}

fn topics(parts: &[SubtopologyInfo]) -> Value {
    let show = |topics: &std::collections::BTreeMap<String, TopicConfig>| {
        topics.iter().map(|(name, topic)| (name.clone(), config(topic))).collect::<Map<_, _>>()
    };
    let part = |part: &SubtopologyInfo| {
        json!({
            "source_topics": part.source_topics, "sink_topics": part.sink_topics,
            "repartition_topics": show(&part.repartition_topics), "changelog_topics": show(&part.changelog_topics),
        })
    };
    parts.iter().map(part).collect()
}

fn judge(case: &Value) -> Outcome {
    let answer = &case["answer"];
    let draft = match reader::draft(&case["scenario"]) {
        Ok(draft) => draft,
        Err(Skip) => return Outcome::Skipped,
    };
    let built = Topology::build(draft);
    let refused = answer["error"]["phase"] == "build";
    match built {
        Err(error) if !refused => Outcome::Different(format!("refused: {error}")),
        Err(_) => Outcome::Refused,
        Ok(_) if refused => Outcome::Different(format!("built, but Kafka Streams says {}", answer["error"]["chain"])),
        Ok(topology) => {
            let (described, wanted) = (topology.describe(), answer["describe"].as_str().unwrap_or_default());
            let parts = topics(&topology.subtopologies("app"));
            match () {
                _ if wanted.is_empty() => Outcome::Skipped,
                _ if described != wanted => Outcome::Different(format!("describe\n{described}\nbut wanted\n{wanted}")),
                // An answer that failed before it ran tells no topics.
                _ if !answer["subtopologies"].is_null() && parts != answer["subtopologies"] => {
                    Outcome::Different(format!("topics {parts}\nbut wanted {}", answer["subtopologies"]))
                }
                _ => Outcome::Equal,
            }
        }
    }
}

/// Topologies found by chance in which something matters that the shared cases leave open; the answers are Kafka Streams'.
#[test]
fn chance_finds_are_as_in_kafka_streams() {
    for line in include_str!("generated.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        match judge(&case) {
            Outcome::Equal => {}
            Outcome::Different(why) => panic!("{}, {}: {why}", case["scenario"]["id"], case["scenario"]["purpose"]),
            Outcome::Refused | Outcome::Skipped => panic!("{}: not compared", case["scenario"]["id"]),
        }
    }
}

#[test]
fn names_and_topics_are_those_of_kafka_streams() {
    let Some(folder) = folder() else {
        eprintln!("SKIPPED: no shared conformance cases beside the package; set HIGHWATER_SHARED");
        return;
    };
    let (mut equal, mut refused, mut skipped, mut different) = (0, 0, 0, Vec::new());
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "jsonl")) {
        for line in fs::read_to_string(file).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            match judge(&case) {
                Outcome::Equal => equal += 1,
                Outcome::Refused => refused += 1,
                Outcome::Skipped => skipped += 1,
                Outcome::Different(why) => different.push(format!("{}: {why}", case["scenario"]["id"])),
            }
        }
    }
    eprintln!("{equal} equal, {refused} refused as Kafka Streams does, {skipped} out of scope, {} different", different.len());
    assert!(different.is_empty(), "{} cases differ, the first ones:\n{}", different.len(), different[..different.len().min(8)].join("\n"));
    assert!(equal > 2000, "only {equal} cases were compared");
    assert!(refused > 30, "only {refused} faults were found");
}
