//! The port for topics and groups on a cluster.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic as NativeNewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::config::{KafkaConfig, SignIn};
use super::context::{Context, ReaderContext};
use super::error::{code_of, failed, said};
use super::native::{self, Native, OffsetSpec, Reader};
use super::{ANSWER_WITHIN, QUIET_CONNECTIONS_END, end_beside, metadata, offsets};
use crate::clock::let_others_go_on;
use crate::kafka::{
    Admin, GroupDescription, GroupState, Isolation, LogError, MemberDescription, NewTopic, Position, TopicDescription, TopicIdentity,
    task_topic,
};
use crate::record::{Timestamp, TopicPartition};

/// Looks for a change to be everywhere, and the time between two of them.
const LOOKS: u32 = 200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// Between the first two.
const AT_FIRST: Duration = Duration::from_millis(5);

/// An administrator of a cluster.
pub(super) struct KafkaAdmin {
    config: KafkaConfig,
    client: Arc<AdminClient<Context>>,
    sign_in: SignIn,
}

impl KafkaAdmin {
    pub(super) fn open(config: &KafkaConfig) -> Result<Self, LogError> {
        let role = [("allow.auto.create.topics", "false"), QUIET_CONNECTIONS_END];
        let client: AdminClient<Context> = config
            .client("admin", &role)?
            .create_with_context(Context::of_admin())
            .map_err(|error| failed("the administrator cannot be opened", &error))?;
        let sign_in = SignIn::first(config, client.inner())?;
        let client = Arc::new(client);
        sign_in.enlist(Arc::<AdminClient<Context>>::downgrade(&client));
        Ok(KafkaAdmin { config: config.clone(), client, sign_in })
    }

    /// The client, signed in.
    fn client(&self) -> &Arc<AdminClient<Context>> {
        self.sign_in.renew(self.client.inner());
        native::outbound_hear(self.client.inner());
        &self.client
    }

    fn native(&self) -> Native {
        Native::of_admin(self.client())
    }

    /// A client that has the group as its own, without joining it. A client without a group does not survive the answer of a broker that does
    /// not look after this one: librdkafka 2.12 passes it on to the group of the client, which is a null pointer then, and the process ends.
    fn asker(&self, group: &str) -> Result<Arc<Reader>, LogError> {
        let role = [("group.id", group), ("enable.auto.commit", "false"), ("allow.auto.create.topics", "false")];
        let client = self.config.client("admin", &role)?.create_with_context(ReaderContext::default());
        let client: Reader = client.map_err(|error| failed("the administrator cannot be opened", &error))?;
        SignIn::first(&self.config, client.client())?;
        Ok(Arc::new(client))
    }

