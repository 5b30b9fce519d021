//! One group: its members, who owns which task, and the positions committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::balance::{MemberNumber, share_out};
use super::verdicts::WriterNumber;
use crate::kafka::{GroupEvent, MemberDescription, MemberToken, Position, TaskInputs};
use crate::record::{TaskId, Timestamp, TopicPartition, millis};

/// A group as its coordinator knows it.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    generation: i32,
    joined: MemberNumber,
    members: BTreeMap<MemberNumber, Member>,
    tasks: Vec<TaskInputs>,
    shares: BTreeMap<TaskId, Share>,
    positions: BTreeMap<TopicPartition, Committed>,
    /// When it was last seen to have members.
    alive: Option<Timestamp>,
    /// Positions of transactions that this group has not seen the end of.
    pending: BTreeMap<WriterNumber, BTreeMap<TopicPartition, Position>>,
}

/// A position, and when it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Committed {
    position: Position,
    at: Timestamp,
}

/// Who wants to come in, and what is known of its life.
#[derive(Clone, Debug)]
pub(super) struct Applicant {
    /// What its id begins with.
    pub(super) name: String,
    /// The name that outlives it.
    pub(super) instance: Option<String>,
    pub(super) session: Duration,
    /// When it was heard of last, in milliseconds; it writes this itself.
    pub(super) heard: Arc<AtomicI64>,
}

impl Applicant {
    /// When it counts as dead unless it is heard of.
    pub(super) fn deadline(&self) -> Timestamp {
        Timestamp::from_millis(self.heard.load(Ordering::SeqCst).saturating_add(millis(self.session)))
    }
}

/// A member, with what it has not been told yet. Kept as the difference to tell, not as a queue: what is overtaken before it was told is
/// never told, so members that start one after the other do not open tasks only to close them again.
#[derive(Debug)]
struct Member {
    token: MemberToken,
    life: Applicant,
    assigned: BTreeSet<TaskId>,
    requested: BTreeSet<TaskId>,
    /// Thrown out; the tasks it had.
    lost: Option<Vec<TaskId>>,
}

/// Who has a task and who is to have it. They differ while the owner has yet to release it.
#[derive(Debug, Default)]
struct Share {
    owner: Option<MemberNumber>,
    target: Option<MemberNumber>,
    requested: bool,
}

impl Coordinator {
    /// Lets a member in; none if the others run other tasks.
    pub(super) fn join(&mut self, life: Applicant, tasks: &[TaskInputs]) -> Option<MemberToken> {
        if self.is_empty() && self.tasks != tasks {
            self.tasks = tasks.to_vec();
            self.shares = tasks.iter().map(|inputs| (inputs.task, Share::default())).collect();
        }
        if self.tasks != tasks {
            return None;
        }
        self.joined += 1;
        let id = format!("{}-{}", life.name, self.joined).into();
        if let Some(place) = self.place_of(&life) {
            return Some(self.succeed(place, id, life));
        }
        let token = MemberToken { member: id, generation: self.generation + 1 };
        self.members.insert(self.joined, Member::new(token.clone(), life));
        self.rebalance();
        Some(token)
    }

    /// The number of a member by its id.
    pub(super) fn number(&self, id: &str) -> Option<MemberNumber> {
        self.members.iter().find(|(_, member)| &*member.token.member == id).map(|(number, _)| *number)
    }

    /// The place that is kept for an instance.
    fn place_of(&self, life: &Applicant) -> Option<MemberNumber> {
        let same = |member: &Member| member.lost.is_none() && life.instance.is_some() && member.life.instance == life.instance;
        self.members.iter().find(|(_, member)| same(member)).map(|(number, _)| *number)
    }

    /// Puts a new member in the place of an instance's earlier one, which loses everything. Nothing moves, so the generation stays; but
    /// what was to be released no longer has anybody who holds it.
    fn succeed(&mut self, place: MemberNumber, id: Arc<str>, life: Applicant) -> MemberToken {
        let token = MemberToken { member: id, generation: self.generation };
        let mut earlier = self.members.insert(place, Member::new(token.clone(), life)).expect("just found");
        let owned = self.owned(place);
        earlier.lost = Some(owned.iter().filter(|task| !earlier.assigned.contains(task)).copied().collect());
        // It goes by another number from now on, until it has been told.
        self.members.insert(self.joined, earlier);
        for task in owned {
            self.share(task).requested = false;
            self.member(place).assigned.insert(task);
            self.settle(task);
        }
        token
    }

