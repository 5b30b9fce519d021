//! `highwater status`: who runs an application, and how far it is behind its inputs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Result;
use highwater::TopicPartition;
use highwater::kafka::{
    Connect, GroupDescription, GroupStanding, GroupState, Isolation, LogError, MemberDescription, Position, TopicStanding,
};
use serde_json::{Value, json};

use super::args::StatusArgs;
use super::cluster;
use super::failure::UsageError;
use super::look::{Sight, in_folder};
use super::topics::in_columns;

pub(crate) fn run(args: &StatusArgs) -> Result<()> {
    let found = match &args.data {
        Some(folder) => {
            let mut reader = in_folder(folder)?;
            let (groups, topics) = (reader.groups()?, reader.topics()?);
            of_folder(&args.application_id, &groups, &topics)
        }
        None => of_log(&*cluster::must(&args.cluster)?, &args.application_id),
    };
    let application = found.map_err(|error| told(error, args))?;
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", application.object())?,
        false => out.write_all(application.table().as_bytes())?,
    }
    Ok(())
}

fn told(error: LogError, args: &StatusArgs) -> anyhow::Error {
    let LogError::UnknownGroup(name) = error else { return error.into() };
    let place = match &args.data {
        Some(folder) => Sight::Folder(folder.clone()).name(),
        None => "the cluster".to_owned(),
    };
    UsageError(format!("{place} knows no application `{name}`: correct `--application-id`, or start it")).into()
}

/// How an application stands.
#[derive(Debug, PartialEq)]
struct Application {
    id: String,
    /// None where nobody but its own process knows them.
    group: Option<GroupDescription>,
    inputs: Vec<Input>,
}

/// One partition of an input.
#[derive(Debug, PartialEq)]
struct Input {
    partition: TopicPartition,
    committed: i64,
    /// None if there is no such partition any more.
    end: Option<i64>,
}

impl Input {
    /// Offsets between what is committed and the end: records, and the places of transaction markers.
    fn lag(&self) -> Option<i64> {
        self.end.map(|end| (end - self.committed).max(0))
    }
}

