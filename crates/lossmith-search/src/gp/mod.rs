//! Genetic programming over loss formulas, as GLO does it.
//!
//! A generation of trees is evaluated; the best go on unchanged, the others are made by swapping random subtrees of two
//! parents and by small random changes. Larger fitness is better; a candidate that diverged has fitness 0.
//!
//! GLO sets no limit to a tree. Here [`Size`] does, so that a formula stays within the limits of [`Expr`] even with one
//! coefficient per node; a child past it is replaced by its parent. The published code differs from the paper by mistake
//! (its crossover exchanges nothing); this is the paper's operator.
//!
//! Reference: S. Gonzalez and R. Miikkulainen, Improved Training Speed, Accuracy, and Data Utilization Through Loss Function
//! Optimization, arXiv 1905.11528.
//!
//! ```
//! use lossmith::expr::CLASS_VARIABLES;
//! use lossmith_search::gp::{Gp, Settings};
//! let settings = Settings { population: 20, ..Settings::default() };
//! let mut gp = Gp::new(settings, CLASS_VARIABLES, 1).unwrap();
//! for _ in 0..5 {
//!     let fitness: Vec<f64> = gp.generation().iter().map(|tree| 1.0 / tree.nodes().len() as f64).collect();
//!     gp.tell(&fitness).unwrap();
//! }
//! assert_eq!(gp.number(), 5);
//! ```

mod primitives;
mod selection;
mod variation;

pub use selection::Selection;

use std::collections::{BTreeMap, BTreeSet};

use lossmith::expr::{Expr, MAX_NODES, Variables};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::Stream;
use primitives::Primitives;
use selection::{select, worth};

/// The largest population.
pub const MAX_POPULATION: usize = 100_000;

/// What may be chosen; the default is GLO's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Trees per generation.
    pub population: usize,
    /// The best different trees of a generation that go on unchanged.
    pub elites: usize,
    /// How parents are chosen.
    pub selection: Selection,
    /// How many are drawn for [`Selection::Tournament`].
    pub tournament: usize,
    /// The chance that two parents swap subtrees; otherwise they are copied.
    pub crossover: f64,
    /// The chances of the mutations, per node.
    pub mutation: Mutation,
    /// The most operators above one another in the first generation.
    pub initial_depth: usize,
    /// The limits of a tree.
    pub size: Size,
    /// Operators by name (`neg` is the negation), with their weights in every random draw.
    pub operators: BTreeMap<String, f64>,
    /// Variables and numbers, with their weights in every random draw.
    pub leaves: BTreeMap<String, f64>,
}

/// The chances of the mutations, per node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mutation {
    /// A whole number becomes larger or smaller by one.
    pub nudge: f64,
    /// A node is replaced by one with as many operands.
    pub replace: f64,
    /// An operator and what is below it are replaced by a leaf.
    pub shrink: f64,
    /// A leaf is replaced by any node, with leaves below it.
    pub grow: f64,
}

/// The limits of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Size {
    /// The most nodes.
    pub nodes: usize,
    /// The most nodes on a way from the root to a leaf.
    pub depth: usize,
}

impl Size {
    /// What is left of the limits of [`Expr`] when every node gets a coefficient and the whole is written as text.
    pub const LARGEST: Size = Size { nodes: MAX_NODES / 3, depth: 20 };
}

impl Default for Settings {
    fn default() -> Self {
        let equal = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), 1.0)).collect();
        Self {
            population: 80,
            elites: 6,
            selection: Selection::Roulette,
            tournament: 4,
            crossover: 0.8,
            mutation: Mutation::default(),
            initial_depth: 2,
            size: Size::LARGEST,
            operators: equal(&["+", "-", "*", "/", "log", "square", "sqrt"]),
            leaves: equal(&["x", "y", "1", "-1"]),
        }
    }
}

impl Default for Mutation {
    fn default() -> Self {
        Self { nudge: 0.05, replace: 0.05, shrink: 0.025, grow: 0.025 }
    }
}

impl Default for Size {
    fn default() -> Self {
        Self::LARGEST
    }
}

/// What cannot be asked of genetic programming.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gp: {0}")]
pub struct GpError(pub(crate) String);

/// The evolution: one generation of trees, and how to make the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Gp {
    settings: Settings,
    variables: Variables,
    primitives: Primitives,
    stream: Stream,
    number: u64,
    generation: Vec<Expr>,
}

/// A [`Gp`] as plain data, with the trees as formula text; see [`Gp::state`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpState {
    settings: Settings,
    stream: Stream,
    number: u64,
    generation: Vec<String>,
}

impl Gp {
    /// Draws the first generation over the variables that the leaves may name.
    ///
    /// # Errors
    /// Settings out of range, unknown operators or leaves.
    pub fn new(settings: Settings, variables: Variables, seed: u64) -> Result<Self, GpError> {
        Self::new_choosy(settings, variables, seed, 0, &mut |_| true)
    }

    /// The same; a tree that is not accepted is drawn anew, up to `redraws` times, and then taken as it is.
    ///
    /// # Errors
    /// As [`Gp::new`].
    pub fn new_choosy(
        settings: Settings,
        variables: Variables,
        seed: u64,
        redraws: usize,
        accept: &mut dyn FnMut(&Expr) -> bool,
    ) -> Result<Self, GpError> {
        let primitives = settings.check(variables)?;
        let mut stream = Stream::new(seed, 0);
        let mut generation = Vec::with_capacity(settings.population);
        let mut refused = 0;
        while generation.len() < settings.population {
            let nodes = variation::random_tree(&primitives, settings.initial_depth, &mut stream);
            let Some(tree) = settings.size.admit(nodes) else { continue };
            if refused < redraws && !accept(&tree) {
                refused += 1;
            } else {
                refused = 0;
                generation.push(tree);
            }
        }
        Ok(Self { settings, variables, primitives, stream, number: 0, generation })
    }