    /// Lets a member go, with everything it has. A place that belongs to an instance is kept until its session is over.
    pub(super) fn leave(&mut self, member: MemberNumber) {
        if self.members.get(&member).is_some_and(|member| member.lost.is_none() && member.life.instance.is_some()) {
            return;
        }
        if self.members.remove(&member).is_some_and(|member| member.lost.is_none()) {
            self.disown(member);
            self.rebalance();
        }
    }

    /// Expels whoever was silent for too long; when the next one may be.
    pub(super) fn expire(&mut self, now: Timestamp) -> Option<Timestamp> {
        let alive = self.members.values().filter(|member| member.lost.is_none());
        let (dead, alive): (Vec<_>, Vec<_>) = alive.map(|m| (m.life.deadline(), m.token.member.clone())).partition(|(at, _)| *at <= now);
        for (_, id) in dead {
            self.expel(&id);
        }
        alive.into_iter().map(|(deadline, _)| deadline).min()
    }

    /// What happens to a member that was silent for too long: the others get its tasks, and it learns that when it asks. False if there is
    /// no such member.
    pub(super) fn expel(&mut self, id: &str) -> bool {
        let Some(number) = self.number(id).filter(|number| self.members[number].lost.is_none()) else { return false };
        let owned = self.disown(number);
        let member = self.members.get_mut(&number).expect("just found");
        member.lost = Some(owned.into_iter().filter(|task| !member.assigned.contains(task)).collect());
        self.rebalance();
        true
    }

    /// Whether [`next_event`](Self::next_event) has something to say.
    pub(super) fn has_event(&self, member: MemberNumber) -> bool {
        self.members.get(&member).is_some_and(|m| m.lost.is_some() || !m.requested.is_empty() || !m.assigned.is_empty())
    }

    /// The next thing to tell a member, which is of this generation from now on.
    pub(super) fn next_event(&mut self, member: MemberNumber) -> Option<GroupEvent> {
        let told = self.members.get_mut(&member)?;
        if let Some(lost) = told.lost.take() {
            self.members.remove(&member);
            return Some(GroupEvent::Lost(lost));
        }
        told.token.generation = self.generation;
        let take = |tasks: &mut BTreeSet<TaskId>| (!tasks.is_empty()).then(|| std::mem::take(tasks).into_iter().collect());
        let requested = take(&mut told.requested).map(GroupEvent::RevocationRequested);
        requested.or_else(|| take(&mut told.assigned).map(GroupEvent::Assigned))
    }

    pub(super) fn token(&self, member: MemberNumber) -> Option<MemberToken> {
        self.members.get(&member).map(|member| member.token.clone())
    }

    /// Takes tasks from their owner; gives its new token, or none if it is no member any more.
    pub(super) fn release(&mut self, member: MemberNumber, tasks: &[TaskId]) -> Option<MemberToken> {
        self.members.get(&member).filter(|member| member.lost.is_none())?;
        let owned: Vec<_> = tasks.iter().filter(|task| self.shares.get(task).is_some_and(|s| s.owner == Some(member))).collect();
        self.generation += i32::from(!owned.is_empty());
        for task in owned {
            self.vacate(*task);
            self.settle(*task);
        }
        let generation = self.generation;
        let member = self.member(member);
        member.token.generation = generation;
        Some(member.token.clone())
    }

    /// Writes positions if the token is a member's, of the generation which that member has seen; tells whether it was. Ownership is not
    /// asked for, as in Kafka.
    pub(super) fn commit(&mut self, token: &MemberToken, positions: &[(TopicPartition, Position)], now: Timestamp) -> bool {
        let accepted = self.accepts(token);
        if accepted {
            self.write_down(positions.iter().cloned(), now);
        }
        accepted
    }

    fn write_down(&mut self, positions: impl IntoIterator<Item = (TopicPartition, Position)>, at: Timestamp) {
        self.positions.extend(positions.into_iter().map(|(partition, position)| (partition, Committed { position, at })));
    }

