//! Which candidates need no training, or less: each way a switch, each counted.

use std::collections::{BTreeMap, HashMap};

use lossmith::expr::Expr;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::archive;
use crate::filters::{Equivalents, Rejection, Scale};
use crate::space::Space;

/// Directions of gradients closer than this are the same.
const SAME_GRADIENTS: f64 = 1e-6;

/// The label of a candidate whose fitness was known, from this run.
pub const KNOWN: &str = "known";
/// The label of a candidate whose fitness was known, from another run.
pub const FOREIGN: &str = "known from the cache file";
/// The label of a candidate that has the gradients of another.
pub const SAME: &str = "equal gradients";

/// The switches; all off is GLO as published, but that it evaluates equal trees of one generation once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Savings {
    /// Formulas that are equal by the rules of arithmetic are trained once.
    pub cache: bool,
    /// What lacks a variable, has no slope or is not finite on the probe points is not trained.
    pub probe: bool,
    /// Formulas with equal gradients are trained once.
    pub equal_gradients: Option<Scale>,
    /// What cannot bring raw predictions to the right class is not trained.
    pub raw_predictions: bool,
    /// A tree that is rejected by these two is drawn anew, up to so many times.
    pub redraws: usize,
    /// A training below the accuracy at the step is given up.
    pub floor: Option<(u32, f64)>,
    /// Successive halving: all begin with so many steps, and of each rung the best one in `share` goes on.
    pub halving: Option<Rungs>,
}

/// The schedule of successive halving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rungs {
    /// Steps of the first rung.
    pub least_steps: u32,
    /// Of each rung one in so many goes on, with so many times the steps.
    pub share: u32,
}

/// A candidate of a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its tree; none where numbers do not make a formula.
    pub tree: Option<String>,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is trained.
    Train,
    /// Its fitness is known, and from where.
    Known(f64, String),
    /// It is like the one at this place of the generation, and why.
    Like(usize, String),
    /// It is not worth training, for this reason.
    Rejected(String),
}

/// What a training came to. Saved as a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f64, bool)", into = "(f64, bool)")]
pub struct Trained {
    /// Fitness.
    pub fitness: f64,
    /// Whether it took part in the last rung.
    pub to_the_end: bool,
}

impl From<(f64, bool)> for Trained {
    fn from((fitness, to_the_end): (f64, bool)) -> Self {
        Self { fitness, to_the_end }
    }
}

impl From<Trained> for (f64, bool) {
    fn from(t: Trained) -> Self {
        (t.fitness, t.to_the_end)
    }
}

/// What is known: fitness by formula, and by gradients. Saved as a list, in the order of training.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(String, Trained)>", into = "Vec<(String, Trained)>")]
pub struct Memory {
    entries: Vec<(String, Trained)>,
    place: HashMap<String, usize>,
    /// Made when first needed.
    prints: Option<Equivalents>,
}

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl From<Vec<(String, Trained)>> for Memory {
    fn from(entries: Vec<(String, Trained)>) -> Self {
        let place = entries.iter().enumerate().map(|(i, (text, _))| (text.clone(), i)).collect();
        Self { entries, place, prints: None }
    }
}

impl From<Memory> for Vec<(String, Trained)> {
    fn from(memory: Memory) -> Self {
        memory.entries
    }
}

impl Memory {
    /// Formula and fitness of all that is known, in the order of training.
    pub fn entries(&self) -> &[(String, Trained)] {
        &self.entries
    }

    /// Remembers what the training of a formula came to, by its identity.
    pub fn insert(&mut self, identity: String, trained: Trained, space: &Space) {
        match self.place.get(&identity) {
            Some(at) => self.entries[*at].1 = trained,
            None => {
                let at = self.entries.len();
                if let Some(prints) = &mut self.prints {
                    add_print(prints, at, &identity, space);
                }
                self.place.insert(identity.clone(), at);
                self.entries.push((identity, trained));
            }
        }
    }

    fn get(&self, identity: &str) -> Option<f64> {
        self.place.get(identity).map(|at| self.entries[*at].1.fitness)
    }

