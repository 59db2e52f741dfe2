//! The plan of a search: genetic programming over loss trees (GLO) and then CMA-ES on the coefficients of the best one, or
//! CMA-ES over Taylor polynomials (TaylorGLO); then the best trained in full with other seeds.
//!
//! Fitness is the score on the validation part after a shortened training; a candidate that diverges or is rejected has
//! fitness 0. What is not trained at all, or not to the end, is counted generation by generation: see [`Savings`].

use std::collections::BTreeMap;

use lossmith::expr::Expr;
use lossmith::stats;
use serde::{Deserialize, Serialize};

use crate::archive::{HallOfFame, Origin};
use crate::cma_es::{self, CmaEs};
use crate::coefficients::{Coefficients, Places};
use crate::gp::{self, Gp, GpState};
use crate::halving::{Halving, HalvingError};
use crate::savings::{self, Candidate, Fate, Memory, Savings, Trained};
use crate::space::Space;
use crate::taylor;
use crate::trial::{End, Outcome, Part, Trial};

/// How a search is led.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Where every random number comes from.
    pub seed: u64,
    /// What is searched.
    pub space: Space,
    /// The genetic algorithm.
    pub gp: gp::Settings,
    /// Its generations, the first one included.
    pub generations: u32,
    /// Taylor polynomials instead of trees.
    pub taylor: Option<Taylor>,
    /// CMA-ES generations on the coefficients of the best tree; 0 leaves them at 1.
    pub cma_generations: u32,
    /// Its initial step size.
    pub cma_sigma: f64,
    /// Its population, or the default for the number of coefficients.
    pub cma_population: Option<usize>,
    /// Training steps of a candidate.
    pub steps: u32,
    /// Learning rates that each candidate is tried at, its fitness being the best of them.
    pub rates: Vec<f64>,
    /// How many of the best are trained in full.
    pub confirm: usize,
    /// With how many other seeds.
    pub confirm_seeds: u32,
    /// Training steps in full.
    pub full_steps: u32,
    /// What is not trained, or not to the end.
    pub savings: Savings,
}

/// The search over Taylor polynomials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taylor {
    /// Generations of CMA-ES.
    pub generations: u32,
    /// Its population.
    pub population: usize,
    /// Its initial step size.
    pub sigma: f64,
    /// Whether what breaks the trainability invariant is not trained.
    pub invariant: bool,
}

/// A search on its way: ask for [`Discovery::trials`], then [`Discovery::tell`] their outcomes, until none are left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Discovery {
    /// How the search is led.
    pub settings: Settings,
    phase: Phase,
    /// The generation under way.
    race: Race,
    /// What every tree came to that was trained.
    memory: Memory,
    /// What trees came to that other runs trained under the same conditions.
    foreign: BTreeMap<String, Trained>,
    /// The best trees so far.
    pub hall: HallOfFame,
    /// What happened, generation by generation.
    pub log: Vec<Generation>,
    /// The best in full training, best first, once known.
    pub confirmed: Vec<Confirmed>,
    /// Spearman's rank correlation of fitness after the shortened and after the full training, over the best.
    pub rank_correlation: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Evolve(GpState),
    Tune { genome: Genome, cma: Box<CmaEs> },
    Confirm,
    Done,
}

/// What the numbers of CMA-ES stand for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Genome {
    /// Coefficients of this tree.
    Coefficients(String),
    /// The parameters of a Taylor polynomial.
    Taylor,
}

/// A generation under way: its candidates, and the race of those that are trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Race {
    candidates: Vec<Candidate>,
    /// Trees that were rejected before and drawn anew, by reason.
    redrawn: BTreeMap<String, usize>,
    /// None where nothing is to be trained.
    halving: Option<Halving>,
    trained: usize,
    steps: u64,
    /// Trainings that ended before their last step, by reason.
    cut_short: BTreeMap<String, usize>,
}