fn of_log(log: &dyn Connect, id: &str) -> Result<Application, LogError> {
    let admin = log.admin()?;
    let group = Some(admin.describe_group(id)?);
    let positions = match admin.group_positions(id) {
        Err(LogError::UnknownGroup(_)) => Vec::new(),
        positions => positions?,
    };
    let mut consumer = log.consumer(Isolation::ReadCommitted)?;
    let mut end = |partition: &TopicPartition| match consumer.end_offsets(std::slice::from_ref(partition), Isolation::ReadCommitted) {
        Ok(ends) => Ok(ends.first().copied()),
        Err(LogError::UnknownTopic(_) | LogError::UnknownPartition { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let input = |(partition, position): (TopicPartition, Position)| {
        let end = end(&partition)?;
        Ok(Input { partition, committed: position.offset, end })
    };
    let inputs = positions.into_iter().map(input).collect::<Result<_, LogError>>()?;
    Ok(Application { id: id.to_owned(), group, inputs })
}

fn of_folder(id: &str, groups: &[GroupStanding], topics: &[TopicStanding]) -> Result<Application, LogError> {
    let group = groups.iter().find(|group| group.name == id).ok_or_else(|| LogError::UnknownGroup(id.to_owned()))?;
    let end = |partition: &TopicPartition| {
        let topic = topics.iter().find(|topic| *topic.name == *partition.topic)?;
        Some(topic.partitions.get(usize::try_from(partition.partition).ok()?)?.stable_end)
    };
    let input = |(partition, position): &(TopicPartition, Position)| Input {
        partition: partition.clone(),
        committed: position.offset,
        end: end(partition),
    };
    Ok(Application { id: id.to_owned(), group: None, inputs: group.positions.iter().map(input).collect() })
}

impl Application {
    fn lag(&self) -> i64 {
        self.inputs.iter().filter_map(Input::lag).sum()
    }

    fn object(&self) -> Value {
        let member = |member: &MemberDescription| {
            let tasks: Vec<_> = member.tasks.iter().map(ToString::to_string).collect();
            json!({ "id": member.id, "client": member.client, "host": member.host, "instance": member.instance, "tasks": tasks })
        };
        let input = |input: &Input| {
            let TopicPartition { topic, partition } = &input.partition;
            json!({ "topic": topic, "partition": partition, "committed": input.committed, "end": input.end, "lag": input.lag() })
        };
        json!({
            "application": self.id,
            "state": self.group.as_ref().map(|group| word(group.state)),
            "members": self.group.as_ref().map(|group| group.members.iter().map(member).collect::<Vec<_>>()),
            "inputs": self.inputs.iter().map(input).collect::<Vec<_>>(),
            "lag": self.lag(),
        })
    }

    fn table(&self) -> String {
        let members = self.group.as_ref().map(members).unwrap_or_default();
        let inputs = match self.inputs.is_empty() {
            true => "nothing is committed yet\n".to_owned(),
            false => format!("{}lag: {} in all\n", inputs(&self.inputs), self.lag()),
        };
        format!("{members}{inputs}")
    }
}

fn word(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "empty",
        GroupState::Rebalancing => "rebalancing",
        _ => "stable",
    }
}

fn members(group: &GroupDescription) -> String {
    if group.members.is_empty() {
        return "nobody runs it now\n\n".to_owned();
    }
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![["MEMBER", "CLIENT", "HOST", "INSTANCE", "TASKS"].map(str::to_owned).to_vec()];
    for member in &group.members {
        let tasks: Vec<_> = member.tasks.iter().map(ToString::to_string).collect();
        let tasks = if tasks.is_empty() { "none".to_owned() } else { tasks.join(" ") };
        rows.push(vec![member.id.clone(), member.client.clone(), shown(&member.host), shown(&member.instance), tasks]);
    }
    let moving = match group.state {
        GroupState::Rebalancing => "tasks are being shared out: some may be nobody's for a moment\n",
        _ => "",
    };
    format!("{}{moving}\n", in_columns(&rows))
}

fn inputs(inputs: &[Input]) -> String {
    let shown = |number: Option<i64>| number.map_or_else(|| "gone".to_owned(), |number| number.to_string());
    let mut by_topic: BTreeMap<_, Vec<&Input>> = BTreeMap::new();
    inputs.iter().for_each(|input| by_topic.entry(&input.partition.topic).or_default().push(input));
    let mut rows = vec![["TOPIC", "PARTITION", "COMMITTED", "END", "LAG"].map(str::to_owned).to_vec()];
    for input in by_topic.into_values().flatten() {
        let numbers = [input.partition.partition.to_string(), input.committed.to_string(), shown(input.end), shown(input.lag())];
        rows.push([input.partition.topic.to_string()].into_iter().chain(numbers).collect());
    }
    in_columns(&rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use highwater::kafka::{MemoryLog, NewTopic, TaskInputs};
    use highwater::{SystemClock, TaskId};

    use super::*;

    #[test]
    fn it_shows_who_has_what_and_how_far_that_is_behind() {
        let log = MemoryLog::new(Arc::new(SystemClock));
        log.admin().unwrap().create_topics(&[NewTopic::new("orders", 2)]).unwrap();
        let partitions = [TopicPartition::new("orders", 0), TopicPartition::new("orders", 1)];
        let tasks: Vec<_> = partitions
            .iter()
            .map(|partition| TaskInputs {
                task: TaskId { subtopology: 0, partition: partition.partition },
                partitions: vec![partition.clone()],
            })
            .collect();
        assert!(matches!(of_log(&log, "app"), Err(LogError::UnknownGroup(_))));
        let mut member = log.member("app", "app-1", Isolation::ReadCommitted).unwrap();
        member.join(&tasks).unwrap();
        member.poll(Duration::ZERO).unwrap();
        member.next_event();
        let at = |offset| Position { offset, metadata: String::new() };
        member.commit(&member.token(), &[(partitions[0].clone(), at(0)), (partitions[1].clone(), at(0))]).unwrap();
        let mut found = of_log(&log, "app").unwrap();
        assert_eq!(found.group.as_ref().unwrap().members[0].tasks.len(), 2);
        found.inputs[0].end = Some(30);
        found.inputs[1].end = None;
        let expected = "\
MEMBER   CLIENT  HOST  INSTANCE  TASKS
app-1-1  app-1   -     -         0_0 0_1

TOPIC   PARTITION  COMMITTED  END   LAG
orders          0          0  30    30
orders          1          0  gone  gone
lag: 30 in all
";
        assert_eq!(found.table(), expected);
        assert_eq!(found.object()["members"][0]["tasks"][1], "0_1");
        assert_eq!((&found.object()["lag"], &found.object()["inputs"][1]["end"]), (&json!(30), &Value::Null));
        found.group.as_mut().unwrap().state = GroupState::Rebalancing;
        assert!(found.table().contains("\ntasks are being shared out"), "{}", found.table());
        assert_eq!(found.object()["state"], "rebalancing");
        member.leave();
        assert!(of_log(&log, "app").unwrap().table().starts_with("nobody runs it now\n"));
    }
}
