//! The plan of GLO's search: genetic programming over loss trees, then CMA-ES on the coefficients of the best one, then the
//! best of both trained in full with other seeds.
//!
//! A tree `T` of label x and prediction y stands for the loss `-T/n`, summed over the n classes (GLO's fixed wrapper). Fitness is
//! validation accuracy after a shortened training; a candidate that diverges or is rejected has fitness 0.

use std::collections::BTreeMap;

use lossmith::expr::{Binary, CLASS_VARIABLES, Expr, Node, Unary};
use serde::{Deserialize, Serialize};

use crate::archive::{Cache, HallOfFame, Origin};
use crate::cma_es::{self, CmaEs};
use crate::coefficients::{Coefficients, Places};
use crate::filters::Probe;
use crate::gp::{self, Gp, GpState};
use crate::trial::{Outcome, Part, Trial};

/// How a search is led.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Where every random number comes from.
    pub seed: u64,
    /// The classes of the data, for the probe points of the static rejection.
    pub classes: usize,
    /// The genetic algorithm.
    pub gp: gp::Settings,
    /// Its generations, the first one included.
    pub generations: u32,
    /// CMA-ES generations on the coefficients of the best tree; 0 leaves them at 1.
    pub cma_generations: u32,
    /// Its initial step size.
    pub cma_sigma: f64,
    /// Its population, or the default for the number of coefficients.
    pub cma_population: Option<usize>,
    /// Training steps of a candidate.
    pub steps: u32,
    /// Learning rates that each candidate is tried at; its fitness is the best of them.
    pub rates: Vec<f64>,
    /// How many of the best are trained in full.
    pub confirm: usize,
    /// With how many other seeds.
    pub confirm_seeds: u32,
    /// Training steps in full.
    pub full_steps: u32,
}

/// A search on its way: ask for [`Discovery::trials`], then [`Discovery::tell`] their outcomes, until none are left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Discovery {
    /// How the search is led.
    pub settings: Settings,
    phase: Phase,
    /// Fitness of every tree that was trained or rejected: none is trained twice.
    known: Cache<f64>,
    /// The best trees so far.
    pub hall: HallOfFame,
    /// What happened, generation by generation.
    pub log: Vec<Generation>,
    /// The best in full training, best first, once known.
    pub confirmed: Vec<Confirmed>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Evolve(GpState),
    Tune { tree: String, cma: Box<CmaEs>, asked: Vec<Vec<f64>> },
    Confirm,
    Done,
}

/// One generation of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// `gp` or `cma-es`.
    pub phase: String,
    /// The best fitness so far.
    pub best: f64,
    /// The mean fitness of the generation's candidates.
    pub mean: f64,
    /// How many trainings it took.
    pub trained: usize,
    /// How many candidates were known from before, or twice in the generation.
    pub known: usize,
    /// How many were rejected without training, by reason.
    pub rejected: BTreeMap<String, usize>,
    /// Training steps that were spent.
    pub steps: u64,
}

/// A loss that was trained in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The loss, as a formula in x, y and n.
    pub loss: String,
    /// Mean validation accuracy.
    pub fitness: f64,
}

/// What a search cannot be asked or told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("search: {0}")]
pub struct DiscoveryError(String);

impl From<gp::GpError> for DiscoveryError {
    fn from(e: gp::GpError) -> Self {
        Self(e.to_string())
    }
}

impl From<cma_es::CmaEsError> for DiscoveryError {
    fn from(e: cma_es::CmaEsError) -> Self {
        Self(e.to_string())
    }
}

impl Discovery {
    /// A search that begins.
    ///
    /// # Errors
    /// Settings that genetic programming cannot take.
    pub fn new(settings: Settings) -> Result<Self, DiscoveryError> {
        let gp = Gp::new(settings.gp.clone(), CLASS_VARIABLES, settings.seed)?;
        let hall = HallOfFame::new(settings.confirm.max(10));
        let phase = Phase::Evolve(gp.state());
        Ok(Self { settings, phase, known: Cache::default(), hall, log: Vec::new(), confirmed: Vec::new() })
    }

    /// What is being done, in words.
    pub fn stage(&self) -> String {
        let s = &self.settings;
        let of = |phase: &str| self.log.iter().filter(|g| g.phase == phase).count() + 1;
        match &self.phase {
            Phase::Evolve(_) => format!("generation {} of {}", of("gp"), s.generations),
            Phase::Tune { .. } => format!("tuning coefficients, {} of {}", of("cma-es"), s.cma_generations),
            Phase::Confirm => format!("training the {} best in full", self.finalists().len()),
            Phase::Done => "done".to_owned(),
        }
    }

