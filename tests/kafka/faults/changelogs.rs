//! Changelogs: cut off, deleted, made again, while the application runs and while it does not.

use std::fs;

use highwater::{ErrorKind, LostChangelog, Streams};

use super::stage::{Stage, failure, finish, one_to, stops, taken, until};

const LOG: &str = "counts-changelog";

/// A compacted topic refuses to be cut off: whoever does it has to change its policy first.
fn cut(stage: &Stage, below: Option<i64>) {
    let (admin, log) = (stage.admin(), stage.name(LOG));
    admin.alter_topic(&log, &[("cleanup.policy", Some("delete"))]).unwrap();
    until("records can be deleted", || admin.delete_records(&[(stage.partition(LOG, 0), 0)]).is_ok());
    stage.truncate(LOG, 0, below);
    admin.alter_topic(&log, &[("cleanup.policy", Some("compact"))]).unwrap();
}

fn go_on(stage: &Stage, on_lost: LostChangelog) -> Streams {
    stage.write_keys("in", 0, "k", 2, 2);
    let mut settings = stage.settings();
    settings.on_lost_changelog = on_lost;
    stage.start_with(&stage.count(), settings)
}

/// It stops, says why, and has counted nothing.
fn is_refused(stage: &Stage, words: &str) {
    let streams = go_on(stage, LostChangelog::Fail);
    let found = stops(&streams, ErrorKind::InvalidConfig, &[words, &stage.name(LOG), "on_lost_changelog"]);
    assert_eq!((found.error.place().topic.as_deref(), found.error.place().partition), (Some(stage.name(LOG).as_str()), Some(0)));
    drop(streams.stop(super::stage::PATIENCE));
}

#[test]
fn cut_off_below_what_the_local_state_stands_for() {
    let Some(stage) = Stage::counted("log-cut-below") else { return };
    cut(&stage, Some(5));
    assert_eq!(finish(go_on(&stage, LostChangelog::Fail)), 0, "nothing is missing here");
    assert_eq!(stage.counts("out")["k0"], one_to(11));
}

#[test]
fn cut_off_without_local_state() {
    for below in [Some(5), None] {
        let Some(stage) = Stage::counted("log-cut-bare") else { return };
        cut(&stage, below);
        fs::remove_dir_all(stage.state()).unwrap();
        is_refused(&stage, "was cut off");
        assert_eq!(stage.counts("out")["k0"], one_to(10));
    }
}

#[test]
fn cut_off_beyond_what_the_local_state_stands_for() {
    let Some(stage) = Stage::counted("log-cut-beyond") else { return };
    let old = stage.folder().join("old");
    fs::rename(stage.state(), &old).unwrap();
    // Others have gone on meanwhile.
    stage.write_keys("in", 0, "k", 20, 2);
    stage.run(&stage.count());
    let end = stage.end(LOG, 0);
    cut(&stage, Some(end - 1));
    fs::remove_dir_all(stage.state()).unwrap();
    fs::rename(&old, stage.state()).unwrap();
    is_refused(&stage, "was cut off");
    assert_eq!(stage.counts("out")["k0"], one_to(20));
}

#[test]
fn deleted_while_the_application_is_stopped() {
    for bare in [false, true] {
        let Some(stage) = Stage::counted(if bare { "log-deleted-bare" } else { "log-deleted" }) else { return };
        stage.delete(LOG);
        if bare {
            fs::remove_dir_all(stage.state()).unwrap();
        }
        is_refused(&stage, "was deleted and made again since the last commit");
        assert_eq!(stage.counts("out")["k0"], one_to(10));
        let rebuilt = finish(go_on(&stage, LostChangelog::Rebuild));
        assert_eq!((rebuilt, &stage.counts("out")["k0"][10..]), (1, &[1, 2][..]), "as it was asked for");
        assert_eq!(finish(go_on(&stage, LostChangelog::Fail)), 0, "and settled from then on");
        assert_eq!(stage.counts("out")["k0"][10..], [1, 2, 3]);
    }
}

#[test]
fn deleted_while_the_application_runs() {
    for again in [false, true] {
        let Some(stage) = Stage::counted(if again { "log-remade-running" } else { "log-deleted-running" }) else { return };
        let streams = go_on(&stage, LostChangelog::Fail);
        taken(&streams, 2);
        until("committed", || stage.counts("out")["k0"].len() == 11);
        stage.delete(LOG);
        if again {
            stage.make(LOG, 1, &[("cleanup.policy", "compact")]);
        }
        stage.write_keys("in", 0, "k", 2, 2);
        let found = failure(&streams);
        assert!(found.error.to_string().contains(&stage.name(LOG)), "{}", found.error);
        assert_eq!(stage.counts("out")["k0"], one_to(11), "nothing is committed that is not in the changelog");
        drop(streams.stop(super::stage::PATIENCE));
        is_refused(&stage, "was deleted and made again since the last commit");
    }
}
