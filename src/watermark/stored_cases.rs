//! The stored answers of bounded mode, as far as they speak of time alone: watermarks and announcements of every task after every event.
//!
//! A case is played with the clocks of this room and, instead of state stores, the bare bounds of the open windows. Every commit goes through the metadata
//! codec and every announcement through its bytes, so a restart knows only what was written.

mod play;
mod rows;

use std::path::PathBuf;

use serde_json::Value;

use play::Play;

/// Why a case is left to the conformance runner, which has real rows.
fn left_out(scenario: &Value) -> Option<&'static str> {
    let ops = scenario["topology"].as_array().expect("a topology is a list");
    let events = scenario["events"].as_array().expect("events are a list");
    if events.iter().any(|event| event.get("crash_in_close").is_some()) {
        return Some("crash inside a close pass: counts results");
    }
    let stages = ops.iter().any(|op| op["op"] == "repartition");
    (stages && scenario["config"].get("close_when_idle_ms").is_some()).then_some("close_when_idle in a second stage: needs its rows")
}

fn cases() -> Option<Vec<Value>> {
    let local = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    let folder = std::env::var_os("HIGHWATER_SHARED").map_or_else(local, PathBuf::from).join("conformance/watermarks/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder).ok()?.map(|file| file.expect("a readable folder").path()).collect();
    files.sort();
    let text = |file: &PathBuf| std::fs::read_to_string(file).expect("a readable case file");
    let parsed = |line: &str| serde_json::from_str(line).expect("a case is JSON");
    Some(files.iter().flat_map(|file| text(file).lines().map(parsed).collect::<Vec<_>>()).collect())
}

#[test]
fn clocks_give_the_stored_answers() {
    let Some(cases) = cases() else {
        eprintln!("SKIPPED: no stored watermark cases; set HIGHWATER_SHARED to the folder that has conformance/watermarks");
        return;
    };
    let (mut skipped, mut wrong, mut announcements) = (0, Vec::new(), 0);
    for case in &cases {
        let (scenario, answer) = (&case["scenario"], &case["answer"]);
        if let Some(reason) = left_out(scenario) {
            eprintln!("left out: {} ({reason})", scenario["id"]);
            skipped += 1;
            continue;
        }
        let played = Play::of(scenario);
        announcements += played.announcements.len();
        for (what, played) in [("watermarks", played.watermarks), ("announcements", played.announcements)] {
            let stored = answer[what].as_array().expect("an answer has both lists");
            if let Some(at) = (0..stored.len().max(played.len())).find(|at| stored.get(*at) != played.get(*at)) {
                wrong.push(format!("{} {what} {at}: stored {:?}, here {:?}", scenario["id"], stored.get(at), played.get(at)));
            }
        }
    }
    eprintln!("{} cases, {skipped} left out, {announcements} announcements", cases.len());
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
    assert!(skipped * 5 < cases.len(), "most cases must be played");
}
