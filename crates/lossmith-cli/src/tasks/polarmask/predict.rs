//! `lossmith predict polarmask`: objects of the user's own images, as COCO results, label images, pictures and counts.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use indicatif::ProgressBar;
use lossmith_burn::polarmask::{Detection, draw, label_image};
use lossmith_data::atomic;
use lossmith_data::coco::{self, Category, Coco, Image};
use lossmith_data::label_images::{self, Labels};
use lossmith_data::picture::Picture;
use serde_json::json;

use super::model::Model;
use super::train::zoom;
use crate::interrupt::{self, Interrupted};
use crate::output::{self, Answer, Table, WholeFolder};
use crate::run::Run;
use crate::tasks::inputs;

/// The arguments of `predict polarmask`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For all images OUT/results.json (COCO results, every detection) and OUT/images.json (COCO's record of images and classes), for every\n\
image NAME the sure detections as OUT/NAME_overlay.png (outlines) and OUT/NAME_label.png (16 bits, 0 = background); OUT/counts.csv is the\n\
table that is printed. With --truth the ids are those of that file: `evaluate coco` and `evaluate instances` take the results as they are.\n\n\
Example: lossmith predict polarmask --model runs/polarmask-1 photos/*.png --draw rays --out found")]
pub struct Args {
    /// The folder of the run
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Images, or folders of images
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// The folder for the results, which must be new
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What is drawn
    #[arg(long, value_enum, default_value = "outlines")]
    draw: What,
    /// The score from which a detection is drawn and counted; chosen on the training pictures unless given
    #[arg(long, value_name = "SCORE")]
    sure: Option<f64>,
    /// COCO ground truth that has the images by their file names: gives the results its ids
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The outline of every object
    Outlines,
    /// Its centre and rays too
    Rays,
}

/// One image with what was found in it.
struct Found {
    image: Image,
    name: String,
    detections: Vec<Detection>,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let model = Model::open(&Run::open(&args.model)?)?;
    let sure = args.sure.unwrap_or(model.about.sure);
    ensure!((0.0..=2.0).contains(&sure), "--sure: expected a score from 0 to 2, found {sure}");
    let images = inputs::pictures(&args.inputs)?;
    let truth = args.truth.as_deref().map(coco::read).transpose()?;
    let ids = ids(&images, truth.as_ref())?;
    let out = WholeFolder::begin(&args.out)?;
    interrupt::listen();
    let bar = ProgressBar::new(images.len() as u64);
    let (mut all, mut failed) = (Vec::new(), 0);
    for ((name, path), id) in images.iter().zip(ids) {
        if interrupt::asked() {
            return Err(Interrupted.into());
        }
        // One image that cannot be read does not stop the others.
        match predict(&model, args, out.path(), sure, name, path, id) {
            Ok(found) => all.push(found),
            Err(e) => {
                failed += 1;
                bar.suspend(|| tracing::error!("{:#}", out.known(e)));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if all.is_empty() {
        bail!("none of the {} images could be read, as said above; {} is not made", images.len(), args.out.display());
    }
    write_coco(out.path(), &model, truth, &all).map_err(|e| out.known(e))?;
    report(args, out, &model, sure, &all)?;
    if failed > 0 {
        bail!("{failed} of {} images failed, as said above; the others are in {}", images.len(), args.out.display());
    }
    Ok(Answer::Yes)
}

/// The id of each image: that of the ground truth, or its place from 1 on.
fn ids(images: &[(String, PathBuf)], truth: Option<&Coco>) -> anyhow::Result<Vec<u64>> {
    let Some(truth) = truth else { return Ok((1..=images.len() as u64).collect()) };
    let id = |(_, path): &(String, PathBuf)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let same = |image: &&Image| Path::new(&image.file_name).file_name().is_some_and(|n| n == name.as_ref());
        let image = truth.images.iter().find(same);
        image.map(|image| image.id).with_context(|| format!("--truth: none of its images is named {name}"))
    };
    images.iter().map(id).collect()
}

fn predict(
    model: &Model,
    args: &Args,
    out: &Path,
    sure: f64,
    name: &str,
    path: &Path,
    id: u64,
) -> anyhow::Result<Found> {
    let picture = Picture::read(path)?;
    let detections = model.detect(std::slice::from_ref(&picture)).pop().unwrap_or_default();
    let (width, height) = (picture.width, picture.height);
    let bare = inputs::bare(name);
    let file = |ending: &str| out.join(format!("{bare}{ending}"));
    let shown: Vec<Detection> = detections.iter().filter(|d| d.score >= sure).cloned().collect();
    draw(&picture, &shown, args.draw == What::Rays, zoom(width, height)).write(&file("_overlay.png"))?;
    let ids = label_image(&detections, sure, width, height);
    label_images::write_labels(&file("_label.png"), &Labels { width, height, ids })?;
    let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let image = Image { id, file_name, width: width as u32, height: height as u32 };
    Ok(Found { image, name: bare.to_owned(), detections })
}

/// The results as COCO has them, and the images and classes that they are about.
fn write_coco(out: &Path, model: &Model, truth: Option<Coco>, all: &[Found]) -> anyhow::Result<()> {
    let ids = &model.about.category_ids;
    let results: Vec<_> = all.iter().flat_map(|f| f.detections.iter().map(|d| d.to_coco(f.image.id, ids))).collect();
    coco::write_detections(&out.join("results.json"), &results)?;
    let named =
        || ids.iter().zip(&model.about.network.classes).map(|(id, name)| Category { id: *id, name: name.clone() });
    let categories = truth.map_or_else(|| named().collect(), |t| t.categories);
    let images = all.iter().map(|f| f.image.clone()).collect();
    Coco { images, categories, annotations: Vec::new() }.write(&out.join("images.json"))?;
    Ok(())
}

/// The table of counts of the sure detections: printed, and as a file for a spreadsheet.
fn report(args: &Args, out: WholeFolder, model: &Model, sure: f64, all: &[Found]) -> anyhow::Result<Answer> {
    let classes = &model.about.network.classes;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let heads = || ["image"].into_iter().chain(classes.iter().map(String::as_str)).chain(["all"]);
    let mut table = Table::new(heads());
    let mut csv = heads().map(quoted).collect::<Vec<_>>().join(",") + "\n";
    let mut rows = Vec::new();
    for found in all {
        let sure: Vec<&Detection> = found.detections.iter().filter(|d| d.score >= sure).collect();
        let counts: Vec<usize> = (0..classes.len()).map(|c| sure.iter().filter(|d| d.class == c).count()).collect();
        let cells = || counts.iter().copied().chain([sure.len()]).map(|n| n.to_string());
        table.row([found.name.clone()].into_iter().chain(cells()));
        csv += &format!("{},{}\n", quoted(&found.name), cells().collect::<Vec<_>>().join(","));
        let by_class: serde_json::Map<_, _> = classes.iter().cloned().zip(counts.iter().map(|n| json!(n))).collect();
        rows.push(json!({ "image": found.name, "id": found.image.id, "counts": by_class, "all": sure.len() }));
    }
    atomic::write(&out.path().join("counts.csv"), csv.as_bytes()).map_err(|e| out.known(e.into()))?;
    out.finish()?;
    if args.json {
        output::print_json(&rows)?;
    } else {
        output::print(&table.to_string())?;
    }
    Ok(Answer::Yes)
}
