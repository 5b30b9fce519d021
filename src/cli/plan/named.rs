//! The topics that a job file names, as they stand on the cluster: the input that must be there, and what the job writes.

use std::collections::BTreeMap;

use anyhow::Result;
use highwater::kafka::{Connect, NewTopic};

use crate::cli::job::{Create, JobFile};
use crate::cli::job_topics::{absent, named, wanted};
use crate::cli::topics::in_columns;

/// The topics of one job.
pub(super) struct NamedTopics {
    create: Create,
    topics: Vec<NamedTopic>,
}

struct NamedTopic {
    role: &'static str,
    /// As it is made where it is missing.
    wanted: NewTopic,
    /// Its partitions; none if it is not there.
    found: Option<i32>,
}

impl NamedTopics {
    /// Looks them up; `partitions` is what missing ones get.
    pub(super) fn of(log: &dyn Connect, file: &JobFile, partitions: i32) -> Result<Self> {
        let admin = log.admin()?;
        let existing = admin.list_topics()?;
        let names: Vec<&str> =
            named(&file.job).map(|(name, _)| name.as_str()).filter(|name| existing.iter().any(|it| it == name)).collect();
        let found = if names.is_empty() { Vec::new() } else { admin.describe_topics(&names)? };
        let found: BTreeMap<_, _> = found.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
        let of = |(name, role): (&String, _)| NamedTopic { role, wanted: wanted(name, partitions), found: found.get(name).copied() };
        Ok(NamedTopics { create: file.create, topics: named(&file.job).map(of).collect() })
    }

    fn missing(&self) -> impl Iterator<Item = &NamedTopic> {
        self.topics.iter().filter(|topic| topic.found.is_none())
    }

    /// Those that a run will make.
    pub(super) fn to_be_made(&self) -> Vec<NewTopic> {
        match self.create {
            Create::All => self.missing().map(|topic| topic.wanted.clone()).collect(),
            Create::Internal | Create::Never => Vec::new(),
        }
    }

    /// What is in the way of a run.
    pub(super) fn problem(&self) -> Option<String> {
        let missing: Vec<_> = self.missing().map(|topic| &topic.wanted.name).collect();
        (self.create != Create::All && !missing.is_empty()).then(|| absent(&missing))
    }

    pub(super) fn table(&self) -> String {
        let mut rows = vec![["TOPIC", "PARTITIONS", "FOR", "NOW", "SETTINGS"].map(str::to_owned).to_vec()];
        for NamedTopic { role, wanted, found } in &self.topics {
            let made = found.is_none() && self.create == Create::All;
            let now = match found {
                Some(_) => "there",
                None if made => "to be made",
                None => "missing",
            };
            let settings: Vec<_> = wanted.config.iter().filter(|_| made).map(|(key, value)| format!("{key}={value}")).collect();
            let partitions = found.or(made.then_some(wanted.partitions)).map_or_else(|| "-".to_owned(), |count| count.to_string());
            rows.push(vec![wanted.name.clone(), partitions, (*role).to_owned(), now.to_owned(), settings.join(" ")]);
        }
        in_columns(&rows)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use highwater::SystemClock;
    use highwater::kafka::MemoryLog;

    use super::*;
    use crate::cli::job;

    fn file(create: &str) -> JobFile {
        let text = format!(
            "job: windowed-counts\napplication: shop\ninput:\n  topic: clicks\n  format: json\n  event-time: {{field: at, format: epoch-ms}}\n\
             window: {{tumbling: 10ms}}\noutput: {{topic: counts}}\nlate: {{topic: late}}\ntopics: {{create: {create}}}\n"
        );
        job::parse("job.yaml", &text).unwrap()
    }

    #[test]
    fn what_is_missing_is_said_and_whether_it_will_be_made() {
        let log = MemoryLog::new(Arc::new(SystemClock));
        log.admin().unwrap().create_topics(&[NewTopic::new("late", 5)]).unwrap();
        let all = NamedTopics::of(&log, &file("all"), 3).unwrap();
        let expected = "\
TOPIC   PARTITIONS  FOR           NOW         SETTINGS
clicks           3  input         to be made  retention.ms=-1
counts           3  results       to be made  retention.ms=-1
late             5  late records  there
";
        assert_eq!(all.table(), expected);
        assert_eq!((all.to_be_made().len(), all.problem()), (2, None));
        let internal = NamedTopics::of(&log, &file("internal"), 3).unwrap();
        assert!(internal.table().contains("clicks           -  input         missing"), "{}", internal.table());
        assert!(internal.to_be_made().is_empty() && internal.problem().unwrap().contains("--topic counts "));
    }
}
