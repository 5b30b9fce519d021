//! What befalls a run, step by step.

use std::time::Duration;

use highwater::ErrorKind;
use highwater::kafka::LostCommit;

use crate::choices::{SESSION, Temper};
use crate::run::{Run, told};

/// What a schedule remembers.
#[derive(Default)]
pub(crate) struct Calendar {
    /// For how long somebody may have stood still.
    still: Duration,
}

impl Run {
    /// So many steps: records come, threads have their rounds, time passes, and things happen.
    pub(crate) fn befall(&mut self, steps: u64, writes: bool) -> Result<(), String> {
        for _ in 0..steps {
            match self.cluster.draw(100) {
                0..25 if writes => self.pipe(false),
                0..80 => drop(told(self.cluster.step())?),
                80..85 => drop(self.cluster.write_marker()),
                85..95 => self.let_time_pass()?,
                _ => self.trouble()?,
            }
            if (0..self.cluster.instances()).all(|instance| !self.cluster.is_running(instance)) {
                told(self.cluster.start())?;
            }
            self.watch.look(&mut self.cluster)?;
        }
        Ok(())
    }

    fn let_time_pass(&mut self) -> Result<(), String> {
        let pause = Duration::from_millis(self.cluster.draw(120));
        self.calendar.still += pause;
        if matches!(self.choices.temper, Temper::Calm | Temper::Crashing) && self.calendar.still >= SESSION {
            // Nobody stands still for so long that others take over.
            self.wake()?;
            self.calendar.still = pause;
        }
        self.cluster.advance(pause);
        Ok(())
    }

    fn trouble(&mut self) -> Result<(), String> {
        let count = self.cluster.instances() as u64;
        let instance = usize::try_from(self.cluster.draw(count)).unwrap();
        let (crashes, losses) = match self.choices.temper {
            Temper::Calm => (false, false),
            Temper::Crashing => (true, false),
            Temper::Lost => (false, true),
            Temper::Storm => (true, true),
        };
        match self.cluster.draw(13) {
            0 if crashes => self.cluster.kill(instance),
            1 if crashes && self.choices.keeps_state => {
                let writes = self.cluster.draw(8);
                self.cluster.kill_at_write(instance, writes);
            }
            1..4 if crashes => {
                let calls = self.cluster.draw(40);
                self.cluster.kill_after(instance, calls);
            }
            4..6 if losses => self.cluster.expel(instance),
            6 if self.cluster.is_running(instance) => self.cluster.pause(instance),
            7 => {
                let calls = self.cluster.draw(40);
                self.cluster.pause_after(instance, calls);
            }
            8 => self.marker_or_commit(instance),
            // A task that fails repeats what it has not committed, as a crash does.
            12 if self.choices.exact_or_crashing() => self.poison.give(true),
            9 if count < 5 => self.newcomer(instance)?,
            10 => self.stop(instance)?,
            _ => self.come_back(instance)?,
        }
        Ok(())
    }

    /// One more, for whom others have to give tasks up; one of those may stand still in the middle of that.
    fn newcomer(&mut self, old: usize) -> Result<(), String> {
        told(self.cluster.start())?;
        if self.cluster.draw(2) == 0 {
            let calls = self.cluster.draw(10);
            self.cluster.pause_after(old, calls);
        }
        Ok(())
    }

    /// Markers come late for a while, or a commit is lost.
    fn marker_or_commit(&mut self, instance: usize) {
        match self.cluster.draw(4) {
            0 | 1 => self.cluster.hold_markers(true),
            2 => self.cluster.hold_markers(false),
            _ => {
                let lost = if self.cluster.draw(2) == 0 { LostCommit::Request } else { LostCommit::Answer };
                self.cluster.lose_commit(instance, lost);
            }
        }
    }

    fn come_back(&mut self, instance: usize) -> Result<(), String> {
        self.resume(instance)?;
        // One that lives is restarted in peace, the dead return as others.
        if !self.cluster.is_running(instance) || self.cluster.draw(3) == 0 {
            let restarted = self.cluster.restart(instance);
            self.forgiven(restarted)?;
        }
        Ok(())
    }

    fn stop(&mut self, instance: usize) -> Result<(), String> {
        let stopped = self.cluster.stop(instance);
        self.forgiven(stopped)
    }

    fn resume(&mut self, instance: usize) -> Result<(), String> {
        let resumed = self.cluster.resume(instance);
        self.forgiven(resumed)
    }

    /// Who was thrown out and does not know it finds out when it leaves.
    fn forgiven(&self, done: Result<(), highwater::Error>) -> Result<(), String> {
        match done {
            Err(error) if error.kind() == ErrorKind::Fenced && self.choices.temper != Temper::Calm => Ok(()),
            done => told(done),
        }
    }

    fn wake(&mut self) -> Result<(), String> {
        self.calendar.still = Duration::ZERO;
        (0..self.cluster.instances()).try_for_each(|instance| self.resume(instance))
    }

    /// Whoever stands still goes on; at least one runs and is not about to die.
    pub(crate) fn recover(&mut self) -> Result<(), String> {
        self.cluster.hold_markers(false);
        self.poison.give(false);
        self.wake()?;
        (0..self.cluster.instances()).for_each(|instance| self.cluster.spare(instance));
        for instance in 0..self.cluster.instances() {
            // A task that has failed is run again by another life of its instance.
            if self.cluster.is_running(instance) && self.cluster.has_failures(instance) {
                let restarted = self.cluster.restart(instance);
                self.forgiven(restarted)?;
            }
        }
        told(self.cluster.start()).map(drop)
    }
}
