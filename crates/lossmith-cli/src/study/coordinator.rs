//! The loop that leads a study from stage to stage.

use std::marker::PhantomData;

use lossmith_search::trial::{Outcome, Trial};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Stage, Study};
use crate::interrupt;
use crate::progress::Talk;

/// What decides which trials come next: serialisable, deterministic, blind to how the trials are done.
pub trait Plan: Serialize + DeserializeOwned {
    /// What is being done, in words.
    fn stage(&self) -> String;

    /// The trials of the present stage; none when the plan is done.
    fn trials(&self) -> anyhow::Result<Vec<Trial>>;

    /// Takes the outcomes, in the order of the trials, and moves on to the next stage.
    fn tell(&mut self, outcomes: &[Outcome]) -> anyhow::Result<()>;
}

/// Does some trials; `None` for one that was stopped on request.
pub type Evaluate<'a> = dyn FnMut(&[Trial]) -> anyhow::Result<Vec<Option<Outcome>>> + 'a;

/// Leads the study to its end and returns the finished plan. `evaluate` does some trials; it may stop early, with
/// fewer outcomes than trials, when the user asked to stop.
///
/// # Errors
/// The database fails, or the user asked to stop: what is done is kept, and the same call goes on from there.
pub fn work_through<P: Plan>(
    study: &mut dyn Study,
    first: P,
    batch: usize,
    talk: &mut Talk,
    evaluate: &mut Evaluate<'_>,
) -> anyhow::Result<P> {
    let mut leader = Leader { study, batch, talk, evaluate, plan: PhantomData };
    let (mut number, mut plan) = leader.start(first)?;
    loop {
        let trials = plan.trials()?;
        if trials.is_empty() {
            return Ok(plan);
        }
        leader.complete(number, &plan, &trials)?;
        let outcomes: Vec<Outcome> =
            leader.study.outcomes(number)?.into_iter().filter_map(|(_, outcome)| outcome).collect();
        anyhow::ensure!(outcomes.len() == trials.len(), "the study's stage {number} does not fit this plan");
        plan.tell(&outcomes)?;
        number += 1;
        leader.study.open(&Stage { number, state: serde_json::to_string(&plan)? }, &plan.trials()?)?;
    }
}

struct Leader<'a, P> {
    study: &'a mut dyn Study,
    batch: usize,
    talk: &'a mut Talk,
    evaluate: &'a mut Evaluate<'a>,
    plan: PhantomData<P>,
}

impl<P: Plan> Leader<'_, P> {
    /// The latest stage's number and plan; a new study begins with `first`.
    fn start(&mut self, first: P) -> anyhow::Result<(u32, P)> {
        if let Some(stage) = self.study.latest()? {
            return Ok((stage.number, serde_json::from_str(&stage.state)?));
        }
        self.study.open(&Stage { number: 0, state: serde_json::to_string(&first)? }, &first.trials()?)?;
        Ok((0, first))
    }

    /// Does the trials of a stage that are still open.
    fn complete(&mut self, number: u32, plan: &P, trials: &[Trial]) -> anyhow::Result<()> {
        let done = self.study.outcomes(number)?.iter().filter(|(_, outcome)| outcome.is_some()).count();
        self.talk.stage(&plan.stage(), done, trials.len());
        loop {
            let jobs = self.study.take(self.batch)?;
            if jobs.is_empty() {
                return Ok(());
            }
            let trials: Vec<Trial> = jobs.iter().map(|job| job.trial.clone()).collect();
            let outcomes = (self.evaluate)(&trials)?;
            for (job, outcome) in jobs.iter().zip(outcomes) {
                if let Some(outcome) = outcome {
                    self.study.finish(job, &outcome)?;
                    self.talk.trial();
                }
            }
            if interrupt::asked() {
                return Err(interrupt::Interrupted.into());
            }
        }
    }
}
