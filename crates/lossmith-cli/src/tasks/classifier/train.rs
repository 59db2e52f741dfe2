//! `lossmith train classifier`: one network with one loss.

use lossmith_search::trial::{End, Part, Trial};
use serde_json::json;

use super::Common;
use super::begin;
use crate::commands::read_loss;
use crate::interrupt::{self, Interrupted};
use crate::output::{self, Answer, Table};
use crate::progress::Steps;
use crate::tasks::Judge;

/// The arguments of `train classifier`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: lossmith train classifier --loss baikal --data mnist --net lenet")]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// The loss: name, formula or @FILE
    #[arg(long, allow_hyphen_values = true)]
    loss: String,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let loss = read_loss(&args.loss)?.to_string();
    super::evaluator::class_loss(&loss)?;
    let (run, _, recipe, evaluator) =
        begin::create(&args.common, "train classifier", std::slice::from_ref(&loss), Vec::new(), None, |_| {})?;
    let (data, arithmetic) = (&evaluator.data, evaluator.arithmetic());
    tracing::info!("{data}; {} steps of {}, {arithmetic}", recipe.train.steps, recipe.train.net);
    let trial =
        Trial { loss, steps: recipe.train.steps, seed: 0, rate: None, train_size: None, part: Part::Test, floor: None };
    let mut steps = Steps::new("step", trial.steps as usize);
    let (outcome, weights) = evaluator.train(&trial, &mut |step| steps.at(step, ""))?;
    steps.finish();
    let Some(outcome) = outcome else { return Err(Interrupted.into()) };
    let mut log = String::new();
    for (step, accuracy) in &outcome.curve {
        log += &format!("{}\n", json!({"step": step, "accuracy": accuracy}));
    }
    run.write("log.jsonl", log.as_bytes())?;
    run.write("model.safetensors", &weights)?;
    let diverged = outcome.end == End::Diverged;
    let result = json!({"loss": trial.loss, "accuracy": outcome.accuracy, "steps": outcome.steps, "diverged": diverged,
        "curve": outcome.curve});
    run.write_json("result.json", &result)?;
    if args.common.json {
        output::print_json(&result)?;
    } else {
        let mut table = Table::new(["step", "test accuracy"]);
        for (step, accuracy) in &outcome.curve {
            table.row([step.to_string(), format!("{accuracy:.4}")]);
        }
        let end = if diverged { format!("diverged at step {}\n", outcome.steps) } else { String::new() };
        output::print(&format!("{table}{end}model  {}\n", run.path("model.safetensors").display()))?;
    }
    Ok(if diverged { Answer::No } else { Answer::Yes })
}
