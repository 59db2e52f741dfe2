//! `lossmith compare embedding`.

use anyhow::bail;
use lossmith::stats::{self, Verdict};
use lossmith_burn::embedding::{Recipe, train};
use lossmith_data::label_images::LabelledSet;
use serde_json::json;

use super::{EmbeddingRecipe, PRESETS, check_loss, data, identity, mean_sbd};
use crate::commands::read_losses;
use crate::interrupt::{self, Interrupted};
use crate::output::{self, Answer, Table};
use crate::recipe;
use crate::tasks::again::recipe_flags;
use crate::tasks::compared::Finished;
use crate::tasks::trainings::{Kept, Trainings, check_losses, check_seeds, with_zeros};

const COMMAND: &str = "compare embedding";

/// The arguments of `compare embedding`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every loss is trained once for every seed, on the same data, from the same weights, on the same views; the mean SBD of the test part is\n\
compared in pairs.\n\n\
Example: lossmith compare embedding --losses 'discriminative, discriminative(norm=l1)' --seeds 5")]
pub struct Args {
    /// The losses, with commas between them
    #[arg(long, value_name = "A,B")]
    losses: String,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = crate::args::whole::<u64>(..))]
    seeds: u64,
    /// A folder of labelled images, or made data: `sticks`, `rosettes`
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// `laptop`, `full`, `embedding-nuclei`, or a TOML file that changes keys of `laptop`
    #[arg(long, value_name = "RECIPE", default_value = "laptop")]
    recipe: String,
    /// Change one setting of the recipe, for example `model.steps=100`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The level below which a corrected p-value counts
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    alpha: f64,
    #[command(flatten)]
    kept: Kept,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let specs = read_losses(&args.losses)?;
    specs.iter().try_for_each(check_loss)?;
    let losses = specs.iter().map(|s| Ok(s.build()?)).collect::<anyhow::Result<Vec<_>>>()?;
    let names: Vec<String> = specs.iter().map(ToString::to_string).collect();
    check_losses(&names)?;
    check_seeds(args.seeds, args.alpha)?;
    let given = [recipe_flags(&args.recipe, &args.set), vec![("--data", args.data.is_some())]].concat();
    let recipe = args.kept.recipe(COMMAND, &given, || {
        let mut recipe: EmbeddingRecipe = recipe::load(PRESETS, &args.recipe, &args.set)?;
        if let Some(data) = &args.data {
            recipe.data.clone_from(data);
        }
        recipe.check("")?;
        Ok(recipe)
    })?;
    let data = data(&recipe)?;
    if data.test.is_empty() {
        bail!("{}: no image to judge by", recipe.data);
    }
    interrupt::listen();
    let run = args.kept.run(&identity(COMMAND, &recipe, &data)?, &names, args.seeds)?;
    let mut trainings = Trainings::open(&run)?;
    trainings.begin("comparison", args.seeds as usize * losses.len());
    let mut values = vec![Vec::new(); losses.len()];
    for seed in 0..args.seeds {
        for ((loss, name), values) in losses.iter().zip(&names).zip(&mut values) {
            let model = Recipe { seed: recipe.model.seed + seed, ..recipe.model.clone() };
            let training = format!("{name}, seed {}", model.seed);
            values.push(trainings.outcome(&training, || trial(&data, &model, loss.as_ref()))?);
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (values, diverged) = with_zeros(&values);
    let verdict = Verdict::new(&names, &values, args.alpha)?;
    let (seed, rate) = (recipe.model.seed, recipe.model.learning_rate);
    let finished = Finished {
        metric: "mean SBD",
        seed,
        data: &recipe.data,
        rate,
        names: &names,
        values: &values,
        diverged: &diverged,
        verdict: &verdict,
    };
    let of_loss: serde_json::Map<String, serde_json::Value> =
        names.iter().zip(&values).map(|(name, v)| ((*name).to_owned(), json!(v))).collect();
    let result = json!({ "metric": "sbd", "rate": rate, "values": of_loss, "diverged": diverged, "verdict": verdict });
    finished.write(&run, &result)?;
    if args.json {
        output::print_json(&result)?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(["loss", "mean SBD", "sd", "diverged"]);
    for ((name, values), diverged) in names.iter().zip(&values).zip(&diverged) {
        let cell = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.4}"));
        table.row([(*name).to_owned(), cell(stats::mean(values)), cell(stats::sd(values)), diverged.to_string()]);
    }
    output::print(&format!("{table}\n{}\n\nrun: {}\n", finished.said(), run.folder().display()))?;
    Ok(Answer::Yes)
}

/// Trains once, and gives the mean SBD over the test part.
fn trial(data: &LabelledSet, recipe: &Recipe, loss: &dyn lossmith::loss::Loss) -> anyhow::Result<f64> {
    let model = train(&data.train, recipe, loss, |_| !interrupt::asked())?;
    if interrupt::asked() {
        return Err(Interrupted.into());
    }
    mean_sbd(&model, &data.test)
}
