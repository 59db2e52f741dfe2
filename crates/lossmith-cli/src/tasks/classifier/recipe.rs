//! The recipe of the classifier task.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::recipe::Presets;

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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    pub population: usize,
    pub generations: u32,
    pub elites: usize,
    pub selection: Selection,
    pub tournament: usize,
    pub crossover: f64,
    pub mutation_scalar: f64,
    pub mutation_same_arity: f64,
    pub mutation_to_leaf: f64,
    pub mutation_grow: f64,
    pub operators: Vec<String>,
    pub steps: u32,
    pub confirm: usize,
    pub confirm_seeds: u32,
    pub tune_rate: bool,
    pub rate_multiples: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    Roulette,
    Tournament,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CmaEs {
    pub generations: u32,
    pub population: usize,
    pub sigma: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    pub seeds: u32,
    pub tune_rate: bool,
    pub rates: Vec<f64>,
    pub rate_seeds: u32,
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
        let s = &self.search;
        ensure!(s.population >= 2, "search.population: expected at least 2, found {}", s.population);
        ensure!(s.generations >= 1, "search.generations: expected at least 1, found {}", s.generations);
        ensure!(s.elites < s.population, "search.elites: expected fewer than search.population");
        ensure!(s.steps >= 1, "search.steps: expected at least 1, found {}", s.steps);
        ensure!(s.confirm >= 1 && s.confirm_seeds >= 1, "search.confirm, search.confirm_seeds: expected at least 1");
        ensure!(s.tournament >= 1, "search.tournament: expected at least 1");
        for (key, value) in [
            ("search.crossover", s.crossover),
            ("search.mutation_scalar", s.mutation_scalar),
            ("search.mutation_same_arity", s.mutation_same_arity),
            ("search.mutation_to_leaf", s.mutation_to_leaf),
            ("search.mutation_grow", s.mutation_grow),
        ] {
            share(key, value)?;
        }
        for rate in &s.rate_multiples {
            positive("search.rate_multiples", *rate)?;
        }
        ensure!(!s.rate_multiples.is_empty() || !s.tune_rate, "search.rate_multiples: expected at least one");
        positive("cma_es.sigma", self.cma_es.sigma)?;
        let c = &self.compare;
        ensure!(c.seeds >= 2, "compare.seeds: expected at least 2 (a difference needs a spread), found {}", c.seeds);
        ensure!(c.rate_seeds >= 1, "compare.rate_seeds: expected at least 1");
        ensure!(!c.rates.is_empty() || !c.tune_rate, "compare.rates: expected at least one rate");
        for rate in &c.rates {
            positive("compare.rates", *rate)?;
        }
        Ok(())
    }
}

fn positive(key: &str, value: f64) -> anyhow::Result<()> {
    ensure!(value > 0.0 && value.is_finite(), "{key}: expected more than 0, found {value}");
    Ok(())
}

fn share(key: &str, value: f64) -> anyhow::Result<()> {
    ensure!((0.0..=1.0).contains(&value), "{key}: expected 0 to 1, found {value}");
    Ok(())
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
        for (set, part) in
            [("train.steps=0", "train.steps"), ("train.rate=-1", "train.rate"), ("compare.seeds=1", "compare.seeds")]
        {
            let recipe: Recipe = crate::recipe::load(PRESETS, "laptop", &[set.to_owned()]).unwrap();
            assert!(recipe.check().unwrap_err().to_string().contains(part));
        }
    }
}
