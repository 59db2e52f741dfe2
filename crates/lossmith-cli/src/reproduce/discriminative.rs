//! The discriminative loss (De Brabandere et al. 2017): the toy of Fig. 3, leaf segmentation of Table 1, the ablation of Table 3.

use std::path::Path;

use anyhow::{Context as _, bail};
use lossmith::loss::{Inputs, Spec};
use lossmith::metric::instances::{Mode, Overlaps, Scores, Summary};
use lossmith_burn::embedding::{Cluster, Given, Model, train};
use lossmith_data::label_images::{self, LabelledSet, Sample};
use ndarray::{Array3, Array4};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::{Context, Experiment, Made};
use crate::interrupt::{self, Interrupted};
use crate::output::Table;
use crate::plot::{Dot, Panel, Picture, Ring, Scatter, Strip};
use crate::progress::Steps;
use crate::tasks::embedding::{EmbeddingRecipe, PRESETS, data};

/// Points of fifteen instances find their places.
pub static TOY: Experiment = Experiment {
    id: "discriminative/toy",
    title: "Fifteen instances in a plane: every pixel an embedding of its own, moved by the loss alone (Fig. 3)",
    data: "none: random points",
    time: "no time",
    published: "converged after 64 steps (pictures after 0, 2, 4, 8, 16, 32, 64)",
    make: toy,
};

/// Segmentation and counting of leaves.
pub static TABLE1: Experiment = Experiment {
    id: "discriminative/table1",
    title: "Leaf segmentation and counting: SBD and |DiC|",
    data: "a folder of label images with --data (CVPPP A1 as published), generated rosettes without",
    time: "5 minutes",
    published: "CVPPP A1 test, ResNet-38, true foreground given: SBD 84.2, |DiC| 1.0",
    make: table1,
};

/// What semantics and clustering cost.
pub static TABLE3: Experiment = Experiment {
    id: "discriminative/table3",
    title: "Predicted or true foreground, mean-shift or true centres: where the error comes from",
    data: "a folder of label images with --data, generated sticks and rosettes without",
    time: "10 minutes",
    published: "Cityscapes val, AP: 21.4, 22.9 (predicted foreground), 37.5, 47.8 (true foreground)",
    make: table3,
};

const INSTANCES: usize = 15;
/// Each instance is a square of so many pixels in rows and columns.
const BLOCK: usize = 8;
const COLUMNS: usize = 5;
const SNAPSHOTS: [usize; 7] = [0, 2, 4, 8, 16, 32, 64];
/// The margins of the loss.
const DELTA_V: f64 = 0.5;
const DELTA_D: f64 = 1.5;
/// How far a pixel goes along its gradient, times the number of pixels that share the mean.
const RATE: f64 = 0.06;
const MOMENTUM: f64 = 0.9;

fn toy(context: &Context) -> anyhow::Result<Made> {
    context.keep("", "")?;
    let mut points = Points::random(1);
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    let mut table = Table::new(["step", "loss", "pixels within 0.5 of their centre", "centre pairs at least 3 apart"]);
    for step in 0..=SNAPSHOTS[SNAPSHOTS.len() - 1] {
        if SNAPSHOTS.contains(&step) {
            let (near, apart) = points.margins_kept();
            let (value, _) = points.loss()?;
            table.row([step.to_string(), format!("{value:.4}"), format!("{near:.3}"), format!("{apart:.3}")]);
            rows.push(json!({"step": step, "loss": value, "within": near, "apart": apart}));
            panels.push(points.panel(format!("step {step}")));
        }
        points.move_along()?;
    }
    let title = format!("{INSTANCES} instances in a plane of embeddings, moved by the discriminative loss");
    let drawing = Scatter { title, columns: 4, side: 180.0, panels }.draw();
    let picture = context.run.write("figure.svg", drawing.file().as_bytes())?;
    let text = format!(
        "{table}\nsetting: {} random points, gradient descent with momentum on the points themselves; the paper moves them through a network\n\npicture {}\n",
        INSTANCES * BLOCK * BLOCK,
        picture.display()
    );
    Ok(Made { text, json: json!(rows) })
}

/// A toy image of fifteen squares, each pixel with a place in the plane.
struct Points {
    /// `[1, 2, rows, columns]`
    places: Array4<f32>,
    speeds: Array4<f32>,
    /// `[1, rows, columns]`, from 1.
    labels: Array3<i64>,
}

impl Points {
    fn random(seed: u64) -> Self {
        let (rows, columns) = (INSTANCES / COLUMNS * BLOCK, COLUMNS * BLOCK);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let places = Array4::from_shape_simple_fn((1, 2, rows, columns), || rng.random_range(-1.5..1.5f32));
        let label = |(_, y, x): (usize, usize, usize)| (y / BLOCK * COLUMNS + x / BLOCK + 1) as i64;
        Self {
            speeds: Array4::zeros(places.raw_dim()),
            labels: Array3::from_shape_fn((1, rows, columns), label),
            places,
        }
    }