    /// The settings of a topic.
    pub(super) fn topic_config(&self, topic: &str) -> Result<BTreeMap<String, String>, LogError> {
        let answers = waited("settings of a topic", self.client().describe_configs(&[ResourceSpecifier::Topic(topic)], &options()))?;
        let mut config = BTreeMap::new();
        for answer in answers {
            let resource = answer.map_err(|code| about_topic(topic, code))?;
            config.extend(resource.entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default())));
        }
        Ok(config)
    }

    fn create(&self, topic: &NewTopic, options: &AdminOptions) -> Result<(), LogError> {
        if topic.partitions < 1 {
            return Err(LogError::InvalidPartitions { topic: topic.name.clone(), partitions: topic.partitions });
        }
        let mut new = NativeNewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1));
        new = topic.config.iter().fold(new, |new, (key, value)| new.set(key, value));
        match self.client_says(block_on(self.client().create_topics([&new], options))) {
            Ok(()) => Ok(()),
            Err(RDKafkaErrorCode::TopicAlreadyExists) => Err(LogError::TopicExists(topic.name.clone())),
            Err(RDKafkaErrorCode::InvalidTopic | RDKafkaErrorCode::InvalidArgument) => Err(LogError::IllegalName(topic.name.clone())),
            Err(code) => Err(about_topic(&topic.name, code)),
        }
    }

    /// Whether a new topic is known and its partitions are there: a broker tells of a topic before it can be read.
    fn is_everywhere(&self, topic: &NewTopic) -> bool {
        let ends = |number| (TopicPartition::new(topic.name.as_str(), number), OffsetSpec::End);
        let ends: Vec<_> = (0..topic.partitions).map(ends).collect();
        self.is_known(&topic.name) && self.offsets(&ends).is_ok()
    }

    /// Whether it can be described.
    fn is_known(&self, topic: &str) -> bool {
        self.partition_count(topic).is_ok() && self.topic_config(topic).is_ok()
    }

    /// Which setting of a topic that was refused for its settings is to blame.
    fn blamed(&self, topic: &NewTopic, otherwise: LogError) -> LogError {
        let trial = options().validate_only(true);
        let single = |(key, value): (&String, &String)| NewTopic::new(&topic.name, topic.partitions).with(key, value);
        let guilty = topic.config.iter().find(|entry| self.create(&single(*entry), &trial).is_err());
        guilty.map_or(otherwise, |(key, value)| invalid(&topic.name, key, value))
    }

    fn client_says(&self, answer: KafkaResult<Vec<Result<String, (String, RDKafkaErrorCode)>>>) -> Result<(), RDKafkaErrorCode> {
        match answer {
            Ok(results) => results.into_iter().find_map(Result::err).map_or(Ok(()), |(_, code)| Err(code)),
            // What the client does not even ask: an empty name, say.
            Err(error) => Err(code_of(&error).unwrap_or(RDKafkaErrorCode::InvalidArgument)),
        }
    }

    fn partition_count(&self, topic: &str) -> Result<i32, LogError> {
        metadata::partition_count(self.client().inner(), topic)
    }

    fn shape(&self, topic: &str) -> Result<metadata::Shape, LogError> {
        metadata::shape(self.client().inner(), topic)
    }

    fn offsets(&self, wanted: &[(TopicPartition, OffsetSpec)]) -> Result<Vec<offsets::Found>, LogError> {
        offsets::ask(&self.native(), wanted, Isolation::ReadUncommitted, &|topic| self.shape(topic))
    }

    fn explained(&self, partition: &TopicPartition, code: RDKafkaErrorCode) -> LogError {
        offsets::explained(partition, code, &|topic| self.partition_count(topic))
    }

    /// Why records could not be deleted.
    fn not_deleted(&self, partition: &TopicPartition, offset: i64, code: RDKafkaErrorCode) -> LogError {
        if code != RDKafkaErrorCode::OffsetOutOfRange {
            return self.explained(partition, code);
        }
        match self.offsets(&[(partition.clone(), OffsetSpec::Begin), (partition.clone(), OffsetSpec::End)]) {
            Ok(bounds) => LogError::OffsetOutOfRange { partition: partition.clone(), offset, begin: bounds[0].0, end: bounds[1].0 },
            Err(error) => error,
        }
    }

    fn delete_below(&self, partition: &TopicPartition, offset: i64) -> Result<i64, LogError> {
        offsets::has_leader(partition, &|topic| self.shape(topic))?;
        let mut list = TopicPartitionList::new();
        // A broker takes -1 for the end.
        let added = list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset.max(0)));
        added.map_err(|error| failed(&format!("`{partition}`"), &error))?;
        match block_on(self.client().delete_records(&list, &options())) {
            Ok(deleted) => match deleted.elements().first() {
                Some(element) => match (element.error(), element.offset()) {
                    (Err(KafkaError::OffsetFetch(code)), _) => Err(self.not_deleted(partition, offset, code)),
                    (Err(error), _) => Err(failed(&format!("`{partition}`"), &error)),
                    (Ok(()), Offset::Offset(begin)) => Ok(begin),
                    (Ok(()), _) => Ok(offset),
                },
                None => Ok(offset),
            },
            Err(error) => {
                let code = code_of(&error).unwrap_or(RDKafkaErrorCode::Fail);
                Err(self.not_deleted(partition, offset, code))
            }
        }
    }

    fn group_error(&self, group: &str, code: RDKafkaErrorCode) -> LogError {
        match code {
            RDKafkaErrorCode::NonEmptyGroup | RDKafkaErrorCode::GroupSubscribedToTopic => LogError::GroupNotEmpty(group.to_owned()),
            RDKafkaErrorCode::GroupIdNotFound => LogError::UnknownGroup(group.to_owned()),
            code => said(&format!("the group `{group}`"), code),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_WITHIN)).operation_timeout(Some(ANSWER_WITHIN))
}

