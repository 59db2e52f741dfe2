//! The plan of a fair comparison: every loss with the same seeds, at the same learning rate and at its own best one.

use serde::{Deserialize, Serialize};

use crate::trial::{Outcome, Part, Trial};

/// What is compared, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The losses, as text; the first one is the baseline of the verdict.
    pub losses: Vec<String>,
    /// Training steps of every trial.
    pub steps: u32,
    /// How many replicates each loss gets.
    pub seeds: u32,
    /// The first replicate's number; the others follow.
    pub first_seed: u64,
    /// How many training examples are used, or all.
    pub train_size: Option<u32>,
    /// The learning rate that is the same for all.
    pub rate: f64,
    /// The rates among which each loss finds its own on the validation part; empty to leave that out.
    pub rates: Vec<f64>,
    /// How many replicates choose the rate.
    pub rate_seeds: u32,
}

/// A comparison on its way: ask for [`Comparison::trials`], then [`Comparison::tell`] their outcomes, until none are left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What is compared.
    pub settings: Settings,
    stage: Stage,
    /// Validation accuracy of each loss at each rate, once known.
    pub rate_scores: Vec<Vec<f64>>,
    /// Each loss's own rate, once chosen.
    pub own_rates: Vec<f64>,
    /// Outcomes by loss and replicate at the same rate.
    pub same_rate: Vec<Vec<Outcome>>,
    /// Outcomes by loss and replicate at each loss's own rate.
    pub own_rate: Vec<Vec<Outcome>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    SameRate,
    ChooseRates,
    OwnRates,
    Done,
}

impl Comparison {
    /// A comparison that begins.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            stage: Stage::SameRate,
            rate_scores: Vec::new(),
            own_rates: Vec::new(),
            same_rate: Vec::new(),
            own_rate: Vec::new(),
        }
    }

    /// What is being done, in words.
    pub fn stage(&self) -> &'static str {
        match self.stage {
            Stage::SameRate => "comparing at the same rate",
            Stage::ChooseRates => "choosing each loss's own rate",
            Stage::OwnRates => "comparing at each loss's own rate",
            Stage::Done => "done",
        }
    }

    /// The trials that are needed next; none when done.
    pub fn trials(&self) -> Vec<Trial> {
        let s = &self.settings;
        match self.stage {
            Stage::SameRate => self.replicates(|_| Some(s.rate)),
            Stage::ChooseRates => {
                let mut trials = Vec::new();
                for seed in self.rate_replicates() {
                    for loss in &s.losses {
                        trials.extend(s.rates.iter().map(|rate| self.trial(loss, seed, *rate, Part::Validation)));
                    }
                }
                trials
            }
            Stage::OwnRates => self.replicates(|loss| Some(self.own_rates[loss]).filter(|rate| *rate != s.rate)),
            Stage::Done => Vec::new(),
        }
    }

    /// Takes the outcomes of [`Comparison::trials`], in their order.
    ///
    /// # Panics
    /// If there are not as many outcomes as there were trials.
    pub fn tell(&mut self, outcomes: &[Outcome]) {
        assert_eq!(outcomes.len(), self.trials().len(), "one outcome for each trial");
        let losses = self.settings.losses.len();
        match self.stage {
            Stage::SameRate => {
                self.same_rate = by_column(outcomes, losses);
                self.stage = if self.settings.rates.is_empty() { Stage::Done } else { Stage::ChooseRates };
            }
            Stage::ChooseRates => {
                let rates = self.settings.rates.len();
                let mean = |o: &Vec<Outcome>| o.iter().map(Outcome::fitness).sum::<f64>() / o.len() as f64;
                let scores: Vec<f64> = by_column(outcomes, losses * rates).iter().map(mean).collect();
                self.rate_scores = scores.chunks(rates).map(<[f64]>::to_vec).collect();
                self.own_rates = self.rate_scores.iter().map(|s| self.settings.rates[best(s)]).collect();
                self.stage = Stage::OwnRates;
                if self.trials().is_empty() {
                    self.tell(&[]);
                }
            }
            Stage::OwnRates => {
                let other = self.own_rates.iter().filter(|rate| **rate != self.settings.rate).count();
                let mut told = by_column(outcomes, other).into_iter();
                for (loss, rate) in self.own_rates.iter().enumerate() {
                    // A loss whose own rate is the common one was trained already.
                    let outcomes = if *rate == self.settings.rate { None } else { told.next() };
                    self.own_rate.push(outcomes.unwrap_or_else(|| self.same_rate[loss].clone()));
                }
                self.stage = Stage::Done;
            }
            Stage::Done => {}
        }
    }

    /// Each loss that has a rate, on the test part, replicate by replicate: those of one replicate share their batches.
    fn replicates(&self, rate: impl Fn(usize) -> Option<f64>) -> Vec<Trial> {
        let s = &self.settings;
        let mut trials = Vec::new();
        for seed in s.first_seed..s.first_seed + u64::from(s.seeds) {
            let rated = s.losses.iter().enumerate().filter_map(|(i, loss)| Some((loss, rate(i)?)));
            trials.extend(rated.map(|(loss, rate)| self.trial(loss, seed, rate, Part::Test)));
        }
        trials
    }

    /// The rate is chosen on replicates that the verdict does not use.
    fn rate_replicates(&self) -> std::ops::Range<u64> {
        let first = self.settings.first_seed + u64::from(self.settings.seeds);
        first..first + u64::from(self.settings.rate_seeds)
    }

    fn trial(&self, loss: &str, seed: u64, rate: f64, part: Part) -> Trial {
        let s = &self.settings;
        Trial {
            loss: loss.to_owned(),
            steps: s.steps,
            seed,
            rate: Some(rate),
            train_size: s.train_size,
            part,
            floor: None,
        }
    }
}