    /// Whether the search has ended.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// The best loss, once the search is done.
    pub fn found(&self) -> Option<&Confirmed> {
        self.confirmed.first()
    }

    /// How many trainings were done.
    pub fn trained(&self) -> usize {
        let confirmed = self.confirmed.len() * self.settings.confirm_seeds as usize;
        self.log.iter().map(|g| g.trained).sum::<usize>() + confirmed
    }

    /// The trials that are needed next; none when done.
    ///
    /// # Errors
    /// A saved state that does not hold together.
    pub fn trials(&self) -> Result<Vec<Trial>, DiscoveryError> {
        let s = &self.settings;
        match &self.phase {
            Phase::Evolve(_) | Phase::Tune { .. } => {
                let short =
                    |tree: &Expr| s.rates.iter().map(|rate| self.trial(tree, s.steps, 0, *rate)).collect::<Vec<_>>();
                Ok(self.candidates()?.to_train().flat_map(short).collect())
            }
            Phase::Confirm => {
                let mut trials = Vec::new();
                for tree in self.finalists() {
                    let seeds = 1..=u64::from(s.confirm_seeds);
                    trials.extend(seeds.map(|seed| self.trial(&tree, s.full_steps, seed, self.own_rate())));
                }
                Ok(trials)
            }
            Phase::Done => Ok(Vec::new()),
        }
    }

    /// Takes the outcomes of [`Discovery::trials`], in their order.
    ///
    /// # Errors
    /// Another number of outcomes than trials; a saved state that does not hold together.
    pub fn tell(&mut self, outcomes: &[Outcome]) -> Result<(), DiscoveryError> {
        let asked = self.trials()?.len();
        if outcomes.len() != asked {
            return Err(DiscoveryError(format!("expected {asked} outcomes, found {}", outcomes.len())));
        }
        match self.phase.clone() {
            Phase::Evolve(state) => {
                let fitness = self.score("gp", outcomes)?;
                let mut gp = Gp::resume(state, CLASS_VARIABLES)?;
                if gp.number() + 1 < u64::from(self.settings.generations) {
                    gp.tell(&fitness)?;
                    self.phase = Phase::Evolve(gp.state());
                } else {
                    self.phase = self.begin_tuning()?;
                }
            }
            Phase::Tune { tree, mut cma, .. } => {
                let fitness = self.score("cma-es", outcomes)?;
                // CMA-ES minimises.
                cma.tell(&fitness.iter().map(|f| -f).collect::<Vec<_>>())?;
                let told = self.log.iter().filter(|g| g.phase == "cma-es").count();
                self.phase = if told < self.settings.cma_generations as usize {
                    let asked = cma.ask();
                    Phase::Tune { tree, cma, asked }
                } else {
                    Phase::Confirm
                };
            }
            Phase::Confirm => {
                let seeds = self.settings.confirm_seeds as usize;
                let mean = |o: &[Outcome]| o.iter().map(Outcome::fitness).sum::<f64>() / seeds as f64;
                let scored = self.finalists().into_iter().zip(outcomes.chunks(seeds));
                self.confirmed =
                    scored.map(|(tree, o)| Confirmed { loss: loss_text(&tree), fitness: mean(o) }).collect();
                self.confirmed.sort_by(|a, b| b.fitness.total_cmp(&a.fitness));
                self.phase = Phase::Done;
            }
            Phase::Done => {}
        }
        Ok(())
    }

    /// The present generation, sorted into what is known, rejected and to be trained.
    fn candidates(&self) -> Result<Candidates, DiscoveryError> {
        let trees: Vec<Option<Expr>> = match &self.phase {
            Phase::Evolve(state) => {
                Gp::resume(state.clone(), CLASS_VARIABLES)?.generation().iter().cloned().map(Some).collect()
            }
            Phase::Tune { tree, asked, .. } => {
                let tree = Expr::parse(tree, CLASS_VARIABLES).map_err(|e| DiscoveryError(e.to_string()))?;
                let coefficients = Coefficients::new(&tree, Places::EveryNode);
                asked.iter().map(|values| coefficients.apply(values).ok()).collect()
            }
            Phase::Confirm | Phase::Done => Vec::new(),
        };
        Ok(Candidates::sort(trees, &self.known, self.settings.classes))
    }

