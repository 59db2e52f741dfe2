//! The sections of a recipe that lead a search; documented in `recipes/classifier-laptop.toml`.

use std::collections::BTreeMap;

use anyhow::ensure;
use lossmith_search::filters::Scale;
use lossmith_search::savings::{self, Rungs};
use lossmith_search::space::Space;
use lossmith_search::{comparison, discovery, gp};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    pub genome: Genome,
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
    pub savings: Savings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Genome {
    Tree,
    Taylor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    Roulette,
    Tournament,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Savings {
    pub cache: bool,
    pub probe: bool,
    pub equal_gradients: EqualGradients,
    pub raw_predictions: bool,
    pub redraws: usize,
    pub floor_step: u32,
    pub floor_accuracy: f64,
    pub halving_steps: u32,
    pub halving_share: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EqualGradients {
    Off,
    Exact,
    Scaled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taylor {
    pub generations: u32,
    pub population: usize,
    pub sigma: f64,
    pub invariant: bool,
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

impl Search {
    /// Checks what the types do not say.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.population >= 2, "search.population: expected at least 2, found {}", self.population);
        ensure!(self.generations >= 1, "search.generations: expected at least 1, found {}", self.generations);
        ensure!(self.elites < self.population, "search.elites: expected fewer than search.population");
        ensure!(self.steps >= 1, "search.steps: expected at least 1, found {}", self.steps);
        ensure!(
            self.confirm >= 1 && self.confirm_seeds >= 1,
            "search.confirm, search.confirm_seeds: expected at least 1"
        );
        ensure!(self.tournament >= 1, "search.tournament: expected at least 1");
        ensure!(!self.operators.is_empty(), "search.operators: expected at least one");
        for (key, value) in [
            ("search.crossover", self.crossover),
            ("search.mutation_scalar", self.mutation_scalar),
            ("search.mutation_same_arity", self.mutation_same_arity),
            ("search.mutation_to_leaf", self.mutation_to_leaf),
            ("search.mutation_grow", self.mutation_grow),
            ("search.savings.floor_accuracy", self.savings.floor_accuracy),
        ] {
            share(key, value)?;
        }
        for rate in &self.rate_multiples {
            positive("search.rate_multiples", *rate)?;
        }
        ensure!(!self.rate_multiples.is_empty() || !self.tune_rate, "search.rate_multiples: expected at least one");
        ensure!(
            self.savings.redraws <= 1_000,
            "search.savings.redraws: expected at most 1000, found {}",
            self.savings.redraws
        );
        let halving = self.savings.halving_steps;
        ensure!(
            halving < self.steps,
            "search.savings.halving_steps: expected fewer than search.steps ({}), or 0 for off, found {halving}",
            self.steps
        );
        ensure!(
            self.savings.halving_share >= 2,
            "search.savings.halving_share: expected at least 2, found {}",
            self.savings.halving_share
        );
        Ok(())
    }
}

impl Savings {
    fn settings(&self) -> savings::Savings {
        savings::Savings {
            cache: self.cache,
            probe: self.probe,
            equal_gradients: match self.equal_gradients {
                EqualGradients::Off => None,
                EqualGradients::Exact => Some(Scale::Kept),
                EqualGradients::Scaled => Some(Scale::Ignored),
            },
            raw_predictions: self.raw_predictions,
            redraws: self.redraws,
            floor: (self.floor_step > 0).then_some((self.floor_step, self.floor_accuracy)),
            halving: (self.halving_steps > 0)
                .then_some(Rungs { least_steps: self.halving_steps, share: self.halving_share }),
        }
    }
}

impl Taylor {
    /// Checks what the types do not say.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.generations >= 1, "taylor.generations: expected at least 1, found {}", self.generations);
        ensure!(self.population >= 3, "taylor.population: expected at least 3, found {}", self.population);
        positive("taylor.sigma", self.sigma)
    }
}

impl CmaEs {
    /// Checks what the types do not say.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.population == 0 || self.population >= 3,
            "cma_es.population: expected at least 3, or 0 for the usual one, found {}",
            self.population
        );
        positive("cma_es.sigma", self.sigma)
    }
}

