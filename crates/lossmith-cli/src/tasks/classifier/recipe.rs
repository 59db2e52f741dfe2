//! The recipe of the classifier task.

use anyhow::ensure;
use lossmith_nets::Precision;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ranges::{self, Limits, MADE, RATE, SHARE, STEPS, key};
use crate::recipe::Presets;
use crate::tasks::search::recipe::{CmaEs, Compare, Search, Sections, Taylor, positive, share};

/// The presets of the classifier task.
pub const PRESETS: Presets = Presets {
    task: "classifier",
    laptop: include_str!("../../../../../recipes/classifier-laptop.toml"),
    full: include_str!("../../../../../recipes/classifier-full.toml"),
};

/// Every number that a classifier run depends on; documented in `recipes/classifier-laptop.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub seed: u64,
    pub data: Data,
    pub train: Train,
    pub search: Search,
    pub taylor: Taylor,
    pub cma_es: CmaEs,
    pub compare: Compare,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub validation: usize,
    pub digits_train: usize,
    pub digits_test: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    pub net: String,
    pub steps: u32,
    pub batch: usize,
    pub rate: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    pub rate_steps: Vec<u32>,
    pub rate_factor: f64,
    pub crop: usize,
    pub flip: bool,
    pub eval_every: u32,
    /// Recipes of earlier runs do not name it.
    #[serde(default, deserialize_with = "precision")]
    pub precision: Precision,
}

/// The names of [`Precision`], with the key in the error.
fn precision<'de, D: Deserializer<'de>>(found: D) -> Result<Precision, D::Error> {
    let name = String::deserialize(found)?;
    name.parse().map_err(|e| D::Error::custom(format!("train.precision: {e}")))
}

const RANGES: &[Limits] = &[
    ("data.validation", 1.0, 1e7),
    key("data.digits_train", MADE),
    key("data.digits_test", MADE),
    key("train.steps", STEPS),
    ("train.batch", 1.0, 1e5),
    key("train.rate", RATE),
    key("train.momentum", SHARE),
    key("train.weight_decay", SHARE),
    ("train.rate_steps", 0.0, 1e8),
    ("train.rate_factor", 1e-12, 10.0),
    ("train.crop", 0.0, 1e3),
    key("train.eval_every", STEPS),
];

impl Recipe {
    /// Checks what the types do not say.
    pub fn check(&self) -> anyhow::Result<()> {
        let t = &self.train;
        ensure!(t.steps >= 1, "train.steps: expected at least 1, found {}", t.steps);
        ensure!(t.batch >= 1, "train.batch: expected at least 1, found {}", t.batch);
        ensure!(t.eval_every >= 1, "train.eval_every: expected at least 1, found {}", t.eval_every);
        positive("train.rate", t.rate)?;
        share("train.momentum", t.momentum)?;
        ensure!(t.momentum < 1.0, "train.momentum: expected less than 1, found {}", t.momentum);
        ensure!(t.weight_decay >= 0.0 && t.weight_decay.is_finite(), "train.weight_decay: expected at least 0");
        positive("train.rate_factor", t.rate_factor)?;
        ensure!(self.data.validation >= 1, "data.validation: expected at least 1");
        self.sections().check()?;
        ranges::check(self, "", &[ranges::SEARCH, RANGES])?;
        let last = t.rate * t.rate_factor.powi(t.rate_steps.len() as i32);
        ensure!(last <= 1e30, "train.rate_steps: with train.rate_factor the rate grows to {last:e}, past all numbers");
        Ok(())
    }

    /// What leads a search.
    pub fn sections(&self) -> Sections {
        Sections {
            seed: self.seed,
            search: self.search.clone(),
            taylor: self.taylor.clone(),
            cma_es: self.cma_es.clone(),
            compare: self.compare.clone(),
            steps: self.train.steps,
            rate: self.train.rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_complete() {
        for preset in ["laptop", "full"] {
            let recipe: Recipe = crate::recipe::load(PRESETS, preset, &[]).unwrap();
            recipe.check().unwrap();
            let text = crate::recipe::to_text(&recipe).unwrap();
            assert_eq!(crate::recipe::parse_text::<Recipe>(&text).unwrap(), recipe);
        }
    }

    #[test]
    fn a_precision_is_one_of_two() {
        let load = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(ToString::to_string).collect();
            crate::recipe::load::<Recipe>(PRESETS, "laptop", &set)
        };
        assert_eq!(load(&[]).unwrap().train.precision, Precision::F32);
        assert_eq!(load(&["train.precision=bf16"]).unwrap().train.precision, Precision::Bf16);
        let error = load(&["train.precision=f16"]).unwrap_err().to_string();
        assert_eq!(error, "recipe: train.precision: there is no 'f16'; there is: f32, bf16");
        // A recipe that was written before there was the key.
        let text = crate::recipe::to_text(&load(&[]).unwrap()).unwrap().replace("precision = \"f32\"\n", "");
        assert_eq!(crate::recipe::parse_text::<Recipe>(&text).unwrap(), load(&[]).unwrap());
    }

    #[test]
    fn bad_numbers_are_named() {
        for (set, part) in [
            ("train.steps=0", "train.steps"),
            ("train.rate=-1", "train.rate"),
            ("compare.seeds=1", "compare.seeds"),
            ("search.savings.halving_steps=300", "fewer than search.steps"),
            ("taylor.population=2", "taylor.population"),
        ] {
            let recipe: Recipe = crate::recipe::load(PRESETS, "laptop", &[set.to_owned()]).unwrap();
            assert!(recipe.check().unwrap_err().to_string().contains(part));
        }
    }
}
