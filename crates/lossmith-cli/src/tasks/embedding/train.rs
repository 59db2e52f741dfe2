//! `lossmith train embedding`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::bail;
use lossmith::loss::{Loss, Spec};
use lossmith::metric::instances::{Mode, Overlaps, Scores, Summary};
use lossmith_burn::embedding::{Cluster, Given, Model, Step, train_from};
use lossmith_data::label_images::{self, LabelledSet, Sample};
use serde_json::json;

use super::{EmbeddingRecipe, PRESETS, WEIGHTS, check_loss, data, identity, open};
use crate::commands::{loss_text, read_loss};
use crate::interrupt;
use crate::output::{self, Answer, Table};
use crate::progress::Steps;
use crate::recipe;
use crate::run::Run;
use crate::tasks::resume::{Keeper, Saving};

const COMMAND: &str = "train embedding";

/// The arguments of `train embedding`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  \
lossmith train embedding\n  \
lossmith train embedding --data nuclei --epochs 20 --out runs/nuclei\n  \
lossmith train embedding --data sticks --loss 'discriminative(norm=l1)' --set model.batch=8\n  \
lossmith train embedding --resume runs/nuclei\n\n\
A folder holds NAME_image.png (or NAME_rgb.png) beside NAME_label.png, or image/NAME.png and label/NAME.png; folders named train,\n\
val, test and the like are parts, and then all pictures must be in one; without them every sixth image is for the test. Pictures are\n\
turned as their Exif says, unless the label images have the size of the stored pixels; 16 bits are stretched to 8.")]
pub struct Args {
    /// A folder of labelled images, or made data: `sticks`, `rosettes`
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The loss of the embeddings
    #[arg(long, value_name = "LOSS")]
    loss: Option<String>,
    /// Times that every picture is seen on the mean
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = crate::args::whole::<usize>(..))]
    epochs: Option<usize>,
    /// Steps of the optimiser
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    steps: Option<usize>,
    /// Dimensions of the embedding
    #[arg(long, value_name = "E", value_parser = crate::args::whole::<usize>(..))]
    dim: Option<usize>,
    /// The seed of weights, order, augmentation and made data
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<u64>(..))]
    seed: Option<u64>,
    /// `laptop`, `full`, `embedding-nuclei`, or a TOML file that changes keys of `laptop`
    #[arg(long, value_name = "RECIPE", default_value = "laptop")]
    recipe: String,
    /// Change one setting of the recipe, for example `model.batch=8`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder of the run; a new one under runs/ without it
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped or killed; its own recipe holds
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "loss", "data", "epochs", "steps", "dim", "seed", "set", "recipe"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    saving: Saving,
    /// Print the scores as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    fn recipe(&self) -> anyhow::Result<EmbeddingRecipe> {
        let mut recipe: EmbeddingRecipe = recipe::load(PRESETS, &self.recipe, &self.set)?;
        if let Some(data) = &self.data {
            recipe.data.clone_from(data);
        }
        recipe.loss = match &self.loss {
            Some(loss) => read_loss(loss)?.to_string(),
            None => loss_text(&recipe.loss)?,
        };
        recipe.model.dim = self.dim.unwrap_or(recipe.model.dim);
        recipe.model.seed = self.seed.unwrap_or(recipe.model.seed);
        recipe.model.steps = self.steps.unwrap_or(recipe.model.steps);
        Ok(recipe)
    }
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    if let Some(folder) = &args.resume {
        return go_on(folder, args);
    }
    let mut recipe = args.recipe()?;
    recipe.check("")?;
    let loss = Spec::parse(&recipe.loss)?;
    check_loss(&loss)?;
    let loss = loss.build()?;
    let data = data(&recipe)?;
    if data.train.is_empty() {
        bail!("{}: no image to train on", recipe.data);
    }
    if let Some(epochs) = args.epochs {
        recipe.model.steps = epochs.saturating_mul(data.train.len()).div_ceil(recipe.model.batch).max(1);
        recipe.check("")?;
    }
    let run = Run::begin(args.out.as_deref(), "embedding", &identity(COMMAND, &recipe, &data)?)?;
    let model = trained(&run, &recipe, loss.as_ref(), &data, args.saving)?;
    report(&run, &model, &data, args.json)
}

