//! `lossmith compare classifier`: the same seeds for every loss, paired statistics, and a verdict that is fair in the learning rate.

use std::path::{Path, PathBuf};

use lossmith::stats::{self, Verdict};
use lossmith_search::comparison::{Comparison, Settings};
use lossmith_search::trial::{End, Outcome, Trial};
use serde::Serialize;

use super::begin;
use super::{Common, Recipe};
use crate::commands;
use crate::interrupt;
use crate::output::{self, Answer, Table, signed};
use crate::progress::Talk;
use crate::study::{Plan, SqliteStudy, work_through};
use crate::tasks::again;
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
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<u32>(..))]
    train_size: Option<u32>,
    /// How many seeds each loss gets
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<u32>(..))]
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
        Some(folder) => {
            let flags = vec![
                ("--train-size", args.train_size.is_some()),
                ("--seeds", args.seeds.is_some()),
                ("--tune-rate", args.tune_rate),
            ];
            again::refuse(folder, &[args.common.given(), flags].concat())?;
            begin::resume(folder, COMMAND)?
        }
        None => {
            let list = args.losses.as_deref().unwrap_or_default();
            let losses = read_losses(list)?;
            check_losses(&losses)?;
            begin::create(&args.common, COMMAND, &losses, files(list), args.train_size, |recipe| {
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
    let result = Compared::new(&done, &names(&done.settings.losses, &begun.files))?.with_the_rate_said();
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
        return interrupt::GoOn(format!("lossmith {command} --resume {}", folder.display())).into();
    }
    error
}

/// The losses of a comma-separated list, each checked; commas inside brackets and quotes belong to a loss.
pub fn read_losses(list: &str) -> anyhow::Result<Vec<String>> {
    let losses: Vec<String> = commands::read_losses(list)?.iter().map(ToString::to_string).collect();
    losses.iter().try_for_each(|loss| super::evaluator::class_loss(loss).map(drop))?;
    Ok(losses)
}

/// Of each loss of a list the name of the file that it is read from, if it is.
fn files(list: &str) -> Vec<Option<String>> {
    let stem = |piece: &str| Path::new(piece.trim().strip_prefix('@')?).file_stem()?.to_str().map(str::to_owned);
    lossmith::loss::split_list(list).into_iter().map(stem).collect()
}

/// Names for tables and sentences: the loss itself; where that would be too long its file's, or `formula 3`.
pub fn names(losses: &[String], files: &[Option<String>]) -> Vec<String> {
    const LONGEST: usize = 40;
    let mut names: Vec<String> = Vec::new();
    for (i, loss) in losses.iter().enumerate() {
        let file = files.get(i).cloned().flatten().filter(|file| !names.contains(file) && !losses.contains(file));
        names.push(match loss.len() {
            0..=LONGEST => loss.clone(),
            _ => file.unwrap_or_else(|| format!("formula {}", i + 1)),
        });
    }
    names
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

    /// The same with words on the rate, where no loss was tried at another.
    fn with_the_rate_said(mut self) -> Self {
        if let (None, Some(rate)) = (&self.own_rate, self.losses.first().map(|m| m.rate)) {
            self.same_rate.verdict = format!(
                "At the same rate {rate}: {}. Whether that holds with each at its own best rate was not asked; --tune-rate does.",
                self.same_rate.verdict
            );
        }
        self
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
    /// How much higher one loss comes out than another, and the p of that.
    fn difference(&self, name: &str, rival: &str) -> Option<(f64, f64)> {
        let pair = self.pairs.iter().find(|c| (c.a == name && c.b == rival) || (c.a == rival && c.b == name))?;
        Some((if pair.a == name { pair.difference } else { 0.0 - pair.difference }, pair.p_holm))
    }

    /// Whether one loss is shown to be better than another.
    pub fn beats(&self, name: &str, rival: &str) -> bool {
        self.difference(name, rival).is_some_and(|(difference, p)| difference > 0.0 && p < ALPHA)
    }

    /// How one loss does against another, in a few words.
    pub fn against(&self, name: &str, rival: &str) -> Option<String> {
        let (difference, p) = self.difference(name, rival)?;
        let word = match (p < ALPHA, difference > 0.0) {
            (true, true) => "beats",
            (true, false) => "loses to",
            (false, _) if difference < 0.0 => "comes out below, but is not shown to differ from",
            (false, _) => "is not shown to differ from",
        };
        Some(format!("{name} {word} {rival} ({}, p = {p:.1e})", signed(difference, 4)))
    }

    /// Who wins outright, or who comes first without being shown to be better.
    pub fn standing(&self) -> String {
        if let Some(winner) = &self.winner {
            return format!("{winner} wins");
        }
        if let Some(first) = self.losses.first().filter(|first| self.losses.iter().all(|m| m.values == first.values)) {
            return format!("nobody wins outright ({})", stats::cannot_tell(&first.values));
        }
        let highest = self.losses.iter().map(|m| m.mean).max_by(f64::total_cmp);
        let first: Vec<&str> =
            self.losses.iter().filter(|m| Some(m.mean) == highest).map(|m| m.name.as_str()).collect();
        let have = if first.len() > 1 { "have the same, highest mean" } else { "has the highest mean" };
        format!("nobody wins outright ({} {have})", first.join(" and "))
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
                signed(c.difference, 4),
                c.ci95
                    .map_or_else(|| "-".to_owned(), |[low, high]| format!("{} to {}", signed(low, 4), signed(high, 4))),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(values: &[(&str, [f64; 4])]) -> Condition {
        let names: Vec<String> = values.iter().map(|(name, _)| (*name).to_owned()).collect();
        let outcome = |v: &f64| Outcome { end: End::Done, accuracy: *v, steps: 1, curve: Vec::new() };
        let outcomes: Vec<Vec<Outcome>> = values.iter().map(|(_, v)| v.iter().map(outcome).collect()).collect();
        Condition::new(&names, &names, &vec![0.1; names.len()], &outcomes).unwrap()
    }

    #[test]
    fn a_ceiling_is_told_and_nothing_is_below_zero() {
        let all = condition(&[("a", [1.0; 4]), ("b", [1.0; 4])]);
        assert_eq!(
            all.standing(),
            "nobody wins outright (all have 1 every time, so these data cannot tell them apart)"
        );
        assert_eq!(all.against("b", "a").unwrap(), "b is not shown to differ from a (0.0000, p = 1.0e0)");
        let compared =
            Compared { at_same_rate: all.verdict.clone(), same_rate: all, own_rate: None }.with_the_rate_said();
        assert!(!compared.to_string().contains("-0.0000"));
        let said = "At the same rate 0.1: nobody wins: all have 1 every time, so these data cannot tell them apart. Whether that holds";
        assert!(compared.verdict.starts_with(said) && compared.verdict.contains("--tune-rate"), "{}", compared.verdict);
        let tied = condition(&[("a", [1.0, 0.5, 1.0, 1.0]), ("b", [0.5, 1.0, 1.0, 1.0]), ("c", [0.5; 4])]);
        assert_eq!(tied.standing(), "nobody wins outright (a and b have the same, highest mean)");
        let below = condition(&[("cross-entropy", [0.9, 0.95, 0.92, 0.91]), ("found", [0.1, 0.9, 0.1, 0.1])]);
        let said = below.against("found", "cross-entropy").unwrap();
        assert!(
            said.starts_with("found comes out below, but is not shown to differ from cross-entropy (-0."),
            "{said}"
        );
        assert!(!below.beats("found", "cross-entropy") && !below.beats("cross-entropy", "found"));
    }

    #[test]
    fn a_long_loss_has_the_name_of_its_file() {
        let long = |n: usize| format!("-(x*log({n}.5*y) + (1 - x)*log(1 - 0.25*y))/n");
        let losses = ["baikal".to_owned(), long(1), long(2), long(3), long(4)];
        let files = files("baikal, @runs/a/found.loss, @b/mine.txt, @c/found.loss, -(log(y), @d/baikal");
        let files: Vec<_> =
            files[..3].iter().cloned().chain([Some("found".to_owned()), Some("baikal".to_owned())]).collect();
        assert_eq!(names(&losses, &files), ["baikal", "found", "mine", "formula 4", "formula 5"]);
        assert_eq!(names(&losses[..2], &[]), ["baikal", "formula 2"]);
    }
}
