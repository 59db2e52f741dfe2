//! The recipe of `search TASK --slot SLOT`: the sections of a search around the recipe of a task.

use std::path::Path;

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::recipe::{CmaEs, Compare, Search, Sections, Taylor};
use crate::recipe::{self, Presets};

/// The sections that every slot begins with.
const SECTIONS: &str = include_str!("../../../../../recipes/slot-laptop.toml");

/// The recipe of a search for a kernel in a slot of a task's loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotRecipe<T> {
    /// Where every random number comes from.
    pub seed: u64,
    /// The slot.
    pub slot: Slot,
    pub search: Search,
    pub taylor: Taylor,
    pub cma_es: CmaEs,
    pub compare: Compare,
    /// The recipe of the task.
    pub task: T,
}

/// Where the formula goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The slot's name in the catalogue's entry of the loss.
    pub name: String,
    /// What its variables can be: a formula must be finite there.
    pub range: [f64; 2],
    /// The share of the training part that is held back to judge by.
    pub validation: f64,
}

impl<T: DeserializeOwned> SlotRecipe<T> {
    /// Reads a recipe: the sections of a search with the task's preset under `task`, changed by a file and by `--set`.
    pub fn load(task: Presets, slot: &str, choice: &str, set: &[String]) -> anyhow::Result<Self> {
        Self::load_changed(task, &[], slot, choice, set)
    }

    /// The same where a task wants other sections than all begin with: `changes` are as `--set` has them, and come before the file.
    pub fn load_changed(
        task: Presets,
        changes: &[&str],
        slot: &str,
        choice: &str,
        set: &[String],
    ) -> anyhow::Result<Self> {
        let mut table: Table = SECTIONS.parse().context("recipes/slot-laptop.toml")?;
        let preset = if choice == "full" { task.full } else { task.laptop };
        table.insert("task".to_owned(), Value::Table(preset.parse().context("the task's preset")?));
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        let table = recipe::load_table(table, None, &changes)?;
        let file = (!["laptop", "full"].contains(&choice)).then_some(Path::new(choice));
        let mut all = vec![format!("slot.name=\"{slot}\"")];
        all.extend_from_slice(set);
        recipe::load_table(table, file, &all)
    }
}

impl<T> SlotRecipe<T> {
    /// The sections, with the task's full training.
    pub fn sections(&self, steps: u32, rate: f64) -> anyhow::Result<Sections> {
        super::recipe::share("slot.validation", self.slot.validation)?;
        let [low, high] = self.slot.range;
        anyhow::ensure!(
            low < high && low.is_finite() && high.is_finite(),
            "slot.range: expected two ascending numbers"
        );
        anyhow::ensure!(
            self.search.genome == super::recipe::Genome::Tree,
            "search.genome: a slot takes trees; Taylor polynomials are losses over classes"
        );
        let sections = Sections {
            seed: self.seed,
            search: self.search.clone(),
            taylor: self.taylor.clone(),
            cma_es: self.cma_es.clone(),
            compare: self.compare.clone(),
            steps,
            rate,
        };
        sections.check()?;
        Ok(sections)
    }
}
