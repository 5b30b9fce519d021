//! One stay in a group: a client of the library that subscribes to the task topics and reads nothing.
//!
//! The library heartbeats and joins rebalances on its own threads. An assignment is answered at once; a revocation is answered when all of it
//! is [released](Membership::release), and until then the client stays in the generation it is in. A lost assignment is never answered: the
//! client is given up, and whoever wants to come back opens another one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::farewell;
use super::positions::{self, Outcome};
use super::standing::Standing;
use super::tasks::Tasks;
use super::watcher::{News, Watcher, agree};
use crate::kafka::librdkafka::bell::Bell;
use crate::kafka::librdkafka::config::{KafkaConfig, SignIn};
use crate::kafka::librdkafka::deadline::Deadline;
use crate::kafka::librdkafka::error::{about_partition, failed, said};
use crate::kafka::librdkafka::{ANSWER_WITHIN, end_beside, native};
use crate::kafka::{Isolation, LogError, MemberOptions, Position};
use crate::record::{TaskId, TopicPartition};

/// Longest wait for the group to hear of somebody's leave.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a commit waits for the group to settle before its thread does something else.
const SETTLES_WITHIN: Duration = Duration::from_millis(200);
/// How often the broker of a group is asked before a member gives up that is about to come in.
const FIRST_ASKS: u32 = 3;
/// Between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(10);
/// How often the library is woken where the broker says how often members are heard of.
const WAKE: Duration = Duration::from_millis(250);

/// A client of a group, subscribed or not.
pub(super) struct Membership {
    /// Always there until it is dropped.
    client: Option<BaseConsumer<Watcher>>,
    /// Whether it leaves the group before it ends: one with a lasting name keeps its place.
    leaves: bool,
    sign_in: SignIn,
    bell: Arc<Bell>,
    group: String,
    /// What it joined with.
    tasks: Option<Tasks>,
    /// A commit that nobody has waited for to the end.
    unanswered: Option<native::Sent>,
    /// When the library is woken next, and how often.
    wake: Deadline,
    beat: Duration,
    pub(super) standing: Standing,
    /// By which the group knows it, once it does.
    known_as: Option<String>,
    /// Why it cannot go on.
    refused: Option<LogError>,
    /// Another client came under the same lasting name.
    usurped: bool,
    /// An earlier client is still counted in under it.
    name_held: bool,
    /// Those who are in share out their work in another way.
    shut_out: bool,
}

impl Membership {
    /// A client of a group that it can ask about positions, and join.
    pub(super) fn open(config: &KafkaConfig, options: &MemberOptions, bell: &Arc<Bell>) -> Result<Self, LogError> {
        let role = role(options, config.has_broker_sessions());
        let role: Vec<(&str, &str)> = role.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let client = config.client("member", &role)?.create_with_context(Watcher::default());
        let mut client: BaseConsumer<Watcher> = client.map_err(|error| failed("the member cannot be opened", &error))?;
        let sign_in = SignIn::first(config, client.client())?;
        let rung = bell.clone();
        client.set_nonempty_callback(move || rung.ring());
        Ok(Membership {
            client: Some(client),
            leaves: options.instance.is_none() && !config.has_broker_sessions(),
            sign_in,
            bell: bell.clone(),
            group: options.group.clone(),
            tasks: None,
            unanswered: None,
            wake: Deadline::after(Duration::ZERO),
            beat: if config.has_broker_sessions() { WAKE } else { heartbeat(options.session_timeout) },
            standing: Standing::default(),
            known_as: None,
            refused: None,
            usurped: false,
            name_held: false,
            shut_out: false,
        })
    }

    /// Asks the group for a place. What comes of it is news.
    pub(super) fn subscribe(&mut self, tasks: Tasks) -> Result<(), LogError> {
        let topics = tasks.topics();
        self.tasks = Some(tasks);
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        self.client().subscribe(&names).map_err(|error| failed(&format!("the group `{}`", self.group), &error))
    }

    /// The client, signed in.
    fn client(&self) -> &BaseConsumer<Watcher> {
        let client = self.client.as_ref().expect("there until it is dropped");
        self.sign_in.renew(client.client());
        client
    }

