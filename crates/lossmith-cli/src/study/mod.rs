//! A study: a piece of work cut into stages of trials, kept in a database so that a kill at any moment loses nothing.
//!
//! A stage is opened with the planner's state and its trials in one transaction; each trial gets exactly one outcome; when all
//! are in, they are told to the planner in the order of the trials, which gives the next stage. So the same seed gives
//! the same study, however often it was killed and whoever did the work.

mod coordinator;
mod sqlite;

pub use coordinator::{Plan, work_through};
pub use sqlite::SqliteStudy;

use lossmith_search::trial::{Outcome, Trial};

/// A stage as it was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Its number, from 0.
    pub number: u32,
    /// The planner's state, as JSON, before the stage's outcomes are told.
    pub state: String,
}

/// A trial to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The stage it belongs to.
    pub stage: u32,
    /// Its place in the stage.
    pub place: u32,
    /// How many times it has been taken, this time included: the fencing token of its lease.
    pub attempt: u32,
    /// What is to be trained.
    pub trial: Trial,
}

/// Where a study is kept.
pub trait Study {
    /// The latest stage, or `None` in a new study.
    fn latest(&mut self) -> anyhow::Result<Option<Stage>>;

    /// Opens a stage; nothing happens if it is open already.
    fn open(&mut self, stage: &Stage, trials: &[Trial]) -> anyhow::Result<()>;

    /// Takes up to `most` trials of the latest stage that nobody else works on.
    fn take(&mut self, most: usize) -> anyhow::Result<Vec<Job>>;

    /// Stores the outcome of a job, once: a second report on the same trial is dropped.
    fn finish(&mut self, job: &Job, outcome: &Outcome) -> anyhow::Result<()>;

    /// The trials of a stage with their outcomes so far, in order.
    fn outcomes(&mut self, stage: u32) -> anyhow::Result<Vec<(Trial, Option<Outcome>)>>;
}
