//! `lossmith predict embedding`: counts, masks and pictures of the user's own images.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use lossmith_burn::embedding::{Cluster, Given, Model, Prediction};
use lossmith_data::atomic;
use lossmith_data::label_images::{self, Labels};
use serde_json::json;

use super::open;
use crate::interrupt::{self, Interrupted};
use crate::output::{self, Answer, Table, WholeFolder};
use crate::progress::Steps;
use crate::run::Run;
use crate::tasks::inputs;

/// The arguments of `predict embedding`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For every image NAME: OUT/NAME_label.png (16 bits, 0 = background), OUT/NAME_overlay.png (contours), OUT/NAME.json (area, score, place of\n\
each instance); for all of them OUT/counts.csv, which is also the table that is printed.\n\n\
Example: lossmith predict embedding --model runs/embedding-1 photos/*.png --out counted")]
pub struct Args {
    /// The folder of the run
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Images, or folders of images; masks, label images and results that lie beside their picture are left out
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// The folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How pixels become instances
    #[arg(long, value_enum, default_value = "mean-shift")]
    cluster: Procedure,
    /// Folder of true label images, which `--cluster centre` needs
    #[arg(long, value_name = "DIR", required_if_eq("cluster", "centre"))]
    truth: Option<PathBuf>,
    /// The seed of `--cluster authors`
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::args::whole::<u64>(..))]
    seed: u64,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// How pixels become instances.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Procedure {
    /// Mean-shift from the densest seeds; nothing is random
    MeanShift,
    /// The procedure of the paper's authors
    Authors,
    /// Around the centres of true instances: how good clustering can get
    Centre,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let model = open(&Run::open(&args.model)?)?;
    let images = inputs::pictures(&args.inputs)?;
    let truth = args.truth.as_deref().map(label_images::find_labels).transpose()?;
    let truth_of = |name: &str| -> anyhow::Result<Option<Labels>> {
        let Some(truth) = &truth else { return Ok(None) };
        let bare = inputs::bare(name);
        let path = truth.get(bare).with_context(|| format!("--truth: no label image for {bare}"))?;
        Ok(Some(label_images::read_labels(path)?))
    };
    let out = WholeFolder::begin(&args.out)?;
    interrupt::listen();
    let mut steps = Steps::new("picture", images.len());
    let (mut counts, mut failed) = (Vec::new(), 0);
    for (at, (name, path)) in images.iter().enumerate() {
        if interrupt::asked() {
            return Err(Interrupted.into());
        }
        // One image that cannot be read does not stop the others.
        match truth_of(name).and_then(|truth| predict(&model, args, out.path(), name, path, truth.as_ref())) {
            Ok(found) => counts.push((name.clone(), found)),
            Err(e) => {
                failed += 1;
                steps.suspend(|| tracing::error!("{:#}", out.known(e)));
            }
        }
        steps.at(at + 1, "");
    }
    steps.finish();
    if counts.is_empty() {
        bail!("none of the {} images could be read, as said above; {} is not made", images.len(), args.out.display());
    }
    report(args, out, &counts)?;
    if failed > 0 {
        bail!("{failed} of {} images failed, as said above; the others are in {}", images.len(), args.out.display());
    }
    Ok(Answer::Yes)
}

fn predict(
    model: &Model,
    args: &Args,
    out: &Path,
    name: &str,
    path: &Path,
    truth: Option<&Labels>,
) -> anyhow::Result<Prediction> {
    let picture = label_images::read_picture(path)?;
    if let Some(t) = truth.filter(|t| (t.height, t.width) != (picture.height, picture.width)) {
        bail!(
            "{}: {} x {} pixels, but its truth has {} x {}",
            path.display(),
            picture.width,
            picture.height,
            t.width,
            t.height
        );
    }
    let cluster = match args.cluster {
        Procedure::MeanShift => Cluster::MeanShift,
        Procedure::Authors => Cluster::Authors(args.seed),
        Procedure::Centre => Cluster::Centre,
    };
    let given = Given { truth, true_foreground: false };
    let found = model.predict(&picture, cluster, given).with_context(|| path.display().to_string())?;
    let bare = inputs::bare(name);
    let file = |ending: &str| out.join(format!("{bare}{ending}"));
    label_images::write_labels(&file("_label.png"), &found.labels)?;
    label_images::write_picture(&file("_overlay.png"), &label_images::overlay(&picture, &found.labels))?;
    let value = json!({
        "image": path, "height": picture.height, "width": picture.width,
        "count": found.instances.len(), "instances": found.instances,
    });
    atomic::write(&file(".json"), format!("{value:#}\n").as_bytes())?;
    Ok(found)
}

/// The table of counts: printed, and as a file for a spreadsheet.
fn report(args: &Args, out: WholeFolder, counts: &[(String, Prediction)]) -> anyhow::Result<()> {
    let mean = |of: &dyn Fn(usize) -> f64, n: usize| if n == 0 { 0.0 } else { (0..n).map(of).sum::<f64>() / n as f64 };
    let mut table = Table::new(["image", "instances", "mean area", "mean score"]);
    let mut csv = "image,instances,mean_area,mean_score\n".to_owned();
    let mut rows = Vec::new();
    for (name, found) in counts {
        let (name, n) = (inputs::bare(name), found.instances.len());
        let area = mean(&|i| found.instances[i].area as f64, n);
        let score = mean(&|i| found.instances[i].score, n);
        table.row([name.to_owned(), n.to_string(), format!("{area:.1}"), format!("{score:.3}")]);
        csv += &format!("{},{n},{area:.1},{score:.4}\n", output::csv_field(name));
        rows.push(json!({ "image": name, "instances": n, "mean_area": area, "mean_score": score }));
    }
    atomic::write(&out.path().join("counts.csv"), csv.as_bytes()).map_err(|e| out.known(e.into()))?;
    out.finish()?;
    if args.json { output::print_json(&rows) } else { output::print(&table.to_string()) }
}