/// The outcomes of a table that was told row by row, column by column.
fn by_column(outcomes: &[Outcome], columns: usize) -> Vec<Vec<Outcome>> {
    (0..columns).map(|c| outcomes.iter().skip(c).step_by(columns).cloned().collect()).collect()
}

/// The place of the greatest score; the first of equal ones.
fn best(scores: &[f64]) -> usize {
    let mut best = 0;
    for (place, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = place;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::End;

    fn settings(rates: &[f64]) -> Settings {
        Settings {
            losses: vec!["cross-entropy".into(), "baikal".into()],
            steps: 100,
            seeds: 3,
            first_seed: 10,
            train_size: None,
            rate: 0.1,
            rates: rates.to_vec(),
            rate_seeds: 2,
        }
    }

    /// Accuracy is best at rate 0.1 for cross-entropy and at 0.3 for baikal.
    fn outcome(trial: &Trial) -> Outcome {
        let peak = if trial.loss == "baikal" { 0.3 } else { 0.1 };
        let accuracy = 0.9 - (trial.rate.unwrap() - peak).abs();
        Outcome { end: End::Done, accuracy, steps: trial.steps, curve: Vec::new() }
    }

    fn run(mut comparison: Comparison) -> (Comparison, Vec<usize>) {
        let mut stages = Vec::new();
        loop {
            let trials = comparison.trials();
            if trials.is_empty() {
                return (comparison, stages);
            }
            stages.push(trials.len());
            comparison.tell(&trials.iter().map(outcome).collect::<Vec<_>>());
        }
    }

    #[test]
    fn each_loss_gets_its_own_rate_and_common_ones_are_not_trained_twice() {
        let (done, stages) = run(Comparison::new(settings(&[0.03, 0.1, 0.3])));
        assert_eq!(stages, [6, 12, 3]);
        assert_eq!(done.own_rates, [0.1, 0.3]);
        assert_eq!(done.own_rate[0], done.same_rate[0]);
        assert_eq!(done.own_rate[1][2].accuracy, 0.9);
        assert!(done.same_rate[1][0].accuracy < 0.75);
    }

    #[test]
    fn without_a_grid_only_the_same_rate_is_compared() {
        let (done, stages) = run(Comparison::new(settings(&[])));
        assert_eq!(stages, [6]);
        assert!(done.own_rate.is_empty() && done.own_rates.is_empty());
    }

    #[test]
    fn rates_are_chosen_on_the_validation_part_and_other_seeds() {
        let mut comparison = Comparison::new(settings(&[0.1, 0.3]));
        let verdict: Vec<u64> = comparison.trials().iter().map(|t| t.seed).collect();
        comparison.tell(&comparison.trials().iter().map(outcome).collect::<Vec<_>>());
        for trial in comparison.trials() {
            assert_eq!(trial.part, Part::Validation);
            assert!(!verdict.contains(&trial.seed));
        }
    }
}