    /// Takes in what the library has to say.
    pub(super) fn serve(&mut self) -> Result<(), LogError> {
        if self.wake.rest().is_zero() {
            // It looks once a second whether a heartbeat is due, unless something is asked of it; and with heartbeats it learns that others wait for it.
            native::membership(self.client());
            self.wake = Deadline::after(self.beat);
        }
        loop {
            match self.client().poll(Duration::ZERO) {
                Some(Ok(_)) => tracing::warn!(group = self.group, "a record in the task topic: nobody should write there"),
                Some(Err(error)) => self.hear_error(&error),
                None if self.client().context().has_news() => {}
                None => break,
            }
            for news in self.client().context().take() {
                self.hear(news);
            }
        }
        if self.standing.is_held() && self.has_lost_its_name() {
            // The library does not say so while it waits for an answer.
            self.standing.lose();
        }
        self.refused.take().map_or(Ok(()), Err)
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Assigned(partitions) => {
                let tasks = self.tasks_of(&partitions);
                self.standing.assign(tasks);
                self.known_as = native::membership(self.client()).map(|(member, _)| member).filter(|member| !member.is_empty());
            }
            News::Requested(partitions) => {
                let tasks = self.tasks_of(&partitions);
                if self.standing.request(tasks) {
                    agree(self.client(), false);
                }
            }
            News::Lost => self.standing.lose(),
        }
    }

    fn tasks_of(&self, partitions: &[TopicPartition]) -> Vec<TaskId> {
        self.tasks.as_ref().map(|tasks| tasks.of(partitions)).unwrap_or_default()
    }

    fn hear_error(&mut self, error: &KafkaError) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let reason = fatal.then(|| self.client().client().fatal_error()).flatten().map_or(code, |(reason, _)| reason);
        self.shut_out |= code == RDKafkaErrorCode::InconsistentGroupProtocol;
        match reason {
            RDKafkaErrorCode::FencedInstanceId => {
                self.usurped = true;
                self.standing.lose();
            }
            RDKafkaErrorCode::UnreleasedInstanceId => self.name_held = true,
            RDKafkaErrorCode::PollExceeded => self.standing.lose(),
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::InconsistentGroupProtocol
            | RDKafkaErrorCode::UnsupportedVersion => self.refused = Some(said(&format!("the group `{}`", self.group), code)),
            _ if fatal => self.refused = Some(said(&format!("the group `{}`", self.group), code)),
            _ => tracing::debug!(group = self.group, %error, "membership"),
        }
    }

    /// Whether an earlier member is still counted in under its lasting name.
    pub(super) fn is_name_held(&self) -> bool {
        self.name_held
    }

    /// Whether another member has come under its lasting name.
    pub(super) fn is_usurped(&self) -> bool {
        self.usurped
    }

    /// Whether the group refused it because of how its members share out their work.
    pub(super) fn is_shut_out(&self) -> bool {
        self.shut_out
    }

    /// The member and the generation as the library has them; none while it is in no group.
    pub(super) fn place(&self) -> Option<(String, i32)> {
        let known_as = self.known_as.as_deref()?;
        native::membership(self.client()).filter(|(member, generation)| member == known_as && *generation >= 0)
    }

    fn has_lost_its_name(&self) -> bool {
        let now = native::membership(self.client());
        self.known_as.as_deref().zip(now).is_some_and(|(known_as, (member, generation))| member != known_as || generation < 0)
    }

    /// Gives tasks up; the library goes on with its rebalance when nothing more is held.
    pub(super) fn release(&mut self, tasks: &[TaskId]) {
        if self.standing.release(tasks) {
            agree(self.client(), false);
        }
    }

    /// Writes positions down as whoever the client is now. Between two generations a member waits a moment for the next one, and is to come again
    /// then: while the broker keeps the client's wish to be let in, it answers nothing else that comes on the same connection.
    pub(super) fn commit(&mut self, positions: &[(TopicPartition, Position)]) -> Result<Outcome, LogError> {
        let what = format!("a commit of the group `{}`", self.group);
        let list = positions::list_of(positions)?;
        let mut until = Deadline::after(SETTLES_WITHIN);
        let answers = self.hears_of_the_last_one(until.rest())?;
        loop {
            let sent = native::commit(self.client(), &list).map_err(|code| said(&what, code))?;
            let Some(answer) = sent.wait(if answers { ANSWER_WITHIN } else { until.rest() }) else {
                self.unanswered = Some(sent).filter(|_| !answers);
                let late = || said(&what, RDKafkaErrorCode::OperationTimedOut);
                return Err(if answers { late() } else { LogError::GroupUnsettled(self.group.clone()) });
            };
            let answer = Outcome::from(answer);
            if !matches!(answer, Outcome::Later) || self.known_as.is_none() {
                return Ok(answer);
            }
            self.serve()?;
            if self.standing.is_lost() {
                return Ok(Outcome::Refused);
            }
            if until.rest().is_zero() {
                return Err(LogError::GroupUnsettled(self.group.clone()));
            }
            self.bell.wait(BETWEEN_TRIES);
        }
    }

    /// Whether the broker is known to answer commits now. What it said to one that was given up does not matter: another follows.
    fn hears_of_the_last_one(&mut self, within: Duration) -> Result<bool, LogError> {
        let Some(sent) = self.unanswered.take() else { return Ok(self.known_as.is_none()) };
        if sent.wait(within).is_none() {
            self.unanswered = Some(sent);
            return Err(LogError::GroupUnsettled(self.group.clone()));
        }
        Ok(true)
    }

    /// The mark of what the group runs.
    pub(super) fn mark(&self, tasks: &Tasks) -> Result<Option<String>, LogError> {
        // The first group of a cluster waits for its topic, and that for the cluster.
        for _ in 0..FIRST_ASKS {
            if let Some(found) = self.committed(&[tasks.mark_place()], ANSWER_WITHIN)? {
                return Ok(found.into_iter().next().flatten().map(|position| position.metadata));
            }
        }
        Err(said(&format!("the group `{}`", self.group), RDKafkaErrorCode::OperationTimedOut))
    }

    /// Writes the mark; false if the group is not empty, and this is none of its members.
    pub(super) fn write_mark(&mut self, tasks: &Tasks) -> Result<bool, LogError> {
        let place = tasks.mark_place();
        match self.commit(&[(place.clone(), Position { offset: 0, metadata: tasks.mark.clone() })])? {
            Outcome::Done => Ok(true),
            Outcome::Refused | Outcome::Later => Ok(false),
            Outcome::Failed(code, _) => Err(about_partition(&place, code)),
        }
    }

    /// Whether the group runs what it has joined with; none if it did not answer. A group that has forgotten is told.
    pub(super) fn agrees(&mut self, within: Duration) -> Result<Option<bool>, LogError> {
        let Some(tasks) = self.tasks.clone() else { return Ok(None) };
        let Some(found) = self.committed(&[tasks.mark_place()], within)? else { return Ok(None) };
        match found.into_iter().next().flatten() {
            Some(position) => Ok(Some(position.metadata == tasks.mark)),
            None => self.write_mark(&tasks).map(Some),
        }
    }

    /// The positions of partitions; none if there is no answer yet.
    pub(super) fn committed(&self, partitions: &[TopicPartition], within: Duration) -> Result<Option<Vec<Option<Position>>>, LogError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&partition.topic, partition.partition);
        }
        let mut until = Deadline::after(within);
        loop {
            let error = match self.client().committed_offsets(list.clone(), until.rest()) {
                Ok(list) => return positions::of_list(&list, partitions).map(Some),
                Err(error) => error,
            };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::OperationTimedOut) => return Ok(None),
                Some(code) if is_moving(code) && !until.rest().is_zero() => {
                    self.bell.wait(BETWEEN_TRIES);
                }
                _ => return Err(failed(&format!("positions of the group `{}`", self.group), &error)),
            }
        }
    }
}

