//! `lossmith evaluate coco`: average precision and recall of instance masks or boxes, equal to pycocotools' to the last bit.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use lossmith_data::coco::{self, Coco, Detection, Geometry, Id, Reading, Skipped};
use lossmith_data::limits;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::output::{Answer, Table, print, print_json};

mod evaluator;
mod id_zero;

/// COCO's instance segmentation and detection: twelve figures, as pycocotools has them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Files may be gzip, pipes, and begin with a byte order mark. Beyond what pycocotools takes: an area or a bbox that is missing is that of the\n\
outline, `iscrowd` is 0 unless given, null is as good as missing, a list of masks is their union, the id \"7\" is 7 where the other file\n\
says so. Detections of a category that the truth does not have change nothing, and are counted on stderr.")]
pub struct Args {
    /// Ground truth: a COCO instances file
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// What the detector found: a COCO results file
    #[arg(long, value_name = "FILE")]
    predictions: PathBuf,
    /// What is compared
    #[arg(long, value_enum, default_value_t)]
    iou_type: Compared,
    /// The best detections that count, of each image and category; all figures but AR1 and AR10 are taken with so many
    #[arg(long, value_name = "N", default_value_t = MOST, value_parser = most)]
    max_detections: usize,
    /// Leave out records that are wrong, and count them, instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Take the annotation id 0 for 'no match' as pycocotools does: what finds that object counts as wrong. Unless given, it is an
    /// object like any other
    #[arg(long)]
    id_zero_unmatched: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The protocol's own number of detections.
const MOST: usize = 100;

fn most(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(most) if (10..=1_000_000).contains(&most) => Ok(most),
        _ => Err("expected a whole number from 10 to 1000000".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Compared {
    /// Masks
    #[default]
    Segm,
    /// Boxes
    Bbox,
}

/// The twelve figures in their order; -1 where there is nothing to measure, as pycocotools has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(non_snake_case, reason = "the field's own names")]
pub struct Figures {
    /// Mean over the thresholds 0.50 to 0.95.
    pub AP: f64,
    pub AP50: f64,
    pub AP75: f64,
    /// Of small, medium and large objects.
    pub APs: f64,
    pub APm: f64,
    pub APl: f64,
    /// With at most 1, 10 and 100 detections an image.
    pub AR1: f64,
    pub AR10: f64,
    pub AR100: f64,
    pub ARs: f64,
    pub ARm: f64,
    pub ARl: f64,
}

/// What is compared, and how.
#[derive(Clone, Copy, Debug)]
struct Settings {
    compared: Compared,
    /// The best detections that count, of each image and category; 10 or more.
    most: usize,
    /// Whether the annotation id 0 means "no match".
    id_zero_unmatched: bool,
}

impl Figures {
    /// The figures by their places.
    fn of(at: impl Fn(usize) -> f64) -> Self {
        Self {
            AP: at(0),
            AP50: at(1),
            AP75: at(2),
            APs: at(3),
            APm: at(4),
            APl: at(5),
            AR1: at(6),
            AR10: at(7),
            AR100: at(8),
            ARs: at(9),
            ARm: at(10),
            ARl: at(11),
        }
    }
}

/// The name of each figure and what it is.
const MEANINGS: [(&str, &str); 12] = [
    ("AP", "IoU 0.50 to 0.95"),
    ("AP50", "IoU 0.50"),
    ("AP75", "IoU 0.75"),
    ("APs", "small: below 32 x 32 pixels"),
    ("APm", "medium"),
    ("APl", "large: above 96 x 96 pixels"),
    ("AR1", "1 detection an image"),
    ("AR10", "10 detections an image"),
    ("AR100", "100 detections an image"),
    ("ARs", "small"),
    ("ARm", "medium"),
    ("ARl", "large"),
];

/// What the evaluator's tables take for a category: 10 thresholds x 101 recalls x 4 sizes x 3 numbers of detections, twice.
const OF_A_CATEGORY: u128 = 10 * 101 * 4 * 3 * 8 * 2;

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let geometry = match args.iou_type {
        Compared::Segm => Geometry::Masks,
        Compared::Bbox => Geometry::Boxes,
    };
    let reading = Reading { geometry, skip_bad: args.skip_bad };
    let (truth, skipped) = coco::read_as(&args.truth, reading)?;
    let categories = truth.categories.len();
    let what = format!("the table of its {categories} categories");
    limits::check(&args.truth, &what, categories as u128 * OF_A_CATEGORY)?;
    let results = coco::read_detections(&args.predictions, &truth, reading)?;
    for (path, skipped) in [(&args.truth, &skipped), (&args.predictions, &results.skipped)] {
        tell_skipped(path, skipped);
    }
    tell_unknown(&args.predictions, &results.unknown_categories);
    tell_cut(&results.detections, args.max_detections);
    if truth.annotations.iter().any(|a| is_zero(&a.id)) && !args.id_zero_unmatched {
        tracing::warn!(
            "{}: an object has the id 0, which pycocotools takes for 'no match', so its figures are lower; --id-zero-unmatched gives them",
            args.truth.display()
        );
    }
    let settings =
        Settings { compared: args.iou_type, most: args.max_detections, id_zero_unmatched: args.id_zero_unmatched };
    let found = evaluator::figures(&truth, &results.detections, settings);
    let figures = named(&found.with_context(|| args.predictions.display().to_string())?, args.max_detections)?;
    if args.json {
        let mut values: Vec<(String, Value)> =
            figures.into_iter().map(|(name, value, _)| (name, json!(value))).collect();
        if args.skip_bad {
            values.push(("skipped_records".to_owned(), json!(skipped.count + results.skipped.count)));
        }
        print_json(&InOrder(values))?;
    } else {
        print(&table(figures))?;
    }
    Ok(Answer::Yes)
}

/// The figures of the masks of detections that are in memory.
pub fn of_masks(truth: &Coco, detections: &[Detection]) -> anyhow::Result<Figures> {
    evaluator::figures(truth, detections, Settings { compared: Compared::Segm, most: MOST, id_zero_unmatched: false })
}

/// Keys and values that stay in their order as JSON.
struct InOrder(Vec<(String, Value)>);

impl Serialize for InOrder {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Whether this is what pycocotools takes for 0.
fn is_zero(id: &Id) -> bool {
    match id {
        Id::Number(number) => *number == 0,
        Id::Text(text) => text.trim().parse::<f64>().is_ok_and(|v| v == 0.0),
    }
}

fn tell_skipped(path: &Path, skipped: &Skipped) {
    if let Some(first) = &skipped.first {
        tracing::warn!("{}: {} records are wrong and left out; the first: {first}", path.display(), skipped.count);
    }
}

fn tell_unknown(path: &Path, unknown: &HashMap<Id, usize>) {
    let Some(first) = unknown.keys().min() else { return };
    tracing::warn!(
        "{}: {} detections are of {} categories that the truth does not have (such as {first}), and change no figure",
        path.display(),
        unknown.values().sum::<usize>(),
        unknown.len()
    );
}

/// Says so where the limit leaves detections out.
fn tell_cut(detections: &[Detection], most: usize) {
    let mut counts: HashMap<(&Id, &Id), usize> = HashMap::new();
    for found in detections {
        *counts.entry((&found.image_id, &found.category_id)).or_default() += 1;
    }
    let beyond = counts.values().filter(|count| **count > most);
    if let Some(greatest) = beyond.clone().max() {
        tracing::warn!(
            "in {} pairs of an image and a category there are more than {most} detections (up to {greatest}): the {most} best count; \
             --max-detections takes more",
            beyond.count()
        );
    }
}

/// Each figure with its name, its value and what it is.
fn named(figures: &Figures, most: usize) -> anyhow::Result<Vec<(String, f64, String)>> {
    let values = serde_json::to_value(figures)?;
    let figure = |(name, meaning): (&str, &str)| {
        let value = values[name].as_f64().unwrap_or(-1.0);
        if name == "AR100" {
            return (format!("AR{most}"), value, format!("{most} detections an image"));
        }
        (name.to_owned(), value, meaning.to_owned())
    };
    // With ten detections the last of the recalls is that of ten.
    Ok(MEANINGS.into_iter().filter(|(name, _)| *name != "AR10" || most != 10).map(figure).collect())
}

fn table(figures: Vec<(String, f64, String)>) -> String {
    let mut table = Table::new(["figure", "value", "of"]);
    for (name, value, meaning) in figures {
        let text = if value < 0.0 { "-".to_owned() } else { format!("{value:.4}") };
        table.row([name, text, meaning]);
    }
    table.to_string()
}
