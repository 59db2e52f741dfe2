//! The range of every number in a recipe: whatever no training can take, or no memory can hold, is refused before a run exists.

use anyhow::{bail, ensure};
use serde::Serialize;
use serde_json::Value;

/// What a key may hold, each number of a list by itself: the least and the greatest.
pub type Limits = (&'static str, f64, f64);

/// Seeds are counted on from, so they end before the largest number.
pub const SEED: [f64; 2] = [0.0, 9e18];
/// Steps of a training.
pub const STEPS: [f64; 2] = [1.0, 1e8];
/// A learning rate, which is an f32 in the end.
pub const RATE: [f64; 2] = [1e-12, 1e3];
/// Examples that are made.
pub const MADE: [f64; 2] = [1.0, 1e6];
/// A share or a probability.
pub const SHARE: [f64; 2] = [0.0, 1.0];
/// What a population, a generation or a replicate may be counted to.
const GENERATIONS: [f64; 2] = [1.0, 1e6];
const REPLICATES: [f64; 2] = [1.0, 1e3];
const SIGMA: [f64; 2] = [1e-9, 1e3];

/// A key with one of the ranges above.
pub const fn key(key: &'static str, [least, most]: [f64; 2]) -> Limits {
    (key, least, most)
}

/// The sections of a search, and the seed.
pub const SEARCH: &[Limits] = &[
    key("seed", SEED),
    ("search.population", 2.0, 1e5),
    key("search.generations", GENERATIONS),
    ("search.elites", 0.0, 1e5),
    ("search.tournament", 1.0, 1e5),
    key("search.crossover", SHARE),
    key("search.mutation_scalar", SHARE),
    key("search.mutation_same_arity", SHARE),
    key("search.mutation_to_leaf", SHARE),
    key("search.mutation_grow", SHARE),
    key("search.steps", STEPS),
    key("search.confirm", REPLICATES),
    key("search.confirm_seeds", REPLICATES),
    ("search.rate_multiples", 1e-6, 1e6),
    ("search.savings.redraws", 0.0, 1e3),
    ("search.savings.floor_step", 0.0, 1e8),
    key("search.savings.floor_accuracy", SHARE),
    ("search.savings.halving_steps", 0.0, 1e8),
    ("search.savings.halving_share", 2.0, 1e3),
    key("taylor.generations", GENERATIONS),
    ("taylor.population", 3.0, 1e5),
    key("taylor.sigma", SIGMA),
    ("cma_es.generations", 0.0, 1e6),
    ("cma_es.population", 0.0, 1e5),
    key("cma_es.sigma", SIGMA),
    ("compare.seeds", 2.0, 1e3),
    key("compare.rates", RATE),
    key("compare.rate_seeds", REPLICATES),
];

/// Checks every number of a recipe, or of the part of it that stands under `prefix`.
///
/// # Errors
/// Names the key, its range and what was found.
pub fn check(recipe: &impl Serialize, prefix: &str, tables: &[&[Limits]]) -> anyhow::Result<()> {
    walk(&serde_json::to_value(recipe)?, String::new(), prefix, tables)
}

fn walk(value: &Value, path: String, prefix: &str, tables: &[&[Limits]]) -> anyhow::Result<()> {
    match value {
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            walk(value, path, prefix, tables)
        }),
        Value::Array(all) => all.iter().try_for_each(|value| walk(value, path.clone(), prefix, tables)),
        // JSON has no other way to write a number that is none.
        Value::Null => bail!("recipe: {prefix}{path}: expected a finite number"),
        Value::Number(number) => {
            let found = tables.iter().copied().flatten().find(|(key, _, _)| *key == path);
            let Some(&(_, least, most)) = found else {
                bail!("recipe: {prefix}{path}: no range is known for this number")
            };
            let within = number.as_f64().is_some_and(|value| (least..=most).contains(&value));
            let found = number.to_string().replace("e+", "e");
            ensure!(within, "recipe: {prefix}{path}: expected {} to {}, found {found}", short(least), short(most));
            Ok(())
        }
        Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// A number as people write it.
fn short(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e7).contains(&value.abs()) { format!("{value:e}") } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_key_and_its_range() {
        #[derive(Serialize)]
        struct Recipe {
            name: &'static str,
            train: Train,
        }
        #[derive(Serialize)]
        struct Train {
            steps: u64,
            rates: Vec<f64>,
        }
        let table: &[Limits] = &[key("train.steps", STEPS), key("train.rates", RATE)];
        let check = |steps, rates: &[f64]| {
            let recipe = Recipe { name: "a", train: Train { steps, rates: rates.to_vec() } };
            check(&recipe, "task.", &[table]).map_err(|e| e.to_string())
        };
        assert_eq!(check(1, &[0.5, 1.0]), Ok(()));
        let steps = |found: &str| Err(format!("recipe: task.train.steps: expected 1 to 1e8, found {found}"));
        assert_eq!(check(u64::MAX, &[]), steps("18446744073709551615"));
        assert_eq!(check(0, &[]), steps("0"));
        let rates = |found: &str| Err(format!("recipe: task.train.rates: expected 1e-12 to 1000, found {found}"));
        assert_eq!(check(1, &[0.5, 1e308]), rates("1e308"));
        assert_eq!(check(1, &[-1.0]), rates("-1.0"));
        assert_eq!(check(1, &[f64::NAN]), Err("recipe: task.train.rates: expected a finite number".to_owned()));
    }
}