impl Compare {
    /// Checks what the types do not say.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.seeds >= 2,
            "compare.seeds: expected at least 2 (a difference needs a spread), found {}",
            self.seeds
        );
        ensure!(self.rate_seeds >= 1, "compare.rate_seeds: expected at least 1");
        ensure!(!self.rates.is_empty() || !self.tune_rate, "compare.rates: expected at least one rate");
        for rate in &self.rates {
            positive("compare.rates", *rate)?;
        }
        Ok(())
    }
}

/// The sections of a search, and what full training is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sections {
    pub seed: u64,
    pub search: Search,
    pub taylor: Taylor,
    pub cma_es: CmaEs,
    pub compare: Compare,
    /// Steps of full training.
    pub steps: u32,
    /// Its learning rate.
    pub rate: f64,
}

impl Sections {
    /// Checks what the types do not say.
    pub fn check(&self) -> anyhow::Result<()> {
        self.search.check()?;
        self.taylor.check()?;
        self.cma_es.check()?;
        self.compare.check()
    }

    /// How the search is led.
    pub fn discovery(&self, space: Space) -> discovery::Settings {
        let s = &self.search;
        let leaves = space.leaves().iter().copied().chain(["1", "-1"]);
        discovery::Settings {
            seed: self.seed,
            gp: gp::Settings {
                population: s.population,
                elites: s.elites,
                selection: match s.selection {
                    Selection::Roulette => gp::Selection::Roulette,
                    Selection::Tournament => gp::Selection::Tournament,
                },
                tournament: s.tournament,
                crossover: s.crossover,
                mutation: gp::Mutation {
                    nudge: s.mutation_scalar,
                    replace: s.mutation_same_arity,
                    shrink: s.mutation_to_leaf,
                    grow: s.mutation_grow,
                },
                operators: s.operators.iter().map(|o| (o.clone(), 1.0)).collect::<BTreeMap<_, _>>(),
                leaves: leaves.map(|leaf| (leaf.to_owned(), 1.0)).collect(),
                ..Default::default()
            },
            space,
            generations: s.generations,
            taylor: (s.genome == Genome::Taylor).then_some(discovery::Taylor {
                generations: self.taylor.generations,
                population: self.taylor.population,
                sigma: self.taylor.sigma,
                invariant: self.taylor.invariant,
            }),
            cma_generations: self.cma_es.generations,
            cma_sigma: self.cma_es.sigma,
            cma_population: (self.cma_es.population > 0).then_some(self.cma_es.population),
            steps: s.steps,
            rates: if s.tune_rate { s.rate_multiples.iter().map(|m| m * self.rate).collect() } else { vec![self.rate] },
            confirm: s.confirm,
            confirm_seeds: s.confirm_seeds,
            full_steps: self.steps,
            savings: s.savings.settings(),
        }
    }

    /// How losses are compared.
    pub fn comparison(&self, losses: Vec<String>, train_size: Option<u32>) -> comparison::Settings {
        let c = &self.compare;
        comparison::Settings {
            losses,
            steps: self.steps,
            seeds: c.seeds,
            // Far from the replicates that a search uses.
            first_seed: 1_000,
            train_size,
            rate: self.rate,
            rates: if c.tune_rate { c.rates.clone() } else { Vec::new() },
            rate_seeds: c.rate_seeds,
        }
    }
}

/// A number above 0.
pub fn positive(key: &str, value: f64) -> anyhow::Result<()> {
    ensure!(value > 0.0 && value.is_finite(), "{key}: expected more than 0, found {value}");
    Ok(())
}

/// A number from 0 to 1.
pub fn share(key: &str, value: f64) -> anyhow::Result<()> {
    ensure!((0.0..=1.0).contains(&value), "{key}: expected 0 to 1, found {value}");
    Ok(())
}