    fn prints(&mut self, space: &Space, scale: Scale) -> &mut Equivalents {
        let entries = &self.entries;
        self.prints.get_or_insert_with(|| {
            let mut prints = Equivalents::new(scale, SAME_GRADIENTS);
            for (at, (text, _)) in entries.iter().enumerate() {
                add_print(&mut prints, at, text, space);
            }
            prints
        })
    }
}

fn add_print(prints: &mut Equivalents, at: usize, identity: &str, space: &Space) {
    let tree = Expr::parse(identity, space.variables()).ok();
    if let Some(print) = tree.and_then(|tree| space.print(&space.formula(&tree))) {
        prints.insert(at as u64, print);
    }
}

/// Why a tree is not worth training, by the filters that look at nothing but the tree itself.
pub fn rejection(tree: &Expr, savings: &Savings, space: &Space) -> Option<Rejection> {
    let formula = space.formula(tree);
    let probed = if savings.probe { space.probe().check(&formula) } else { Ok(()) };
    let raw = || match space.raw_predictions().filter(|_| savings.raw_predictions) {
        Some(trial) => trial.check(&formula),
        None => Ok(()),
    };
    probed.and_then(|()| raw()).err()
}

/// Sorts a generation: `Err` in place of a tree is why there is none.
pub fn sort(
    trees: Vec<Result<Expr, String>>,
    savings: &Savings,
    space: &Space,
    memory: &mut Memory,
    foreign: &BTreeMap<String, Trained>,
) -> Vec<Candidate> {
    let probe = space.probe();
    let mut twins: HashMap<String, usize> = HashMap::new();
    let mut local = savings.equal_gradients.map(|scale| Equivalents::new(scale, SAME_GRADIENTS));
    let mut candidates = Vec::with_capacity(trees.len());
    for (place, tree) in trees.iter().enumerate() {
        let fate = match tree {
            Err(why) => Fate::Rejected(why.clone()),
            Ok(tree) => cheap_fate(place, tree, savings, space, &probe, memory, foreign, &mut twins, local.as_mut()),
        };
        let tree = tree.as_ref().ok().map(|tree| tree.display(space.variables()).to_string());
        candidates.push(Candidate { tree, fate });
    }
    if let Some(trial) = space.raw_predictions().filter(|_| savings.raw_predictions) {
        candidates.par_iter_mut().zip(&trees).for_each(|(candidate, tree)| {
            if let (Fate::Train, Ok(tree)) = (&candidate.fate, tree)
                && let Err(why) = trial.check(&space.formula(tree))
            {
                candidate.fate = Fate::Rejected(why.to_string());
            }
        });
    }
    candidates
}

/// All but the trial on raw predictions, which takes a thousand times as long.
fn cheap_fate(
    place: usize,
    tree: &Expr,
    savings: &Savings,
    space: &Space,
    probe: &crate::filters::Probe,
    memory: &mut Memory,
    foreign: &BTreeMap<String, Trained>,
    twins: &mut HashMap<String, usize>,
    local: Option<&mut Equivalents>,
) -> Fate {
    let identity = archive::identity(tree, space.variables());
    if savings.cache {
        if let Some(fitness) = memory.get(&identity) {
            return Fate::Known(fitness, KNOWN.to_owned());
        }
        if let Some(theirs) = foreign.get(&identity) {
            // From here on it counts as this run's own.
            if let (Some(local), Some(print)) = (local, space.print(&space.formula(tree))) {
                local.insert(place as u64, print);
            }
            return Fate::Known(theirs.fitness, FOREIGN.to_owned());
        }
        if let Some(twin) = twins.get(&identity) {
            return Fate::Like(*twin, KNOWN.to_owned());
        }
        twins.insert(identity, place);
    }
    let formula = space.formula(tree);
    if savings.probe
        && let Err(why) = probe.check(&formula)
    {
        return Fate::Rejected(why.to_string());
    }
    if let (Some(scale), Some(local)) = (savings.equal_gradients, local)
        && let Some(print) = space.print(&formula)
    {
        if let Some(at) = memory.prints(space, scale).find(&print) {
            return Fate::Known(memory.entries[at as usize].1.fitness, SAME.to_owned());
        }
        if let Some(twin) = local.find(&print) {
            return Fate::Like(twin as usize, SAME.to_owned());
        }
        local.insert(place as u64, print);
    }
    Fate::Train
}