/// One generation of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// `gp`, `cma-es` or `taylor`.
    pub phase: String,
    /// Its candidates.
    pub candidates: usize,
    /// The best fitness so far.
    pub best: f64,
    /// The mean fitness of the generation's candidates.
    pub mean: f64,
    /// How many trainings it took.
    pub trained: usize,
    /// How many candidates needed no training, by reason.
    pub spared: BTreeMap<String, usize>,
    /// How many trees were rejected beside these and drawn anew, by reason.
    pub redrawn: BTreeMap<String, usize>,
    /// How many trainings ended early, by reason.
    pub cut_short: BTreeMap<String, usize>,
    /// Training steps that were spent.
    pub steps: u64,
    /// Training steps that all candidates would have taken to their last step.
    pub steps_unsaved: u64,
}

/// A loss that was trained in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The loss, as text.
    pub loss: String,
    /// Mean validation score.
    pub fitness: f64,
    /// Its fitness after the shortened training, by which it came here.
    pub short: f64,
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

impl From<HalvingError> for DiscoveryError {
    fn from(e: HalvingError) -> Self {
        Self(e.to_string())
    }
}

impl Discovery {
    /// A search that begins; `foreign` is what other runs found out under the same conditions, by formula.
    ///
    /// # Errors
    /// Settings that genetic programming, CMA-ES or successive halving cannot take.
    pub fn new(settings: Settings, foreign: BTreeMap<String, Trained>) -> Result<Self, DiscoveryError> {
        let mut redrawn = BTreeMap::new();
        let phase = match &settings.taylor {
            None => {
                let (gp, variables, redraws) =
                    (settings.gp.clone(), settings.space.variables(), settings.savings.redraws);
                let accept = &mut accepting(&settings.savings, &settings.space, &mut redrawn);
                Phase::Evolve(Gp::new_choosy(gp, variables, settings.seed, redraws, accept)?.state())
            }
            Some(taylor) => {
                let cma = cma_es::Settings { population: Some(taylor.population), ..Default::default() };
                let cma = CmaEs::new(taylor::START.to_vec(), taylor.sigma, settings.seed, cma)?;
                Phase::Tune { genome: Genome::Taylor, cma: Box::new(cma) }
            }
        };
        let hall = HallOfFame::new(settings.confirm.max(10));
        let mut search = Self {
            settings,
            phase,
            race: Race::default(),
            memory: Memory::default(),
            foreign,
            hall,
            log: Vec::new(),
            confirmed: Vec::new(),
            rank_correlation: None,
        };
        search.begin_generation(redrawn)?;
        Ok(search)
    }