    fn loss(&self) -> anyhow::Result<(f64, Array4<f32>)> {
        let inputs = Inputs::new()
            .with("embedding", self.places.clone().into_dyn())
            .with("labels", self.labels.clone().into_dyn());
        let found = Spec::parse("discriminative")?.build()?.evaluate(&inputs)?;
        Ok((found.value, found.grad.into_dimensionality()?))
    }

    fn move_along(&mut self) -> anyhow::Result<()> {
        let (_, gradient) = self.loss()?;
        let rate = (RATE * self.labels.len() as f64) as f32;
        self.speeds.zip_mut_with(&gradient, |speed, slope| *speed = MOMENTUM as f32 * *speed - rate * slope);
        self.places += &self.speeds;
        Ok(())
    }

    /// Instance and place of each pixel.
    fn dots(&self) -> Vec<Dot> {
        let place = |(_, y, x): (usize, usize, usize)| [0, 1].map(|e| f64::from(self.places[[0, e, y, x]]));
        self.labels.indexed_iter().map(|(at, label)| Dot { at: place(at), group: *label as usize - 1 }).collect()
    }

    fn centres(&self) -> Vec<[f64; 2]> {
        let mut sums = vec![[0.0; 2]; INSTANCES];
        for dot in self.dots() {
            sums[dot.group] = std::array::from_fn(|e| sums[dot.group][e] + dot.at[e] / (BLOCK * BLOCK) as f64);
        }
        sums
    }

    /// The shares of pixels and of pairs of centres that the loss leaves alone.
    fn margins_kept(&self) -> (f64, f64) {
        let distance = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        let (dots, centres) = (self.dots(), self.centres());
        let near = dots.iter().filter(|d| distance(d.at, centres[d.group]) <= DELTA_V).count();
        let pairs = (0..INSTANCES).flat_map(|a| (0..a).map(move |b| (a, b)));
        let apart = pairs.clone().filter(|&(a, b)| distance(centres[a], centres[b]) >= 2.0 * DELTA_D).count();
        (near as f64 / dots.len() as f64, apart as f64 / pairs.count() as f64)
    }

    fn panel(&self, caption: String) -> Panel {
        let rings = self.centres().into_iter().map(|at| Ring { at, radius: DELTA_V }).collect();
        Panel { caption, dots: self.dots(), rings }
    }
}

fn recipe(context: &Context) -> anyhow::Result<EmbeddingRecipe> {
    let recipe: EmbeddingRecipe = if context.resume {
        crate::recipe::parse_text(&context.run.read("recipe.toml")?)?
    } else {
        let mut recipe: EmbeddingRecipe = crate::recipe::load(PRESETS, &context.recipe, &context.set)?;
        if let Some(folder) = &context.data {
            recipe.data = folder.display().to_string();
        }
        recipe
    };
    recipe.model.check()?;
    context.keep(&crate::recipe::to_text(&recipe)?, &recipe.data)?;
    Ok(recipe)
}

/// A network trained on a data set, with the part to judge it by. Weights that an earlier call left in the run are used.
fn trained(context: &Context, recipe: &EmbeddingRecipe) -> anyhow::Result<(Model, LabelledSet)> {
    let set = data(recipe)?;
    if set.test.is_empty() {
        bail!("{}: no image to judge by", recipe.data);
    }
    let stem = Path::new(&recipe.data).file_name().map_or("data".into(), |name| name.to_string_lossy());
    let path = context.run.path(&format!("{stem}.safetensors"));
    if let Ok(bytes) = lossmith_data::whole_bytes(&path) {
        let model = Model::from_bytes(recipe.model.clone(), bytes).with_context(|| path.display().to_string())?;
        return Ok((model, set));
    }
    interrupt::listen();
    let loss = Spec::parse(&recipe.loss)?.build()?;
    let mut steps = Steps::new("step", recipe.model.steps);
    let model = train(&set.train, &recipe.model, loss.as_ref(), |step| {
        steps.at(step.step, "");
        !interrupt::asked()
    })?;
    steps.finish();
    if interrupt::asked() {
        return Err(Interrupted.into());
    }
    lossmith_data::atomic::replace(&path, &model.to_bytes()?)?;
    Ok((model, set))
}

/// Scores of the test part, and pictures of its first samples.
fn judge(
    model: &Model,
    set: &LabelledSet,
    cluster: Cluster,
    true_foreground: bool,
) -> anyhow::Result<(Summary, Vec<Picture>)> {
    const PICTURES: usize = 4;
    let (mut scores, mut pictures): (Vec<Scores>, _) = (Vec::new(), Vec::new());
    for sample in &set.test {
        if interrupt::asked() {
            return Err(Interrupted.into());
        }
        let given = Given { truth: Some(&sample.labels), true_foreground };
        let found = model.predict(&sample.picture, cluster, given)?;
        scores.push(Overlaps::between(&sample.labels.ids, &found.labels.ids)?.scores(Mode::Corrected));
        if pictures.len() < PICTURES {
            pictures.push(overlay(sample, &found.labels, found.instances.len())?);
        }
    }
    Ok((Summary::of(&scores).context("no image to judge by")?, pictures))
}