    /// Forgets the positions that were written down so many milliseconds ago, in a group without members not before it has had none for
    /// as long. That a member reads the partition keeps nothing: a group of tasks subscribes to no input, see
    /// [`Group`](crate::kafka::Group).
    ///
    /// Gives the partitions.
    pub(super) fn expire_positions(&mut self, now: Timestamp, stay: i64) -> Vec<TopicPartition> {
        let empty = self.is_empty();
        if !empty {
            self.alive = Some(now);
        }
        let Coordinator { positions, pending, alive, .. } = self;
        let is_undecided = |partition: &TopicPartition| pending.values().any(|positions| positions.contains_key(partition));
        let since = if empty { *alive } else { None };
        let is_over = |partition: &TopicPartition, committed: &mut Committed| {
            let age = now.as_millis().saturating_sub(committed.at.max(since.unwrap_or(committed.at)).as_millis());
            age >= stay && !is_undecided(partition)
        };
        positions.extract_if(.., is_over).map(|(partition, _)| partition).collect()
    }

    /// Changes committed offsets, by partition and offset.
    pub(super) fn move_back(&mut self, to: impl Fn(&TopicPartition, i64) -> i64) {
        for (partition, committed) in &mut self.positions {
            committed.position.offset = to(partition, committed.position.offset);
        }
    }

    /// A group as files have it: positions that were committed, and such of transactions.
    pub(super) fn restored(
        committed: impl IntoIterator<Item = (TopicPartition, Position, Timestamp)>,
        pending: BTreeMap<WriterNumber, BTreeMap<TopicPartition, Position>>,
    ) -> Self {
        let committed = committed.into_iter().map(|(partition, position, at)| (partition, Committed { position, at }));
        Coordinator { positions: committed.collect(), pending, ..Coordinator::default() }
    }