fn waited<T>(what: &str, answer: impl Future<Output = KafkaResult<T>>) -> Result<T, LogError> {
    block_on(answer).map_err(|error| failed(what, &error))
}

fn about_topic(topic: &str, code: RDKafkaErrorCode) -> LogError {
    match code {
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => LogError::UnknownTopic(topic.into()),
        code => said(&format!("the topic `{topic}`"), code),
    }
}

fn invalid(topic: &str, key: &str, value: &str) -> LogError {
    let (topic, key, value) = (topic.to_owned(), key.to_owned(), value.to_owned());
    LogError::InvalidConfig { topic, key, value, reason: "the cluster refuses it" }
}

/// Asks the broker that looks after a group, which may be about to become another one: the first group of a new cluster waits for its topic, and
/// one whose broker went away for the next.
fn of_group<T>(ask: impl Fn() -> Result<T, RDKafkaErrorCode>) -> Result<T, RDKafkaErrorCode> {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    for _ in 1..LOOKS {
        match ask() {
            Err(NotCoordinator | CoordinatorLoadInProgress | CoordinatorNotAvailable) => let_others_go_on(BETWEEN_LOOKS),
            answer => return answer,
        }
    }
    ask()
}

/// Looks until a change is everywhere; what takes longer is met by whoever needs it.
fn settled(is_so: impl Fn() -> bool) {
    let mut wait = AT_FIRST;
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        let_others_go_on(wait);
        wait = (wait * 2).min(BETWEEN_LOOKS);
    }
}

