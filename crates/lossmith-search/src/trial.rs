//! A trial: one training of one loss, asked for by a plan and done by somebody else.

use serde::{Deserialize, Serialize};

/// What is to be trained, and how it is scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The loss, as text.
    pub loss: String,
    /// Training steps.
    pub steps: u32,
    /// The replicate: the same number means the same initial weights, batches and split.
    pub seed: u64,
    /// The learning rate, or the recipe's.
    pub rate: Option<f64>,
    /// How many training examples are used, or all.
    pub train_size: Option<u32>,
    /// What it is scored on.
    pub part: Part,
    /// It is given up where its accuracy is below the second at the first, a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<(u32, f64)>,
}

/// The part of the data that a trial is scored on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Held back from training; every choice is made on it.
    Validation,
    /// Untouched until the verdict.
    Test,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Done, diverged, rejected or failed.
    pub end: End,
    /// Accuracy on the trial's part; 0 unless done.
    pub accuracy: f64,
    /// Training steps that were spent.
    pub steps: u32,
    /// Accuracy during training: step and accuracy on the trial's part.
    pub curve: Vec<(u32, f64)>,
}

/// The ways in which a trial ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Trained to the last step.
    Done,
    /// The loss, a gradient or a weight became infinite or undefined.
    Diverged,
    /// Turned away without (further) training, by the filter named here.
    Rejected(String),
    /// Could not be done, for this reason.
    Failed(String),
}

impl Outcome {
    /// A trial that ended without a score.
    pub fn without_score(end: End, steps: u32) -> Self {
        Self { end, accuracy: 0.0, steps, curve: Vec::new() }
    }

    /// The accuracy, or 0 for a trial that was not trained to its end.
    pub fn fitness(&self) -> f64 {
        if self.end == End::Done { self.accuracy } else { 0.0 }
    }
}