    /// The same as part of a transaction, to be seen when that is committed.
    pub(super) fn commit_later(&mut self, writer: WriterNumber, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> bool {
        let accepted = self.accepts(token);
        if accepted {
            self.pending.entry(writer).or_default().extend(positions.iter().cloned());
        }
        accepted
    }

    /// Learns how a transaction came out.
    pub(super) fn settle_positions(&mut self, writer: WriterNumber, committed: bool, now: Timestamp) {
        let settled = self.pending.remove(&writer).unwrap_or_default();
        if committed {
            self.write_down(settled, now);
        }
    }

    /// Whether a transaction without an end here holds a position of this partition.
    pub(super) fn is_undecided(&self, partition: &TopicPartition) -> bool {
        self.pending.values().any(|positions| positions.contains_key(partition))
    }

    /// Whether a commit with this token would be.
    pub(super) fn accepts(&self, token: &MemberToken) -> bool {
        let is_members = || self.members.values().any(|member| member.lost.is_none() && member.token == *token);
        (self.is_empty() && *token == MemberToken::nobody()) || is_members()
    }

    pub(super) fn committed(&self, partition: &TopicPartition) -> Option<Position> {
        self.positions.get(partition).map(|committed| committed.position.clone())
    }

    /// Whether there is anything to be seen of it.
    pub(super) fn is_known(&self) -> bool {
        !self.is_empty() || !self.positions.is_empty()
    }

    /// Who is in.
    pub(super) fn members(&self) -> Vec<MemberDescription> {
        let alive = self.members.iter().filter(|(_, member)| member.lost.is_none());
        let describe = |(number, member): (&MemberNumber, &Member)| MemberDescription {
            id: (*member.token.member).to_owned(),
            instance: member.life.instance.clone(),
            client: member.life.name.clone(),
            host: None,
            tasks: self.owned(*number),
        };
        let mut members: Vec<_> = alive.map(describe).collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members
    }

    /// All positions that are decided.
    pub(super) fn positions(&self) -> Vec<(TopicPartition, Position)> {
        self.positions.iter().map(|(partition, committed)| (partition.clone(), committed.position.clone())).collect()
    }

    pub(super) fn delete_positions(&mut self, which: impl Fn(&TopicPartition) -> bool) {
        self.positions.retain(|partition, _| !which(partition));
    }

    /// Drops the positions in a topic that is no more.
    pub(super) fn forget(&mut self, topic: &str) {
        let of_others = |partition: &TopicPartition| &*partition.topic != topic;
        self.positions.retain(|partition, _| of_others(partition));
        self.pending.values_mut().for_each(|positions| positions.retain(|partition, _| of_others(partition)));
    }

    /// Whether nobody is in.
    pub(super) fn is_empty(&self) -> bool {
        self.members.values().all(|member| member.lost.is_some())
    }

    /// Takes everything from a member that is no more; gives what it had.
    fn disown(&mut self, member: MemberNumber) -> Vec<TaskId> {
        let owned = self.owned(member);
        owned.iter().for_each(|task| self.vacate(*task));
        owned
    }

    fn owned(&self, member: MemberNumber) -> Vec<TaskId> {
        self.shares.iter().filter(|(_, share)| share.owner == Some(member)).map(|(task, _)| *task).collect()
    }

    fn rebalance(&mut self) {
        self.generation += 1;
        let members: Vec<_> = self.members.iter().filter(|(_, member)| member.lost.is_none()).map(|(number, _)| *number).collect();
        let before = self.shares.iter().map(|(task, share)| (*task, share.target)).collect();
        let targets = share_out(&before, &members);
        for task in before.into_keys() {
            self.share(task).target = targets.get(&task).copied();
            self.settle(task);
        }
    }

    /// Brings one task a step nearer to whom it belongs.
    fn settle(&mut self, task: TaskId) {
        let share = self.share(task);
        let (owner, target, requested) = (share.owner, share.target, share.requested);
        match (owner, target) {
            (None, Some(next)) => {
                self.share(task).owner = Some(next);
                self.member(next).assigned.insert(task);
            }
            (Some(owner), target) if target == Some(owner) => {
                let untold = self.member(owner).requested.remove(&task);
                self.share(task).requested &= !untold;
            }
            (Some(owner), _) if self.member(owner).assigned.remove(&task) => {
                self.vacate(task);
                self.settle(task);
            }
            (Some(owner), _) if !requested => {
                self.share(task).requested = true;
                self.member(owner).requested.insert(task);
            }
            _ => {}
        }
    }

    fn vacate(&mut self, task: TaskId) {
        let share = self.share(task);
        share.requested = false;
        if let Some(owner) = share.owner.take().and_then(|owner| self.members.get_mut(&owner)) {
            owner.requested.remove(&task);
        }
    }

    fn share(&mut self, task: TaskId) -> &mut Share {
        self.shares.get_mut(&task).expect("a task of this group")
    }

    fn member(&mut self, number: MemberNumber) -> &mut Member {
        self.members.get_mut(&number).expect("owners and targets are members")
    }
}

impl Member {
    fn new(token: MemberToken, life: Applicant) -> Self {
        Member { token, life, assigned: BTreeSet::new(), requested: BTreeSet::new(), lost: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What may happen to a group, with the number of the member among those alive.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Join,
        /// Under the lasting name of one that is in.
        Return(usize),
        Leave(usize),
        Expel(usize),
        Hear(usize),
        Release(usize),
    }

    /// A member that does what it is told, as far as it has heard.
    #[derive(Debug, Default)]
    struct Dutiful {
        has: BTreeSet<TaskId>,
        asked: BTreeSet<TaskId>,
        expelled: bool,
    }

    #[derive(Debug, Default)]
    struct World {
        group: Coordinator,
        tasks: Vec<TaskInputs>,
        alive: BTreeMap<MemberNumber, Dutiful>,
    }

    impl World {
        fn new(shape: &[i32]) -> Self {
            let ids = shape.iter().zip(0..).flat_map(|(n, subtopology)| (0..*n).map(move |partition| TaskId { subtopology, partition }));
            World { tasks: ids.map(|task| TaskInputs { task, partitions: Vec::new() }).collect(), ..World::default() }
        }

        fn take(&mut self, step: Step) {
            let nth = |n: usize| self.alive.keys().nth(n % self.alive.len().max(1)).copied();
            match step {
                Step::Join => {
                    let instance = self.group.joined.is_multiple_of(2).then(|| self.group.joined.to_string());
                    self.join(instance);
                }
                Step::Return(n) => {
                    let named = |number: &MemberNumber| self.group.members[number].life.instance.is_some() && !self.alive[number].expelled;
                    if let Some(number) = nth(n).filter(named) {
                        let instance = self.group.members[&number].life.instance.clone();
                        let mut earlier = self.alive.remove(&number).expect("alive");
                        earlier.expelled = true;
                        self.join(instance);
                        self.alive.insert(self.group.joined, earlier);
                    }
                }
                Step::Leave(n) => {
                    // Whoever has a name keeps its place, and would have to come again before all can settle.
                    if let Some(number) = nth(n).filter(|number| self.group.members[number].life.instance.is_none()) {
                        self.group.leave(number);
                        self.alive.remove(&number);
                    }
                }
                Step::Expel(n) => {
                    if let Some(number) = nth(n) {
                        let token = self.group.token(number).expect("alive");
                        self.alive.get_mut(&number).expect("alive").expelled |= self.group.expel(&token.member);
                    }
                }
                Step::Hear(n) => nth(n).into_iter().for_each(|number| self.hear(number)),
                Step::Release(n) => nth(n).into_iter().for_each(|number| self.release(number)),
            }
            self.nobody_shares();
        }

        fn join(&mut self, instance: Option<String>) {
            let life = Applicant { name: "m".to_owned(), instance, session: Duration::MAX, heard: Arc::default() };
            let token = self.group.join(life, &self.tasks).expect("the same tasks");
            self.alive.insert(self.group.number(&token.member).expect("joined"), Dutiful::default());
        }

        fn hear(&mut self, number: MemberNumber) {
            let member = self.alive.get_mut(&number).expect("alive");
            match self.group.next_event(number) {
                Some(GroupEvent::Assigned(tasks)) => {
                    assert!(tasks.iter().all(|task| member.has.insert(*task)), "assigned twice: {tasks:?}");
                }
                Some(GroupEvent::RevocationRequested(tasks)) => {
                    assert!(tasks.iter().all(|task| member.has.contains(task) && member.asked.insert(*task)), "{tasks:?}");
                }
                Some(GroupEvent::Lost(tasks)) => {
                    assert!(member.expelled && tasks.iter().copied().eq(member.has.iter().copied()), "{tasks:?}");
                    self.alive.remove(&number);
                }
                None => assert!(!self.group.has_event(number)),
            }
        }

        fn release(&mut self, number: MemberNumber) {
            let member = self.alive.get_mut(&number).expect("alive");
            let asked: Vec<_> = std::mem::take(&mut member.asked).into_iter().collect();
            member.has.retain(|task| member.expelled || !asked.contains(task));
            assert_eq!(self.group.release(number, &asked).is_some(), !member.expelled);
        }

        fn nobody_shares(&self) {
            let mut owned = BTreeSet::new();
            let members = self.alive.values().filter(|member| !member.expelled);
            assert!(members.flat_map(|member| &member.has).all(|task| owned.insert(*task)), "two owners: {self:?}");
        }

        /// Everybody hears and does everything, until there is nothing left to do.
        fn settle(&mut self) {
            for n in 0..200 {
                self.take(Step::Hear(n));
                self.take(Step::Release(n));
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let n = 0..8_usize;
        let step = prop_oneof![
            3 => Just(Step::Join),
            1 => n.clone().prop_map(Step::Return),
            1 => n.clone().prop_map(Step::Leave),
            1 => n.clone().prop_map(Step::Expel),
            6 => n.clone().prop_map(Step::Hear),
            3 => n.prop_map(Step::Release),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn a_task_has_one_owner_at_a_time_and_one_in_the_end(shape in prop::collection::vec(1..6_i32, 1..4), steps in steps()) {
            let mut world = World::new(&shape);
            steps.into_iter().for_each(|step| world.take(step));
            if world.alive.values().all(|member| member.expelled) {
                world.take(Step::Join);
            }
            world.settle();
            let counts: Vec<_> = world.alive.values().map(|member| member.has.len()).collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), world.tasks.len());
            prop_assert!(counts.iter().max().expect("one") - counts.iter().min().expect("one") <= 1, "{:?}", counts);
            prop_assert!(world.alive.keys().all(|number| !world.group.has_event(*number)));
        }
    }
}
