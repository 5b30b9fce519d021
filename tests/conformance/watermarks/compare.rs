//! Compares answers by the rules of section 8: records per topic and task in order, everything else exactly.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::scenario::Answer;

/// All differences; at most one per topic and task and per field.
pub(super) fn compare(expected: &Answer, got: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(lists("watermarks", &expected.watermarks, &got.watermarks));
    found.extend(lists("announcements", &expected.announcements, &got.announcements));
    let shuffled = |answer: &Answer| grouped(&answer.repartition, |row| format!("partition {}", row[1]), 5);
    found.extend(groups("repartition", &shuffled(expected), &shuffled(got)));
    for topic in expected.topics.keys().chain(got.topics.keys()).collect::<BTreeSet<_>>() {
        let by_task = |answer: &Answer| grouped(answer.topics.get(topic).map_or(&[], Vec::as_slice), |row| row[6].to_string(), 5);
        found.extend(groups(&format!("topic {topic}"), &by_task(expected), &by_task(got)));
    }
    if expected.late_records_total != got.late_records_total {
        found.push(format!("late_records_total: expected {:?}\n     got {:?}", expected.late_records_total, got.late_records_total));
    }
    if expected.bad_time_total != got.bad_time_total {
        found.push(format!("bad_time_total: expected {}\n     got {}", expected.bad_time_total, got.bad_time_total));
    }
    found
}

/// Rows by group, without the field that is for people.
fn grouped(rows: &[Json], group: impl Fn(&Json) -> String, readable: usize) -> BTreeMap<String, Vec<Json>> {
    let mut groups: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for row in rows {
        let mut fields = row.as_array().expect("a row is a list").clone();
        fields.remove(readable);
        groups.entry(group(row)).or_default().push(Json::Array(fields));
    }
    groups
}

fn groups(place: &str, expected: &BTreeMap<String, Vec<Json>>, got: &BTreeMap<String, Vec<Json>>) -> Vec<String> {
    let names: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    let rows = |groups: &BTreeMap<String, Vec<Json>>, name: &String| groups.get(name).cloned().unwrap_or_default();
    names.into_iter().filter_map(|name| lists(&format!("{place} {name}"), &rows(expected, name), &rows(got, name))).collect()
}

/// The first place at which two lists differ.
fn lists(place: &str, expected: &[Json], got: &[Json]) -> Option<String> {
    if expected == got {
        return None;
    }
    let at = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let show = |list: &[Json]| list.get(at).map_or("nothing more".to_owned(), Json::to_string);
    Some(format!("{place}, entry {at}: expected {}\n     got {}", show(expected), show(got)))
}