impl Admin for KafkaAdmin {
    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        for topic in topics {
            match self.create(topic, &options()) {
                Ok(()) => settled(|| self.is_everywhere(topic)),
                Err(error @ LogError::Client { .. }) if !topic.config.is_empty() => return Err(self.blamed(topic, error)),
                Err(error @ LogError::TopicExists(_)) => {
                    // The cluster may have it from somebody else, a moment ago.
                    settled(|| self.is_known(&topic.name));
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<TopicDescription>, LogError> {
        let describe = |name: &&str| {
            let metadata::Shape { partitions, copies, .. } = self.shape(name)?;
            Ok(TopicDescription { name: (*name).to_owned(), partitions, replication: Some(copies), config: self.topic_config(name)? })
        };
        names.iter().map(describe).collect()
    }

    fn identify(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>, LogError> {
        native::identify(&self.native(), names, ANSWER_WITHIN).map_err(|code| said("the ids of topics", code))
    }

    fn list_topics(&self) -> Result<Vec<String>, LogError> {
        let client = self.client();
        let metadata = client.inner().fetch_metadata(None, ANSWER_WITHIN);
        let metadata = metadata.map_err(|error| metadata::unreachable("the list of topics", &error, client.inner()))?;
        let mut names: Vec<_> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn delete_topics(&self, names: &[&str]) -> Result<(), LogError> {
        for name in names {
            let deleted = self.client_says(block_on(self.client().delete_topics(&[name], &options())));
            deleted.map_err(|code| about_topic(name, code))?;
            settled(|| matches!(self.partition_count(name), Err(LogError::UnknownTopic(_))));
        }
        Ok(())
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<Vec<i64>, LogError> {
        before.iter().map(|(partition, offset)| self.delete_below(partition, *offset)).collect()
    }

    fn create_partitions(&self, topic: &str, total: i32) -> Result<(), LogError> {
        let refused = || LogError::InvalidPartitions { topic: topic.to_owned(), partitions: total };
        let count = usize::try_from(total).ok().filter(|count| *count > 0).ok_or_else(refused)?;
        match self.client_says(block_on(self.client().create_partitions([&NewPartitions::new(topic, count)], &options()))) {
            Ok(()) => {
                settled(|| self.partition_count(topic).is_ok_and(|count| count == total));
                Ok(())
            }
            Err(RDKafkaErrorCode::InvalidPartitions) => Err(refused()),
            Err(code) => Err(about_topic(topic, code)),
        }
    }

    fn alter_topic(&self, topic: &str, changes: &[(&str, Option<&str>)]) -> Result<(), LogError> {
        self.partition_count(topic)?;
        match native::alter_topic(&self.native(), topic, changes, ANSWER_WITHIN) {
            Ok(()) => Ok(()),
            Err((RDKafkaErrorCode::InvalidConfig | RDKafkaErrorCode::InvalidRequest, text)) => {
                let blamed = changes.iter().find(|(key, _)| text.contains(key)).or(changes.first());
                let (key, value) = blamed.copied().unwrap_or_default();
                Err(invalid(topic, key, value.unwrap_or_default()))
            }
            Err((code, _)) => Err(about_topic(topic, code)),
        }
    }

    fn latest_times(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<(i64, Timestamp)>>, LogError> {
        let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), OffsetSpec::MaxTimestamp)).collect();
        let found = self.offsets(&wanted)?;
        Ok(found.into_iter().map(|(offset, millis)| (offset >= 0).then(|| (offset, Timestamp::from_millis(millis)))).collect())
    }

    fn list_groups(&self) -> Result<Vec<String>, LogError> {
        let groups = self.client().inner().fetch_group_list(None, ANSWER_WITHIN).map_err(|error| failed("the list of groups", &error))?;
        let mut names: Vec<_> = groups.groups().iter().map(|group| group.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn describe_group(&self, group: &str) -> Result<GroupDescription, LogError> {
        let found =
            of_group(|| native::describe_group(&self.native(), group, ANSWER_WITHIN)).map_err(|code| self.group_error(group, code))?;
        let found = found.ok_or_else(|| LogError::UnknownGroup(group.to_owned()))?;
        let state = if found.members.is_empty() { GroupState::Empty } else { found.state };
        let mut members: Vec<_> = found
            .members
            .into_iter()
            .map(|member| MemberDescription {
                tasks: task_topic::tasks_of(group, &member.partitions),
                id: member.id,
                instance: member.instance,
                client: member.client,
                host: Some(member.host.trim_start_matches('/').to_owned()).filter(|host| !host.is_empty()),
            })
            .collect();
        members.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(GroupDescription { name: group.to_owned(), state, members, assignor: found.assignor })
    }

    fn group_positions(&self, group: &str) -> Result<Vec<(TopicPartition, Position)>, LogError> {
        let asker = self.asker(group)?;
        let found = of_group(|| native::group_positions(&Native::of_reader(&asker), group, ANSWER_WITHIN));
        end_beside(move || drop(asker));
        let positions = found.map_err(|code| self.group_error(group, code))?;
        let mut positions: Vec<_> = positions.into_iter().filter(|(partition, _)| !task_topic::is_of(group, &partition.topic)).collect();
        positions.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(positions)
    }

    /// As the broker says that answers; all of a cluster should say the same.
    fn positions_kept(&self) -> Result<Option<Duration>, LogError> {
        const KEY: &str = "offsets.retention.minutes";
        let broker = metadata::any_broker(self.client().inner())?;
        let what = "how long positions are kept";
        let answers = waited(what, self.client().describe_configs(&[ResourceSpecifier::Broker(broker)], &options()))?;
        let mut minutes = None;
        for answer in answers {
            let resource = answer.map_err(|code| said(what, code))?;
            let value = resource.get(KEY).and_then(|entry| entry.value.as_deref());
            minutes = minutes.or(value.and_then(|value| value.parse::<u64>().ok()));
        }
        Ok(minutes.map(|minutes| Duration::from_secs(60 * minutes)))
    }

    fn delete_positions(&self, group: &str, partitions: &[TopicPartition]) -> Result<(), LogError> {
        // A broker refuses it only for topics that members subscribe to.
        if !self.describe_group(group)?.members.is_empty() {
            return Err(LogError::GroupNotEmpty(group.to_owned()));
        }
        of_group(|| native::delete_positions(&self.native(), group, partitions, ANSWER_WITHIN))
            .map_err(|code| self.group_error(group, code))
    }

    fn delete_group(&self, group: &str) -> Result<(), LogError> {
        of_group(|| native::delete_group(&self.native(), group, ANSWER_WITHIN)).map_err(|code| self.group_error(group, code))
    }
}
