//! One seed: an application, a schedule of what befalls it, and what must hold all the while.

use highwater::{Cluster, Error, Timestamp};

use crate::choices::{BEGIN, Choices, SESSION};
use crate::topologies::{IN, Kind, Poison, ROWS};
use crate::trouble::Calendar;
use crate::watch::Watch;

/// A run, going on or over.
pub(crate) struct Run {
    pub(crate) choices: Choices,
    pub(crate) cluster: Cluster,
    /// What was written, in that order.
    pub(crate) input: Vec<Piped>,
    pub(crate) watch: Watch,
    pub(crate) calendar: Calendar,
    pub(crate) poison: Poison,
}

pub(crate) struct Piped {
    pub(crate) table: bool,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) at: i64,
}

impl Run {
    /// The choices that a seed begins with.
    pub(crate) fn of(seed: u64) -> Run {
        let choices = Choices::of(seed);
        let poison = Poison::default();
        let cluster = choices.cluster(&choices.kind.topology(poison.clone()));
        let watch = Watch::of(&choices);
        Run { choices, cluster, input: Vec::new(), watch, calendar: Calendar::default(), poison }
    }

    /// Everything that befalls it, to the end of its input.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        if self.choices.kind == Kind::Join {
            (0..12).for_each(|_| self.pipe(true));
            self.befall(60, false)?;
            self.recover()?;
            // The stream meets a table that is complete.
            told(self.cluster.run_for(SESSION * 2))?;
            self.watch.table_is_complete(&self.cluster);
        }
        let steps = 100 + self.cluster.draw(300);
        self.befall(steps, true)?;
        self.recover()?;
        told(self.cluster.finish())?;
        self.watch.look(&mut self.cluster)?;
        self.watch.stores_are_folds(&mut self.cluster, true)
    }

    pub(crate) fn pipe(&mut self, table: bool) {
        let n = i64::try_from(self.input.len()).unwrap();
        let late = i64::try_from(self.cluster.draw(30)).unwrap();
        let key = format!("k{}", if table { n % 6 } else { i64::try_from(self.cluster.draw(6)).unwrap() });
        let piped = Piped { table, key, value: format!("v{n}"), at: BEGIN + n * 7 + 30 - late };
        let topic = if table { ROWS } else { IN };
        self.cluster.pipe(&topic, piped.key.clone(), piped.value.clone(), Timestamp::from_millis(piped.at)).unwrap();
        self.input.push(piped);
    }
}

pub(crate) fn told<T>(done: Result<T, Error>) -> Result<T, String> {
    done.map_err(|error| error.to_string())
}
