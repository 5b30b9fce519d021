//! Topics that are read: deleted, made again, cut off.

use highwater::kafka::{Isolation, MemberToken, Position};
use highwater::{ErrorKind, LostRecords, MissingPosition};

use super::stage::{Stage, failure, finish, one_to, stops, taken, until};

fn remake(stage: &Stage, records: usize) {
    stage.delete("in");
    stage.make("in", 1, &[]);
    stage.write_keys("in", 0, "k", records, 2);
}

#[test]
fn an_input_deleted_and_made_again_while_it_is_read() {
    for records in [5, 50] {
        let Some(stage) = Stage::counted("input-remade-running") else { return };
        let streams = stage.start(&stage.count());
        stage.write_keys("in", 0, "k", 2, 2);
        taken(&streams, 2);
        until("committed", || stage.counts("out")["k0"].len() == 11);
        remake(&stage, records);
        let found = failure(&streams);
        // Whichever is noticed first: the position, or that the topic is another one.
        let text = found.error.to_string();
        assert!(text.contains(&stage.name("in")) && text.contains("made again"), "{text}");
        drop(streams.stop(super::stage::PATIENCE));
        // A client that reads a topic does not see that it is another one, and goes on in the middle of it until somebody looks.
        let counted = stage.counts("out")["k0"].len() as i64;
        assert!(counted == 11 || (records == 50 && counted <= 11 + 14), "{counted} in {records}");
        let streams = stage.start(&stage.count());
        let text = failure(&streams).error.to_string();
        assert!(text.contains(&stage.name("in")) && (text.contains("made again") || text.contains("no committed position")), "{text}");
        drop(streams.stop(super::stage::PATIENCE));
    }
}

#[test]
fn an_input_deleted_and_made_again_while_it_is_not_read() {
    for records in [5, 50] {
        let Some(stage) = Stage::counted("input-remade") else { return };
        remake(&stage, records);
        let streams = stage.start(&stage.count());
        stops(&streams, ErrorKind::InvalidConfig, &[&stage.name("in"), "no committed position", "on_missing_position"]);
        drop(streams.stop(super::stage::PATIENCE));
        assert_eq!(stage.counts("out")["k0"], one_to(10));
        let mut settings = stage.settings();
        settings.on_missing_position = MissingPosition::Reset;
        finish(stage.start_with(&stage.count(), settings));
        assert_eq!(
            stage.counts("out")["k1"],
            one_to(10 + records as i64 / 2),
            "the state is kept, the new topic is read from its beginning"
        );
    }
}

/// An application that stood still while the first 20 + `deleted` records of its input were deleted; five are left.
fn overslept(name: &str, deleted: usize) -> Option<Stage> {
    let stage = Stage::counted(name)?;
    stage.write_keys("in", 0, "k", deleted + 5, 1);
    stage.truncate("in", 0, Some(20 + deleted as i64));
    Some(stage)
}

#[test]
fn records_deleted_before_they_were_read_stop_the_task_with_their_number() {
    let Some(stage) = overslept("overslept", 30) else { return };
    let streams = stage.start(&stage.count());
    let found = stops(&streams, ErrorKind::Log, &["30 records", "from offset 20 to 50", "on_lost_records"]);
    assert_eq!((found.error.place().topic.as_deref(), found.error.place().partition), (Some(stage.name("in").as_str()), Some(0)));
    drop(streams.stop(super::stage::PATIENCE));
    assert_eq!(stage.counts("out")["k0"], one_to(10), "nothing is committed");

    let mut settings = stage.settings();
    settings.on_lost_records = LostRecords::Skip;
    let streams = stage.start_with(&stage.count(), settings);
    taken(&streams, 5);
    assert_eq!(streams.progress().lost, 30);
    finish(streams);
    assert_eq!(stage.counts("out")["k0"], one_to(15), "with the state it had");
    assert_eq!(finish(stage.start(&stage.count())), 0, "and settled from then on");
}

#[test]
fn a_position_beyond_the_end_of_its_topic_stops_the_task() {
    let Some(stage) = Stage::counted("beyond") else { return };
    let mut tool = stage.log.member(&stage.application, "tool", Isolation::ReadCommitted).unwrap();
    let position = Position { offset: 70, metadata: String::new() };
    tool.commit(&MemberToken { member: "".into(), generation: -1 }, &[(stage.partition("in", 0), position)]).unwrap();
    let mut settings = stage.settings();
    settings.on_lost_records = LostRecords::Skip;
    let streams = stage.start_with(&stage.count(), settings);
    stops(&streams, ErrorKind::Log, &["the position 70", "is beyond its end, 20"]);
    drop(streams.stop(super::stage::PATIENCE));
    assert_eq!(stage.counts("out")["k0"], one_to(10));
}

#[test]
fn records_deleted_under_a_running_application_are_lost_only_if_it_had_not_read_them() {
    let Some(stage) = Stage::counted("truncated-running") else { return };
    let streams = stage.start(&stage.count());
    stage.write_keys("in", 0, "k", 10, 1);
    taken(&streams, 10);
    // What is not committed is read again where a transaction does not come to its end, and would be lost.
    until("committed", || stage.counts("out")["k0"].len() == 20);
    stage.truncate("in", 0, None);
    stage.write_keys("in", 0, "k", 5, 1);
    finish(streams);
    assert_eq!(stage.counts("out")["k0"], one_to(25));
}

#[test]
fn records_deleted_before_they_were_read_can_make_the_task_begin_anew() {
    let Some(stage) = overslept("begins-anew", 30) else { return };
    let mut settings = stage.settings();
    settings.on_lost_records = LostRecords::Rebuild;
    let streams = stage.start_with(&stage.count(), settings);
    taken(&streams, 5);
    assert_eq!(streams.progress().lost, 30);
    finish(streams);
    let counts = stage.counts("out");
    assert_eq!((&counts["k0"][10..], &counts["k1"]), (&[1, 2, 3, 4, 5][..], &one_to(10)), "those that are left, from the first one on");
    std::fs::remove_dir_all(stage.state()).unwrap();
    stage.write_keys("in", 0, "k", 2, 2);
    stage.run(&stage.count());
    let counts = stage.counts("out");
    assert_eq!((counts["k0"].last(), counts["k1"].last()), (Some(&6), Some(&1)), "the changelog has forgotten the others too");
}
