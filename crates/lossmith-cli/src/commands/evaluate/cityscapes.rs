//! `lossmith evaluate cityscapes`: average precision of instances as the benchmark takes it.

use std::path::PathBuf;

use anyhow::Context;
use lossmith::metric::cityscapes::{CLASSES, Cityscapes, PredictedInstance, Report};
use lossmith_data::{cityscapes, label_images};
use serde_json::{Map, Value, json};

use crate::output::{self, Answer, Table};

/// The arguments of `evaluate cityscapes`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Truth: CITY_SEQUENCE_FRAME_gtFine_instanceIds.png, in folders of any depth. Predictions: one CITY_SEQUENCE_FRAME*.txt an image, a line\n\
of which is `MASK CLASS CONFIDENCE`: a PNG relative to the file, the id of a class (26 = car), a number.")]
pub struct Args {
    /// The folder of the true instances
    #[arg(long, value_name = "DIR")]
    truth: PathBuf,
    /// The folder of the predictions
    #[arg(long, value_name = "DIR")]
    predictions: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let images = cityscapes::find(&args.truth, &args.predictions)?;
    let mut all = Cityscapes::new();
    let (mut passed_over, mut first) = (0usize, None);
    // Image by image, so that memory does not grow with the benchmark.
    for image in &images {
        let truth = label_images::read_labels(&image.truth)?;
        let list = cityscapes::read_predictions(&image.prediction, &args.predictions)?;
        let size = (truth.width, truth.height);
        let masks = list
            .iter()
            .map(|p| Ok(cityscapes::read_mask(&p.mask, size)?))
            .collect::<anyhow::Result<Vec<Vec<u8>>>>()
            .with_context(|| image.prediction.display().to_string())?;
        for (p, mask) in list.iter().zip(&masks) {
            let why = if !CLASSES.iter().any(|(class, _)| *class == p.class) {
                format!("class {}, which is not scored (26 = car, 24 = person, ...)", p.class)
            } else if !mask.contains(&1) {
                "an empty mask".to_owned()
            } else {
                continue;
            };
            passed_over += 1;
            first.get_or_insert_with(|| format!("{}: {} has {why}", image.prediction.display(), p.mask.display()));
        }
        let predictions: Vec<PredictedInstance<'_>> = list
            .iter()
            .zip(&masks)
            .map(|(p, mask)| PredictedInstance { mask, class: p.class, confidence: p.confidence })
            .collect();
        all.add(&truth.ids, &predictions).with_context(|| image.prediction.display().to_string())?;
    }
    if let Some(first) = first {
        tracing::warn!("{passed_over} predictions are passed over, as the benchmark does; the first: {first}");
    }
    let report = all.report();
    if args.json {
        output::print_json(&as_json(&report, images.len()))?;
    } else {
        output::print(&table(&report))?;
    }
    Ok(Answer::Yes)
}

/// JSON has no NaN: a class without true instances is null.
fn as_json(report: &Report, images: usize) -> Value {
    let class = |at: usize| json!({ "ap": report.class_ap(at), "ap50": report.ap[at][0] });
    let classes: Map<String, Value> =
        CLASSES.iter().enumerate().map(|(at, (_, name))| ((*name).to_owned(), class(at))).collect();
    json!({ "ap": report.mean_ap, "ap50": report.mean_ap50, "classes": classes, "images": images })
}

fn table(report: &Report) -> String {
    let mut table = Table::new(["class", "AP", "AP50"]);
    let cell = |v: f64| if v.is_nan() { "-".to_owned() } else { format!("{v:.4}") };
    for (at, (_, name)) in CLASSES.iter().enumerate() {
        table.row([(*name).to_owned(), cell(report.class_ap(at)), cell(report.ap[at][0])]);
    }
    table.row(["average".to_owned(), cell(report.mean_ap), cell(report.mean_ap50)]);
    table.to_string()
}
