//! `lossmith compare classifier`: the same seeds for every loss, paired statistics, and a verdict that is fair in the learning rate.

use std::path::PathBuf;

use lossmith::stats::{self, Verdict};
use lossmith_search::comparison::{Comparison, Settings};
use lossmith_search::trial::{End, Outcome, Trial};
use serde::Serialize;

use super::begin;
use super::{Common, Recipe};
use crate::commands;
use crate::interrupt;
use crate::output::{self, Answer, Table};
use crate::progress::Talk;
use crate::study::{Plan, SqliteStudy, work_through};
use crate::tasks::search::page::{self, Origin};
use crate::tasks::trainings::check_losses;

const COMMAND: &str = "compare classifier";
/// The level below which a corrected p-value counts.
const ALPHA: f64 = 0.01;
/// How many trainings are handed out at once: a kill loses at most these.
const BATCH: usize = 6;

/// The arguments of `compare classifier`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: lossmith compare classifier --losses cross-entropy,baikal,baikal-cma --data mnist --net lenet"
)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// The losses, separated by commas
    #[arg(long, value_name = "A,B,C", required_unless_present = "resume", allow_hyphen_values = true)]
    losses: Option<String>,
    /// How many training images are used
    #[arg(long, value_name = "N")]
    train_size: Option<u32>,
    /// How many seeds each loss gets
    #[arg(long, value_name = "N")]
    seeds: Option<u32>,
    /// Also compare each loss at its own best learning rate
    #[arg(long)]
    tune_rate: bool,
    /// Go on with a run that was stopped or killed
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "losses"])]
    resume: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let (run, begun, recipe, evaluator) = match &args.resume {
        Some(folder) => begin::resume(folder, COMMAND)?,
        None => {
            let losses = read_losses(args.losses.as_deref().unwrap_or_default())?;
            check_losses(&losses)?;
            begin::create(&args.common, COMMAND, &losses, args.train_size, |recipe| {
                recipe.compare.seeds = args.seeds.unwrap_or(recipe.compare.seeds);
                recipe.compare.tune_rate = args.tune_rate;
            })?
        }
    };
    let first = Comparison::new(settings(&recipe, begun.losses.clone(), begun.train_size));
    let mut study = SqliteStudy::open(&run.path("study.db"))?;
    let mut evaluate = |trials: &[Trial]| evaluator.evaluate(trials);
    let done = work_through(&mut study, first, BATCH, &mut Talk::new(false), &mut evaluate)
        .map_err(|e| how_to_go_on(e, COMMAND, run.folder()))?;
    let result = Compared::new(&done, &names(&done.settings.losses))?;
    run.write_json("result.json", &result)?;
    let text = crate::recipe::to_text(&recipe)?;
    let origin = Origin { begun: &begun, recipe: text, seed: recipe.seed, judge: &evaluator, metric: "accuracy" };
    page::write(&run, &origin, page::Results { discovery: None, comparison: &done, compared: &result })?;
    if args.common.json {
        output::print_json(&result)?;
    } else {
        output::print(&result.to_string())?;
    }
    tracing::info!("page: {}", run.path("report.html").display());
    Ok(Answer::Yes)
}

/// Says how an interrupted command is gone on with.
pub fn how_to_go_on(error: anyhow::Error, command: &str, folder: &std::path::Path) -> anyhow::Error {
    if error.is::<interrupt::Interrupted>() {
        return anyhow::anyhow!("stopped on request; go on with: lossmith {command} --resume {}", folder.display());
    }
    error
}

/// The losses of a comma-separated list, each checked; commas inside brackets and quotes belong to a loss.
pub fn read_losses(list: &str) -> anyhow::Result<Vec<String>> {
    let losses: Vec<String> = commands::read_losses(list)?.iter().map(ToString::to_string).collect();
    losses.iter().try_for_each(|loss| super::evaluator::class_loss(loss).map(drop))?;
    Ok(losses)
}

/// Names for tables and sentences: the loss itself, or `formula 3` where that would be too long.
pub fn names(losses: &[String]) -> Vec<String> {
    const LONGEST: usize = 40;
    let name = |(i, loss): (usize, &String)| match loss.len() {
        0..=LONGEST => loss.clone(),
        _ => format!("formula {}", i + 1),
    };
    losses.iter().enumerate().map(name).collect()
}

/// The plan's settings from a recipe.
pub fn settings(recipe: &Recipe, losses: Vec<String>, train_size: Option<u32>) -> Settings {
    recipe.sections().comparison(losses, train_size)
}

impl Plan for Comparison {
    fn stage(&self) -> String {
        Comparison::stage(self).to_owned()
    }

    fn trials(&self) -> anyhow::Result<Vec<Trial>> {
        Ok(Comparison::trials(self))
    }

    fn tell(&mut self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        for outcome in outcomes {
            if let End::Failed(why) = &outcome.end {
                anyhow::bail!("a training failed: {why}");
            }
        }
        Comparison::tell(self, outcomes);
        Ok(())
    }
}

/// The outcome of a comparison: the same rate for all, and each loss at its own.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    #[serde(flatten)]
    pub same_rate: Condition,
    /// Each loss at its own best rate.
    pub own_rate: Option<Condition>,
    /// The verdict at the same rate alone; the flattened one speaks of both conditions.
    #[serde(skip)]
    pub at_same_rate: String,
}

/// One condition of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Condition {
    pub losses: Vec<Measured>,
    pub pairs: Vec<stats::Comparison>,
    pub winner: Option<String>,
    pub verdict: String,
}

