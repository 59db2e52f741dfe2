//! `lossmith evaluate instances`: label images against label images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use lossmith::metric::instances::{Mode, Overlaps, Scores, Summary};
use lossmith_data::label_doubts::Oddity;
use lossmith_data::label_images;
use rayon::prelude::*;
use serde::Serialize;

use crate::output::{self, Answer, Table};
use crate::tasks::inputs;

/// The arguments of `evaluate instances`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A label image is a PNG whose pixels are 0 for background or the id of an instance, grey or palette, 8 or 16 bits. Files are paired by\n\
name: `NAME_label.png`, `label/NAME.png` or `NAME.png`.\n\n\
Example: lossmith evaluate instances --truth plants/test --predictions found --json")]
pub struct Args {
    /// The folder of true label images
    #[arg(long, value_name = "DIR")]
    truth: PathBuf,
    /// The folder of predicted label images
    #[arg(long, value_name = "DIR")]
    predictions: PathBuf,
    /// Dice and counts exactly as the program of the Leaf Segmentation Challenge: the lowest label is background, gaps in the labels count
    #[arg(long)]
    lsc_compat: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One image's scores, under its name.
#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    scores: Scores,
}

#[derive(Serialize)]
struct Report {
    mode: &'static str,
    #[serde(flatten)]
    mean: Scores,
    abs_mean_dic: f64,
    exact_counts: f64,
    squared_dic: f64,
    std: Scores,
    images: Vec<Row>,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let pairs = pair(&args.truth, &args.predictions)?;
    let mode = if args.lsc_compat { Mode::Lsc } else { Mode::Corrected };
    let scored = pairs
        .into_par_iter()
        .map(|(name, (truth, prediction))| Ok((name, score(&truth, &prediction, mode)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    for (side, which) in ["the truth: ", "the predictions: "].into_iter().enumerate() {
        let odd: Vec<_> = scored.iter().map(|(name, (_, odd))| (name.clone(), odd[side])).collect();
        inputs::warn_of_doubts(which, &odd);
    }
    let images: Vec<Row> = scored.into_iter().map(|(name, (scores, _))| Row { name, scores }).collect();
    let scores: Vec<Scores> = images.iter().map(|row| row.scores).collect();
    let Some(summary) = Summary::of(&scores) else { bail!("{}: no label images", args.truth.display()) };
    let report = Report {
        mode: if args.lsc_compat { "lsc" } else { "corrected" },
        mean: summary.mean,
        abs_mean_dic: summary.abs_mean_dic,
        exact_counts: summary.exact_counts,
        squared_dic: summary.squared_dic,
        std: summary.std,
        images,
    };
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&table(&report))?;
    }
    Ok(Answer::Yes)
}

/// Truth and prediction of each name.
fn pair(truth: &Path, predictions: &Path) -> anyhow::Result<BTreeMap<String, (PathBuf, PathBuf)>> {
    let truths = label_images::find_labels(truth)?;
    let mut found = label_images::find_labels(predictions)?;
    let missing: Vec<&str> = truths.keys().filter(|name| !found.contains_key(*name)).map(String::as_str).collect();
    if let Some(first) = missing.first() {
        // A name that is taken as it stands has its ending already.
        let other = if first.ends_with("_label") { String::new() } else { format!(" or {first}_label.png") };
        bail!(
            "{}: no prediction for {} of {} images ({}); expected {first}.png{other}",
            predictions.display(),
            missing.len(),
            truths.len(),
            shortened(&missing),
        );
    }
    let pairs: BTreeMap<_, _> =
        truths.into_iter().filter_map(|(name, t)| found.remove(&name).map(|p| (name, (t, p)))).collect();
    if !found.is_empty() {
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        tracing::warn!("{} predictions have no truth and are left out: {}", names.len(), shortened(&names));
    }
    Ok(pairs)
}

fn shortened(names: &[&str]) -> String {
    let shown = names[..names.len().min(5)].join(", ");
    if names.len() > 5 { format!("{shown}, ...") } else { shown }
}

fn score(truth: &Path, prediction: &Path, mode: Mode) -> anyhow::Result<(Scores, [Oddity; 2])> {
    let (t, p) = (label_images::read_labels(truth)?, label_images::read_labels(prediction)?);
    if (t.height, t.width) != (p.height, p.width) {
        bail!(
            "{}: {} x {} pixels, but {} has {} x {}; scores are taken at the size of the truth",
            prediction.display(),
            p.width,
            p.height,
            truth.display(),
            t.width,
            t.height,
        );
    }
    Ok((Overlaps::between(&t.ids, &p.ids)?.scores(mode), [t.oddity(), p.oddity()]))
}

fn table(report: &Report) -> String {
    let mut table = Table::new(["score", "mean", "sd"]);
    let (m, s) = (&report.mean, &report.std);
    for (name, mean, sd) in [
        ("SBD", m.sbd, s.sbd),
        ("BestDice", m.best_dice, s.best_dice),
        ("foreground Dice", m.fg_dice, s.fg_dice),
        ("DiC", m.dic, s.dic),
        ("|DiC|", m.abs_dic, s.abs_dic),
        ("F1 at IoU 0.5", m.f1_50, s.f1_50),
        ("AP 0.5:0.95 (DSB)", m.ap_dsb, s.ap_dsb),
        ("PQ", m.pq, s.pq),
        ("AJI", m.aji, s.aji),
    ] {
        table.row([name.to_owned(), format!("{mean:.4}"), format!("{sd:.4}")]);
    }
    format!(
        "{table}\n{} images, {:.0} % with the exact count; |mean DiC| {:.4}; {} mode\n",
        report.images.len(),
        100.0 * report.exact_counts,
        report.abs_mean_dic,
        report.mode,
    )
}
