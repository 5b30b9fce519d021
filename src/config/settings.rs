//! Settings of a running application, and of the test driver, which is one.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::OnError;

/// How an application runs. Plain data: every field but the application id has a default.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Names the group, the internal topics (`<application id>-<name>`) and the state.
    pub application_id: Cow<'static, str>,
    /// Processing threads. Default 1.
    pub threads: usize,
    /// The longest time between two commits. Default 1 s.
    pub commit_interval: Duration,
    /// What happens to source records that cannot be decoded, unless the source says otherwise. Default: fail.
    pub on_deserialization_error: OnError,
    /// What happens to records on which an operator fails, unless the operator says otherwise; a sink fails on a record that its topic does
    /// not take because it is too large. Default: fail.
    pub on_processing_error: OnError,
    /// Names of the headers that a dead letter gets.
    pub dead_letter_headers: DeadLetterHeaders,
    /// Bytes that the record caches of a thread may hold; 0 switches them off. Default 10 MiB, as Kafka Streams'
    /// `statestore.cache.max.bytes`.
    pub record_cache_bytes: usize,
    /// Bytes of state that only a commit can free; a thread that holds more commits early. Default 64 MiB.
    pub uncommitted_bytes: usize,
    /// The shortest time between two deletions of what was read from repartition topics. Default 30 s.
    pub repartition_purge_interval: Duration,
    /// How long a commit waits for acknowledgements before it counts them as failed. Default 9 s.
    pub send_timeout: Duration,
    /// What the broker takes as metadata of one committed offset, its `offset.metadata.max.bytes`. Clocks are kept there; a topology
    /// that needs more is refused at start. Default 4096, as the broker's.
    pub offset_metadata_bytes: usize,
    /// Send every write to the changelog and not only the last of each key per commit. Default false.
    pub changelog_every_write: bool,
    /// How long a task with an empty input that is caught up waits for it before it goes on with the others. Default zero.
    /// Data known to be in the log is always waited for.
    pub max_task_idle: Duration,
    /// Bounded mode: a record this far ahead of the wall clock does not move the watermark. Default 1 h.
    pub max_future_skew: Duration,
    /// Bounded mode: the shortest time between two announcements of a task to the readers of its repartition topics. Default 1 s.
    pub watermark_interval: Duration,
    /// Bounded mode: the longest time between two announcements. Default 30 s.
    pub watermark_refresh: Duration,
    /// Bounded mode: results that one close pass may send before a commit may fall inside it. Default 10 000.
    pub close_batch: usize,
    /// Bounded mode: when every input of a task has been idle this long, its open windows close. Default: never.
    pub close_when_idle: Option<Duration>,
    /// What this instance may hold in memory, in bytes: a sixteenth for uncommitted changes of its state (if `uncommitted_bytes` allows as
    /// many; on their way to the disk they take several times that), a quarter for rows that were read or written before, as much for what
    /// state on disk keeps of its files; on a cluster an eighth for records that are fetched ahead, though at least 32 KiB a partition, and a
    /// sixteenth for those on their way out, though at least 16 MiB a thread. Default 512 MiB.
    ///
    /// What the allocator keeps in holes comes on top. The library leaves the choice of one to the program; that of glibc keeps apart what each
    /// thread frees, which with RocksDB can come to a hundred MB: start the program with `MALLOC_ARENA_MAX=2`, or give it another allocator, as
    /// the `highwater` binary has it (jemalloc).
    pub memory: usize,
    /// The folder for state that survives the process, under the application id; each instance needs its own. After a start only what was
    /// written to the changelogs since is read back. Default: none, stores live in memory and are restored from the beginning.
    ///
    /// Stores on disk can be read until the instance is stopped, those in memory for as long as somebody holds them.
    pub state_dir: Option<PathBuf>,
    /// Most bytes a second that are read back from changelogs, all threads taken together: so that an instance which comes back does not take the
    /// network from those that work. Each partition fetches some of it ahead (see `memory`). Default: no limit.
    pub restore_bytes_per_second: Option<NonZeroU64>,
    /// State of a task that lives in another instance now is deleted from `state_dir` after this time. Default 10 min.
    pub state_cleanup_delay: Duration,
    /// What a crash may do to results. Default: at least once.
    pub guarantee: Guarantee,
    /// Exactly once: how long a transaction may be open before the log aborts it. A commit is begun long before. Default 10 s.
    pub transaction_timeout: Duration,
    /// Begin a commit as soon as there is something to commit and the last one has been over for `shortest_commit_interval`, or for as long as it took
    /// itself, if that is longer; `commit_interval` stays the upper bound. Results are seen sooner, at the price of more and smaller commits. While
    /// a task is behind its input, commits are as far apart as without it. Default false.
    pub adaptive_commit: bool,
    /// With `adaptive_commit`: the shortest time from one commit to the next. Default 10 ms.
    pub shortest_commit_interval: Duration,
    /// A name of this instance that stays the same when its process is restarted, and that no other instance has at the same time. A restarted
    /// instance gets its tasks back without a rebalance, and ends what its predecessor left open at once. Default: none.
    pub instance_id: Option<Cow<'static, str>>,
    /// How long an instance may be silent before its tasks are given to others. Default 45 s.
    pub session_timeout: Duration,
    /// How long a start waits for a cluster that cannot be reached. Once it runs, an instance waits without end. Default 2 min.
    pub start_timeout: Duration,
    /// What a task does that has state, but no committed position of one of its inputs. Default: fail.
    pub on_missing_position: MissingPosition,
    /// What a task does when records of a source were deleted from the log before it read them. Default: fail.
    pub on_lost_records: LostRecords,
    /// What a task does whose changelog does not hold its state any more. Default: fail.
    pub on_lost_changelog: LostChangelog,
    /// Exactly once: who shares a transaction. Default: the tasks of a thread.
    pub producer_scope: ProducerScope,
    /// Which internal topics are made at start. Default: those that are missing.
    pub create_topics: CreateTopics,
}