    /// The trees to be evaluated.
    pub fn generation(&self) -> &[Expr] {
        &self.generation
    }

    /// How many generations were told.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What was chosen.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes the fitness of every tree, in order, and makes the next generation. What is not a number ranks last.
    ///
    /// # Errors
    /// The number of values is not the number of trees. Nothing is changed then.
    pub fn tell(&mut self, fitness: &[f64]) -> Result<(), GpError> {
        self.tell_choosy(fitness, 0, &mut |_| true)
    }

    /// The same; a child that is not accepted is bred anew, up to `redraws` times, and then taken as it is.
    ///
    /// # Errors
    /// As [`Gp::tell`].
    pub fn tell_choosy(
        &mut self,
        fitness: &[f64],
        redraws: usize,
        accept: &mut dyn FnMut(&Expr) -> bool,
    ) -> Result<(), GpError> {
        if fitness.len() != self.generation.len() {
            let trees = self.generation.len();
            return Err(GpError(format!("expected {trees} fitness values, one per tree, found {}", fitness.len())));
        }
        let mut next = self.elites(fitness);
        let mut refused = 0;
        while next.len() < self.settings.population {
            for child in self.children(fitness) {
                if next.len() == self.settings.population {
                    break;
                }
                if refused < redraws && !accept(&child) {
                    refused += 1;
                } else {
                    refused = 0;
                    next.push(child);
                }
            }
        }
        self.generation = next;
        self.number += 1;
        Ok(())
    }

    /// Replaces trees of the present generation, before it is told: for an optimiser that improves some of them on the way.
    ///
    /// # Errors
    /// An index past the generation, or a tree past the [`Size`] limits.
    pub fn replace(&mut self, index: usize, tree: Expr) -> Result<(), GpError> {
        let trees = self.generation.len();
        let slot = self.generation.get_mut(index);
        let slot = slot.ok_or_else(|| GpError(format!("there is no tree {index} in a generation of {trees}")))?;
        let size = &self.settings.size;
        *slot = size
            .admit(tree.nodes().to_vec())
            .ok_or_else(|| GpError(format!("the tree is larger than {} nodes or {} levels", size.nodes, size.depth)))?;
        Ok(())
    }

    /// Everything as plain data.
    pub fn state(&self) -> GpState {
        GpState {
            settings: self.settings.clone(),
            stream: self.stream.clone(),
            number: self.number,
            generation: self.generation.iter().map(|tree| tree.display(self.variables).to_string()).collect(),
        }
    }

    /// Goes on from a saved state exactly as if it had never stopped.
    ///
    /// # Errors
    /// A state whose settings are out of range, or whose formulas do not parse or are of another number.
    pub fn resume(state: GpState, variables: Variables) -> Result<Self, GpError> {
        let GpState { settings, stream, number, generation } = state;
        let primitives = settings.check(variables)?;
        if generation.len() != settings.population {
            let expected = settings.population;
            return Err(GpError(format!("the saved state has {} trees, expected {expected}", generation.len())));
        }
        let parse = |text: &String| Expr::parse(text, variables).map_err(|e| GpError(format!("saved tree: {e}")));
        let generation = generation.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { settings, variables, primitives, stream, number, generation })
    }

    /// The best trees, no formula twice; of equal fitness the earlier one.
    fn elites(&self, fitness: &[f64]) -> Vec<Expr> {
        let mut order: Vec<usize> = (0..fitness.len()).collect();
        order.sort_by(|a, b| worth(fitness[*b]).total_cmp(&worth(fitness[*a])));
        let mut seen = BTreeSet::new();
        let trees = order.into_iter().map(|i| &self.generation[i]);
        let different = trees.filter(|tree| seen.insert(tree.display(self.variables).to_string()));
        different.take(self.settings.elites).cloned().collect()
    }

    fn children(&mut self, fitness: &[f64]) -> [Expr; 2] {
        let s = &self.settings;
        let rng = &mut self.stream;
        let parents = [(); 2].map(|()| &self.generation[select(fitness, s.selection, s.tournament, rng)]);
        let children = if rng.random_bool(s.crossover) {
            variation::crossover(parents[0], parents[1], &s.size, rng)
        } else {
            parents.map(Clone::clone)
        };
        children.map(|child| variation::mutate(&child, &self.primitives, &s.mutation, &s.size, rng))
    }
}

impl Settings {
    fn check(&self, variables: Variables) -> Result<Primitives, GpError> {
        let range = |name: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(GpError(format!("{name} must be from {least} to {most}, found {value}")))
        };
        let chance = |name: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                return Ok(());
            }
            Err(GpError(format!("{name} must be from 0 to 1, found {value}")))
        };
        range("population", self.population, 1, MAX_POPULATION)?;
        range("elites", self.elites, 0, self.population)?;
        range("tournament", self.tournament, 1, MAX_POPULATION)?;
        range("size.nodes", self.size.nodes, 3, Size::LARGEST.nodes)?;
        range("size.depth", self.size.depth, 2, Size::LARGEST.depth)?;
        // A full binary tree of this depth always fits, so the first generation can be drawn.
        let depth = self.initial_depth;
        range("initial_depth", depth, 1, (self.size.depth - 1).min((self.size.nodes + 1).ilog2() as usize - 1))?;
        chance("crossover", self.crossover)?;
        let Mutation { nudge, replace, shrink, grow } = self.mutation;
        for (name, rate) in [("nudge", nudge), ("replace", replace), ("shrink", shrink), ("grow", grow)] {
            chance(&format!("mutation.{name}"), rate)?;
        }
        Primitives::new(&self.operators, &self.leaves, variables)
    }
}
