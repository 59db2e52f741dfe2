//! `lossmith compare polarmask`.

use std::ops::ControlFlow;

use lossmith::loss::{Centerness, Spec};
use lossmith::stats::{self, Verdict};
use lossmith_burn::polarmask::Criterion;
use serde_json::json;

use super::score::{Scores, score};
use super::train::Session;
use super::{Common, Recipe};
use crate::commands::read_loss;
use crate::interrupt;
use crate::output::{self, Answer, Table};
use crate::run::Run;
use crate::tasks::compared::Finished;
use crate::tasks::trainings::{Kept, Trainings, check_losses, check_seeds, with_zeros};

const COMMAND: &str = "compare polarmask";

/// The arguments of `compare polarmask`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every loss on the rays is trained once for every seed: on the same pictures, from the same weights, in the same order. The mask AP of the\n\
test part is compared in pairs.\n\n\
Example: lossmith compare polarmask --losses polar-iou,smooth-l1 --seeds 5")]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// The losses on the rays, with commas between them; `smooth-l1` is smooth-l1-rays(scale=0.3)
    #[arg(long, value_name = "A,B")]
    losses: String,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = crate::args::whole::<u64>(2..=1000))]
    seeds: u64,
    /// The level below which a corrected p-value counts
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    alpha: f64,
    #[command(flatten)]
    kept: Kept,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the short name stands for: the best of the published scales.
const SMOOTH_L1: &str = "smooth-l1-rays(scale=0.3)";

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let losses = losses(&args.losses)?;
    check_seeds(args.seeds, args.alpha)?;
    let recipe = args.kept.recipe(COMMAND, &args.common.given(), || args.common.recipe())?;
    for loss in &losses {
        Criterion::new(&Spec::parse(loss)?, Centerness::Hard, recipe.network.rays)?;
    }
    let data = recipe.data()?;
    Session::new(&recipe, &data)?;
    recipe.warn_of_unlabelled()?;
    let run = args.kept.run(&recipe.identity(COMMAND, &data)?, &losses, args.seeds)?;
    drop(data);
    interrupt::listen();
    let (compared, diverged) = compare(&run, &recipe, &losses, args.seeds)?;
    let names: Vec<&str> = losses.iter().map(String::as_str).collect();
    let values: Vec<Vec<f64>> = compared.iter().map(|scores| scores.iter().map(|s| s.coco.AP).collect()).collect();
    let verdict = Verdict::new(&names, &values, args.alpha)?;
    let (seed, rate) = (recipe.train.seed, recipe.train.rate);
    let finished = Finished {
        metric: "mask AP",
        seed,
        data: &recipe.data,
        rate,
        names: &names,
        values: &values,
        diverged: &diverged,
        verdict: &verdict,
    };
    let result = json!({
        "metric": "AP", "rate": rate, "losses": names, "scores": compared, "diverged": diverged, "verdict": verdict
    });
    finished.write(&run, &result)?;
    if args.json {
        output::print_json(&result)?;
        return Ok(Answer::Yes);
    }
    let table = table(&names, &compared, &diverged);
    output::print(&format!("{table}\n{}\n\nrun: {}\n", finished.said(), run.folder().display()))?;
    Ok(Answer::Yes)
}

/// The texts of the losses that a user listed.
fn losses(text: &str) -> anyhow::Result<Vec<String>> {
    let pieces: Vec<&str> = lossmith::loss::split_list(text).into_iter().map(str::trim).collect();
    let named = |p| Ok(read_loss(if p == "smooth-l1" { SMOOTH_L1 } else { p })?.to_string());
    let losses = pieces.into_iter().map(named).collect::<anyhow::Result<Vec<String>>>()?;
    check_losses(&losses)?;
    Ok(losses)
}

/// The scores of each loss, seed by seed, and how many of its trainings diverged.
fn compare(
    run: &Run,
    recipe: &Recipe,
    losses: &[String],
    seeds: u64,
) -> anyhow::Result<(Vec<Vec<Scores>>, Vec<usize>)> {
    let mut trainings = Trainings::open(run)?;
    trainings.begin("comparison", losses.len() * seeds as usize);
    let mut scores = vec![Vec::new(); losses.len()];
    for seed in recipe.train.seed..recipe.train.seed + seeds {
        for (loss, scores) in losses.iter().zip(&mut scores) {
            let mut recipe = recipe.clone();
            (recipe.train.seed, recipe.train.loss) = (seed, loss.clone());
            scores.push(trained(&mut trainings, loss, &recipe)?);
        }
    }
    Ok(with_zeros(&scores))
}

/// The scores of a training by this recipe on the data that it names, done now unless it was before.
pub fn trained(trainings: &mut Trainings<Scores>, name: &str, recipe: &Recipe) -> anyhow::Result<Option<Scores>> {
    trainings.outcome(&format!("{name}, seed {}", recipe.train.seed), || {
        let data = recipe.data()?;
        let stop = || if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let model = Session::new(recipe, &data)?.train(recipe, |_| stop())?;
        if interrupt::asked() {
            return Err(interrupt::Interrupted.into());
        }
        score(&model, &data.test)
    })
}

/// The mean figures of each row over its seeds, and the deviation of the first.
fn table(names: &[&str], scores: &[Vec<Scores>], diverged: &[usize]) -> Table {
    let mut table = Table::new(["loss", "AP", "sd", "AP50", "AP75", "S", "M", "L", "diverged"]);
    let mean = |scores: &[Scores], of: fn(&Scores) -> f64| {
        let values: Vec<f64> = scores.iter().map(of).filter(|v| *v >= 0.0).collect();
        stats::mean(&values).map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"))
    };
    for ((name, scores), diverged) in names.iter().zip(scores).zip(diverged) {
        let aps: Vec<f64> = scores.iter().map(|s| s.coco.AP).collect();
        table.row([
            (*name).to_owned(),
            mean(scores, |s| s.coco.AP),
            stats::sd(&aps).map_or_else(|| "-".to_owned(), |v| format!("{v:.4}")),
            mean(scores, |s| s.coco.AP50),
            mean(scores, |s| s.coco.AP75),
            mean(scores, |s| s.coco.APs),
            mean(scores, |s| s.coco.APm),
            mean(scores, |s| s.coco.APl),
            diverged.to_string(),
        ]);
    }
    table
}
