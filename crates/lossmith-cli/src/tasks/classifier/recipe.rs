//! The recipe of the classifier task.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::recipe::Presets;
use crate::tasks::search::recipe::{CmaEs, Compare, Search, Sections, Taylor, positive, share};

/// The presets of the classifier task.
pub const PRESETS: Presets = Presets {
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
}

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
        self.sections().check()
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
