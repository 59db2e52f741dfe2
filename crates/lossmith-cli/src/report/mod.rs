//! The page of a run: one HTML file that needs nothing else, to be read on a screen, on a phone and on paper.
//!
//! [`ReportData`] is all that a page can show; what a run does not have stays empty and its section is left out.

#[cfg(test)]
mod browser;
mod page;

pub use page::page;

use lossmith::stats;
use serde::{Deserialize, Serialize};

use crate::run::Run;

/// Everything that a page shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportData {
    /// The headline: what was done.
    pub title: String,
    /// The answer, in one or two sentences.
    pub summary: String,
    /// The loss that was found.
    pub found: Option<String>,
    /// Where the result comes from.
    pub provenance: Provenance,
    /// The recipe, complete, as TOML.
    pub recipe: String,
    /// What is measured: "accuracy".
    pub metric: String,
    /// Whether the run is still under way: the page then loads itself anew.
    pub running: bool,
    /// What the savings of the search came to, in words.
    pub savings: String,
    /// How many trainings the search did, those of the finalists included; counted by generation where it is not said.
    pub trainings: Option<usize>,
    /// The search, generation by generation.
    pub generations: Vec<Generation>,
    /// The best candidates, best first.
    pub hall_of_fame: Vec<Candidate>,
    /// Losses in the case of two classes, against the probability of the right one (GLO, Fig. 6).
    pub binary_curves: Option<BinaryCurves>,
    /// Accuracy by training step, one curve a loss.
    pub training: Vec<Curve>,
    /// Accuracy by the number of training images, one curve a loss.
    pub training_size: Vec<Curve>,
    /// Losses against each other, under one or several conditions.
    pub comparisons: Vec<Comparison>,
}

/// Where a result comes from; texts are shown as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The program's version.
    pub version: String,
    /// The command line.
    pub command: String,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The data set.
    pub data: String,
    /// Processor and threads.
    pub machine: String,
    /// When the run ended.
    pub date: String,
    /// How long it took.
    pub seconds: Option<f64>,
}

/// One generation of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// From 0.
    pub index: usize,
    /// The best fitness so far.
    pub best: f64,
    /// The mean fitness of this generation.
    pub mean: f64,
    /// How many candidates were trained.
    pub evaluated: usize,
    /// How many candidates needed no training, or less, by reason.
    pub rejected: Vec<(String, usize)>,
}

/// One loss that the search kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The formula, in `x` (label) and `y` (probability).
    pub formula: String,
    /// Its validation accuracy after the shortened training.
    pub fitness: f64,
    /// How many nodes it has.
    pub size: usize,
    /// Where it comes from: "generation 12, crossover", "CMA-ES".
    pub origin: String,
}

/// Losses as functions of the probability of the right class, the other class having the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BinaryCurves {
    /// The probabilities.
    pub probability: Vec<f64>,
    /// Name and values of each loss; a value that is not finite is left out of the drawing.
    pub losses: Vec<(String, Vec<Option<f64>>)>,
}

/// A mean with its band.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The loss.
    pub name: String,
    /// The points, in the order of `at`.
    pub points: Vec<CurvePoint>,
}

/// One point of a [`Curve`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Training step, or number of training images.
    pub at: f64,
    /// The mean over the seeds.
    pub mean: f64,
    /// Lower end of the band.
    pub low: f64,
    /// Upper end of the band.
    pub high: f64,
}

/// Losses against each other under one condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The condition: "The same learning rate for all", "Each at its own best rate".
    pub condition: String,
    /// Each loss.
    pub losses: Vec<Measured>,
    /// Pairs of losses.
    pub pairs: Vec<Pair>,
    /// Who wins, in one sentence.
    pub verdict: String,
}

/// What one loss reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The loss.
    pub name: String,
    /// Its formula, where the name is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
    /// The learning rate it was trained at.
    pub rate: Option<f64>,
    /// Mean test accuracy over the seeds.
    pub mean: f64,
    /// Its standard deviation; none for a single seed.
    pub sd: Option<f64>,
    /// How many seeds.
    pub n: usize,
    /// How many of these trainings diverged, and count as 0.
    #[serde(default)]
    pub diverged: usize,
}

/// Two losses compared on the same seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The first loss.
    pub a: String,
    /// The second loss.
    pub b: String,
    /// Mean of a - b over the seeds.
    pub difference: f64,
    /// Its 95 % confidence interval.
    pub ci95: Option<(f64, f64)>,
    /// Of the paired t test.
    pub p: Option<f64>,
    /// The same, corrected for all pairs by Holm's method.
    pub p_holm: Option<f64>,
    /// In words.
    pub verdict: String,
}

impl From<&stats::Comparison> for Pair {
    fn from(pair: &stats::Comparison) -> Self {
        Self {
            a: pair.a.clone(),
            b: pair.b.clone(),
            difference: pair.difference,
            ci95: pair.ci95.map(|[low, high]| (low, high)),
            p: Some(pair.p),
            p_holm: Some(pair.p_holm),
            verdict: String::new(),
        }
    }
}

/// Writes a page into a run, with the data that it can be made anew from.
pub fn write(run: &Run, data: &ReportData) -> anyhow::Result<()> {
    run.write_json("report.json", data)?;
    run.write("report.html", page(data).as_bytes())?;
    Ok(())
}
