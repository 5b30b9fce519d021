//! Decisions that no shared case shows: clocks, problems all at once, old values, co-partitioning, texts and pictures.

use std::time::Duration;

use expect_test::expect;
use serde_json::{Value, json};

use crate::error::TopologyProblem;
use crate::state::{StoreKind, StoreSpec};
use crate::topology::built::Topology;
use crate::topology::draft::{Call, Draft, Op, ProcessStore, StoreDraft};
use crate::topology::node::Plan;
use crate::topology::replay::replay;
use crate::topology::tests::reader;
use crate::window::Watermark;

fn draft(topology: &Value) -> Draft {
    reader::draft(&json!({ "topology": topology })).expect("in scope")
}

fn plan(topology: &Value) -> Plan {
    replay(draft(topology)).expect("a sound topology")
}

fn problems(topology: &Value) -> Vec<String> {
    let Err(problems) = replay(draft(topology)) else { panic!("it was built") };
    problems.iter().map(ToString::to_string).collect()
}

/// Declares a watermark on the source of a topic.
fn bounded(mut draft: Draft, topic: &str) -> Draft {
    for call in &mut draft.calls {
        match &mut call.op {
            Op::Stream { topics, watermark, .. } if topics[0] == topic => *watermark = Some(Watermark::bounded(Duration::from_secs(5))),
            Op::Table { topic: read, watermark, .. } if read == topic => *watermark = Some(Watermark::bounded(Duration::from_secs(5))),
            _ => {}
        }
    }
    draft
}

/// Orders joined with a table, grouped anew and counted in windows.
fn enriched() -> Value {
    json!([
        { "op": "stream", "id": "orders", "topics": ["orders"] },
        { "op": "table", "id": "customers", "topic": "customers" },
        { "op": "join_table", "id": "joined", "in": ["orders", "customers"], "kind": "inner", "fn": "pair" },
        { "op": "group_by", "id": "grouped", "in": "joined", "fn": "value" },
        { "op": "windowed_by", "id": "windowed", "in": "grouped", "window": { "kind": "hopping", "size_ms": 60000, "advance_ms": 10000, "grace_ms": 5000 } },
        { "op": "count", "id": "counts", "in": "windowed", "store": { "name": "counts" } },
        { "op": "suppress", "id": "final", "in": "counts", "until": "window_closes", "name": "final" },
        { "op": "to_stream", "id": "out", "in": "final" },
        { "op": "to", "in": "out", "topic": "out" },
    ])
}

#[test]
fn a_shuffle_takes_the_watermark_along_and_a_table_does_not_count() {
    let plan = replay(bounded(draft(&enriched()), "orders")).expect("one kind of time");
    assert_eq!(plan.subtopologies.iter().map(|part| part.bounded).collect::<Vec<_>>(), [true, true]);
    let plan = replay(draft(&enriched())).expect("one kind of time");
    assert_eq!(plan.subtopologies.iter().map(|part| part.bounded).collect::<Vec<_>>(), [false, false]);
}

#[test]
fn two_kinds_of_time_are_a_problem_through_a_shuffle_too() {
    let topology = json!([
        { "op": "stream", "id": "a", "topics": ["a"] },
        { "op": "repartition", "id": "shuffled", "in": "a", "name": "by-x" },
        { "op": "stream", "id": "b", "topics": ["b"] },
        { "op": "merge", "id": "both", "in": ["shuffled", "b"] },
        { "op": "to", "in": "both", "topic": "out" },
    ]);
    let Err(found) = replay(bounded(draft(&topology), "a")) else { panic!("mixed, and built") };
    let mixed = TopologyProblem::MixedTime { subtopology: 1, with: String::from("by-x-repartition"), without: String::from("b") };
    assert_eq!(found, [mixed]);
    assert!(replay(bounded(bounded(draft(&topology), "a"), "b")).is_ok());
}

#[test]
fn a_shuffled_table_takes_no_part_in_the_clock() {
    let topology = json!([
        { "op": "table", "id": "t", "topic": "t" },
        { "op": "to_stream", "id": "rows", "in": "t", "fn": "value" },
        { "op": "to_table", "id": "other", "in": "rows", "store": { "name": "other" } },
        { "op": "stream", "id": "s", "topics": ["s"] },
        { "op": "join_table", "id": "joined", "in": ["s", "other"], "fn": "pair" },
        { "op": "to", "in": "joined", "topic": "out" },
    ]);
    let plan = replay(bounded(draft(&topology), "s")).expect("one stream, one kind of time");
    let of = |name: &str| plan.nodes.iter().find(|node| &*node.name == name).map(|node| node.subtopology).expect("it is there");
    assert!(!plan.subtopologies[of("KSTREAM-SOURCE-0000000001")].bounded, "the table's own part");
    assert!(plan.subtopologies[of("KSTREAM-SOURCE-0000000009")].bounded, "the part of the join");
}