/// Which internal topics are made at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CreateTopics {
    /// Those that are missing.
    #[default]
    Missing,
    /// None: if one is missing, the start fails with the list of them. [`Launch::planned_topics`](crate::Launch::planned_topics) says beforehand
    /// what is needed.
    Never,
}

/// Exactly once: which tasks commit together, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ProducerScope {
    /// Those of one thread: as few transactions as possible.
    #[default]
    Thread,
    /// Each task for itself, with the transactional id `<prefix>-<task>` (`move-0_3`), whoever runs it: who takes a task over fences whoever
    /// had it before, and a [`TaskGate`](crate::TaskGate) can say whether the task may run.
    Task {
        /// What the transactional ids begin with.
        prefix: Cow<'static, str>,
    },
}

/// What a task does that has state, but no committed position of one of its inputs: the position was forgotten or deleted, or the input is new
/// in the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MissingPosition {
    /// It stops with an error: what the state stands for is not known, and some of the input might count twice, or never.
    #[default]
    Fail,
    /// It begins where the source says that an input begins which was never read.
    Reset,
}

/// What a task does when records of a source were deleted from the log before it read them, by retention or by an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LostRecords {
    /// It stops with an error that says how many offsets are missing.
    #[default]
    Fail,
    /// It goes on at the first record that is there, with the state that it has. What is missing is counted in
    /// [`Progress::lost`](crate::Progress::lost).
    Skip,
    /// It forgets its state, in its changelogs too, and reads all of its inputs from the first record that is there: its state and its results are those
    /// of the records that are left, and results that were sent before are sent again. What is missing is counted as with `Skip`; a task
    /// without state does the same as with `Skip`. Not for a topology whose stores feed other stores through a repartition topic.
    Rebuild,
}

/// What a task does whose changelog does not hold its state any more: it was deleted and made again, it has lost records at its end, or, of a store
/// without time windows, records at its beginning that the local state does not have. What time windows lose at the beginning of theirs is
/// taken for what their retention deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LostChangelog {
    /// It stops with an error, and touches neither the changelog nor what it has itself.
    #[default]
    Fail,
    /// It goes on with what the changelog holds now, be it nothing; local rows that say otherwise are deleted. Each store is counted in
    /// [`Progress::rebuilt_stores`](crate::Progress::rebuilt_stores).
    Rebuild,
}

/// What a crash may do to results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Guarantee {
    /// Nothing is lost; what was done since the last commit is done again.
    #[default]
    AtLeastOnce,
    /// Results, state and positions are committed as one transaction: readers that read committed records see each result once.
    ExactlyOnce,
}

/// Names of the provenance headers of a dead letter. All values are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeadLetterHeaders {
    /// `__hw.dlq.` followed by `node`, `message`, `topic`, `partition`, `offset`, `timestamp`, `failed.at`.
    #[default]
    Native,
    /// `__streams.errors.` followed by `exception`, `message`, `stacktrace`, `topic`, `partition`, `offset`, as Kafka Streams
    /// writes them (KIP-1034).
    KafkaStreams,
}

impl Settings {
    /// Defaults for everything but the application id.
    pub fn new(application_id: impl Into<Cow<'static, str>>) -> Self {
        Settings {
            application_id: application_id.into(),
            threads: 1,
            commit_interval: Duration::from_secs(1),
            on_deserialization_error: OnError::Fail,
            on_processing_error: OnError::Fail,
            dead_letter_headers: DeadLetterHeaders::default(),
            record_cache_bytes: 10 << 20,
            uncommitted_bytes: 64 << 20,
            repartition_purge_interval: Duration::from_secs(30),
            send_timeout: Duration::from_secs(9),
            offset_metadata_bytes: 4096,
            changelog_every_write: false,
            max_task_idle: Duration::ZERO,
            max_future_skew: Duration::from_secs(3600),
            watermark_interval: Duration::from_secs(1),
            watermark_refresh: Duration::from_secs(30),
            close_batch: 10_000,
            close_when_idle: None,
            memory: 512 << 20,
            state_dir: None,
            restore_bytes_per_second: None,
            state_cleanup_delay: Duration::from_secs(600),
            guarantee: Guarantee::default(),
            transaction_timeout: Duration::from_secs(10),
            adaptive_commit: false,
            shortest_commit_interval: Duration::from_millis(10),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            start_timeout: Duration::from_secs(120),
            on_missing_position: MissingPosition::default(),
            on_lost_records: LostRecords::default(),
            on_lost_changelog: LostChangelog::default(),
            producer_scope: ProducerScope::default(),
            create_topics: CreateTopics::default(),
        }
    }

    /// What a thread may hold that only a commit can free.
    pub(crate) fn uncommitted_per_thread(&self) -> usize {
        (self.memory / 16 / self.threads.max(1)).min(self.uncommitted_bytes)
    }

    /// What the stores of a thread keep at hand of committed rows.
    pub(crate) fn reads_per_thread(&self) -> usize {
        self.memory / 4 / self.threads.max(1)
    }

    /// What state on disk may keep in memory.
    pub(crate) fn disk_memory(&self) -> u64 {
        u64::try_from(self.memory / 4).unwrap_or(u64::MAX)
    }
}
