//! `lossmith train polarmask`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::tensor::Device;
use lossmith_burn::checkpoint::{Checkpoint, Save};
use lossmith_burn::polarmask::{Progress, TrainError, continue_from, draw, samples};
use lossmith_data::instance_set::{InstanceSet, Part};
use serde_json::json;

use super::model::{About, Model, begin_from};
use super::score::{Scores, score_found, surest};
use super::{Common, Recipe, limits};
use crate::commands::{loss_text, read_loss};
use crate::output::{self, Answer, Table};
use crate::plot::{Axis, Chart, Series};
use crate::progress::Steps;
use crate::run::Run;
use crate::tasks::resume::{Keeper, Saving};
use crate::{interrupt, recipe};

const COMMAND: &str = "train polarmask";

/// The arguments of `train polarmask`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  \
lossmith train polarmask\n  \
lossmith train polarmask --data nuclei --set network.width=512 --set network.height=512 --out runs/nuclei\n  \
lossmith train polarmask --data gt.json --images photos --backbone resnet50 --weights resnet50.pth\n  \
lossmith train polarmask --resume runs/nuclei\n\n\
A folder holds train.json, test.json and images/ (as `data make shapes` writes), COCO's annotations/ beside train*/ and val*/, or label\n\
images (NAME_label.png beside NAME_image.png). Of a single file every sixth picture is for the test. Pictures are turned as their Exif\n\
says, unless the ground truth has the size of the stored pixels; 16 bits are stretched to 8.")]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// The loss on the rays: polar-iou, smooth-l1-rays(scale=0.3), or with another kernel
    #[arg(long, value_name = "LOSS")]
    loss: Option<String>,
    /// The folder of the run; a new one under runs/ without it
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped or killed; its own recipe holds
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "loss", "data", "images", "backbone", "weights", "rays", "epochs", "seed", "set", "recipe"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    saving: Saving,
    /// Print the scores as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    if let Some(folder) = &args.resume {
        return go_on(folder, args);
    }
    let mut recipe = args.common.recipe()?;
    recipe.train.loss = match &args.loss {
        Some(loss) => read_loss(loss)?.to_string(),
        None => loss_text(&recipe.train.loss)?,
    };
    let data = recipe.data()?;
    recipe.warn_of_unlabelled()?;
    let session = Session::new(&recipe, &data)?;
    let run = Run::begin(args.out.as_deref(), "polarmask", &recipe.identity(COMMAND, &data)?)?;
    let model = trained(&run, &recipe, &session, args.saving)?;
    judge(&run, &model, &data, args.json)
}

/// Goes on with a run; one that is finished is only scored again.
fn go_on(folder: &Path, args: &Args) -> anyhow::Result<Answer> {
    let (run, began) = Run::resume(folder, COMMAND)?;
    let recipe: Recipe = recipe::parse_text(&began.recipe)?;
    let data = recipe.data()?;
    run.check(&recipe.identity(COMMAND, &data)?)?;
    recipe.warn_of_unlabelled()?;
    let model = if Model::is_in(&run) {
        tracing::info!("{}: the training is finished", folder.display());
        Model::open(&run)?
    } else {
        trained(&run, &recipe, &Session::new(&recipe, &data)?, args.saving)?
    };
    judge(&run, &model, &data, args.json)
}

/// Trains, from where the run stands, and leaves log and model in it.
fn trained(run: &Run, recipe: &Recipe, session: &Session<'_>, saving: Saving) -> anyhow::Result<Model> {
    interrupt::listen();
    let (keeper, state) = Keeper::open(run, saving)?;
    let mut log = Log::new(keeper);
    let mut kept = Ok(());
    let trained = session.train_from(recipe, state.as_ref(), |progress, save| {
        log.step(progress, save).unwrap_or_else(|e| {
            kept = Err(e);
            ControlFlow::Break(())
        })
    });
    kept?;
    // The course of a training that failed is what its user needs most.
    log.write(run)?;
    let model = trained?;
    log.keeper.check_stopped(COMMAND)?;
    model.save(run)?;
    log.keeper.finish()?;
    Ok(model)
}

