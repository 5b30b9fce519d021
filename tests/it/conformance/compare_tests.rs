//! The comparison sees every difference and forgives what the rules forgive.

use super::compare::*;
use super::format::{Answer, Case, Phase};
use super::outcome::{Outcome, Problem};

fn case(answer: &str) -> Case {
    let line = format!(r#"{{"scenario":{{"id":"x","feature":"f","purpose":"p","topology":[],"events":[]}},"answer":{answer}}}"#);
    serde_json::from_str(&line).expect("a case")
}

fn outcome(answer: &str) -> Outcome {
    let Answer { describe, subtopologies, topics, stores, reads, observed, dropped, .. } = case(answer).answer;
    Outcome { describe, subtopologies, topics, stores, reads, observed, dropped, error: None }
}

fn places(expected: &str, got: &str, changelogs: Changelogs) -> Vec<String> {
    compare(&case(expected), &outcome(got), changelogs).into_iter().map(|difference| difference.place).collect()
}

#[test]
fn every_part_of_an_answer_is_compared() {
    let full = r#"{"id":"x","describe":"(topics: [a, b])\n","dropped":1,"subtopologies":[{"source_topics":["a"],"sink_topics":[],
        "repartition_topics":{},"changelog_topics":{}}],"topics":{"out":[[0,5,"61","62",[["h","31"]],""]]},
        "stores":{"s":{"kind":"key_value","rows":[["61","62","a = b"]]}},"observed":{"p":[[0,"a","b"]]},
        "reads":[{"step":0,"store":"s","content":{"kind":"key_value","rows":[]}}]}"#;
    assert_eq!(places(full, full, Changelogs::EveryWrite), [""; 0]);
    for (from, to, place) in [
        ("[a, b])", "[a, c])", "describe, line 1"),
        ("\"source_topics\":[\"a\"]", "\"source_topics\":[]", "subtopology 0"),
        ("0,5,", "1,5,", "topic out"),
        ("0,5,", "0,6,", "topic out"),
        ("\"62\",[[", "null,[[", "topic out"),
        ("\"31\"", "null", "topic out"),
        ("\"62\",\"a = b\"", "\"63\",\"a = b\"", "store s"),
        ("[[0,\"a\",\"b\"]]", "[[1,\"a\",\"b\"]]", "observed p, 0"),
        ("\"rows\":[]}}]", "\"rows\":[[\"61\",\"\"]]}}]", "read of s at step 0"),
        ("\"dropped\":1", "\"dropped\":2", "dropped"),
    ] {
        assert_eq!(places(full, &full.replacen(from, to, 1), Changelogs::EveryWrite), [place], "{from} -> {to}");
    }
    assert_eq!(places(full, &full.replace("[a, b]", "[b, a]"), Changelogs::EveryWrite), [""; 0]);
    assert_eq!(places(full, &full.replace("a = b", "other words"), Changelogs::EveryWrite), [""; 0]);
}

#[test]
fn changelogs_may_be_deduplicated_only_when_asked() {
    let sub = r#""subtopologies":[{"source_topics":[],"sink_topics":[],"repartition_topics":{},"changelog_topics":{"app-s-changelog":{"config":{}}}}]"#;
    let topic = |rows: &str| format!(r#"{{{sub},"topics":{{"app-s-changelog":[{rows}]}}}}"#);
    let (every, last) = (topic(r#"[0,1,"61","01",[],""],[0,2,"61","02",[],""]"#), topic(r#"[0,2,"61","02",[],""]"#));
    assert_eq!(places(&every, &last, Changelogs::EveryWrite), ["topic app-s-changelog"]);
    assert_eq!(places(&every, &last, Changelogs::LastPerStep), [""; 0]);
    let wrong = topic(r#"[0,1,"61","01",[],""]"#);
    assert_eq!(places(&every, &wrong, Changelogs::LastPerStep), ["topic app-s-changelog"]);
}

#[test]
fn errors_are_compared_by_place_and_kind() {
    let failing = |phase: &str| {
        case(&format!(
            r#"{{"error":{{"phase":"{phase}","step":2,"chain":[{{"class":"a.Wrapper","message":null}},{{"class":"a.IllegalStateException","message":"boom"}}]}}}}"#
        ))
    };
    let got = |phase, step, text: &str| Outcome {
        error: Some(Problem { phase, step, stands_for: &["IllegalStateException"], text: text.to_owned() }),
        ..Outcome::default()
    };
    let count = |case: &Case, got: &Outcome| compare(case, got, Changelogs::EveryWrite).len();
    assert_eq!(count(&failing("event"), &got(Phase::Event, Some(2), "in x: boom")), 0);
    assert_eq!(count(&failing("event"), &got(Phase::Event, Some(1), "boom")), 1);
    assert_eq!(count(&failing("event"), &got(Phase::Event, Some(2), "other")), 1);
    assert_eq!(count(&failing("event"), &Outcome::default()), 1);
    assert_eq!(count(&failing("start"), &got(Phase::Build, None, "boom")), 0, "earlier is accepted");
    assert_eq!(count(&failing("build"), &got(Phase::Start, None, "boom")), 1, "later is not");
    assert_eq!(count(&case("{}"), &got(Phase::Event, Some(0), "boom")), 1);
}

#[test]
fn a_dead_letter_keeps_its_own_message_only() {
    let expected = vec![
        ("__streams.errors.exception".to_owned(), Some("aa".to_owned())),
        ("__streams.errors.message".to_owned(), Some("626f6f6d".to_owned())),
        ("__streams.errors.offset".to_owned(), Some("30".to_owned())),
    ];
    let mut got = expected.clone();
    for (_, value) in &mut got {
        *value = Some("ff".to_owned());
    }
    forgive_texts(&expected, &mut got);
    let kept: Vec<_> = got.iter().map(|(_, value)| value.as_deref()).collect();
    assert_eq!(kept, [Some("aa"), Some("ff"), Some("ff")]);
}
