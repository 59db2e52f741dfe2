//! Successive halving: many candidates train shortly, the best share of them longer, and so on.
//!
//! Reference: K. Jamieson and A. Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization,
//! arXiv 1502.07943.
//!
//! ```
//! use lossmith_search::halving::Halving;
//! let mut halving = Halving::new(9, 200, 1_800, 3).unwrap();
//! let mut rungs = Vec::new();
//! while let Some(rung) = halving.ask() {
//!     rungs.push((rung.steps, rung.candidates.len()));
//!     let values: Vec<f64> = rung.candidates.iter().map(|c| *c as f64).collect();
//!     halving.tell(&values).unwrap();
//! }
//! assert_eq!(rungs, [(200, 9), (600, 3), (1_800, 1)]);
//! assert_eq!(halving.ranking()[0], 8);
//! ```

use serde::{Deserialize, Serialize};

/// The schedule and what was told so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Halving {
    most_steps: u64,
    share: u64,
    steps: u64,
    /// Indices of the candidates still in the race, ascending.
    racing: Vec<usize>,
    /// Per candidate: the rung it was last told in, from 1, and its value there.
    last: Vec<(u32, f64)>,
    rung: u32,
    done: bool,
}

/// What to train next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Steps from the start of training; a candidate may go on from where the rung before left it.
    pub steps: u64,
    /// Indices of the candidates, ascending.
    pub candidates: Vec<usize>,
}

/// What cannot be asked of successive halving.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("successive halving: {0}")]
pub struct HalvingError(String);

impl Halving {
    /// `candidates` begin with `least_steps`; of each rung the best `1/share` go on with `share` times the steps, up to
    /// `most_steps`.
    ///
    /// # Errors
    /// No candidates, no steps, more least than most steps, or a share below 2.
    pub fn new(candidates: usize, least_steps: u64, most_steps: u64, share: u64) -> Result<Self, HalvingError> {
        if candidates == 0 || least_steps == 0 || least_steps > most_steps || share < 2 {
            return Err(HalvingError(format!(
                "expected at least one candidate, 0 < least steps <= most steps and a share of at least 2; found \
                 {candidates} candidates, steps {least_steps} to {most_steps}, share {share}"
            )));
        }
        let racing = (0..candidates).collect();
        let last = vec![(0, 0.0); candidates];
        Ok(Self { most_steps, share, steps: least_steps, racing, last, rung: 1, done: false })
    }

    /// What to train next; the same until [`tell`](Self::tell) is called, `None` when all is done.
    pub fn ask(&self) -> Option<Rung> {
        (!self.done).then(|| Rung { steps: self.steps, candidates: self.racing.clone() })
    }

    /// Takes the values of the rung's candidates, in their order; larger is better, what is not a number is worst.
    ///
    /// # Errors
    /// Another number of values than candidates, or nothing was left to be told. Nothing is changed then.
    pub fn tell(&mut self, values: &[f64]) -> Result<(), HalvingError> {
        let expected = if self.done { 0 } else { self.racing.len() };
        if values.len() != expected || self.done {
            return Err(HalvingError(format!("expected {expected} values, one per candidate, found {}", values.len())));
        }
        for (candidate, value) in self.racing.iter().zip(values) {
            self.last[*candidate] = (self.rung, if value.is_finite() { *value } else { f64::MIN });
        }
        if self.steps == self.most_steps {
            self.done = true;
            return Ok(());
        }
        let left = self.racing.len().div_ceil(usize::try_from(self.share).unwrap_or(usize::MAX));
        self.racing = self.ranking().into_iter().take(left).collect();
        self.racing.sort_unstable();
        self.steps = self.steps.saturating_mul(self.share).min(self.most_steps);
        self.rung += 1;
        Ok(())
    }

    /// All candidates, best first: who came further is better, then who had the larger value, then who came first.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.last.len()).collect();
        order.sort_by(|a, b| {
            let ((rung_a, a), (rung_b, b)) = (self.last[*a], self.last[*b]);
            rung_b.cmp(&rung_a).then(b.total_cmp(&a))
        });
        order
    }

    /// The rung, from 1, in which a candidate was last told, and its value there.
    pub fn last(&self, candidate: usize) -> Option<(u32, f64)> {
        self.last.get(candidate).copied().filter(|(rung, _)| *rung > 0)
    }

    /// The rung under way, from 1; the last one when all is done.
    pub fn rung(&self) -> u32 {
        self.rung
    }

    /// Whether every rung was told.
    pub fn is_done(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_survive_and_who_came_further_ranks_first() {
        let mut halving = Halving::new(4, 100, 200, 2).unwrap();
        halving.tell(&[0.9, f64::NAN, 0.8, 0.1]).unwrap();
        assert_eq!(halving.ask(), Some(Rung { steps: 200, candidates: vec![0, 2] }));
        let text = serde_json::to_string(&halving).unwrap();
        assert_eq!(serde_json::from_str::<Halving>(&text).unwrap(), halving);
        // The long training turns the order round.
        halving.tell(&[0.5, 0.7]).unwrap();
        assert_eq!((halving.ask(), halving.ranking()), (None, vec![2, 0, 3, 1]));
        assert_eq!((halving.last(2), halving.last(3), halving.last(9)), (Some((2, 0.7)), Some((1, 0.1)), None));
        assert!(halving.tell(&[]).is_err());
    }

    #[test]
    fn steps_end_at_the_most_and_odd_numbers_are_rounded_up() {
        let mut halving = Halving::new(7, 100, 1_000, 3).unwrap();
        let mut rungs = Vec::new();
        while let Some(rung) = halving.ask() {
            rungs.push((rung.steps, rung.candidates.len()));
            halving.tell(&vec![1.0; rung.candidates.len()]).unwrap();
        }
        assert_eq!(rungs, [(100, 7), (300, 3), (900, 1), (1_000, 1)]);
        assert_eq!(Halving::new(3, 50, 50, 2).unwrap().ask().unwrap().steps, 50);
    }

    #[test]
    fn impossible_schedules_are_refused() {
        for (candidates, least, most, share) in [(0, 1, 1, 2), (1, 0, 1, 2), (1, 2, 1, 2), (1, 1, 1, 1)] {
            assert!(Halving::new(candidates, least, most, share).is_err());
        }
        assert!(Halving::new(2, 1, 1, 2).unwrap().tell(&[1.0]).is_err());
    }
}
