//! `lossmith train polarmask`.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use burn::tensor::Device;
use indicatif::{ProgressBar, ProgressStyle};
use lossmith_burn::polarmask::{Progress, continue_from, draw, samples};
use lossmith_data::instance_set::{InstanceSet, Part};
use serde_json::json;

use super::model::{About, Model, begin_from};
use super::score::{Scores, score, surest};
use super::{Common, Recipe};
use crate::commands::read_loss;
use crate::output::{self, Answer, Table};
use crate::plot::{Axis, Chart, Series};
use crate::run::Run;
use crate::{interrupt, recipe};

/// The arguments of `train polarmask`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  \
lossmith train polarmask\n  \
lossmith train polarmask --data nuclei --set network.width=512 --set network.height=512 --out runs/nuclei\n  \
lossmith train polarmask --data gt.json --images photos --backbone resnet50 --weights resnet50.pth\n\n\
A folder holds train.json, test.json and images/ (as `data make shapes` writes), COCO's annotations/ beside train*/ and val*/, or label\n\
images (NAME_label.png beside NAME_image.png). Of a single file every sixth picture is for the test.")]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// The loss on the rays: polar-iou, smooth-l1-rays(scale=0.3), or with another kernel
    #[arg(long, value_name = "LOSS")]
    loss: Option<String>,
    /// The folder of the run; a new one under runs/ without it
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Print the scores as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let mut recipe = args.common.recipe()?;
    if let Some(loss) = &args.loss {
        // The text in the run must not depend on a file that may change.
        recipe.train.loss = read_loss(loss)?.to_string();
    }
    let data = recipe.data()?;
    let session = Session::new(&recipe, &data)?;
    let run = Run::create(args.out.as_deref(), "polarmask")?;
    run.write("recipe.toml", recipe::to_text(&recipe)?.as_bytes())?;
    interrupt::listen();

    let mut log = Log::new();
    let trained = session.train(&recipe, |progress| {
        log.step(progress);
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // The course of a training that failed is what its user needs most.
    log.write(&run)?;
    let model = trained?;
    model.save(&run)?;
    if interrupt::asked() {
        let folder = run.folder().display();
        return Err(anyhow!(
            "stopped on request; what was learned so far is in {folder}: begin from it with --weights {folder}"
        ));
    }
    let scores = score(&model, &data.test)?;
    run.write_json("scores.json", &scores)?;
    pictures(&run, &model, &data.test)?;
    report(&run, &scores, args.json)
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
        let category_ids = truth.categories.iter().map(|c| c.id).collect();
        let samples = samples(&data.train, network.width, network.height)?;
        let about = About { network, category_ids, detect: recipe.detect, sure: 0.5 };
        if !recipe.weights.is_empty() {
            begin_from(&mut about.network.init(&Device::flex())?, &recipe.weights)?;
        }
        Ok(Self { data, about, samples })
    }

    /// Trains, and chooses the score from which detections are sure.
    pub fn train(&self, recipe: &Recipe, mut watch: impl FnMut(&Progress) -> ControlFlow<()>) -> anyhow::Result<Model> {
        let (about, device) = (self.about.clone(), Device::flex().autodiff());
        device.seed(recipe.train.seed);
        let mut network = about.network.init(&device)?;
        if !recipe.weights.is_empty() {
            begin_from(&mut network, &recipe.weights)?;
        }
        let network = continue_from(network, &about.network, &recipe.train, &self.samples, &device, &mut watch)?;
        let mut model = Model { about, network };
        if !interrupt::asked() {
            model.about.sure = surest(&model, &self.data.train)?;
        }
        Ok(model)
    }
}

/// The course of a training: a bar, a file with a line for each step, a picture.
struct Log {
    bar: ProgressBar,
    lines: Vec<u8>,
    parts: Vec<[(&'static str, f64); 3]>,
    /// Those of the present epoch.
    epoch: Vec<[(&'static str, f64); 3]>,
}

impl Log {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} step {pos}/{len}, {eta} left, {msg}");
        let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, lines: Vec::new(), parts: Vec::new(), epoch: Vec::new() }
    }

    fn step(&mut self, progress: &Progress) {
        self.bar.set_length(progress.steps as u64);
        self.bar.set_position(progress.step as u64);
        let [class, rays, centerness] = progress.parts.map(|part| part.1);
        self.bar.set_message(format!("class {class:.3}, rays {rays:.3}, centerness {centerness:.3}"));
        let line = json!({ "step": progress.step, "epoch": progress.epoch, "class": class, "rays": rays, "centerness": centerness });
        // Writing to memory does not fail.
        let _ = writeln!(self.lines, "{line}");
        self.parts.push(progress.parts);
        self.epoch.push(progress.parts);
        if progress.ends_epoch {
            let epoch = std::mem::take(&mut self.epoch);
            let mean = |part: usize| epoch.iter().map(|p| p[part].1).sum::<f64>() / epoch.len() as f64;
            let (class, rays, centerness) = (mean(0), mean(1), mean(2));
            let said =
                format!("epoch {}: class {class:.4}, rays {rays:.4}, centerness {centerness:.4}", progress.epoch);
            self.bar.suspend(|| tracing::info!("{said}"));
        }
    }

    fn write(&self, run: &Run) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        run.write("log.jsonl", &self.lines)?;
        run.write("training.svg", self.chart().draw().file().as_bytes())?;
        Ok(())
    }

    /// The parts of the loss, each point the mean over as many steps as make a hundred points.
    fn chart(&self) -> Chart {
        let window = self.parts.len().div_ceil(100).max(1);
        let series = (0..3).map(|part| {
            let points = self.parts.chunks(window).enumerate().map(move |(at, some)| {
                let mean = some.iter().map(|parts| parts[part].1).sum::<f64>() / some.len() as f64;
                ((at * window + some.len()) as f64, mean)
            });
            Series::line(self.parts.first().map_or("", |parts| parts[part].0), points.collect::<Vec<_>>())
        });
        let series = series.collect();
        Chart { title: "Losses while training".to_owned(), x: Axis::new("step"), y: Axis::new("loss"), series }
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
        drawn.write(&run.path(&format!("test-{}.png", at + 1)))?;
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