    /// What is being done, in words.
    pub fn stage(&self) -> String {
        let number = self.log.len() + 1 - self.before_this_phase();
        let words = match &self.phase {
            Phase::Evolve(_) | Phase::Tune { genome: Genome::Taylor, .. } => {
                format!("generation {number} of {}", self.generations())
            }
            Phase::Tune { .. } => format!("tuning coefficients, {number} of {}", self.generations()),
            Phase::Confirm => format!("training the {} best in full", self.finalists().len()),
            Phase::Done => "done".to_owned(),
        };
        match self.race.halving.as_ref().map_or(1, Halving::rung) {
            1 => words,
            rung => format!("{words}, rung {rung}"),
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

    /// The best fitness so far.
    pub fn best(&self) -> f64 {
        self.hall.members().first().map_or(0.0, |m| m.fitness)
    }

    /// How many trainings were done.
    pub fn trained(&self) -> usize {
        let confirmed = self.confirmed.len() * self.settings.confirm_seeds as usize;
        self.log.iter().map(|g| g.trained).sum::<usize>() + confirmed
    }

    /// What every formula came to that this search trained, in the order of training.
    pub fn known(&self) -> &[(String, Trained)] {
        self.memory.entries()
    }

    /// About how many training steps follow after the present stage.
    pub fn steps_to_come(&self) -> u64 {
        let s = &self.settings;
        let in_full = s.confirm as u64 * u64::from(s.confirm_seeds) * u64::from(s.full_steps);
        let population = |n: usize| n as u64 * s.rates.len() as u64 * u64::from(s.steps);
        let of_phase = &self.log[self.before_this_phase().min(self.log.len())..];
        let mean = |guess: u64| {
            let spent = of_phase.iter().map(|g| g.steps).sum::<u64>();
            spent.checked_div(of_phase.len() as u64).unwrap_or(guess)
        };
        let to_come = u64::from(self.generations()).saturating_sub(of_phase.len() as u64 + 1);
        match &self.phase {
            Phase::Evolve(_) => {
                let cma = u64::from(s.cma_generations) * population(s.cma_population.unwrap_or(10));
                to_come * mean(population(s.gp.population) / 2) + cma + in_full
            }
            Phase::Tune { cma, .. } => to_come * mean(population(cma.population_size())) + in_full,
            Phase::Confirm | Phase::Done => 0,
        }
    }

    /// The trials that are needed next; none when done, or where a generation needs no training.
    ///
    /// # Errors
    /// A saved state that does not hold together.
    pub fn trials(&self) -> Result<Vec<Trial>, DiscoveryError> {
        let s = &self.settings;
        match &self.phase {
            Phase::Evolve(_) | Phase::Tune { .. } => {
                let Some(rung) = self.race.halving.as_ref().and_then(Halving::ask) else { return Ok(Vec::new()) };
                let runners = self.race.runners()?;
                let mut trials = Vec::with_capacity(rung.candidates.len() * s.rates.len());
                for at in rung.candidates {
                    let loss = s.space.loss(&self.parse(runners[at])?);
                    let floor = s.savings.floor.filter(|(step, _)| u64::from(*step) < rung.steps);
                    let steps = rung.steps as u32;
                    trials.extend(s.rates.iter().map(|rate| Trial { floor, ..trial(&loss, steps, 0, *rate) }));
                }
                Ok(trials)
            }
            Phase::Confirm => {
                let mut trials = Vec::new();
                for tree in self.finalists() {
                    let loss = s.space.loss(&tree);
                    let seeds = 1..=u64::from(s.confirm_seeds);
                    trials.extend(seeds.map(|seed| trial(&loss, s.full_steps, seed, self.own_rate())));
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
        match &self.phase {
            Phase::Evolve(_) | Phase::Tune { .. } => {
                self.race.tell(outcomes, self.settings.rates.len())?;
                if self.race.is_over() { self.next_generation() } else { Ok(()) }
            }
            Phase::Confirm => {
                self.confirm(outcomes);
                Ok(())
            }
            Phase::Done => Ok(()),
        }
    }

    /// The generations of the present phase.
    fn generations(&self) -> u32 {
        let s = &self.settings;
        match &self.phase {
            Phase::Evolve(_) => s.generations,
            Phase::Tune { genome: Genome::Taylor, .. } => s.taylor.as_ref().map_or(0, |t| t.generations),
            Phase::Tune { .. } => s.cma_generations,
            Phase::Confirm | Phase::Done => 0,
        }
    }

    /// How many generations of the log belong to earlier phases.
    fn before_this_phase(&self) -> usize {
        self.log.iter().filter(|g| g.phase != self.phase_name()).count()
    }

    fn phase_name(&self) -> &'static str {
        match &self.phase {
            Phase::Evolve(_) => "gp",
            Phase::Tune { genome: Genome::Taylor, .. } => "taylor",
            Phase::Tune { .. } => "cma-es",
            Phase::Confirm | Phase::Done => "",
        }
    }

    /// Ends the generation under way, and begins the next one.
    fn next_generation(&mut self) -> Result<(), DiscoveryError> {
        let fitness = self.score()?;
        let last = self.log.len() - self.before_this_phase() >= self.generations() as usize;
        let mut redrawn = BTreeMap::new();
        match &mut self.phase {
            Phase::Evolve(state) => {
                if last {
                    self.phase = self.begin_tuning()?;
                } else {
                    let s = &self.settings;
                    let mut gp = Gp::resume(state.clone(), s.space.variables())?;
                    let accept = &mut accepting(&s.savings, &s.space, &mut redrawn);
                    gp.tell_choosy(&fitness, s.savings.redraws, accept)?;
                    *state = gp.state();
                }
            }
            Phase::Tune { cma, .. } => {
                // CMA-ES minimises.
                cma.tell(&fitness.iter().map(|f| -f).collect::<Vec<_>>())?;
                if last {
                    self.phase = Phase::Confirm;
                }
            }
            Phase::Confirm | Phase::Done => {}
        }
        self.begin_generation(redrawn)
    }

    /// Makes the candidates of the phase and sorts them; so many were rejected before, by reason, and drawn anew.
    fn begin_generation(&mut self, redrawn: BTreeMap<String, usize>) -> Result<(), DiscoveryError> {
        let Self { settings: s, phase, memory, foreign, .. } = self;
        let variables = s.space.variables();
        let trees: Vec<Result<Expr, String>> = match phase {
            Phase::Evolve(state) => {
                Gp::resume(state.clone(), variables)?.generation().iter().cloned().map(Ok).collect()
            }
            Phase::Tune { genome: Genome::Coefficients(tree), cma } => {
                let tree = Expr::parse(tree, variables).map_err(|e| DiscoveryError(e.to_string()))?;
                let coefficients = Coefficients::new(&tree, Places::EveryNode);
                cma.ask().iter().map(|c| coefficients.apply(c).map_err(|_| "not a formula".to_owned())).collect()
            }
            Phase::Tune { genome: Genome::Taylor, cma } => {
                let (classes, invariant) = match (&s.space, &s.taylor) {
                    (Space::Class { classes }, Some(taylor)) => (*classes, taylor.invariant),
                    _ => return Err(DiscoveryError("Taylor polynomials are losses over classes".to_owned())),
                };
                cma.ask().iter().map(|t| polynomial(t, classes, invariant)).collect()
            }
            Phase::Confirm | Phase::Done => Vec::new(),
        };
        let candidates = savings::sort(trees, &s.savings, &s.space, memory, foreign);
        self.race = Race { redrawn, ..Race::new(candidates, s)? };
        // With nothing to train in full there is nothing to wait for.
        if matches!(self.phase, Phase::Confirm) && self.finalists().is_empty() {
            self.phase = Phase::Done;
        }
        Ok(())
    }

    /// The fitness of every candidate of the generation, which goes into memory, hall of fame and log.
    fn score(&mut self) -> Result<Vec<f64>, DiscoveryError> {
        let race = std::mem::take(&mut self.race);
        let runs = race.results();
        let mut runs = runs.iter();
        let mut fitness = Vec::with_capacity(race.candidates.len());
        let mut spared: BTreeMap<String, usize> = BTreeMap::new();
        for (index, candidate) in race.candidates.iter().enumerate() {
            let (value, reason) = match &candidate.fate {
                Fate::Known(value, why) => (*value, Some(why)),
                Fate::Rejected(why) => (0.0, Some(why)),
                Fate::Like(first, why) => (fitness[*first], Some(why)),
                Fate::Train => (self.remember(candidate, index, runs.next().copied().unwrap_or_default())?, None),
            };
            fitness.push(value);
            if let Some(why) = reason {
                *spared.entry(why.clone()).or_insert(0) += 1;
            }
            // What another run trained may be better than anything of this one.
            if let (Fate::Known(_, why), Some(tree)) = (&candidate.fate, &candidate.tree)
                && why == savings::FOREIGN
            {
                let identity = crate::archive::identity(&self.parse(tree)?, self.settings.space.variables());
                let theirs = self.foreign.get(&identity).copied().unwrap_or_default();
                self.remember(candidate, index, theirs)?;
            }
        }
        let s = &self.settings;
        self.log.push(Generation {
            phase: self.phase_name().to_owned(),
            candidates: race.candidates.len(),
            best: self.best(),
            mean: fitness.iter().sum::<f64>() / fitness.len().max(1) as f64,
            trained: race.trained,
            spared,
            redrawn: race.redrawn,
            cut_short: race.cut_short,
            steps: race.steps,
            steps_unsaved: race.candidates.len() as u64 * s.rates.len() as u64 * u64::from(s.steps),
        });
        Ok(fitness)
    }

    /// What a training came to: into the memory, and where it went to the end, to the hall of fame.
    fn remember(&mut self, candidate: &Candidate, index: usize, run: Trained) -> Result<f64, DiscoveryError> {
        let Some(text) = &candidate.tree else { return Ok(0.0) };
        let tree = self.parse(text)?;
        let identity = crate::archive::identity(&tree, self.settings.space.variables());
        self.memory.insert(identity, run, &self.settings.space);
        if run.to_the_end && run.fitness > 0.0 {
            let origin = Origin { generation: self.log.len() as u64, index };
            self.hall.offer(&tree, self.settings.space.variables(), run.fitness, origin);
        }
        Ok(run.fitness)
    }

    /// CMA-ES on the best tree's coefficients, or straight to the confirmation.
    fn begin_tuning(&self) -> Result<Phase, DiscoveryError> {
        let s = &self.settings;
        let Some(best) = self.hall.members().first() else { return Ok(Phase::Confirm) };
        if s.cma_generations == 0 {
            return Ok(Phase::Confirm);
        }
        let start = Coefficients::new(&self.parse(&best.formula)?, Places::EveryNode).start();
        let settings = cma_es::Settings { population: s.cma_population, ..Default::default() };
        let cma = CmaEs::new(start, s.cma_sigma, s.seed, settings)?;
        Ok(Phase::Tune { genome: Genome::Coefficients(best.formula.clone()), cma: Box::new(cma) })
    }

    /// The trees that are trained in full.
    fn finalists(&self) -> Vec<Expr> {
        let best = self.hall.members().iter().take(self.settings.confirm);
        best.filter_map(|m| self.parse(&m.formula).ok()).collect()
    }

    /// Ranks the best anew by their full training.
    fn confirm(&mut self, outcomes: &[Outcome]) {
        let seeds = self.settings.confirm_seeds as usize;
        let mean = |o: &[Outcome]| o.iter().map(Outcome::fitness).sum::<f64>() / seeds as f64;
        let scored = self.finalists().into_iter().zip(self.hall.members()).zip(outcomes.chunks(seeds));
        let loss = |tree: &Expr| self.settings.space.loss(tree);
        self.confirmed = scored
            .map(|((tree, member), o)| Confirmed { loss: loss(&tree), fitness: mean(o), short: member.fitness })
            .collect();
        let (short, full): (Vec<f64>, Vec<f64>) = self.confirmed.iter().map(|c| (c.short, c.fitness)).unzip();
        self.rank_correlation = stats::spearman(&short, &full).ok().flatten();
        self.confirmed.sort_by(|a, b| b.fitness.total_cmp(&a.fitness));
        self.phase = Phase::Done;
    }

    /// The rate of full training: the middle one, which is the recipe's where rates are multiples around it.
    fn own_rate(&self) -> f64 {
        self.settings.rates[self.settings.rates.len() / 2]
    }

    fn parse(&self, tree: &str) -> Result<Expr, DiscoveryError> {
        Expr::parse(tree, self.settings.space.variables()).map_err(|e| DiscoveryError(e.to_string()))
    }
}

fn trial(loss: &str, steps: u32, seed: u64, rate: f64) -> Trial {
    Trial {
        loss: loss.to_owned(),
        steps,
        seed,
        rate: Some(rate),
        train_size: None,
        part: Part::Validation,
        floor: None,
    }
}

fn polynomial(t: &[f64], classes: usize, invariant: bool) -> Result<Expr, String> {
    let t: [f64; 8] = t.try_into().map_err(|_| "not eight numbers".to_owned())?;
    if invariant && !taylor::is_trainable(&t, classes) {
        return Err("the trainability invariant is broken".to_owned());
    }
    taylor::tree(&t).map_err(|_| "not a formula".to_owned())
}

/// Says whether a tree is worth training, and counts those that are not, by reason.
fn accepting<'a>(
    savings: &'a Savings,
    space: &'a Space,
    redrawn: &'a mut BTreeMap<String, usize>,
) -> impl FnMut(&Expr) -> bool + 'a {
    |tree| match savings::rejection(tree, savings, space) {
        None => true,
        Some(why) => {
            *redrawn.entry(why.to_string()).or_insert(0) += 1;
            false
        }
    }
}

impl Race {
    fn new(candidates: Vec<Candidate>, s: &Settings) -> Result<Self, DiscoveryError> {
        let runners = candidates.iter().filter(|c| c.fate == Fate::Train).count();
        let halving = match (runners, &s.savings.halving) {
            (0, _) => None,
            (n, None) => Some(Halving::new(n, s.steps.into(), s.steps.into(), 2)?),
            (n, Some(rungs)) => {
                Some(Halving::new(n, rungs.least_steps.min(s.steps).into(), s.steps.into(), rungs.share.into())?)
            }
        };
        Ok(Self { candidates, halving, ..Self::default() })
    }

    /// The trees that are trained.
    fn runners(&self) -> Result<Vec<&str>, DiscoveryError> {
        let trained = self.candidates.iter().filter(|c| c.fate == Fate::Train);
        trained
            .map(|c| c.tree.as_deref().ok_or_else(|| DiscoveryError("a candidate without a tree".to_owned())))
            .collect()
    }

    fn is_over(&self) -> bool {
        self.halving.as_ref().is_none_or(Halving::is_done)
    }

    /// Takes the outcomes of a rung, as many for each candidate as there are rates.
    fn tell(&mut self, outcomes: &[Outcome], rates: usize) -> Result<(), DiscoveryError> {
        let Some(halving) = &mut self.halving else { return Ok(()) };
        self.trained += outcomes.len();
        self.steps += outcomes.iter().map(|o| u64::from(o.steps)).sum::<u64>();
        for outcome in outcomes {
            let why = match &outcome.end {
                End::Done => continue,
                End::Diverged => "diverged",
                End::Rejected(_) => "given up early",
                End::Failed(_) => "failed",
            };
            *self.cut_short.entry(why.to_owned()).or_insert(0) += 1;
        }
        let best = |o: &[Outcome]| o.iter().map(Outcome::fitness).fold(0.0, f64::max);
        let before = halving.ask().map_or(0, |rung| rung.candidates.len());
        halving.tell(&outcomes.chunks(rates).map(best).collect::<Vec<_>>())?;
        if let Some(next) = halving.ask() {
            *self.cut_short.entry("fell behind".to_owned()).or_insert(0) += before - next.candidates.len();
        }
        Ok(())
    }

    /// What the trained candidates came to, in their order.
    fn results(&self) -> Vec<Trained> {
        let Some(halving) = &self.halving else { return Vec::new() };
        let runners = self.candidates.iter().filter(|c| c.fate == Fate::Train).count();
        let result = |at: usize| {
            let (rung, value) = halving.last(at).unwrap_or((0, 0.0));
            Trained { fitness: value.max(0.0), to_the_end: rung == halving.rung() }
        };
        (0..runners).map(result).collect()
    }
}
