//! A study: a piece of work cut into stages of trials, kept in a database so that a kill at any moment loses nothing.
//!
//! A stage is opened with the planner's state and its trials in one transaction; each trial gets exactly one outcome; when all
//! are in, they are told to the planner in the order of the trials, which gives the next stage. So the same seed gives
//! the same study, however often it was killed and whoever did the work: one process on a SQLite file, or any number of
//! coordinators and workers on PostgreSQL. A stage without trials is the end.

mod coordinator;
mod identity;
mod place;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;
mod worker;

pub use coordinator::{Plan, lead, work_through};
pub use identity::Identity;
pub use place::{Place, lease_length, or_file};
pub use postgres::{Address, Lease, PostgresStudy, Progress, Typed, progress, without_passwords};
#[cfg(test)]
pub use postgres::{Failure, Running};
pub use sqlite::SqliteStudy;
pub use worker::work;

use lossmith_search::trial::{Outcome, Trial};

/// After so many attempts that ended in an error a trial has failed, and the search goes on.
pub const MOST_ERRORS: u32 = 5;

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

    /// Takes up to `most` trials of the latest stage that nobody else works on, and keeps them until they are finished or given
    /// back; none where all are taken.
    fn take(&mut self, most: usize) -> anyhow::Result<Vec<Job>>;

    /// Stores the outcomes of jobs, once: a second report on the same trial is dropped.
    fn finish(&mut self, done: &[(Job, Outcome)]) -> anyhow::Result<()>;

    /// Gives jobs back: with an error, which is kept and counts as an attempt, or unharmed, because the work must stop.
    fn give_back(&mut self, jobs: &[Job], error: Option<&str>) -> anyhow::Result<()>;

    /// How many trials of a stage have their outcome.
    fn done(&mut self, stage: u32) -> anyhow::Result<usize>;

    /// The trials of a stage with their outcomes so far, in order.
    fn outcomes(&mut self, stage: u32) -> anyhow::Result<Vec<(Trial, Option<Outcome>)>>;
}
