//! How good a network is on pictures whose objects are known: COCO's twelve figures of masks, and F1 of the sure detections.

use lossmith::metric::instances::{Mode, Overlaps, Summary};
use lossmith::polar::{Polygon, Runs};
use lossmith_burn::polarmask::{Detection, label_image, paint};
use lossmith_data::coco::{Annotation, Coco, Image, Segmentation};
use lossmith_data::instance_set::Part;
use serde::{Deserialize, Serialize};

use super::model::Model;
use crate::commands::evaluate::coco::{self, Figures};

/// What a network reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// COCO's figures of masks.
    #[serde(flatten)]
    pub coco: Figures,
    /// F1 at IoU 0.5 of the detections that count as sure, whatever their class; mean over the pictures.
    pub f1_50: f64,
    /// From which score on a detection counts as sure.
    pub sure: f64,
    /// Pictures.
    pub images: usize,
}

/// Scores a network on a part of the data.
pub fn score(model: &Model, part: &Part) -> anyhow::Result<Scores> {
    score_found(model, part, &model.detect_all(&part.pictures)?)
}

/// The same of what it found there.
pub fn score_found(model: &Model, part: &Part, found: &[Vec<Detection>]) -> anyhow::Result<Scores> {
    let detections: Vec<_> = part
        .truth
        .images
        .iter()
        .zip(found)
        .flat_map(|(image, found)| found.iter().map(|d| d.to_coco(&image.id, &model.about.category_ids)))
        .collect();
    let sure = model.about.sure;
    Ok(Scores {
        coco: coco::of_masks(&part.truth, &detections)?,
        f1_50: f1(&true_labels(&part.truth), &part.truth, found, sure)?,
        sure,
        images: part.pictures.len(),
    })
}

/// The score that parts sure detections from others best: that of the greatest F1 on (some of) the pictures of the training.
pub fn surest(model: &Model, part: &Part) -> anyhow::Result<f64> {
    const ENOUGH: usize = 64;
    let part = part.first(ENOUGH);
    let found = model.detect_all(&part.pictures)?;
    let truth = true_labels(&part.truth);
    let mut best = (f64::NEG_INFINITY, 0.5);
    for step in 1..20 {
        let sure = f64::from(step) / 20.0;
        let f1 = f1(&truth, &part.truth, &found, sure)?;
        if f1 > best.0 {
            best = (f1, sure);
        }
    }
    Ok(best.1)
}

fn f1(truth: &[Vec<u32>], of: &Coco, found: &[Vec<Detection>], sure: f64) -> anyhow::Result<f64> {
    let mut scores = Vec::with_capacity(truth.len());
    for ((truth, image), found) in truth.iter().zip(&of.images).zip(found) {
        let labels = label_image(found, sure, image.width as usize, image.height as usize);
        scores.push(Overlaps::between(truth, &labels)?.scores(Mode::Corrected));
    }
    Ok(Summary::of(&scores).map_or(0.0, |s| s.mean.f1_50))
}

/// The objects of each image as label images; crowds are left out.
fn true_labels(truth: &Coco) -> Vec<Vec<u32>> {
    let labels = |image: &Image| {
        let mut labels = vec![0; image.width as usize * image.height as usize];
        let objects = truth.annotations.iter().filter(|a| a.image_id == image.id && a.iscrowd == 0);
        for (id, object) in (1..).zip(objects) {
            if let Some(mask) = mask(object, image) {
                paint(&mask, id, &mut labels);
            }
        }
        labels
    };
    truth.images.iter().map(labels).collect()
}

/// The mask of an object, all its parts; `None` where its outline is none.
pub fn mask(object: &Annotation, image: &Image) -> Option<Runs> {
    let (width, height) = (image.width as usize, image.height as usize);
    match &object.segmentation {
        Segmentation::Mask(rle) => Runs::new(width, height, rle.runs().ok()?).ok(),
        Segmentation::Polygons(parts) => {
            let parts: Vec<Polygon> = parts.iter().filter_map(|part| Polygon::from_flat(part).ok()).collect();
            Runs::from_parts(&parts, width, height).ok()
        }
    }
}