#[test]
fn every_problem_is_told_at_once() {
    let found = problems(&json!([
        { "op": "stream", "id": "s", "topics": ["in"], "name": "a b" },
        { "op": "repartition", "id": "r", "in": "s", "partitions": 0, "name": "r" },
        { "op": "group_by_key", "id": "g", "in": "r" },
        { "op": "windowed_by", "id": "w", "in": "g", "window": { "kind": "hopping", "size_ms": 10, "advance_ms": 20 } },
        { "op": "count", "id": "c", "in": "w", "store": { "name": "st", "retention_ms": 1 } },
        { "op": "table", "id": "t", "topic": "in", "store": { "name": "st" } },
        { "op": "suppress", "id": "held", "in": "t", "until": "window_closes" },
        { "op": "process", "id": "p", "in": "s", "fn": "forward", "stores": ["nowhere"], "name": "p" },
    ]));
    expect![[r#"
        [
            "`a b` is not a legal name: use ASCII letters, digits, `.`, `_` and `-`, at most 249 of them",
            "`r`: 0 partitions: a topic has at least one",
            "`KSTREAM-AGGREGATE-0000000004`: the advance must be at least a millisecond and at most the size",
            "`KSTREAM-AGGREGATE-0000000004`: the store `st` keeps windows for 1 ms, but they take records for 10 ms (size and grace): keep them longer",
            "`KTABLE-SUPPRESS-0000000007`: waits for windows to close, but its table comes from no windowed aggregate: use a time limit",
            "the topic `in` is read by two sources: read it once and use the stream twice",
            "two stores are called `st`: give one of them another name",
            "`p` uses the store `nowhere`, which does not exist: add it, or correct the name",
        ]
    "#]]
    .assert_debug_eq(&found);
}

#[test]
fn a_topology_without_a_source_builds_as_in_kafka_streams() {
    let store = json!([{ "op": "add_store", "store": "st", "kind": "key_value", "supplier": { "kind": "in_memory" } }]);
    assert!(replay(Draft::default()).is_ok());
    assert!(replay(draft(&store)).is_ok());
}

#[test]
fn old_values_are_sent_where_a_buffer_or_a_filter_over_a_store_asks() {
    let plan = plan(&json!([
        { "op": "table", "id": "t", "topic": "t" },
        { "op": "map_values", "id": "m", "in": "t", "fn": "upper" },
        { "op": "filter", "id": "f", "in": "m", "fn": "all" },
        { "op": "suppress", "id": "s", "in": "f", "until": "time_limit", "wait_ms": 5 },
        { "op": "filter", "id": "kept", "in": "t", "fn": "all", "store": { "name": "kept" } },
        { "op": "table", "id": "u", "topic": "u" },
        { "op": "filter", "id": "plain", "in": "u", "fn": "all" },
    ]));
    let sends: Vec<bool> = plan.calls.iter().map(|call| call.sends_old).collect();
    assert_eq!(sends, [true, true, true, false, true, false, false]);
    let stores: Vec<bool> = plan.calls.iter().map(|call| call.store.is_some()).collect();
    assert_eq!(stores, [true, false, false, true, true, false, false], "the first table keeps rows for the buffer, the second none");
}

#[test]
fn a_join_reads_topics_of_equal_width() {
    let plan = plan(&enriched());
    assert_eq!(plan.subtopologies[0].copartitioned, [["customers", "orders"]]);
    assert!(plan.subtopologies[1].copartitioned.is_empty());
}

#[test]
fn a_processor_shares_the_store_of_an_operator_and_brings_its_own() {
    let counted = json!([
        { "op": "stream", "id": "s", "topics": ["in"] },
        { "op": "group_by_key", "id": "g", "in": "s" },
        { "op": "count", "id": "c", "in": "g", "store": { "name": "counts" } },
    ]);
    let mut spec = StoreSpec::new(StoreKind::KeyValue);
    spec.logging = false;
    let own = |name: &str| {
        ProcessStore::Own(StoreDraft { name: Some(name.to_owned()), spec: spec.clone(), open: reader::opened(), of: None, asked_for: true })
    };
    let mut draft = draft(&counted);
    // Before the operator that makes the store, so that its settings must win.
    draft.calls.insert(1, Call::new(Op::Process { stores: vec![own("counts"), own("mine")], fixed_key: true }, &[0]));
    draft.calls[3].inputs = vec![2];
    let plan = replay(draft).expect("shared, not doubled");
    let users = |store: &str| plan.stores[store].users.iter().map(|user| &*plan.nodes[*user].name).collect::<Vec<_>>();
    assert_eq!(users("counts"), ["KSTREAM-PROCESSVALUES-0000000001", "KSTREAM-AGGREGATE-0000000002"]);
    assert_eq!(plan.stores["counts"].changelog.as_deref(), Some("counts-changelog"));
    assert_eq!((users("mine").len(), plan.stores["mine"].changelog.as_deref()), (1, None));
}

#[test]
fn a_generated_name_is_refused_where_names_must_be_explicit() {
    let mut draft = draft(&json!([
        { "op": "stream", "id": "s", "topics": ["in"] },
        { "op": "group_by", "id": "g", "in": "s", "fn": "value" },
        { "op": "count", "id": "c", "in": "g" },
        { "op": "table", "id": "never-kept", "topic": "t" },
    ]));
    draft.settings.require_explicit_names = true;
    let Err(found) = replay(draft) else { panic!("generated names, and built") };
    let told: Vec<&str> = found
        .iter()
        .filter_map(|problem| if let TopologyProblem::GeneratedName { what, .. } = problem { Some(*what) } else { None })
        .collect();
    assert_eq!(told, ["changelog topic", "repartition topic"]);
}

#[test]
fn a_topology_explains_itself() {
    let topology = Topology::build(bounded(draft(&enriched()), "orders")).expect("sound");
    expect![[r#"
        Sub-topology 0, clock: bounded watermark
          reads orders
          reads customers
          needs equally many partitions of customers and orders
          `KTABLE-SOURCE-0000000003` keeps the store customers-STATE-STORE-0000000001, changelog customers-STATE-STORE-0000000001-changelog
          shuffles to counts-repartition: `KSTREAM-AGGREGATE-0000000006` groups by a key that `KSTREAM-KEY-SELECT-0000000005` changed
        Sub-topology 1, clock: bounded watermark
          reads the repartition topic counts-repartition
          `KSTREAM-AGGREGATE-0000000006`: windows of 1 min every 10 s; a window closes when time is 5 s past its end; speaks on every update
          `final` holds each window back until time is 5 s past its end
          `KSTREAM-AGGREGATE-0000000006` keeps the store counts, changelog counts-changelog
          `final` keeps the store final-store, changelog final-store-changelog
          writes out
    "#]]
    .assert_eq(&topology.explain());
    assert_eq!((topology.source_topics(), topology.sink_topics()), (vec!["customers".into(), "orders".into()], vec![String::from("out")]));
    assert_eq!(topology.repartition_topics(), ["counts-repartition"]);
    assert_eq!(topology.stores(), ["counts", "customers-STATE-STORE-0000000001", "final-store"]);
}

#[test]
fn pictures_show_nodes_topics_and_stores() {
    let topology = Topology::build(draft(&json!([
        { "op": "table", "id": "t", "topic": "in", "store": { "name": "rows" } },
        { "op": "to_stream", "id": "s", "in": "t" },
        { "op": "to", "in": "s", "topic_fn": "by \"key\"" },
    ])))
    .expect("sound");
    expect![[r#"
        digraph topology {
          rankdir=LR;
          node [fontname="sans-serif"];
          subgraph cluster_0 {
            label="sub-topology 0";
            n0 [label="KSTREAM-SOURCE-0000000000"];
            n1 [label="KTABLE-SOURCE-0000000001"];
            n2 [label="KTABLE-TOSTREAM-0000000002"];
            n3 [label="KSTREAM-SINK-0000000003"];
            "store rows" [shape=cylinder, label="rows"];
          }
          "topic by \"key\"" [shape=box, label="by \"key\""];
          "topic in" [shape=box, label="in"];
          n0 -> n1;
          "topic in" -> n0;
          n1 -> n2;
          n1 -> "store rows" [style=dashed, dir=both];
          n2 -> n3;
          n3 -> "topic by \"key\"";
        }
    "#]]
    .assert_eq(&topology.to_dot());
    expect![[r#"
        flowchart LR
          subgraph sub0 ["sub-topology 0"]
            n0["KSTREAM-SOURCE-0000000000"]
            n1["KTABLE-SOURCE-0000000001"]
            n2["KTABLE-TOSTREAM-0000000002"]
            n3["KSTREAM-SINK-0000000003"]
          end
          t0(["by #quot;key#quot;"])
          t1(["in"])
          s0[("rows")]
          t1 --> n0
          n0 --> n1
          n1 --> n2
          n1 <-.-> s0
          n2 --> n3
          n3 --> t0
    "#]]
    .assert_eq(&topology.to_mermaid());
}

#[test]
fn stores_of_one_node_are_flushed_in_the_order_of_javas_sets() {
    let add = |name: &str| json!({ "op": "add_store", "store": name, "kind": "key_value", "supplier": { "kind": "in_memory" } });
    let plan = plan(&json!([
        add("b"), add("a"), add("q"),
        { "op": "stream", "id": "s", "topics": ["in"] },
        { "op": "process", "id": "p", "in": "s", "fn": "forward", "stores": ["b", "a", "q"] },
    ]));
    let stores = |names: &[std::sync::Arc<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(stores(&plan.subtopologies[0].stores), ["a", "q", "b"]);
    assert_eq!(stores(&plan.nodes[1].stores), ["b", "a", "q"]);
}

#[test]
fn a_table_of_a_named_grouping_may_be_joined_before_the_grouping_is_used_again() {
    // Kafka Streams writes the grouping's topic after the join then, and misses the store. Here the store is connected later.
    let plan = plan(&json!([
        { "op": "stream", "id": "s", "topics": ["in"] },
        { "op": "group_by", "id": "g", "in": "s", "fn": "value", "name": "by-value" },
        { "op": "count", "id": "one", "in": "g", "store": { "name": "one" } },
        { "op": "stream", "id": "other", "topics": ["other"] },
        { "op": "join_table", "id": "joined", "in": ["other", "one"], "fn": "pair" },
        { "op": "count", "id": "two", "in": "g", "store": { "name": "two" } },
    ]));
    let join = plan.calls[4].result.expect("a join");
    assert_eq!(plan.nodes[join].stores.iter().map(|store| &**store).collect::<Vec<_>>(), ["one"]);
    assert_eq!(plan.subtopologies.len(), 2);
    assert_eq!(plan.subtopologies[1].copartitioned, [["by-value-repartition", "other"]]);
}

#[test]
fn one_name_with_two_types_is_a_problem() {
    let mut twice = draft(&json!([
        { "op": "stream", "id": "a", "topics": ["in"] },
        { "op": "stream", "id": "b", "topics": ["in"] },
    ]));
    twice.calls[0].types = Call::new(Op::Merge, &[]).typed::<String, i64>().types;
    twice.calls[1].types = Call::new(Op::Merge, &[]).typed::<String, bool>().types;
    let Err(found) = replay(twice) else { panic!("two types, and built") };
    let told = "`KSTREAM-SOURCE-0000000001`: the topic `in` is read twice, as (alloc::string::String, i64) and as (alloc::string::String, bool): \
                read it once and map the values";
    assert_eq!(found[0].to_string(), told);

    let mut counted = draft(&json!([
        { "op": "stream", "id": "s", "topics": ["in"] },
        { "op": "group_by_key", "id": "g", "in": "s" },
        { "op": "count", "id": "c", "in": "g", "store": { "name": "counts" } },
    ]));
    let own = |of| {
        let (name, spec) = (Some(String::from("counts")), StoreSpec::new(StoreKind::KeyValue));
        ProcessStore::Own(StoreDraft { name, spec, open: reader::opened(), of: Some(of), asked_for: true })
    };
    if let Op::Aggregate { store, .. } = &mut counted.calls[2].op {
        store.of = Some(std::any::TypeId::of::<i64>());
    }
    counted.calls.push(Call::new(Op::Process { stores: vec![own(std::any::TypeId::of::<bool>())], fixed_key: true }, &[0]));
    assert_eq!(replay(counted).err(), Some(vec![TopologyProblem::DuplicateStore(String::from("counts"))]));
}
