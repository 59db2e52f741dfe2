//! `lossmith evaluate coco`: average precision and recall of instance masks or boxes, equal to pycocotools' to the last bit.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use hotcoco::params::IouType;
use hotcoco::{COCO, COCOeval};
use lossmith_data::{coco, limits};
use serde::{Deserialize, Serialize};

use crate::output::{Answer, Table, print, print_json};

/// COCO's instance segmentation and detection: twelve figures, as pycocotools has them.
#[derive(Debug, clap::Args)]
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
    /// Print JSON
    #[arg(long)]
    json: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    let truth = coco::read(&args.truth)?;
    let categories = truth.categories.len();
    limits::check(
        &args.truth,
        &format!("the table of its {categories} categories"),
        categories as u128 * OF_A_CATEGORY,
    )?;
    let detections = coco::read_detections(&args.predictions, &truth)?;
    if args.iou_type == Compared::Segm
        && let Some(at) = detections.iter().position(|d| d.segmentation.is_none())
    {
        let file = args.predictions.display();
        bail!("{file}, result {at}: it has no 'segmentation'; expected masks, or --iou-type bbox");
    }
    // Both files are sound now: what is evaluated is read again by the evaluator's own reader, as pycocotools would.
    let evaluator = |e: hotcoco::Error| anyhow!("{}: {e}", args.predictions.display());
    let truth = COCO::new(&args.truth).map_err(evaluator)?;
    let results = truth.load_res(&args.predictions).map_err(evaluator)?;
    let figures = figures(truth, results, args.iou_type).map_err(evaluator)?;
    if args.json {
        print_json(&figures)?;
    } else {
        print(&table(&figures)?)?;
    }
    Ok(Answer::Yes)
}

/// The figures of the masks of detections that are in memory.
pub fn of_masks(truth: &coco::Coco, detections: &[coco::Detection]) -> anyhow::Result<Figures> {
    // The evaluator's types are COCO's JSON: what we write is what it reads.
    let truth = COCO::from_dataset(serde_json::from_str(&serde_json::to_string(truth)?)?);
    let results = truth.load_res_anns(serde_json::from_str(&serde_json::to_string(detections)?)?)?;
    Ok(figures(truth, results, Compared::Segm)?)
}

/// Evaluates detections against ground truth.
fn figures(truth: COCO, results: COCO, compared: Compared) -> hotcoco::error::Result<Figures> {
    let iou_type = match compared {
        Compared::Segm => IouType::Segm,
        Compared::Bbox => IouType::Bbox,
    };
    let mut evaluation = COCOeval::new(truth, results, iou_type);
    evaluation.evaluate()?;
    evaluation.accumulate();
    evaluation.summarize_lines();
    let stats = evaluation.stats().unwrap_or_default();
    let at = |i: usize| stats.get(i).copied().unwrap_or(-1.0);
    Ok(Figures {
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
    })
}

fn table(figures: &Figures) -> anyhow::Result<String> {
    let values = serde_json::to_value(figures)?;
    let mut table = Table::new(["figure", "value", "of"]);
    for (name, meaning) in MEANINGS {
        let value = values[name].as_f64().unwrap_or(-1.0);
        let text = if value < 0.0 { "-".to_owned() } else { format!("{value:.4}") };
        table.row([name.to_owned(), text, meaning.to_owned()]);
    }
    Ok(table.to_string())
}