/// One loss under one condition.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub loss: String,
    /// The loss itself, or a short name where that is long.
    pub name: String,
    pub rate: f64,
    pub mean: f64,
    pub sd: f64,
    pub values: Vec<f64>,
    /// How many trainings diverged; their accuracy counts as 0.
    pub diverged: usize,
}

impl std::ops::Deref for Compared {
    type Target = Condition;

    fn deref(&self) -> &Condition {
        &self.same_rate
    }
}

impl Compared {
    /// The statistics of a finished comparison.
    pub fn new(done: &Comparison, names: &[String]) -> anyhow::Result<Self> {
        let s = &done.settings;
        let same = Condition::new(&s.losses, names, &vec![s.rate; s.losses.len()], &done.same_rate)?;
        if done.own_rate.is_empty() {
            return Ok(Self { at_same_rate: same.verdict.clone(), same_rate: same, own_rate: None });
        }
        let own = Condition::new(&s.losses, names, &done.own_rates, &done.own_rate)?;
        let verdict = fair_verdict(s.rate, &same, &own);
        Ok(Self { at_same_rate: same.verdict.clone(), same_rate: Condition { verdict, ..same }, own_rate: Some(own) })
    }
}

impl Condition {
    fn new(losses: &[String], names: &[String], rates: &[f64], outcomes: &[Vec<Outcome>]) -> anyhow::Result<Self> {
        let values: Vec<Vec<f64>> = outcomes.iter().map(|o| o.iter().map(Outcome::fitness).collect()).collect();
        let short: Vec<&str> = names.iter().map(String::as_str).collect();
        let Verdict { pairs, winner, verdict, .. } = Verdict::new(&short, &values, ALPHA)?;
        let measured = values.into_iter().enumerate().map(|(i, values)| Measured {
            loss: losses[i].clone(),
            name: names[i].clone(),
            rate: rates[i],
            mean: stats::mean(&values).unwrap_or(0.0),
            sd: stats::sd(&values).unwrap_or(0.0),
            values,
            diverged: outcomes[i].iter().filter(|o| o.end == End::Diverged).count(),
        });
        Ok(Self { losses: measured.collect(), pairs, winner, verdict })
    }
}

/// Which wins survive when each loss has its own best rate.
fn fair_verdict(rate: f64, same: &Condition, own: &Condition) -> String {
    let fate = match (&same.winner, &own.winner) {
        (Some(a), Some(b)) if a == b => format!("{a}'s win survives"),
        (Some(a), Some(b)) => format!("{a}'s win does not survive: {b} wins"),
        (Some(a), None) => format!("{a}'s win does not survive"),
        (None, Some(b)) => format!("{b} wins only then"),
        (None, None) => "still nobody wins".to_owned(),
    };
    format!("At the same rate {rate}: {}. Each at its own best rate, {fate}: {}.", same.verdict, own.verdict)
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.losses.first().map_or(0.0, |m| m.rate);
        writeln!(f, "The same learning rate for all ({rate})\n")?;
        self.same_rate.table(f)?;
        if let Some(own) = &self.own_rate {
            writeln!(f, "\nEach loss at its own best learning rate\n")?;
            own.table(f)?;
        }
        writeln!(f, "\n{}", self.verdict)
    }
}

impl Condition {
    /// How one loss does against another, in a few words.
    pub fn against(&self, name: &str, rival: &str) -> Option<String> {
        let pair = self.pairs.iter().find(|c| (c.a == name && c.b == rival) || (c.a == rival && c.b == name))?;
        let difference = if pair.a == name { pair.difference } else { -pair.difference };
        let word = match (pair.p_holm < ALPHA, difference > 0.0) {
            (true, true) => "beats",
            (true, false) => "loses to",
            (false, _) => "is not shown to differ from",
        };
        Some(format!("{name} {word} {rival} ({difference:+.4}, p = {:.1e})", pair.p_holm))
    }

    /// Who wins outright, or who comes first without being shown to be better.
    pub fn standing(&self) -> String {
        if let Some(winner) = &self.winner {
            return format!("{winner} wins");
        }
        let first = self.losses.iter().max_by(|a, b| a.mean.total_cmp(&b.mean));
        format!("nobody wins outright ({} has the highest mean)", first.map_or("none", |m| &m.name))
    }

    fn table(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut losses = Table::new(["loss", "rate", "mean", "sd", "n", "diverged"]);
        for m in &self.losses {
            losses.row([
                m.name.clone(),
                m.rate.to_string(),
                format!("{:.4}", m.mean),
                format!("{:.4}", m.sd),
                m.values.len().to_string(),
                m.diverged.to_string(),
            ]);
        }
        let mut pairs = Table::new(["difference", "mean", "95 % interval", "p", "p (Wilcoxon)", "p (Holm)"]);
        for c in &self.pairs {
            pairs.row([
                format!("{} - {}", c.a, c.b),
                format!("{:+.4}", c.difference),
                c.ci95.map_or_else(|| "-".to_owned(), |[low, high]| format!("{low:+.4} to {high:+.4}")),
                format!("{:.2e}", c.p),
                format!("{:.2e}", c.p_wilcoxon),
                format!("{:.2e}", c.p_holm),
            ]);
        }
        write!(f, "{losses}\n{pairs}")?;
        for m in self.losses.iter().filter(|m| m.name != m.loss) {
            writeln!(f, "\n{} = {}", m.name, m.loss)?;
        }
        Ok(())
    }
}
