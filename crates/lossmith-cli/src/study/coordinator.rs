//! The loop that leads a study from stage to stage. Several may run on one study; all come to the same.

use lossmith_search::trial::{Outcome, Trial};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::worker::{Evaluate, Patience, work_off};
use super::{Stage, Study};
use crate::interrupt;
use crate::progress::{Pace, Talk};

/// What decides which trials come next: serialisable, deterministic, blind to how the trials are done.
pub trait Plan: Serialize + DeserializeOwned {
    /// What is being done, in words.
    fn stage(&self) -> String;

    /// The trials of the present stage; none when the plan is done.
    fn trials(&self) -> anyhow::Result<Vec<Trial>>;

    /// Takes the outcomes, in the order of the trials, and moves on to the next stage.
    fn tell(&mut self, outcomes: &[Outcome]) -> anyhow::Result<()>;

    /// About how many training steps are left after the present stage.
    fn steps_to_come(&self) -> u64 {
        0
    }
}

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
    lead(study, first, batch, talk, evaluate, &mut |_, _| Ok(()))
}

/// The same; `watch` hears of the plan and the pace at the beginning and every few seconds.
///
/// # Errors
/// As [`work_through`]; and whatever `watch` fails with.
pub fn lead<P: Plan>(
    study: &mut dyn Study,
    first: P,
    batch: usize,
    talk: &mut Talk,
    evaluate: &mut Evaluate<'_>,
    watch: &mut dyn FnMut(&P, &Pace) -> anyhow::Result<()>,
) -> anyhow::Result<P> {
    let mut leader = Leader { study, batch, talk, evaluate, watch };
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

struct Leader<'a, 'e, P> {
    study: &'a mut dyn Study,
    batch: usize,
    talk: &'a mut Talk,
    evaluate: &'a mut Evaluate<'e>,
    watch: &'a mut dyn FnMut(&P, &Pace) -> anyhow::Result<()>,
}

impl<P: Plan> Leader<'_, '_, P> {
    /// The latest stage's number and plan; a new study begins with `first`.
    fn start(&mut self, first: P) -> anyhow::Result<(u32, P)> {
        if self.study.latest()?.is_none() {
            self.study.open(&Stage { number: 0, state: serde_json::to_string(&first)? }, &first.trials()?)?;
        }
        // What counts is what stands in the study: another coordinator may have been faster.
        let stage = self.study.latest()?.ok_or_else(|| anyhow::anyhow!("the study has no stage after it was begun"))?;
        Ok((stage.number, serde_json::from_str(&stage.state)?))
    }

    /// Does the trials of a stage that are still open, and waits for those that others do.
    fn complete(&mut self, number: u32, plan: &P, trials: &[Trial]) -> anyhow::Result<()> {
        let steps = trials.iter().map(|t| u64::from(t.steps)).sum();
        self.talk.stage(&plan.stage(), self.study.done(number)?, trials.len(), steps, plan.steps_to_come());
        if self.talk.is_time() {
            (self.watch)(plan, &self.talk.pace())?;
        }
        let mut patience = Patience::default();
        loop {
            let jobs = self.study.take(self.batch)?;
            if jobs.is_empty() {
                let done = self.study.done(number)?;
                self.talk.at(done);
                if done >= trials.len() {
                    return Ok(());
                }
                patience.wait();
            } else {
                patience = Patience::default();
                work_off(self.study, &jobs, self.evaluate)?;
                self.talk.at(self.study.done(number)?);
            }
            if interrupt::asked() {
                return Err(interrupt::Interrupted.into());
            }
            if self.talk.is_time() {
                (self.watch)(plan, &self.talk.pace())?;
            }
        }
    }
}
