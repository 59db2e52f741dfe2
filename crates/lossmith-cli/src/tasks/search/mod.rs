//! The search for a loss, whatever the task: plan, study, cache, page and verdict.
//!
//! A task says in an [`Arena`] what is searched and who judges it; the rest is the same for all.

pub mod begun;
mod cache;
pub mod page;
mod plan;
pub mod recipe;
pub mod slot;

use std::path::{Path, PathBuf};

use lossmith_search::discovery::{Discovery, Generation};
use lossmith_search::space::Space;
use lossmith_search::trial::Trial;
use serde::Serialize;

pub use begun::Begun;
use cache::CacheFile;
use page::Origin;
use plan::Search;
use recipe::Sections;

use super::Judge;
use super::again;
use super::classifier::compare::{self, Compared, Condition};
use crate::output::{self, Answer, Table};
use crate::progress::{Pace, Talk};
use crate::run::Run;
use crate::study::{Identity, Place, lead, or_file};

/// The name of the found loss in tables and sentences.
const FOUND: &str = "found";
/// How many trainings are handed out at once: a kill loses at most these.
const BATCH: usize = 16;

/// The arguments that every search takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Go on with a search that was stopped or killed
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    pub resume: Option<PathBuf>,
    /// Use and extend what earlier searches found out under the same conditions
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub cache: Option<PathBuf>,
    #[command(flatten)]
    pub place: Place,
}

/// What is searched, on what, and by whom it is judged.
pub struct Arena<'a> {
    /// The task, as its command line says it: `classifier`, `embedding --slot pull`.
    pub task: String,
    /// Does the trials.
    pub judge: &'a dyn Judge,
    /// The formulas.
    pub space: Space,
    /// The losses that the found one is compared with; the first is the baseline.
    pub rivals: Vec<String>,
    /// What is measured, as `test accuracy`.
    pub metric: &'static str,
    /// The recipe.
    pub sections: Sections,
    /// The part of the recipe that training depends on.
    pub conditions: String,
}

impl Arena<'_> {
    /// The identity of a study of this search.
    fn identity(&self) -> anyhow::Result<Identity> {
        Ok(Identity::new(&self.task, self.judge.checksum()?, self.judge.recipe()?, self.judge.arithmetic()))
    }

    /// Whatever has an influence on the fitness of a formula.
    fn cache_file(&self, path: &Path, identity: &Identity) -> CacheFile {
        let s = &self.sections.search;
        let (rates, savings) = (if s.tune_rate { &s.rate_multiples[..] } else { &[] }, &s.savings);
        let conditions = serde_json::json!([
            identity.version,
            self.task,
            identity.data,
            self.conditions,
            self.sections.seed,
            s.steps,
            rates,
            [savings.floor_step, savings.halving_steps, savings.halving_share],
            savings.floor_accuracy,
            identity.arithmetic,
        ]);
        CacheFile::new(path, &conditions.to_string())
    }
}

/// A run that is gone on with.
pub struct Resumed {
    run: Run,
    pub begun: Begun,
    /// Its recipe.
    pub recipe: String,
}

