//! One seed: an application, a schedule of what befalls it, and what must hold all the while.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater::{Cluster, ErrorKind, Settings, Timestamp};

use crate::topologies::{IN, Kind, ROWS};

/// The input starts at the time of the clock.
pub(crate) const BEGIN: i64 = 1_000_000_000;
const PARTITIONS: i32 = 3;
const SESSION: Duration = Duration::from_millis(700);

/// What may befall the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// They come and go in peace, and stand still for less than their session.
    Calm,
    /// They are killed, between rounds and in the middle of a commit.
    Crashing,
    /// They are taken for dead and are not: what they write meanwhile nobody can prevent without transactions.
    Lost,
}

/// A run that has ended.
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) temper: Temper,
    pub(crate) cluster: Cluster,
    /// Topic, key, value and time, in the order written.
    pub(crate) input: Vec<Piped>,
    /// For how long somebody may have stood still.
    still: Duration,
}

pub(crate) struct Piped {
    pub(crate) table: bool,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) at: i64,
}

/// What was seen of positions so far.
#[derive(Default)]
struct Seen(BTreeMap<(String, i32), (i64, Option<Timestamp>)>);

impl Run {
    /// The choices that a seed begins with.
    pub(crate) fn of(seed: u64) -> Run {
        let pick = |n: u64| usize::try_from(n).unwrap();
        let kind = Kind::ALL[pick(seed % 5)];
        let temper = [Temper::Calm, Temper::Crashing, Temper::Crashing, Temper::Lost][pick(seed / 5 % 4)];
        let mut settings = Settings::new("app");
        settings.threads = pick(1 + seed / 20 % 2);
        settings.record_cache_bytes = if (seed / 40).is_multiple_of(2) { 0 } else { 1 << 20 };
        settings.close_batch = if (seed / 3).is_multiple_of(2) { 2 } else { 10_000 };
        settings.commit_interval = Duration::from_millis(100);
        settings.repartition_purge_interval = Duration::from_millis(200);
        settings.watermark_interval = Duration::from_millis(20);
        settings.watermark_refresh = Duration::from_secs(1);
        let topology = kind.topology();
        let builder = Cluster::builder(&topology).usual_partitions(PARTITIONS).settings(settings).seed(seed);
        let builder = builder.instances(pick(1 + seed / 7 % 3)).session_timeout(SESSION).start_at(Timestamp::from_millis(BEGIN)).whims();
        Run { kind, temper, cluster: builder.build().unwrap(), input: Vec::new(), still: Duration::ZERO }
    }

    /// Everything that befalls it, to the end of its input.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        let mut seen = Seen::default();
        if self.kind == Kind::Join {
            (0..12).for_each(|_| self.pipe(true));
            self.befall(60, false, &mut seen)?;
            self.recover()?;
            // The stream meets a table that is complete.
            self.cluster.run_for(SESSION * 2).map_err(|error| error.to_string())?;
        }
        let steps = 100 + self.cluster.draw(300);
        self.befall(steps, true, &mut seen)?;
        self.recover()?;
        self.cluster.finish().map_err(|error| error.to_string())?;
        seen.look(&mut self.cluster)
    }

    fn befall(&mut self, steps: u64, writes: bool, seen: &mut Seen) -> Result<(), String> {
        for _ in 0..steps {
            match self.cluster.draw(100) {
                0..25 if writes => self.pipe(false),
                0..85 => drop(self.cluster.step().map_err(|error| error.to_string())?),
                85..95 => {
                    let pause = Duration::from_millis(self.cluster.draw(120));
                    self.still += pause;
                    if self.temper == Temper::Calm && self.still >= SESSION {
                        // Nobody stands still for so long that others take over.
                        self.wake();
                    }
                    self.cluster.advance(pause);
                }
                _ => self.trouble()?,
            }
            if (0..self.cluster.instances()).all(|instance| !self.cluster.is_running(instance)) {
                self.cluster.start().map_err(|error| error.to_string())?;
            }
            seen.look(&mut self.cluster)?;
        }
        Ok(())
    }

    fn trouble(&mut self) -> Result<(), String> {
        let count = self.cluster.instances() as u64;
        let instance = usize::try_from(self.cluster.draw(count)).unwrap();
        match (self.temper, self.cluster.draw(6)) {
            (Temper::Crashing, 0) => self.cluster.kill(instance),
            (Temper::Crashing, 1..4) => {
                let calls = self.cluster.draw(40);
                self.cluster.kill_after(instance, calls);
            }
            (Temper::Lost, 0..3) => self.cluster.expel(instance),
            (_, 3) if self.cluster.is_running(instance) => self.cluster.pause(instance),
            (_, 3 | 4) => {
                self.cluster.resume(instance);
                if self.temper == Temper::Calm && !self.cluster.is_running(instance) {
                    self.cluster.restart(instance).map_err(|error| error.to_string())?;
                }
            }
            _ if count < 5 => drop(self.cluster.start().map_err(|error| error.to_string())?),
            _ => match self.cluster.stop(instance) {
                // Who was thrown out and does not know it finds out now.
                Err(error) if self.temper == Temper::Lost && error.kind() == ErrorKind::Fenced => {}
                stopped => stopped.map_err(|error| error.to_string())?,
            },
        }
        Ok(())
    }

    fn wake(&mut self) {
        self.still = Duration::ZERO;
        (0..self.cluster.instances()).for_each(|instance| self.cluster.resume(instance));
    }

    /// Whoever stands still goes on; at least one runs and is not about to die.
    fn recover(&mut self) -> Result<(), String> {
        self.wake();
        (0..self.cluster.instances()).for_each(|instance| self.cluster.spare(instance));
        self.cluster.start().map_err(|error| error.to_string()).map(drop)
    }

    fn pipe(&mut self, table: bool) {
        let n = i64::try_from(self.input.len()).unwrap();
        let late = i64::try_from(self.cluster.draw(30)).unwrap();
        let key = format!("k{}", if table { n % 6 } else { i64::try_from(self.cluster.draw(6)).unwrap() });
        let piped = Piped { table, key, value: format!("v{n}"), at: BEGIN + n * 7 + 30 - late };
        let topic = if table { ROWS } else { IN };
        self.cluster.pipe(&topic, piped.key.clone(), piped.value.clone(), Timestamp::from_millis(piped.at)).unwrap();
        self.input.push(piped);
    }
}

impl Seen {
    /// Rules of the group, failures, and positions and watermarks that never go back.
    fn look(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        if let Some(trespass) = cluster.take_trespasses().first() {
            return Err(trespass.clone());
        }
        if let Some(failure) = cluster.failures().first() {
            return Err(format!("task {:?} failed: {}", failure.task, failure.error));
        }
        for topic in cluster.topics() {
            for partition in 0..PARTITIONS {
                let Some(now) = cluster.committed(&topic, partition) else { continue };
                let before = self.0.insert((topic.clone(), partition), (now.offset, now.watermark));
                if before.is_some_and(|(offset, watermark)| now.offset < offset || now.watermark < watermark) {
                    return Err(format!("{topic}-{partition} went back from {before:?} to {now:?}"));
                }
            }
        }
        Ok(())
    }
}