fn judge(run: &Run, model: &Model, data: &InstanceSet, json: bool) -> anyhow::Result<Answer> {
    let found = model.detect_all(&data.test.pictures)?;
    let names = data.test.truth.images.iter().map(|image| image.file_name.as_str());
    let remedy = "raise it with --set detect.most=N";
    limits::warn_of_found(names.zip(found.iter().map(Vec::as_slice)), model.about.detect.most, remedy);
    limits::warn_of_figures(&data.test.truth);
    let scores = score_found(model, &data.test, &found)?;
    run.write_json("scores.json", &scores)?;
    pictures(run, model, &data.test)?;
    report(run, &scores, json)
}

/// A network about to be trained, and what it is to learn.
pub struct Session<'a> {
    data: &'a InstanceSet,
    about: About,
    samples: Vec<lossmith_burn::polarmask::Sample>,
}

impl<'a> Session<'a> {
    /// Makes all that is asked of a recipe sure, before anything is written.
    pub fn new(recipe: &Recipe, data: &'a InstanceSet) -> anyhow::Result<Self> {
        let truth = &data.train.truth;
        let network = recipe.config(truth)?;
        recipe.train.check(&network).context("recipe: train")?;
        let category_ids = truth.categories.iter().map(|c| c.id.clone()).collect();
        let samples = samples(&data.train, network.width, network.height)?;
        let learned: usize = samples.iter().map(|s| s.objects().len()).sum();
        let objects = truth.annotations.iter().filter(|a| a.iscrowd == 0).count();
        if learned == 0 {
            return Err(TrainError::NoSamples)
                .with_context(|| format!("{}: {objects} objects in {} pictures", recipe.data, samples.len()));
        }
        if learned < objects {
            let left = objects - learned;
            tracing::warn!(
                "{}: {left} of {objects} objects are not learned: under a pixel, outside of the picture, or an outline that crosses itself",
                recipe.data
            );
        }
        let detect = recipe.detect.for_truth(truth);
        limits::warn_of_truth("the training data", truth, detect.most);
        limits::warn_of_truth("the test data", &data.test.truth, detect.most);
        let about = About { network, category_ids, detect, sure: 0.5 };
        if !recipe.weights.is_empty() {
            begin_from(&mut about.network.init(&Device::flex())?, &recipe.weights)?;
        }
        Ok(Self { data, about, samples })
    }

    /// Trains, and chooses the score from which detections are sure.
    pub fn train(
        &self,
        recipe: &Recipe,
        mut watch: impl FnMut(&Progress) -> ControlFlow<()> + Send,
    ) -> anyhow::Result<Model> {
        self.train_from(recipe, None, |progress, _| watch(progress))
    }

    /// The same, from where an earlier training by this recipe stood.
    pub fn train_from(
        &self,
        recipe: &Recipe,
        state: Option<&Checkpoint>,
        watch: impl FnMut(&Progress, &Save<'_>) -> ControlFlow<()> + Send,
    ) -> anyhow::Result<Model> {
        let mut model = self.fit(recipe, state, watch)?;
        if !interrupt::asked() {
            model.about.sure = surest(&model, &self.data.train)?;
        }
        Ok(model)
    }

    /// Trains, and nothing else: every detection of score 0.5 counts as sure.
    pub fn fit(
        &self,
        recipe: &Recipe,
        state: Option<&Checkpoint>,
        mut watch: impl FnMut(&Progress, &Save<'_>) -> ControlFlow<()> + Send,
    ) -> anyhow::Result<Model> {
        let (about, device) = (self.about.clone(), Device::flex().autodiff());
        device.seed(recipe.train.seed);
        let mut network = about.network.init(&device)?;
        if !recipe.weights.is_empty() {
            begin_from(&mut network, &recipe.weights)?;
        }
        let network = continue_from(network, &about.network, &recipe.train, &self.samples, &device, state, &mut watch)?;
        Ok(Model { about, network })
    }
}

/// The names of the parts of the loss, in the order of a line of the log.
const PARTS: [&str; 3] = ["class", "rays", "centerness"];

/// The course of a training: a bar, a file with a line for each step, a picture.
struct Log<'r> {
    steps: Steps,
    keeper: Keeper<'r>,
    /// The parts at the steps of the present epoch.
    epoch: Vec<[f64; 3]>,
}

impl<'r> Log<'r> {
    fn new(keeper: Keeper<'r>) -> Self {
        Self { steps: Steps::new("step", 0), keeper, epoch: Vec::new() }
    }

