//! A consumer that is a member of a group, on a cluster.
//!
//! Two clients of the library: one is the member and reads nothing (`membership`), the other reads what it is told to and is in no group
//! ([`KafkaConsumer`]). So a rebalance never touches what is being read. Tasks are partitions of topics of their own (`tasks`), which the
//! group's assignor spreads and keeps where they are.
//!
//! **Tokens.** A token names the member and the generation that its client is in when it is asked for, and stands for what the member has
//! heard until then: after an event or a release, earlier tokens are refused here, whatever the broker would say, because a broker asks who is a member and
//! not who owns what. Within one stay the client's generation may move under the member, when others come and go; that is harmless, since
//! nothing of what the member has can go elsewhere before it releases it. Whatever it cannot hold (a session that ran out) ends the stay:
//! the broker refuses the member's name from then on, and the client does not come back under another before the member has heard of it.

mod agreement;
mod farewell;
mod membership;
mod namesake;
mod positions;
mod standing;
mod tasks;
#[cfg(test)]
mod tests;
mod waiting;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use membership::Membership;
use namesake::Namesake;
use positions::{Outcome, failure};
use tasks::Tasks;
use waiting::Waiting;

use super::KafkaLog;
use super::bell::Bell;
use super::consumer::KafkaConsumer;
use super::deadline::Deadline;
use crate::error::ErrorKind;
use crate::kafka::{
    Connect, Consumer, FetchLimit, Fetched, Group, GroupEvent, Isolation, LogError, MemberOptions, MemberToken, Occupied, Position,
    TaskInputs,
};
use crate::record::{RawRecord, TaskId, Timestamp, TopicPartition};

/// Longest wait for positions on a thread that also works.
const WHILE_WORKING: Duration = Duration::from_millis(500);
/// The same on one that does nothing else: while its client looks for the broker of the group; then, as other positions, which are decided, wait for
/// as long; and at last.
const AT_FIRST: Duration = Duration::from_secs(2);
const WHILE_WAITING: Duration = Duration::from_millis(100);
const AT_LAST: Duration = Duration::from_secs(1);

/// A member of a group, or one that may become it.
pub(super) struct KafkaMember {
    log: KafkaLog,
    options: MemberOptions,
    bell: Arc<Bell>,
    data: KafkaConsumer,
    membership: Option<Membership>,
    /// Before it comes in.
    waiting: Option<Waiting>,
    /// What it joined with last.
    tasks: Option<Tasks>,
    /// Whether it has looked, since it is in, that the group runs these tasks.
    agreed: bool,
    /// Tokens that share this name in memory, not only in letters, are of now.
    proof: MemberToken,
    /// Another process came under its lasting name.
    usurped: bool,
    failure: Option<LogError>,
    /// Whoever has its lasting name still.
    namesake: Namesake,
    /// Asks about positions while it is in no group.
    desk: Option<Membership>,
    /// How long it waits for an answer there.
    patience: Duration,
}

impl KafkaMember {
    pub(super) fn open(log: &KafkaLog, options: MemberOptions) -> Result<Self, LogError> {
        let bell = Arc::new(Bell::default());
        let data = KafkaConsumer::with_bell(&log.config, options.isolation, bell.clone(), options.to_the_end)?;
        Ok(KafkaMember {
            log: log.clone(),
            options,
            bell,
            data,
            membership: None,
            waiting: None,
            tasks: None,
            agreed: false,
            proof: MemberToken::nobody(),
            usurped: false,
            failure: None,
            namesake: Namesake::default(),
            desk: None,
            patience: AT_FIRST,
        })
    }

    fn fenced(&self, token: &MemberToken) -> LogError {
        LogError::Fenced { group: self.options.group.clone(), token: token.clone() }
    }

    /// Hears what its group says.
    fn attend(&mut self) -> Result<(), LogError> {
        self.look_again()?;
        self.ask_for_its_name()?;
        let Some(membership) = &mut self.membership else { return Ok(()) };
        if let Err(error) = membership.serve() {
            return if membership.is_shut_out() { self.step_back(error) } else { Err(error) };
        }
        if membership.is_name_held() {
            self.wait_for_its_name();
            return Ok(());
        }
        if self.agreed || !membership.standing.is_due() || membership.standing.is_lost() {
            return Ok(());
        }
        match membership.agrees(WHILE_WORKING)? {
            Some(agreed) => self.agreed = agreed,
            None => return Ok(()), // not known yet
        }
        if self.agreed {
            return Ok(());
        }
        self.leave();
        Err(LogError::InconsistentTasks(self.options.group.clone()))
    }

    fn is_due(&self) -> bool {
        self.failure.is_some() || self.membership.as_ref().is_some_and(|m| m.standing.is_lost() || (self.agreed && m.standing.is_due()))
    }

    /// Makes tokens from before stale.
    fn renew(&mut self) {
        if let Some((member, generation)) = self.membership.as_ref().and_then(Membership::place) {
            self.proof = MemberToken { member: member.into(), generation };
        } else {
            self.proof.member = Arc::from(&*self.proof.member);
        }
    }

    fn is_of_now(&self, token: &MemberToken) -> bool {
        Arc::ptr_eq(&token.member, &self.proof.member)
    }

    /// The client to ask about positions.
    fn desk(&mut self) -> Result<&mut Membership, LogError> {
        let KafkaMember { log, options, bell, desk, patience, .. } = self;
        if desk.is_none() {
            let nobody = MemberOptions { instance: None, ..options.clone() };
            *desk = Some(Membership::open(&log.config, &nobody, bell)?);
            *patience = AT_FIRST;
        }
        Ok(desk.as_mut().expect("just opened"))
    }