impl Membership {
    /// Ends it without waiting: the group has let go of it already.
    pub(super) fn abandon(mut self) {
        self.end();
    }

    /// Ends the client on a thread of its own; says when that is done.
    fn end(&mut self) -> Option<Receiver<()>> {
        self.unanswered = None;
        let client = self.client.take()?;
        client.context().close();
        if self.standing.is_held() || self.standing.is_lost() {
            agree(&client, false);
        }
        let (over, ended) = channel();
        let leaves = self.leaves;
        end_beside(move || {
            if leaves {
                farewell::leave(&client);
            }
            drop(client);
            // Nobody waits if it took too long.
            let _ = over.send(());
        });
        Some(ended)
    }
}

impl Drop for Membership {
    /// Leaves, and waits for the group to hear of it. A member with a lasting name is still counted in until its session is over.
    fn drop(&mut self) {
        if let Some(ended) = self.end()
            && ended.recv_timeout(FAREWELL).is_err()
        {
            tracing::warn!(group = self.group, "no answer to a leave: the group waits for the end of the session");
        }
    }
}

/// Whether the group is about to be looked after by another broker: the first group of a new cluster, or one whose broker went away.
fn is_moving(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    matches!(code, NotCoordinator | CoordinatorLoadInProgress | CoordinatorNotAvailable)
}

/// How often a member is heard of, and hears: a tenth of its session.
fn heartbeat(session: Duration) -> Duration {
    (session / 10).clamp(Duration::from_millis(100), Duration::from_secs(1))
}

/// What membership needs. With `broker_sessions` (KIP-848) the broker decides about sessions and shares.
fn role(options: &MemberOptions, broker_sessions: bool) -> Vec<(&'static str, String)> {
    let isolation = match options.isolation {
        Isolation::ReadUncommitted => "read_uncommitted",
        Isolation::ReadCommitted => "read_committed",
    };
    let session = options.session_timeout.as_millis();
    // How long a thread may be busy with one round; also how long a rebalance waits for it.
    let busy = session.max(300_000);
    let mut role = vec![
        ("group.id", options.group.clone()),
        ("client.id", options.name.clone()),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("allow.auto.create.topics", "false".to_owned()),
        ("isolation.level", isolation.to_owned()), // of a reader of committed records: positions of open transactions are waited for
        ("topic.metadata.refresh.interval.ms", "30000".to_owned()),
        ("max.poll.interval.ms", busy.to_string()),
    ];
    role.extend(options.instance.iter().map(|instance| ("group.instance.id", instance.clone())));
    if !broker_sessions {
        let heartbeat = heartbeat(options.session_timeout).as_millis();
        role.push(("partition.assignment.strategy", "cooperative-sticky".to_owned()));
        role.push(("session.timeout.ms", session.to_string()));
        role.push(("heartbeat.interval.ms", heartbeat.to_string()));
    }
    role
}
