//! `lossmith reproduce [ID]`: the published tables and figures, ours beside theirs.

use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;

use crate::output::{self, Answer};
use crate::reproduce::{Context, EXPERIMENTS, Experiment};
use crate::run::Run;
use crate::tasks::again;

/// The arguments of `reproduce`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without an ID, or with --list, all of them are listed with their data, time and published figures."
)]
pub struct Args {
    /// What to make, for example glo/fig2
    id: Option<String>,
    /// List what can be made
    #[arg(long, conflicts_with = "id")]
    list: bool,
    /// A folder with the data of the published work; generated data without it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The recipe: laptop (minutes), full (as published), another by name, or a file
    #[arg(long, default_value = "laptop", value_name = "NAME|FILE")]
    recipe: String,
    /// Change one key of the recipe (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run's folder, which must not exist yet
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped or killed
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    let Some(id) = &args.id else { return list(args.json) };
    let Some(experiment) = EXPERIMENTS.iter().find(|e| e.id == id) else {
        let ids: Vec<&str> = EXPERIMENTS.iter().map(|e| e.id).collect();
        bail!("there is no '{id}' to reproduce; there is: {}", ids.join(", "));
    };
    let command = format!("reproduce {id}");
    let run = match &args.resume {
        Some(folder) => {
            again::refuse(folder, &again::recipe_flags(&args.recipe, &args.set))?;
            Run::resume(folder, &command)?.0
        }
        None => Run::create(args.out.as_deref(), &command.replace([' ', '/'], "-"))?,
    };
    let resume = args.resume.is_some();
    let context = Context { command, data: args.data, recipe: args.recipe, set: args.set, run, resume };
    // A recipe that is refused leaves the folder empty: then it goes.
    let result = (experiment.make)(&context).inspect_err(|_| context.run.remove_if_empty())?;
    context.run.write_json("result.json", &result.json)?;
    if args.json {
        output::print_json(&result.json)?;
    } else {
        output::print(&result.text)?;
    }
    tracing::info!("written to {}", context.run.folder().display());
    Ok(Answer::Yes)
}

fn list(json: bool) -> anyhow::Result<Answer> {
    let row = |e: &&Experiment| json!({"id": e.id, "title": e.title, "data": e.data, "time": e.time, "published": e.published});
    if json {
        output::print_json(&EXPERIMENTS.iter().map(row).collect::<Vec<_>>())?;
        return Ok(Answer::Yes);
    }
    let text = EXPERIMENTS.iter().map(|e| {
        format!(
            "{}\n  {}\n  data       {}\n  time       {}\n  published  {}\n",
            e.id, e.title, e.data, e.time, e.published
        )
    });
    output::print(&text.collect::<Vec<_>>().join("\n"))?;
    Ok(Answer::Yes)
}
