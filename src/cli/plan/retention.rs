//! What a changelog of windows does not keep: it deletes by the wall clock, and a replay of history lies far behind that.

use std::fmt::Write as _;
use std::time::Duration;

use highwater::{PlannedTopic, TopicRole};

/// What to know before history is replayed, if a changelog of the job deletes by age.
pub(super) fn note(topics: &[PlannedTopic], bootstrap: &str) -> Option<String> {
    let deleting: Vec<_> = topics.iter().filter_map(|topic| Some((topic, kept(topic)?))).collect();
    let least = deleting.iter().map(|(_, kept)| *kept).min()?;
    let mut text = format!(
        "A changelog of windows deletes what is older than its `retention.ms` by the wall clock, here {least:?}. To replay history that is older, let it\n\
         reach back to the first record (-1: for ever) before the run; else the windows are kept by the local state alone:\n"
    );
    for (topic, _) in deleting {
        let name = &topic.wanted.name;
        write!(text, "\n  kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {name} --add-config retention.ms=-1")
            .expect("a text takes everything");
    }
    Some(text)
}

/// How long a changelog keeps a record, unless that is for ever.
fn kept(topic: &PlannedTopic) -> Option<Duration> {
    let config = topic.found.as_ref().map_or(&topic.wanted.config, |found| &found.config);
    let deletes = topic.role == TopicRole::Changelog && config.get("cleanup.policy")?.contains("delete");
    let kept = config.get("retention.ms")?.parse().ok()?;
    deletes.then(|| Duration::from_millis(kept))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use highwater::kafka::MemoryLog;
    use highwater::kafka::{Connect, NewTopic};
    use highwater::{Launch, Settings, SystemClock};

    use super::*;
    use crate::cli::job;
    use crate::topologies::ALL;

    #[test]
    fn a_changelog_of_windows_is_named_unless_it_keeps_everything() {
        let job = job::parse("job.yaml", ALL[0].example).unwrap().job;
        let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
        log.admin().unwrap().create_topics(&[NewTopic::new(job.input.topic.as_str(), 1)]).unwrap();
        let launch = Launch::new(&job.topology().unwrap(), Settings::new(job.application.clone()), log.clone());
        let said = note(&launch.planned_topics().unwrap(), "b:1").unwrap();
        let name = format!("{}-counts-changelog", job.application);
        assert!(said.contains(&format!("--bootstrap-server b:1 --alter --entity-type topics --entity-name {name} --add-config")), "{said}");
        let made = NewTopic::new(name, 1).with("cleanup.policy", "compact,delete").with("retention.ms", "-1");
        log.admin().unwrap().create_topics(&[made]).unwrap();
        assert_eq!(note(&launch.planned_topics().unwrap(), "b:1"), None);
    }
}
