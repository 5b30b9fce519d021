//! `highwater status` beside a group that lives: who is in, from where, with which tasks, and how far behind; and a group that is empty or gone.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::Command;

use highwater::kafka::Connect as _;
use serde_json::Value;

use super::flow::{self, PARTITIONS};
use super::herd::{Herd, Way, broker};

/// What it prints, and how it ends.
fn status(herd: &Herd, arguments: &[&str]) -> (i32, String) {
    let Some(program) = option_env!("CARGO_BIN_EXE_highwater") else { panic!("this test needs the feature `cli`") };
    let common = ["status", "--bootstrap", &herd.model.bootstrap, "--application-id", &herd.model.application];
    let done = Command::new(program).args(common).args(arguments).output().unwrap();
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (done.status.code().unwrap(), text)
}

fn object(herd: &Herd) -> Value {
    let (code, text) = status(herd, &["--json"]);
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn tasks(object: &Value) -> usize {
    object["members"].as_array().unwrap().iter().map(|member| member["tasks"].as_array().unwrap().len()).sum()
}

fn shows_everything(way: Way) {
    let Some(broker) = broker() else { return };
    let mut herd = Herd::new(broker.bootstrap(), way);
    let (code, text) = status(&herd, &[]);
    assert!(code == 2 && text.contains("knows no application"), "{code} {text}");
    let feed = flow::feed(broker.bootstrap(), herd.model.input(), 100, (0..PARTITIONS).collect());
    let reading = flow::read(broker.bootstrap(), herd.model.output());
    herd.start("a", true);
    herd.settle(&["a"]);
    herd.start("b", true);
    // While tasks move it answers all the same.
    let states = RefCell::new(BTreeSet::new());
    herd.until("the other one has half of the tasks", || {
        states.borrow_mut().insert(object(&herd)["state"].as_str().unwrap().to_owned());
        herd.tasks("b").0.len() >= 3
    });
    herd.settle(&["a", "b"]);
    herd.until("the group is stable", || object(&herd)["state"] == "stable");
    feed.end();
    herd.until_all_is_committed();
    let (code, text) = status(&herd, &[]);
    eprintln!("{}, seen {:?}\n{text}", way.name(), states.borrow());
    assert_eq!(code, 0, "{text}");
    let found = object(&herd);
    assert_eq!(
        (found["members"].as_array().unwrap().len(), tasks(&found), found["inputs"].as_array().unwrap().len()),
        (2, 6, 6),
        "{found}"
    );
    for (member, name) in found["members"].as_array().unwrap().iter().zip(["a", "b"]) {
        assert!(member["client"].as_str().unwrap().starts_with(&herd.model.application), "{member}");
        assert!(member["host"] == "127.0.0.1" && member["instance"].as_str().is_some_and(|it| it.ends_with("-1")), "{name} {member}");
    }
    let lag = found["lag"].as_i64().unwrap();
    assert!((0..=i64::from(PARTITIONS)).contains(&lag), "all is read: {found}");
    herd.stop_all();
    reading.end();
    is_gone(&mut herd);
}

/// Nobody is in; then the group is deleted.
fn is_gone(herd: &mut Herd) {
    // Members with lasting names are counted in until their sessions are over.
    herd.until("the sessions are over", || object(herd)["state"] == "empty");
    let (code, text) = status(herd, &[]);
    assert!(code == 0 && text.starts_with("nobody runs it now\n"), "{text}");
    assert_eq!(object(herd)["inputs"].as_array().unwrap().len(), 6);
    herd.log().admin().unwrap().delete_group(&herd.model.application).unwrap();
    let (code, text) = status(herd, &[]);
    assert!(code == 2 && text.contains("knows no application"), "{code} {text}");
}

#[test]
fn status_shows_members_tasks_and_lag() {
    shows_everything(Way::ALL[0]);
}

#[test]
#[ignore = "a while: `make processes`"]
fn status_shows_a_group_run_by_the_broker() {
    shows_everything(Way::ALL[2]);
}
