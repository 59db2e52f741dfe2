//! What a comparison leaves in its run: `result.json`, and the page that `report` makes anew.

use lossmith::stats::{self, Verdict};

use crate::report::{self, Comparison, Measured, Pair, Provenance, ReportData};
use crate::run::Run;
use crate::tasks::search::Begun;

/// A finished comparison in which every loss was trained at one rate.
pub struct Finished<'a> {
    /// What the values are: "mean SBD".
    pub metric: &'a str,
    /// The first seed.
    pub seed: u64,
    /// What the data are, in words.
    pub data: &'a str,
    /// The learning rate of every training.
    pub rate: f64,
    /// The losses.
    pub names: &'a [&'a str],
    /// One list of values a loss, a value for each seed.
    pub values: &'a [Vec<f64>],
    /// How many trainings of each loss diverged; their values are 0.
    pub diverged: &'a [usize],
    /// What follows from them.
    pub verdict: &'a Verdict,
}

impl Finished<'_> {
    /// The verdict with what it holds for.
    pub fn said(&self) -> String {
        let rate = self.rate;
        format!(
            "{}\nAll losses were trained at the recipe's rate, {rate}, which may suit one better than another.",
            self.verdict.verdict
        )
    }

    /// Writes the results, as they are printed with `--json`, and the page.
    pub fn write(&self, run: &Run, result: &serde_json::Value) -> anyhow::Result<()> {
        run.write_json("result.json", result)?;
        let begun = Begun::now(None, None)?;
        let data = ReportData {
            title: "Losses compared".to_owned(),
            summary: self.said(),
            metric: self.metric.to_owned(),
            provenance: Provenance {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                date: begun.date(),
                command: begun.command,
                seed: self.seed,
                data: self.data.to_owned(),
                machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
                seconds: None,
            },
            recipe: run.read("recipe.toml")?,
            comparisons: vec![self.comparison()],
            ..ReportData::default()
        };
        report::write(run, &data)
    }

    fn comparison(&self) -> Comparison {
        let loss = |((name, values), diverged): ((&&str, &Vec<f64>), &usize)| Measured {
            name: (*name).to_owned(),
            formula: None,
            rate: Some(self.rate),
            mean: stats::mean(values).unwrap_or(0.0),
            sd: stats::sd(values),
            n: values.len(),
            diverged: *diverged,
        };
        Comparison {
            condition: "The same learning rate for all".to_owned(),
            losses: self.names.iter().zip(self.values).zip(self.diverged).map(loss).collect(),
            pairs: self.verdict.pairs.iter().map(Pair::from).collect(),
            verdict: self.verdict.verdict.clone(),
        }
    }
}