/// The run that is gone on with, if there is one; `task` is the first word of its task. Flags in `given` would change it, and are
/// refused.
pub fn resumed(options: &Options, task: &str, given: &[(&'static str, bool)]) -> anyhow::Result<Option<Resumed>> {
    // An address that is none is refused before the data are read.
    options.place.address()?;
    let Some(folder) = &options.resume else { return Ok(None) };
    again::refuse(folder, given)?;
    let (run, Identity { recipe, .. }) = Run::resume(folder, &format!("search {task}"))?;
    let begun = Begun::read(&run)?;
    Ok(Some(Resumed { run, begun, recipe }))
}

/// Where a new run is to be made.
pub struct New<'a> {
    pub out: Option<&'a Path>,
    pub data: Option<&'a Path>,
}

/// Leads a search to its end.
pub fn run(
    arena: &Arena<'_>,
    options: &Options,
    resumed: Option<Resumed>,
    new: New<'_>,
    json: bool,
) -> anyhow::Result<Answer> {
    let place = &options.place;
    let identity = arena.identity()?;
    let of_run = Identity { task: format!("search {}", arena.task), ..identity.clone() };
    if let Some(Resumed { run, .. }) = &resumed {
        run.check(&of_run)?;
    }
    // Whatever may be refused is refused before anything is made.
    let cache = resumed.as_ref().map_or(options.cache.as_ref(), |resumed| resumed.begun.cache.as_ref());
    let cache = cache.map(|path| arena.cache_file(path, &identity));
    let known = cache.as_ref().map(CacheFile::read).transpose()?.unwrap_or_default();
    let discovery = Discovery::new(arena.sections.discovery(arena.space.clone()), known)?;
    let first = Search::new(discovery, arena.sections.clone(), arena.rivals.clone())?;
    let (run, begun, shared) = match resumed {
        Some(Resumed { run, begun, .. }) => {
            let shared = place.shared_again(begun.study.as_deref(), &identity)?;
            (run, begun, shared)
        }
        None => {
            let shared = place.shared(&identity)?;
            let cache = options.cache.as_deref().map(std::path::absolute).transpose()?;
            let arithmetic = identity.arithmetic.clone();
            let begun = Begun { cache, arithmetic, ..Begun::now(new.data, place.address()?.as_ref())? };
            let name = format!("search-{}", arena.task.split(' ').next().unwrap_or_default());
            (begun.start(new.out, &name, &of_run)?, begun, shared)
        }
    };
    tracing::info!("{}; {}; run folder {}", arena.judge.data(), identity.arithmetic, run.folder().display());
    let mut study = or_file(shared, &run)?;
    let origin = Origin {
        begun: &begun,
        recipe: identity.recipe,
        seed: arena.sections.seed,
        judge: arena.judge,
        metric: arena.metric,
    };
    let mut evaluate = |trials: &[Trial]| arena.judge.evaluate(trials);
    let mut seen = 0;
    let mut watch = |plan: &Search, pace: &Pace| {
        if let Some(cache) = cache.as_ref().filter(|_| plan.discovery.known().len() > seen) {
            cache.add(plan.discovery.known())?;
            seen = plan.discovery.known().len();
        }
        page::write_on_the_way(&run, &origin, &plan.discovery, pace)
    };
    let done = lead(study.as_mut(), first, BATCH, &mut Talk::new(false), &mut evaluate, &mut watch)
        .map_err(|e| compare::how_to_go_on(e, &format!("search {}", arena.task), run.folder()))?;
    if let Some(cache) = &cache {
        cache.add(done.discovery.known())?;
    }
    let (Some(found), Some(comparison)) = (done.discovery.found(), &done.comparison) else {
        let reasons = page::totals(&done.discovery.log);
        let most = reasons.iter().max_by_key(|(_, count)| *count);
        let most = most.map_or(String::new(), |(why, count)| format!(" (most often, {count} times: {why})"));
        anyhow::bail!(
            "no candidate could be trained{most}; a larger search.population, another search.steps or less search.savings may help"
        );
    };
    let mut names = compare::names(&comparison.settings.losses, &[]);
    if let Some(last) = names.last_mut() {
        *last = FOUND.to_owned();
    }
    let mut compared = Compared::new(comparison, &names)?;
    compared.same_rate.verdict = verdict(&compared, &arena.rivals[0]);
    let log = &done.discovery.log;
    let result = Found {
        found: found.loss.clone(),
        fitness: found.fitness,
        generations: log.len(),
        evaluations: done.discovery.trained(),
        steps: log.iter().map(|g| g.steps).sum(),
        steps_unsaved: log.iter().map(|g| g.steps_unsaved).sum(),
        rank_correlation: done.discovery.rank_correlation,
        finalists: done.discovery.confirmed.len(),
        log: log.clone(),
        comparison: compared.clone(),
    };
    run.write_json("result.json", &result)?;
    run.write("found.loss", format!("{}\n", result.found).as_bytes())?;
    let results = page::Results { discovery: Some(&done.discovery), comparison, compared: &compared };
    page::write(&run, &origin, results)?;
    if json {
        output::print_json(&result)?;
    } else {
        output::print(&format!("{result}\npage   {}\n", run.path("report.html").display()))?;
    }
    Ok(Answer::Yes)
}

/// The question a search is run for, answered first: does the found loss beat the baseline? Then who wins among all.
fn verdict(compared: &Compared, baseline: &str) -> String {
    let same = &compared.same_rate;
    let against = |c: &Condition| c.against(FOUND, baseline).unwrap_or_default();
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
    /// The loss: for classes a formula in x, y and n.
    found: String,
    /// Mean validation score in full training.
    fitness: f64,
    generations: usize,
    evaluations: usize,
    /// Training steps of the search, without confirmation and comparison.
    steps: u64,
    /// Training steps that all its candidates would have taken to their last step.
    steps_unsaved: u64,
    /// Spearman's, of the finalists' fitness in short and in full training.
    rank_correlation: Option<f64>,
    finalists: usize,
    /// Generation by generation, with what was saved and why.
    log: Vec<Generation>,
    comparison: Compared,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { found, fitness, generations, evaluations, steps, steps_unsaved, .. } = self;
        writeln!(f, "found  {found}")?;
        writeln!(f, "       validation score {fitness:.4}, {generations} generations, {evaluations} trainings")?;
        writeln!(f, "       {steps} training steps of the search; {steps_unsaved} without savings")?;
        if let Some(r) = self.rank_correlation {
            writeln!(
                f,
                "       rank correlation of short and full training over {} finalists: {r:+.2}",
                self.finalists
            )?;
        }
        let saved = page::totals(&self.log);
        if !saved.is_empty() {
            let mut table = Table::new(["saved", "candidates"]);
            saved.iter().for_each(|(why, count)| table.row([why.clone(), count.to_string()]));
            write!(f, "\n{table}")?;
        }
        write!(f, "\n{}", self.comparison)
    }
}