    /// The fitness of every candidate of the present generation, from the outcomes of those that were trained.
    fn score(&mut self, phase: &str, outcomes: &[Outcome]) -> Result<Vec<f64>, DiscoveryError> {
        let candidates = self.candidates()?;
        let mut told = outcomes.chunks(self.settings.rates.len());
        let mut fitness = Vec::with_capacity(candidates.all.len());
        for (index, candidate) in candidates.all.iter().enumerate() {
            let value = match &candidate.fate {
                Fate::Known(value) => *value,
                Fate::Rejected(_) => 0.0,
                Fate::Twin(first) => fitness[*first],
                Fate::Train => told.next().map_or(0.0, |o| o.iter().map(Outcome::fitness).fold(0.0, f64::max)),
            };
            fitness.push(value);
            let Some(tree) = &candidate.tree else { continue };
            self.known.insert(tree, CLASS_VARIABLES, value);
            if value > 0.0 {
                let generation = self.log.len() as u64;
                self.hall.offer(tree, CLASS_VARIABLES, value, Origin { generation, index });
            }
        }
        self.log.push(Generation {
            phase: phase.to_owned(),
            best: self.hall.members().first().map_or(0.0, |m| m.fitness),
            mean: fitness.iter().sum::<f64>() / fitness.len().max(1) as f64,
            trained: outcomes.len(),
            known: candidates.count(|fate| matches!(fate, Fate::Known(_) | Fate::Twin(_))),
            rejected: candidates.rejected(),
            steps: outcomes.iter().map(|o| u64::from(o.steps)).sum(),
        });
        Ok(fitness)
    }

    /// CMA-ES on the best tree's coefficients, or straight to the confirmation.
    fn begin_tuning(&self) -> Result<Phase, DiscoveryError> {
        let s = &self.settings;
        let Some(best) = self.hall.members().first() else { return Ok(Phase::Confirm) };
        if s.cma_generations == 0 {
            return Ok(Phase::Confirm);
        }
        let tree = Expr::parse(&best.formula, CLASS_VARIABLES).map_err(|e| DiscoveryError(e.to_string()))?;
        let start = Coefficients::new(&tree, Places::EveryNode).start();
        let settings = cma_es::Settings { population: s.cma_population, ..Default::default() };
        let mut cma = CmaEs::new(start, s.cma_sigma, s.seed, settings)?;
        let asked = cma.ask();
        Ok(Phase::Tune { tree: best.formula.clone(), cma: Box::new(cma), asked })
    }

    /// The trees that are trained in full.
    fn finalists(&self) -> Vec<Expr> {
        let best = self.hall.members().iter().take(self.settings.confirm);
        best.filter_map(|m| Expr::parse(&m.formula, CLASS_VARIABLES).ok()).collect()
    }

    /// The rate of full training: the middle one, which is the recipe's where rates are multiples around it.
    fn own_rate(&self) -> f64 {
        self.settings.rates[self.settings.rates.len() / 2]
    }

    fn trial(&self, tree: &Expr, steps: u32, seed: u64, rate: f64) -> Trial {
        Trial { loss: loss_text(tree), steps, seed, rate: Some(rate), train_size: None, part: Part::Validation }
    }
}

/// A generation, sorted.
struct Candidates {
    all: Vec<Candidate>,
}

struct Candidate {
    /// None where coefficients do not make a formula.
    tree: Option<Expr>,
    fate: Fate,
}

enum Fate {
    Train,
    Known(f64),
    /// Equal to the candidate at this place.
    Twin(usize),
    Rejected(String),
}

impl Candidates {
    fn sort(trees: Vec<Option<Expr>>, known: &Cache<f64>, classes: usize) -> Self {
        let probe = Probe::class(classes);
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        let mut all = Vec::with_capacity(trees.len());
        for tree in trees {
            let place = all.len();
            let fate = match &tree {
                None => Fate::Rejected("not a formula".to_owned()),
                Some(tree) => match known.get(tree, CLASS_VARIABLES) {
                    Some(fitness) => Fate::Known(*fitness),
                    None => match first.entry(crate::archive::identity(tree, CLASS_VARIABLES)) {
                        std::collections::btree_map::Entry::Occupied(twin) => Fate::Twin(*twin.get()),
                        std::collections::btree_map::Entry::Vacant(slot) => {
                            slot.insert(place);
                            probe
                                .check(&loss_of(tree))
                                .map_or_else(|why| Fate::Rejected(why.to_string()), |()| Fate::Train)
                        }
                    },
                },
            };
            all.push(Candidate { tree, fate });
        }
        Self { all }
    }