    fn step(&mut self, progress: &Progress, save: &Save<'_>) -> anyhow::Result<ControlFlow<()>> {
        self.steps.set_count(progress.steps);
        let parts @ [class, rays, centerness] = progress.parts.map(|part| part.1);
        let said = format_args!("class {class:.3}, rays {rays:.3}, centerness {centerness:.3}");
        self.steps.at(progress.step, said);
        self.epoch.push(parts);
        if progress.ends_epoch {
            let epoch = std::mem::take(&mut self.epoch);
            let mean = |part: usize| epoch.iter().map(|p| p[part]).sum::<f64>() / epoch.len() as f64;
            let (class, rays, centerness) = (mean(0), mean(1), mean(2));
            let said =
                format!("epoch {}: class {class:.4}, rays {rays:.4}, centerness {centerness:.4}", progress.epoch);
            self.steps.suspend(|| tracing::info!("{said}"));
        }
        let line = json!({ "step": progress.step, "epoch": progress.epoch, "class": class, "rays": rays, "centerness": centerness });
        self.keeper.step(&line, save)
    }

    fn write(&self, run: &Run) -> anyhow::Result<()> {
        self.steps.finish();
        self.keeper.write_log()?;
        run.write("training.svg", self.chart()?.draw().file().as_bytes())?;
        Ok(())
    }

    /// The parts of the loss, each point the mean over as many steps as make a hundred points.
    /// Read from the log's text, so that a training that was resumed draws the same.
    fn chart(&self) -> anyhow::Result<Chart> {
        let lines = self.keeper.log().lines().map(serde_json::from_str);
        let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>().context("log.jsonl")?;
        let window = lines.len().div_ceil(100).max(1);
        let series = PARTS.map(|part| {
            let points = lines.chunks(window).enumerate().map(move |(at, some)| {
                let mean = some.iter().filter_map(|line| line[part].as_f64()).sum::<f64>() / some.len() as f64;
                ((at * window + some.len()) as f64, mean)
            });
            Series::line(part, points.collect::<Vec<_>>())
        });
        let title = "Losses while training".to_owned();
        Ok(Chart { title, x: Axis::new("step"), y: Axis::new("loss"), series: series.into() })
    }
}

/// How many times larger a picture is drawn, so that outlines can be told apart.
pub fn zoom(width: usize, height: usize) -> usize {
    const LEAST: usize = 512;
    LEAST.div_ceil(width.max(height).max(1)).clamp(1, 8)
}

/// The first pictures of the test with what was found in them.
fn pictures(run: &Run, model: &Model, part: &Part) -> anyhow::Result<()> {
    const PICTURES: usize = 4;
    let some = part.first(PICTURES);
    for (at, (source, mut found)) in some.pictures.iter().zip(model.detect_all(&some.pictures)?).enumerate() {
        found.retain(|d| d.score >= model.about.sure);
        let picture = source.load()?;
        let drawn = draw(&picture, &found, false, zoom(picture.width, picture.height));
        run.write(&format!("test-{}.png", at + 1), &drawn.to_png()?)?;
    }
    Ok(())
}

fn report(run: &Run, scores: &Scores, json: bool) -> anyhow::Result<Answer> {
    if json {
        let mut value = serde_json::to_value(scores)?;
        value["run"] = json!(run.folder());
        output::print_json(&value)?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(["test", "AP", "AP50", "AP75", "S", "M", "L", "F1 at 0.5"]);
    let c = &scores.coco;
    let cells = [c.AP, c.AP50, c.AP75, c.APs, c.APm, c.APl, scores.f1_50];
    let cells = cells.map(|v| if v < 0.0 { "-".to_owned() } else { format!("{v:.4}") });
    table.row([format!("{} images", scores.images)].into_iter().chain(cells));
    output::print(&format!("{table}\nrun: {}\n", run.folder().display()))?;
    Ok(Answer::Yes)
}
