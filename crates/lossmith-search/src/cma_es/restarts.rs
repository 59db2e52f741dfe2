//! Restarts: when a run of CMA-ES stops, another begins with another population, so that local optima are left behind.
//!
//! [`Schedule::Ipop`] doubles the population at every restart. [`Schedule::Bipop`] takes turns between that and short runs
//! with small populations and small steps, whichever of the two has used fewer evaluations so far.
//!
//! References: A. Auger and N. Hansen, A Restart CMA Evolution Strategy with Increasing Population Size, CEC 2005;
//! N. Hansen, Benchmarking a BI-Population CMA-ES on the BBOB-2009 Function Testbed, GECCO 2009.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::constants::default_population;
use super::{CmaEs, CmaEsError, MAX_POPULATION, Point, Settings, Stop};
use crate::Stream;

/// How the population changes from run to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Always the same.
    Same,
    /// Twice the last one.
    #[default]
    Ipop,
    /// Large doubling ones and small random ones in turns.
    Bipop,
}

/// What may be chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartSettings {
    /// How the population changes.
    pub schedule: Schedule,
    /// The most restarts after the first run; the small ones of [`Schedule::Bipop`] are not counted.
    pub restarts: u32,
    /// The most values to be told over all runs.
    pub evaluations: Option<u64>,
    /// Of the single run; its target ends everything.
    pub run: Settings,
}

impl Default for RestartSettings {
    fn default() -> Self {
        Self { schedule: Schedule::Ipop, restarts: 9, evaluations: None, run: Settings::default() }
    }
}

/// CMA-ES with restarts; used like [`CmaEs`] itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restarts {
    settings: RestartSettings,
    start: Vec<f64>,
    sigma: f64,
    seed: u64,
    stream: Stream,
    run: CmaEs,
    runs: u64,
    large_runs: u32,
    is_small: bool,
    evaluations: u64,
    /// Evaluations of the finished runs with large and with small populations.
    spent: [u64; 2],
    best: Option<Point>,
    stop: Option<Stop>,
}

impl Restarts {
    /// Starts the first run; every run starts at the same mean.
    ///
    /// # Errors
    /// As [`CmaEs::new`].
    pub fn new(start: Vec<f64>, sigma: f64, seed: u64, settings: RestartSettings) -> Result<Self, CmaEsError> {
        let run = CmaEs::on_stream(start.clone(), sigma, Stream::new(seed, 0), settings.run.clone())?;
        Ok(Self {
            settings,
            start,
            sigma,
            seed,
            // Streams count the runs from 0 up, so the choices of the restarts take the last one.
            stream: Stream::new(seed, u64::MAX),
            run,
            runs: 1,
            large_runs: 1,
            is_small: false,
            evaluations: 0,
            spent: [0; 2],
            best: None,
            stop: None,
        })
    }

    /// The candidates of this generation; the same ones until [`tell`](Self::tell) is called.
    pub fn ask(&mut self) -> &[Vec<f64>] {
        self.run.ask()
    }

    /// Takes the values of the candidates as [`CmaEs::tell`] does, and begins a new run where one has come to its end.
    ///
    /// # Errors
    /// As [`CmaEs::tell`].
    pub fn tell(&mut self, values: &[f64]) -> Result<(), CmaEsError> {
        self.run.tell(values)?;
        self.evaluations += values.len() as u64;
        let found = self.run.best().filter(|p| self.best.as_ref().is_none_or(|b| p.value < b.value));
        if let Some(point) = found {
            self.best = Some(point.clone());
        }
        let over = self.settings.evaluations.is_some_and(|most| self.evaluations >= most);
        match self.run.stop() {
            Some(Stop::Target) => self.stop = Some(Stop::Target),
            _ if over => self.stop = Some(Stop::Evaluations),
            Some(reason) => self.restart(reason)?,
            None => {}
        }
        Ok(())
    }

    /// The best finite value of all runs, and its point.
    pub fn best(&self) -> Option<&Point> {
        self.best.as_ref()
    }

    /// The run that is under way.
    pub fn run(&self) -> &CmaEs {
        &self.run
    }

    /// How many runs were begun.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// How many values were told over all runs.
    pub fn evaluations(&self) -> u64 {
        self.evaluations
    }

    /// The number of candidates per generation of the run under way.
    pub fn population_size(&self) -> usize {
        self.run.population_size()
    }

    /// Why it is time to stop, if it is: the reason of the last run when no restart is left.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    fn restart(&mut self, reason: Stop) -> Result<(), CmaEsError> {
        self.spent[usize::from(self.is_small)] += self.run.evaluations();
        let schedule = self.settings.schedule;
        self.is_small = schedule == Schedule::Bipop && self.runs > 1 && self.spent[1] < self.spent[0];
        if !self.is_small && self.large_runs > self.settings.restarts {
            self.stop = Some(reason);
            return Ok(());
        }
        let first = self.settings.run.population.unwrap_or_else(|| default_population(self.start.len()).max(4));
        let doubled = first.saturating_mul(1usize.checked_shl(self.large_runs).unwrap_or(usize::MAX));
        let (population, sigma) = if self.is_small {
            // Between the first population and half the last large one, mostly near the first; steps down to 1/100.
            let [u, v]: [f64; 2] = self.stream.random();
            let ratio = (doubled as f64 / first as f64 / 4.0).max(1.0);
            ((first as f64 * ratio.powf(u * u)) as usize, self.sigma * 10f64.powf(-2.0 * v))
        } else {
            self.large_runs += 1;
            (if schedule == Schedule::Same { first } else { doubled }, self.sigma)
        };
        let settings = Settings { population: Some(population.min(MAX_POPULATION)), ..self.settings.run.clone() };
        let stream = Stream::new(self.seed, self.runs);
        self.run = CmaEs::on_stream(self.start.clone(), sigma, stream, settings)?;
        self.runs += 1;
        Ok(())
    }
}