    /// Writes positions for somebody who is no member: a group takes them only while it is empty.
    fn commit_for_nobody(&mut self, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        let outcome = self.desk()?.commit(positions)?;
        if !matches!(outcome, Outcome::Done) {
            self.desk = None; // the library thinks now that it has lost something
        }
        self.answer(outcome, token, positions)
    }

    fn answer(&self, outcome: Outcome, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Refused | Outcome::Later => Err(self.fenced(token)),
            Outcome::Failed(code, partition) => Err(failure(code, partition, positions)),
        }
    }

    fn usurped(&self) -> LogError {
        let instance = self.options.instance.as_deref().unwrap_or_default();
        let text = format!("another process runs under the instance name `{instance}`: give each process a name of its own, or stop one");
        LogError::Client { kind: ErrorKind::InvalidConfig, source: Arc::new(text.into()) }
    }
}

impl Group for KafkaMember {
    fn join(&mut self, tasks: &[TaskInputs]) -> Result<(), LogError> {
        if self.usurped {
            return Err(self.usurped());
        }
        let tasks = Tasks::new(&self.options.group, tasks);
        let stays =
            self.membership.as_ref().is_some_and(|membership| !membership.standing.is_lost() && self.tasks.as_ref() == Some(&tasks));
        if let Some(membership) = self.membership.as_mut().filter(|_| stays) {
            // What was refused was a token, not the member: it has what it had.
            membership.standing.tell_again();
            self.renew();
            return Ok(());
        }
        self.leave();
        self.desk = None;
        self.tasks = Some(tasks);
        self.come_in(self.log.admin()?)
    }

    fn waits_for(&self) -> Option<Occupied> {
        self.waiting.as_ref().map(|waiting| waiting.for_whom().clone())
    }

    fn next_event(&mut self) -> Option<GroupEvent> {
        if let Err(error) = self.attend() {
            self.failure = Some(error);
        }
        let membership = self.membership.as_mut().filter(|membership| self.agreed || membership.standing.is_lost())?;
        let event = membership.standing.next_event()?;
        if matches!(event, GroupEvent::Lost(_)) {
            self.usurped |= membership.is_usurped();
            if let Some(membership) = self.membership.take() {
                membership.abandon();
            }
        } else {
            self.renew();
        }
        Some(event)
    }

    fn token(&self) -> MemberToken {
        let here = self.membership.as_ref().filter(|membership| !membership.standing.is_lost());
        match here.and_then(Membership::place) {
            Some((member, generation)) if *member == *self.proof.member => MemberToken { member: self.proof.member.clone(), generation },
            _ => self.proof.clone(),
        }
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<(), LogError> {
        let Some(membership) = &mut self.membership else { return Err(LogError::NotAMember(self.options.group.clone())) };
        if membership.standing.is_lost() {
            return Err(self.fenced(&self.proof));
        }
        membership.release(tasks);
        self.renew();
        Ok(())
    }

    fn commit(&mut self, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        if self.membership.is_none() && *token == MemberToken::nobody() {
            return self.commit_for_nobody(token, positions);
        }
        if !self.is_of_now(token) {
            return Err(self.fenced(token));
        }
        let Some(membership) = &mut self.membership else { return Err(self.fenced(token)) };
        let outcome = membership.commit(positions)?;
        if matches!(outcome, Outcome::Refused) {
            membership.standing.lose();
        }
        self.answer(outcome, token, positions)
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, LogError> {
        let Some(first) = partitions.first() else { return Ok(Vec::new()) };
        let found = match &self.membership {
            Some(membership) => membership.committed(partitions, WHILE_WORKING)?,
            None => {
                self.desk()?;
                let patience = self.patience;
                let found = self.desk()?.committed(partitions, patience)?;
                // A slow broker needs more, an undecided transaction does not.
                self.patience = if found.is_some() { WHILE_WAITING } else { (patience * 2).min(AT_LAST) };
                found
            }
        };
        found.ok_or_else(|| LogError::PositionUndecided { group: self.options.group.clone(), partition: first.clone() })
    }

    fn leave(&mut self) {
        self.namesake = Namesake::default();
        self.membership = None;
        self.waiting = None;
        self.agreed = false;
    }
}

impl Consumer for KafkaMember {
    fn assign(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        self.data.assign(partitions)
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) {
        self.data.unassign(partitions);
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.data.assignment()
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        self.data.seek(partition, offset)
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, LogError> {
        self.data.position(partition)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.data.pause(partitions)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.data.resume(partitions)
    }

    fn poll(&mut self, timeout: Duration) -> Result<bool, LogError> {
        let mut until = Deadline::after(timeout);
        loop {
            // The data first: its poll takes a ring that may have been the group's.
            let ready = self.data.poll(Duration::ZERO)?;
            self.attend()?;
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if ready || self.is_due() {
                return Ok(true);
            }
            let rest = until.rest();
            if rest.is_zero() {
                return Ok(false);
            }
            self.bell.wait(rest);
        }
    }

    fn fetch_while(
        &mut self,
        partition: &TopicPartition,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>) -> bool,
    ) -> Result<Fetched, LogError> {
        self.data.fetch_while(partition, limit, visit)
    }

    fn begin_offsets(&mut self, partitions: &[TopicPartition]) -> Result<Vec<i64>, LogError> {
        self.data.begin_offsets(partitions)
    }

    fn end_offsets(&mut self, partitions: &[TopicPartition], isolation: Isolation) -> Result<Vec<i64>, LogError> {
        self.data.end_offsets(partitions, isolation)
    }

    fn offsets_for_times(&mut self, times: &[(TopicPartition, Timestamp)]) -> Result<Vec<Option<i64>>, LogError> {
        self.data.offsets_for_times(times)
    }
}
