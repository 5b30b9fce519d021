//! What a seed chooses before anything happens.

use std::fmt;
use std::time::Duration;

use highwater::{Cluster, Guarantee, Settings, Timestamp, Topology};

use crate::topologies::Kind;

/// The input starts at the time of the clock.
pub(crate) const BEGIN: i64 = 1_000_000_000;
pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const SESSION: Duration = Duration::from_millis(700);

/// What may befall the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// They come and go in peace, and stand still for less than their session.
    Calm,
    /// They are killed, between rounds and in the middle of a commit.
    Crashing,
    /// They are taken for dead and are not, or stand still for so long that others take over, and wake up.
    Lost,
    /// All of this at once.
    Storm,
}

/// What a run is made with.
pub(crate) struct Choices {
    pub(crate) kind: Kind,
    pub(crate) temper: Temper,
    pub(crate) guarantee: Guarantee,
    pub(crate) caches: bool,
    instances: usize,
    threads: usize,
    lasting_names: bool,
    pub(crate) keeps_state: bool,
    close_batch: usize,
    seed: u64,
}

impl Choices {
    pub(crate) fn of(seed: u64) -> Choices {
        let mut left = mixed(seed);
        let mut pick = |limit: u64| {
            let picked = usize::try_from(left % limit).unwrap();
            left /= limit;
            picked
        };
        Choices {
            kind: Kind::ALL[pick(Kind::ALL.len() as u64)],
            temper: [Temper::Calm, Temper::Crashing, Temper::Lost, Temper::Storm][pick(4)],
            guarantee: [Guarantee::ExactlyOnce, Guarantee::ExactlyOnce, Guarantee::AtLeastOnce][pick(3)],
            caches: pick(2) == 1,
            instances: 1 + pick(3),
            threads: 1 + pick(2),
            lasting_names: pick(3) == 0,
            keeps_state: pick(3) > 0,
            close_batch: [2, 10_000][pick(2)],
            seed,
        }
    }

    /// Whether results and positions come together.
    pub(crate) fn atomic(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce
    }

    /// Whether every result comes exactly once: always with transactions, in peace without.
    pub(crate) fn exact(&self) -> bool {
        self.temper == Temper::Calm || self.atomic()
    }

    /// Whether a failure does not double what is said to come once.
    pub(crate) fn exact_or_crashing(&self) -> bool {
        self.temper != Temper::Calm || self.atomic()
    }

    /// Whether nobody writes who was taken for dead, or nothing of that counts.
    pub(crate) fn one_writer(&self) -> bool {
        matches!(self.temper, Temper::Calm | Temper::Crashing) || self.atomic()
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::new("app");
        settings.threads = self.threads;
        settings.guarantee = self.guarantee;
        settings.transaction_timeout = Duration::from_millis(450);
        settings.record_cache_bytes = if self.caches { 1 << 20 } else { 0 };
        settings.close_batch = self.close_batch;
        settings.commit_interval = Duration::from_millis(100);
        settings.repartition_purge_interval = Duration::from_millis(200);
        settings.watermark_interval = Duration::from_millis(20);
        settings.watermark_refresh = Duration::from_secs(1);
        settings
    }

    pub(crate) fn cluster(&self, topology: &Topology) -> Cluster {
        let builder = Cluster::builder(topology).usual_partitions(PARTITIONS).settings(self.settings()).seed(self.seed);
        let builder = builder.instances(self.instances).session_timeout(SESSION).start_at(Timestamp::from_millis(BEGIN)).whims();
        let builder = if self.lasting_names { builder.lasting_names() } else { builder };
        let builder = if self.keeps_state { builder.keep_state() } else { builder };
        builder.build().unwrap()
    }
}

/// Seeds are neighbours, and what they choose is not.
fn mixed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Choices { kind, temper, guarantee, caches, instances, threads, lasting_names, keeps_state, .. } = self;
        let (caches, names) = (if *caches { "caches" } else { "no caches" }, if *lasting_names { ", lasting names" } else { "" });
        let state = if *keeps_state { ", kept state" } else { "" };
        write!(f, "{temper:?} {guarantee:?} {kind:?}, {instances} × {threads} threads, {caches}{names}{state}")
    }
}
