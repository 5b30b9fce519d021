//! The moments at which the victim is killed: every failpoint of the engine, and how a run gets there.

use super::life::Promise;
use super::scene::Kind;

/// How the victim comes past a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Again and again as it works: it is killed at the n-th pass.
    Working,
    /// Once as it starts: n lives in a row end there.
    Starting,
    /// Once as it starts for the first time: n lives in a row end there, each on an empty log.
    StartingAnew,
    /// Once as it starts after a death: n lives in a row end there.
    StartingAgain,
    /// Once as it closes in the middle of its work: n lives in a row end there.
    Closing,
    /// Again and again as its stores are rebuilt, for its state folder was lost half-way.
    Rebuilding,
    /// Once as its stores are rebuilt: n lives in a row end there.
    RebuildingOnce,
    /// Again and again as another instance comes and goes, and markers come late.
    Sharing,
    /// The same, and members are thrown out of the group.
    Fenced,
    /// Again and again as records get lost on their way to the log.
    Losing,
}

impl Way {
    /// A part of the work is done before, in a life of its own.
    pub(crate) fn begins_half_way(self) -> bool {
        matches!(self, Way::StartingAgain | Way::Rebuilding | Way::RebuildingOnce)
    }
}

/// A moment.
#[derive(Debug)]
pub(crate) struct Point {
    /// What `failpoint::reached` is called with.
    pub(crate) name: &'static str,
    /// What has happened by then.
    pub(crate) after: &'static str,
    pub(crate) way: Way,
    kinds: &'static [Kind],
    promises: &'static [Promise],
    /// What the application has committed may not be in its stores yet: some of it is restored.
    pub(crate) restores: bool,
}

const ANY: &[Kind] = &Kind::ALL;
const WITH_STATE: &[Kind] = &[Kind::Count, Kind::Windowed, Kind::Join];
const WINDOWED: &[Kind] = &[Kind::Windowed];
const BOTH: &[Promise] = &Promise::ALL;
const EXACTLY: &[Promise] = &[Promise::ExactlyOnce];

const fn working(name: &'static str, after: &'static str) -> Point {
    Point { name, after, way: Way::Working, kinds: ANY, promises: BOTH, restores: false }
}

impl Point {
    const fn by(self, way: Way) -> Point {
        Point { way, ..self }
    }

    const fn of(self, kinds: &'static [Kind]) -> Point {
        Point { kinds, ..self }
    }

    const fn under(self, promises: &'static [Promise]) -> Point {
        Point { promises, ..self }
    }

    const fn restoring(self) -> Point {
        Point { restores: true, ..self }
    }

    /// Whether it is a moment inside the log in files, which a cluster does not have.
    pub(crate) fn is_in_the_log(&self) -> bool {
        self.name.starts_with("log.")
    }

    /// The passes at which it is tried. A life on a cluster takes longer, and some moments come once per life or per visit of another instance.
    pub(crate) fn passes(&self, on_cluster: bool) -> &'static [u64] {
        match self.way {
            _ if !on_cluster => &[1, 2, 17],
            Way::Working => &[1, 2, 17],
            Way::Losing => &[1, 4],
            _ => &[1, 2],
        }
    }

    /// Whether this application comes past it.
    pub(crate) fn concerns(&self, kind: Kind, promise: Promise) -> bool {
        self.kinds.contains(&kind) && self.promises.contains(&promise)
    }
}

/// All of them, in the order of a life.
pub(crate) const POINTS: &[Point] = &[
    working("topics.create", "an internal topic is missing").by(Way::Starting).of(WITH_STATE),
    working("topics.created", "an internal topic is made").by(Way::StartingAnew).of(WITH_STATE),
    working("restore.begin", "a task is assigned, its stores are behind").by(Way::RebuildingOnce).of(WITH_STATE),
    working("restore.step", "a piece of a changelog is in the store").by(Way::Rebuilding).of(WITH_STATE),
    #[cfg(feature = "rocksdb")]
    working("restore.file", "rows of a changelog are in the database, their offset is not").by(Way::Rebuilding).of(WITH_STATE),
    working("restore.done", "a task is complete and does not run yet").by(Way::RebuildingOnce).of(WITH_STATE),
    working("round.read", "records are read"),
    working("round.taken", "outputs are buffered"),
    working("round.sent", "outputs are produced, not acknowledged"),
    working("close_pass.cut", "some windows of an instant are closed, others not").of(WINDOWED),
    working("commit.cut", "a commit is due"),
    working("commit.flush", "no more records are taken"),
    working("commit.watermarks", "caches and changelogs are sent").of(WINDOWED),
    working("commit.acks", "control records are sent"),
    working("commit.offsets", "everything is acknowledged"),
    working("commit.commit", "positions are gathered"),
    working("commit.done", "stores have applied the commit"),
    working("commit.apply", "the commit is done, no store has applied it").restoring(),
    working("apply.store", "the commit is done, some stores have applied it").of(WITH_STATE).restoring(),
    working("store.apply", "a store is about to write a batch to disk").of(WITH_STATE).restoring(),
    working("commit.purge", "stores have applied the commit"),
    working("log.append", "a batch, of records or a marker, is in its file and not acknowledged").restoring(),
    working("log.offsets", "the group is part of the transaction, its positions are not").under(EXACTLY),
    working("log.end", "everything is in the transaction, its end is asked for"),
    working("log.prepare", "the transaction is decided, no marker is written").restoring(),
    working("log.marker", "some markers are written, others not").restoring(),
    working("log.answer", "all markers are written, nobody was told").restoring(),
    working("log.open", "the log is read back, open transactions are not settled").by(Way::StartingAgain).restoring(),
    working("revoke.requested", "a task is asked for").by(Way::Sharing),
    working("revoke.committed", "it is committed and not released").by(Way::Sharing),
    working("revoke.released", "it is released").by(Way::Sharing),
    working("fence.lost", "the group has given the tasks to others").by(Way::Fenced).under(EXACTLY),
    working("abort.begin", "a transaction cannot be committed").by(Way::Losing).under(EXACTLY),
    working("abort.done", "it is aborted, its tasks still have what they did in it").by(Way::Losing).under(EXACTLY),
    working("close.begin", "a stop is asked for").by(Way::Closing),
    working("close.committed", "the last commit is done").by(Way::Closing),
    working("close.left", "the group is left").by(Way::Closing),
];
