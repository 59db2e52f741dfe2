//! `lossmith search classifier`: discover a loss, then judge it on a test part that nothing was chosen on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lossmith_search::comparison::Comparison;
use lossmith_search::discovery::{self, Discovery};
use lossmith_search::gp;
use lossmith_search::trial::{Outcome, Trial};
use serde::{Deserialize, Serialize};

use super::begun::Begun;
use super::compare::{self, Compared, Condition};
use super::recipe::Selection;
use super::{Common, Evaluator, Recipe, page};
use crate::interrupt;
use crate::output::{self, Answer};
use crate::progress::Talk;
use crate::study::{Identity, Place, Plan, or_file, work_through};

/// What a found loss is compared with.
const RIVALS: [&str; 3] = ["cross-entropy", "baikal", "baikal-cma"];
/// The name of the found loss in tables and sentences.
const FOUND: &str = "found";
/// How many trainings are handed out at once: a kill loses at most these.
const BATCH: usize = 16;

/// The arguments of `search classifier`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without any flag: generated digits, a small network, minutes on two cores.\n\
    Example: lossmith search classifier --data mnist --set search.population=80\n\n\
    On many machines: lossmith search classifier --data mnist --study postgres://ada@db.example/losses#mnist\n\
    and anywhere:     lossmith worker --data mnist --study postgres://ada@db.example/losses#mnist")]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Go on with a search that was stopped or killed
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let identity = |recipe: &Recipe, evaluator: &Evaluator| {
        Ok(Identity::new("classifier", evaluator.checksum(), crate::recipe::to_text(recipe)?))
    };
    let (run, begun, recipe, evaluator, shared) = match &args.resume {
        Some(folder) => {
            let (run, begun, recipe, evaluator) = Begun::resume(folder)?;
            let shared = args.place.shared_again(begun.study.as_deref(), || identity(&recipe, &evaluator))?;
            (run, begun, recipe, evaluator, shared)
        }
        None => {
            let (recipe, evaluator) = Begun::prepare(&args.common, |_| {})?;
            let shared = args.place.shared(|| identity(&recipe, &evaluator))?;
            let begun = Begun::now(&args.common, args.place.study.as_ref())?;
            (begun.start(&args.common, "search-classifier", &recipe)?, begun, recipe, evaluator, shared)
        }
    };
    tracing::info!("{}; run folder {}", evaluator.data, run.folder().display());
    let first = Search {
        discovery: Discovery::new(discovery_settings(&recipe, evaluator.classes()))?,
        recipe: recipe.clone(),
        comparison: None,
    };
    let mut study = or_file(shared, &run)?;
    let mut evaluate = |trials: &[Trial]| evaluator.evaluate(trials);
    let done = work_through(study.as_mut(), first, BATCH, &mut Talk::new(false), &mut evaluate)
        .map_err(|e| compare::how_to_go_on(e, "search", run.folder()))?;
    let (Some(found), Some(comparison)) = (done.discovery.found(), &done.comparison) else {
        anyhow::bail!("no candidate could be trained; a larger search.population or another search.steps may help");
    };
    let mut names = compare::names(&comparison.settings.losses);
    if let Some(last) = names.last_mut() {
        *last = FOUND.to_owned();
    }
    let mut compared = Compared::new(comparison, &names)?;
    compared.same_rate.verdict = verdict(&compared);
    let result = Found {
        found: found.loss.clone(),
        fitness: found.fitness,
        generations: done.discovery.log.len(),
        evaluations: done.discovery.trained(),
        comparison: compared.clone(),
    };
    run.write_json("result.json", &result)?;
    run.write("found.loss", format!("{}\n", result.found).as_bytes())?;
    let results = page::Results { discovery: Some(&done.discovery), comparison, compared: &compared };
    page::write(&run, &begun, &recipe, &evaluator, results)?;
    if args.common.json {
        output::print_json(&result)?;
    } else {
        let Found { found, fitness, generations, evaluations, .. } = &result;
        output::print(&format!(
            "found  {found}\n       validation accuracy {fitness:.4}, {generations} generations, {evaluations} trainings\n\n\
             {compared}\npage   {}\n",
            run.path("report.html").display()
        ))?;
    }
    Ok(Answer::Yes)
}

/// The question a search is run for, answered first: does the found loss beat cross-entropy? Then who wins among all.
fn verdict(compared: &Compared) -> String {
    let same = &compared.same_rate;
    let against = |c: &Condition| c.against(FOUND, RIVALS[0]).unwrap_or_default();
    match &compared.own_rate {
        None => format!("At the same rate {}; among all, {}.", against(same), same.standing()),
        Some(own) => format!(
            "At the same rate {}; each at its own best rate {}. Among all, {} at the same rate, and {} at own rates.",
            against(same),
            against(own),
            same.standing(),
            own.standing()
        ),
    }
}

/// What a search prints with `--json`.
#[derive(Debug, Serialize)]
struct Found {
    /// The formula, in x, y and n.
    found: String,
    /// Mean validation accuracy in full training.
    fitness: f64,
    generations: usize,
    evaluations: usize,
    comparison: Compared,
}

/// The plan of a search: discover, then compare.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Search {
    discovery: Discovery,
    recipe: Recipe,
    comparison: Option<Comparison>,
}

impl Plan for Search {
    fn stage(&self) -> String {
        match &self.comparison {
            None => format!("{}, best {:.4}", self.discovery.stage(), self.best()),
            Some(comparison) => comparison.stage().to_owned(),
        }
    }

    fn trials(&self) -> anyhow::Result<Vec<Trial>> {
        match &self.comparison {
            None => Ok(self.discovery.trials()?),
            Some(comparison) => Ok(comparison.trials()),
        }
    }

    fn tell(&mut self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        if let Some(comparison) = &mut self.comparison {
            return Plan::tell(comparison, outcomes);
        }
        self.discovery.tell(outcomes)?;
        // A generation may hold nothing that is not known already.
        while self.discovery.trials()?.is_empty() && !self.discovery.is_done() {
            self.discovery.tell(&[])?;
        }
        if let Some(found) = self.discovery.found() {
            let mut losses: Vec<String> = RIVALS.map(str::to_owned).to_vec();
            losses.push(found.loss.clone());
            self.comparison = Some(Comparison::new(compare::settings(&self.recipe, losses, None)));
        }
        Ok(())
    }
}

impl Search {
    fn best(&self) -> f64 {
        self.discovery.hall.members().first().map_or(0.0, |m| m.fitness)
    }
}

fn discovery_settings(recipe: &Recipe, classes: usize) -> discovery::Settings {
    let s = &recipe.search;
    let rate = recipe.train.rate;
    discovery::Settings {
        seed: recipe.seed,
        classes,
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
            ..Default::default()
        },
        generations: s.generations,
        cma_generations: recipe.cma_es.generations,
        cma_sigma: recipe.cma_es.sigma,
        cma_population: (recipe.cma_es.population > 0).then_some(recipe.cma_es.population),
        steps: s.steps,
        rates: if s.tune_rate { s.rate_multiples.iter().map(|m| m * rate).collect() } else { vec![rate] },
        confirm: s.confirm,
        confirm_seeds: s.confirm_seeds,
        full_steps: recipe.train.steps,
    }
}
