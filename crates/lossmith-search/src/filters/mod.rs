//! Cheap rejection: what is worthless, or equal to a candidate already seen, is not trained.
//!
//! A formula here is a loss, to be minimised, as `lossmith` reads one: Baikal is `-(log(y) - x/y)`. From the cheapest filter
//! to the dearest: [`Probe`] (microseconds: variables, slope, finite values), [`Equivalents`] (equal gradients) and
//! [`RawPredictions`] (milliseconds: can the loss move logits to the right class at all?).
//!
//! References: CSE-AutoLoss (ICLR 2021), AutoLoss-Zero (CVPR 2022), EvoMAL (arXiv 2403.00865).

mod equivalence;
mod probe;
mod raw_predictions;

pub use equivalence::{Equivalents, GradientPrint, Scale};
pub use probe::Probe;
pub use raw_predictions::RawPredictions;

use serde::{Deserialize, Serialize};

/// Why a candidate is not trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Rejection {
    /// A variable that a loss needs does not occur.
    #[error("a needed variable does not occur")]
    MissingVariable,
    /// The value or the slope is not finite somewhere on the probe points.
    #[error("the value or the slope is not finite on the probe points")]
    NotFinite,
    /// The slope in the prediction is 0 on all probe points.
    #[error("the prediction has no influence")]
    NoSlope,
    /// The gradients are those of a candidate already seen.
    #[error("the gradients are those of a candidate already seen")]
    Equivalent,
    /// Descending the loss does not bring raw predictions to the right class.
    #[error("raw predictions do not learn")]
    Untrainable,
}

/// How many candidates each filter removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// By [`Rejection::MissingVariable`].
    pub missing_variable: u64,
    /// By [`Rejection::NotFinite`].
    pub not_finite: u64,
    /// By [`Rejection::NoSlope`].
    pub no_slope: u64,
    /// By [`Rejection::Equivalent`].
    pub equivalent: u64,
    /// By [`Rejection::Untrainable`].
    pub untrainable: u64,
    /// Left to be trained.
    pub passed: u64,
}

impl Counts {
    /// Counts one candidate and passes its verdict on.
    pub fn count<T>(&mut self, verdict: Result<T, Rejection>) -> Result<T, Rejection> {
        *match &verdict {
            Ok(_) => &mut self.passed,
            Err(Rejection::MissingVariable) => &mut self.missing_variable,
            Err(Rejection::NotFinite) => &mut self.not_finite,
            Err(Rejection::NoSlope) => &mut self.no_slope,
            Err(Rejection::Equivalent) => &mut self.equivalent,
            Err(Rejection::Untrainable) => &mut self.untrainable,
        } += 1;
        verdict
    }

    /// All candidates.
    pub fn total(&self) -> u64 {
        let Self { missing_variable, not_finite, no_slope, equivalent, untrainable, passed } = self;
        missing_variable + not_finite + no_slope + equivalent + untrainable + passed
    }
}