/// Goes on with a run; one that is finished is only scored again.
fn go_on(folder: &Path, args: &Args) -> anyhow::Result<Answer> {
    let (run, began) = Run::resume(folder, COMMAND)?;
    let recipe: EmbeddingRecipe = recipe::parse_text(&began.recipe)?;
    let data = data(&recipe)?;
    run.check(&identity(COMMAND, &recipe, &data)?)?;
    let model = if run.path(WEIGHTS).is_file() {
        tracing::info!("{}: the training is finished", folder.display());
        open(&run)?
    } else {
        trained(&run, &recipe, Spec::parse(&recipe.loss)?.build()?.as_ref(), &data, args.saving)?
    };
    report(&run, &model, &data, args.json)
}

/// Trains, from where the run stands, and leaves log and weights in it.
fn trained(
    run: &Run,
    recipe: &EmbeddingRecipe,
    loss: &dyn Loss,
    data: &LabelledSet,
    saving: Saving,
) -> anyhow::Result<Model> {
    interrupt::listen();
    let (mut keeper, state) = Keeper::open(run, saving)?;
    let mut steps = Steps::new("step", recipe.model.steps);
    let mut kept = Ok(());
    let model = train_from(&data.train, &recipe.model, loss, state.as_ref(), &mut |step, save| {
        steps.at(step.step, format_args!("loss {:.4}, foreground {:.4}", step.loss, step.foreground));
        keeper.step(&line(step), save).unwrap_or_else(|e| {
            kept = Err(e);
            ControlFlow::Break(())
        })
    });
    steps.finish();
    kept?;
    // The course of a training that failed is what its user needs most.
    keeper.write_log()?;
    let model = model?;
    keeper.check_stopped(COMMAND)?;
    run.write(WEIGHTS, &model.to_bytes()?)?;
    keeper.finish()?;
    Ok(model)
}

fn line(step: &Step) -> serde_json::Value {
    let parts: serde_json::Map<String, serde_json::Value> =
        step.parts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({ "step": step.step, "loss": step.loss, "parts": parts, "foreground": step.foreground })
}

/// Scores the test part, writes scores and a few pictures, and says where the run is.
fn report(run: &Run, model: &Model, data: &LabelledSet, json: bool) -> anyhow::Result<Answer> {
    const PICTURES: usize = 4;
    let mut scores = Vec::new();
    for (at, sample) in data.test.iter().enumerate() {
        let found = model.predict(&sample.picture, Cluster::MeanShift, Given::default())?;
        scores.push(score(sample, &found.labels.ids)?);
        if at < PICTURES {
            let overlay = label_images::overlay(&sample.picture, &found.labels);
            run.write(&format!("test-{}.png", at + 1), &label_images::png(&overlay)?)?;
        }
    }
    let Some(summary) = Summary::of(&scores) else {
        tracing::warn!("there is no image to judge by");
        return Ok(Answer::Yes);
    };
    let m = summary.mean;
    let value = json!({ "run": run.folder(), "weights": model.weights(), "images": scores.len(), "mean": m, "std": summary.std });
    run.write_json("scores.json", &value)?;
    if json {
        output::print_json(&value)?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(["test", "SBD", "|DiC|", "F1 at 0.5", "AP 0.5:0.95", "PQ"]);
    let cells = [m.sbd, m.abs_dic, m.f1_50, m.ap_dsb, m.pq].map(|v| format!("{v:.4}"));
    table.row([format!("{} images", scores.len())].into_iter().chain(cells));
    output::print(&format!("{table}\nrun: {}\n", run.folder().display()))?;
    Ok(Answer::Yes)
}

fn score(sample: &Sample, found: &[u32]) -> anyhow::Result<Scores> {
    Ok(Overlaps::between(&sample.labels.ids, found)?.scores(Mode::Corrected))
}
