//! Doing jobs: for a coordinator, or for a study that somebody else leads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use lossmith_search::trial::{Outcome, Trial};

use super::identity::shorten;
use super::{Job, PostgresStudy, Study};
use crate::interrupt;

/// Does some trials; `None` for one that was stopped on request.
pub type Evaluate<'a> = dyn FnMut(&[Trial]) -> anyhow::Result<Vec<Option<Outcome>>> + 'a;

/// Pauses between looks for work where there is none: short at first, so that a stage's end is noticed at once.
#[derive(Debug, Default)]
pub struct Patience(u32);

impl Patience {
    /// Waits, longer every time.
    pub fn wait(&mut self) {
        thread::sleep(Duration::from_millis(10 << self.0.min(4)));
        self.0 += 1;
    }
}

/// Works for a study that others lead, until it has ended or the user stops it; returns how many outcomes were stored.
///
/// # Errors
/// A database that is lost for good.
pub fn work(study: &mut PostgresStudy, batch: usize, evaluate: &mut Evaluate<'_>) -> anyhow::Result<usize> {
    let mut stored = 0;
    let mut patience = Patience::default();
    while !interrupt::asked() {
        let jobs = study.take(batch)?;
        if jobs.is_empty() {
            if study.is_over()? {
                break;
            }
            patience.wait();
            continue;
        }
        patience = Patience::default();
        stored += work_off(study, &jobs, evaluate)?;
    }
    Ok(stored)
}

/// Does jobs that were taken, and stores their outcomes; returns how many. An error or a panic gives its job back, with the
/// error kept.
pub fn work_off(study: &mut dyn Study, jobs: &[Job], evaluate: &mut Evaluate<'_>) -> anyhow::Result<usize> {
    match attempt(jobs, evaluate) {
        Ok(outcomes) => {
            let (done, stopped): (Vec<_>, Vec<_>) =
                jobs.iter().cloned().zip(outcomes).partition(|(_, outcome)| outcome.is_some());
            let done: Vec<_> = done.into_iter().filter_map(|(job, outcome)| Some((job, outcome?))).collect();
            study.finish(&done)?;
            let stopped: Vec<Job> = stopped.into_iter().map(|(job, _)| job).collect();
            if !stopped.is_empty() {
                study.give_back(&stopped, None)?;
            }
            Ok(done.len())
        }
        // One bad trial must not count against the others.
        Err(_) if jobs.len() > 1 => {
            let mut done = 0;
            for job in jobs {
                done += work_off(study, std::slice::from_ref(job), evaluate)?;
            }
            Ok(done)
        }
        Err(e) => {
            let error = shorten(&format!("{e:#}"));
            for job in jobs {
                tracing::warn!("trial {}.{} ({}): {error}", job.stage, job.place, shorten(&job.trial.loss));
            }
            study.give_back(jobs, Some(&error))?;
            Ok(0)
        }
    }
}

fn attempt(jobs: &[Job], evaluate: &mut Evaluate<'_>) -> anyhow::Result<Vec<Option<Outcome>>> {
    let trials: Vec<Trial> = jobs.iter().map(|job| job.trial.clone()).collect();
    let result = catch_unwind(AssertUnwindSafe(|| evaluate(&trials))).unwrap_or_else(|panic| Err(panic_error(&*panic)));
    match result {
        Err(e) if e.is::<interrupt::Interrupted>() => Ok(vec![None; jobs.len()]),
        Ok(outcomes) => {
            anyhow::ensure!(outcomes.len() == jobs.len(), "{} trials, {} outcomes", jobs.len(), outcomes.len());
            Ok(outcomes)
        }
        error => error,
    }
}

fn panic_error(panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow::anyhow!("the evaluation panicked: {}", text.unwrap_or("without a word"))
}