    fn to_train(&self) -> impl Iterator<Item = &Expr> {
        self.all.iter().filter(|c| matches!(c.fate, Fate::Train)).filter_map(|c| c.tree.as_ref())
    }

    fn count(&self, wanted: impl Fn(&Fate) -> bool) -> usize {
        self.all.iter().filter(|c| wanted(&c.fate)).count()
    }

    fn rejected(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for candidate in &self.all {
            if let Fate::Rejected(why) = &candidate.fate {
                *counts.entry(why.clone()).or_insert(0) += 1;
            }
        }
        counts
    }
}

/// The loss that a tree stands for, `-T/n`: simplified, with numbers of four digits as they are printed in papers. What is
/// printed is what is trained.
pub fn loss_of(tree: &Expr) -> Expr {
    const CLASSES: u8 = 2;
    let negated = [&[Node::Unary(Unary::Neg)], tree.nodes()].concat();
    let simple = Expr::from_nodes(negated).map_or_else(|_| tree.clone(), |e| e.canonical());
    let mut nodes = vec![Node::Binary(Binary::Div)];
    nodes.extend(simple.nodes().iter().map(|node| match node {
        Node::Num(v) => Node::Num(four_digits(*v)),
        other => *other,
    }));
    nodes.push(Node::Var(CLASSES));
    // A tree of the search is far below the limits of a formula.
    Expr::from_nodes(nodes).unwrap_or_else(|_| tree.clone())
}

fn four_digits(v: f64) -> f64 {
    format!("{v:.3e}").parse().unwrap_or(v)
}

fn loss_text(tree: &Expr) -> String {
    loss_of(tree).display(CLASS_VARIABLES).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::End;

    fn settings() -> Settings {
        Settings {
            seed: 3,
            classes: 10,
            gp: gp::Settings { population: 20, elites: 2, ..Default::default() },
            generations: 4,
            cma_generations: 2,
            cma_sigma: 0.3,
            cma_population: None,
            steps: 10,
            rates: vec![0.1],
            confirm: 3,
            confirm_seeds: 2,
            full_steps: 100,
        }
    }

    /// Prefers short formulas: anything deterministic will do.
    fn outcome(trial: &Trial) -> Outcome {
        let accuracy = 1.0 / trial.loss.len() as f64;
        Outcome { end: End::Done, accuracy, steps: trial.steps, curve: Vec::new() }
    }

    fn run(mut search: Discovery, stop_after: usize) -> Discovery {
        for _ in 0..stop_after {
            let trials = search.trials().unwrap();
            search.tell(&trials.iter().map(outcome).collect::<Vec<_>>()).unwrap();
        }
        search
    }

    #[test]
    fn a_search_that_was_saved_between_all_stages_ends_the_same() {
        let whole = run(Discovery::new(settings()).unwrap(), 7);
        assert!(whole.trials().unwrap().is_empty());
        assert_eq!(whole.log.len(), 6);
        assert_eq!(whole.confirmed.len(), 3);
        let mut pieces = Discovery::new(settings()).unwrap();
        for _ in 0..7 {
            let saved = serde_json::to_string(&run(pieces, 1)).unwrap();
            pieces = serde_json::from_str(&saved).unwrap();
        }
        assert_eq!(pieces, whole);
    }

    #[test]
    fn no_formula_is_trained_twice_and_every_loss_parses() {
        let mut search = Discovery::new(settings()).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..6 {
            let trials = search.trials().unwrap();
            for trial in &trials {
                assert!(seen.insert(trial.loss.clone()), "{}", trial.loss);
                Expr::parse(&trial.loss, CLASS_VARIABLES).unwrap();
            }
            search.tell(&trials.iter().map(outcome).collect::<Vec<_>>()).unwrap();
        }
    }

    #[test]
    fn a_tree_is_wrapped_as_published() {
        let tree = Expr::parse("log(y) - x/y", CLASS_VARIABLES).unwrap();
        assert_eq!(loss_text(&tree), "(x/y - log(y))/n");
        let tree = Expr::parse("2.71828*log(1*y) - 0.33333*x/y", CLASS_VARIABLES).unwrap();
        assert_eq!(loss_text(&tree), "(0.3333*x/y - 2.718*log(y))/n");
    }
}