fn overlay(sample: &Sample, found: &label_images::Labels, count: usize) -> anyhow::Result<Picture> {
    let png = label_images::png(&label_images::overlay(&sample.picture, found))?;
    Ok(Picture { caption: format!("{count} of {}", sample.labels.instances()), png })
}

fn table1(context: &Context) -> anyhow::Result<Made> {
    let recipe = recipe(context)?;
    let (model, set) = trained(context, &recipe)?;
    let mut table = Table::new(["foreground", "SBD", "|DiC| mean of |.|", "|DiC| |mean|", "F1 at 0.5", "AP 0.5:0.95"]);
    let (mut rows, mut pictures) = (Vec::new(), Vec::new());
    for (name, given) in [("predicted", false), ("true, as published", true)] {
        let (summary, strip) = judge(&model, &set, Cluster::MeanShift, given)?;
        let m = &summary.mean;
        let cells = [m.sbd, m.abs_dic, summary.abs_mean_dic, m.f1_50, m.ap_dsb].map(|v| format!("{v:.3}"));
        table.row([name.to_owned()].into_iter().chain(cells));
        rows.push(json!({"foreground": name, "mean": m, "abs_mean_dic": summary.abs_mean_dic}));
        pictures = strip;
    }
    table.row(["published", "0.842", "", "1.0", "", ""]);
    let title = "Instances found in the first test images, found of true".to_owned();
    let drawing = Strip { title, columns: 4, side: 180.0, pictures }.draw();
    let picture = context.run.write("figure.svg", drawing.file().as_bytes())?;
    let text = format!(
        "{table}\ndata: {} ({} to train on, {} test images), {} weights, {} steps; published: CVPPP A1, other data and a larger network\n\npicture {}\n",
        recipe.data,
        set.train.len(),
        set.test.len(),
        model.weights(),
        recipe.model.steps,
        picture.display()
    );
    Ok(Made { text, json: json!({"data": recipe.data, "weights": model.weights(), "rows": rows}) })
}

fn table3(context: &Context) -> anyhow::Result<Made> {
    /// Foreground, clustering, published AP and AP at 0.5.
    const CELLS: [(&str, bool, &str, Cluster, [&str; 2]); 4] = [
        ("predicted", false, "mean-shift", Cluster::MeanShift, ["21.4", "40.2"]),
        ("predicted", false, "true centres", Cluster::Centre, ["22.9", "44.1"]),
        ("true", true, "mean-shift", Cluster::MeanShift, ["37.5", "58.5"]),
        ("true", true, "true centres", Cluster::Centre, ["47.8", "77.8"]),
    ];
    let recipe = recipe(context)?;
    let sets = if context.data.is_some() {
        vec![recipe.data.clone()]
    } else {
        vec!["sticks".to_owned(), "rosettes".to_owned()]
    };
    let (mut text, mut json_rows) = (String::new(), Vec::new());
    for name in sets {
        let recipe = EmbeddingRecipe { data: name.clone(), ..recipe.clone() };
        let (model, set) = trained(context, &recipe)?;
        let mut table =
            Table::new(["foreground", "clustering", "SBD", "AP 0.5:0.95", "F1 at 0.5", "published AP", "AP50"]);
        for (foreground, given, clustering, cluster, published) in CELLS {
            let (summary, _) = judge(&model, &set, cluster, given)?;
            let m = &summary.mean;
            let ours = [m.sbd, m.ap_dsb, m.f1_50].map(|v| format!("{v:.3}"));
            let head = [foreground, clustering].map(str::to_owned);
            table.row(head.into_iter().chain(ours).chain(published.map(str::to_owned)));
            json_rows.push(json!({"data": name, "foreground": foreground, "clustering": clustering, "mean": m}));
        }
        text += &format!("{name}, {} steps, {} weights\n{table}\n", recipe.model.steps, model.weights());
    }
    text += "AP: mean over images of TP/(TP + FP + FN) over IoU 0.5 to 0.95; published: Cityscapes AP on Cityscapes val, other data, metric and network\n";
    Ok(Made { text, json: json!(json_rows) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toy_ends_with_every_margin_kept() {
        let mut points = Points::random(1);
        let (near, apart) = points.margins_kept();
        assert!(near < 0.5 && apart < 0.1, "{near} {apart}");
        for _ in 0..64 {
            points.move_along().unwrap();
        }
        let (near, apart) = points.margins_kept();
        assert!(near > 0.98 && apart > 0.98, "{near} {apart}");
    }
}
