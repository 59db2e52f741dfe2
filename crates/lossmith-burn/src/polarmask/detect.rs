//! From what the network says to objects: scores, non-maximum suppression, outlines in the picture's own pixels.

use std::collections::HashMap;

use burn::tensor::Device;
use lossmith::polar::{Bounds, Point, Polygon, Runs};
use lossmith_data::coco::{self, Id, Rle, Segmentation};
use lossmith_data::picture::Picture;
use serde::{Deserialize, Serialize};

use super::network::{Output, PolarMask, PolarMaskConfig};
use super::samples::batch;
use crate::bridge::to_array;

/// How a class and its centerness make a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// Class x centerness, at most 1.
    #[default]
    Product,
    /// Class x (centerness + 0.5), as published: for networks whose targets have many small centernesses. Up to 1.5.
    Published,
    /// Class alone.
    Class,
}

/// What is compared where two detections of a class may be of one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// The boxes around the outlines.
    #[default]
    Boxes,
    /// The masks.
    Masks,
}

/// How objects are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectSettings {
    /// How a class and its centerness make a score.
    pub score: Score,
    /// Points of a lower class probability are passed over.
    pub least: f64,
    /// At most so many points of each level go on.
    pub per_level: usize,
    /// What is compared in non-maximum suppression.
    pub overlap: Overlap,
    /// Of two detections of a class with a greater IoU the lower one goes.
    pub iou: f64,
    /// At most so many objects for each picture; 0 is no limit, and what [`for_truth`](Self::for_truth) chooses one for.
    pub most: usize,
}

impl Default for DetectSettings {
    fn default() -> Self {
        let (score, overlap) = (Score::default(), Overlap::default());
        Self { score, least: 0.05, per_level: 1000, overlap, iou: 0.5, most: 100 }
    }
}

impl DetectSettings {
    /// The same with another limit, and as many points as so many objects may have.
    #[must_use]
    pub fn keeping(self, most: usize) -> Self {
        const POINTS: usize = 10;
        Self { most, per_level: self.per_level.max(most.saturating_mul(POINTS)), ..self }
    }

    /// The same with a limit, where there is none: twice the objects of the fullest picture, 100 at least.
    #[must_use]
    pub fn for_truth(self, truth: &coco::Coco) -> Self {
        const LEAST: usize = 100;
        if self.most > 0 {
            return self;
        }
        let mut counts: HashMap<&Id, usize> = HashMap::new();
        for object in truth.annotations.iter().filter(|a| a.iscrowd == 0) {
            *counts.entry(&object.image_id).or_default() += 1;
        }
        self.keeping(counts.into_values().max().unwrap_or(0).saturating_mul(2).max(LEAST))
    }
}

/// One object in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Its class, an index into the names.
    pub class: usize,
    /// How sure the network is.
    pub score: f64,
    /// Where the rays meet, in pixels of the picture.
    pub centre: Point,
    /// Its outline, in pixels of the picture and inside of it.
    pub outline: Polygon,
    /// Its mask.
    pub mask: Runs,
}

impl Detection {
    /// As COCO's results have it; category ids by class.
    pub fn to_coco(&self, image_id: &Id, category_ids: &[Id]) -> coco::Detection {
        let (width, height) = (self.mask.width() as u32, self.mask.height() as u32);
        coco::Detection {
            image_id: image_id.clone(),
            category_id: category_ids.get(self.class).cloned().unwrap_or_else(|| (self.class as u64 + 1).into()),
            score: self.score,
            bbox: None,
            segmentation: Some(Segmentation::Mask(Rle::compressed(width, height, self.mask.counts()))),
        }
    }
}

/// The detections of at least a score as a label image, row by row: the best is 1, and lies on top of the others.
pub fn label_image(detections: &[Detection], least: f64, width: usize, height: usize) -> Vec<u32> {
    let mut labels = vec![0; width * height];
    let sure = detections.iter().take_while(|d| d.score >= least).count();
    for (at, detection) in detections[..sure].iter().enumerate().rev() {
        paint(&detection.mask, at as u32 + 1, &mut labels);
    }
    labels
}

/// Writes a value into a row-major image of the mask's size wherever the mask is.
///
/// # Panics
/// If the image is smaller than the mask's.
pub fn paint(mask: &Runs, value: u32, image: &mut [u32]) {
    let (width, height) = (mask.width(), mask.height());
    let (mut at, mut inside) = (0, false);
    for run in mask.counts() {
        let end = at + *run as usize;
        if inside {
            (at..end).for_each(|pixel| image[pixel % height * width + pixel / height] = value);
        }
        (at, inside) = (end, !inside);
    }
}

/// A point that may stand for an object.
struct Candidate {
    class: usize,
    score: f64,
    outline: Polygon,
    bounds: Bounds,
    centre: Point,
}

/// The objects in pictures of any size, best first.
pub fn detect(
    network: &PolarMask,
    config: &PolarMaskConfig,
    settings: &DetectSettings,
    pictures: &[Picture],
    device: &Device,
) -> Vec<Vec<Detection>> {
    // As many at once as keep the memory of the features low.
    const AT_ONCE: usize = 8;
    let mut found = Vec::with_capacity(pictures.len());
    for some in pictures.chunks(AT_ONCE) {
        let stretched: Vec<Picture> = some.iter().map(|p| p.resized(config.width, config.height)).collect();
        let output = network.forward(batch(&stretched.iter().collect::<Vec<_>>(), device));
        found.extend(objects(&output, config, settings, some));
    }
    found
}

/// The objects of a batch, given what the network says.
fn objects(
    output: &Output,
    config: &PolarMaskConfig,
    settings: &DetectSettings,
    pictures: &[Picture],
) -> Vec<Vec<Detection>> {
    let (Ok(assigner), Ok(fan)) = (config.assigner(), config.fan()) else { return vec![Vec::new(); pictures.len()] };
    let [classes, centerness, rays] =
        [to_array(&output.classes), to_array(&output.centerness).insert_axis(ndarray::Axis(2)), to_array(&output.rays)];
    let grids = assigner.grids(config.width, config.height);
    let of_picture = |(image, picture): (usize, &Picture)| {
        let factor = [picture.width as f64 / config.width as f64, picture.height as f64 / config.height as f64];
        let mut candidates = Vec::new();
        let mut start = 0;
        for grid in &grids {
            let mut best = Vec::new();
            for at in 0..grid.len() {
                let even = sigmoid(centerness[[image, start + at, 0]]);
                for class in 0..config.classes.len() {
                    let probability = sigmoid(classes[[image, start + at, class]]);
                    // Not a number is passed over too.
                    if probability > settings.least && even.is_finite() {
                        best.push((score(settings.score, probability, even), at, class));
                    }
                }
            }
            best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            best.truncate(settings.per_level);
            candidates.extend(best.into_iter().filter_map(|(score, at, class)| {
                let point = grid.point(at);
                let distances: Vec<f32> = (0..config.rays).map(|r| rays[[image, start + at, r]]).collect();
                let size = [picture.width as f64, picture.height as f64];
                let inside = |p: &Point| -> Point { std::array::from_fn(|i| (p[i] * factor[i]).clamp(0.0, size[i])) };
                let outline = Polygon::new(fan.outline(point, &distances).iter().map(inside).collect()).ok()?;
                Some(Candidate { class, score, bounds: outline.bounds(), outline, centre: inside(&point) })
            }));
            start += grid.len();
        }
        choose(candidates, settings, picture)
    };
    pictures.iter().enumerate().map(of_picture).collect()
}

fn score(kind: Score, class: f64, centerness: f64) -> f64 {
    match kind {
        Score::Product => class * centerness,
        Score::Published => class * (centerness + 0.5),
        Score::Class => class,
    }
}

fn sigmoid(z: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(z)).exp())
}

/// Greedy non-maximum suppression for each class, best first; equal scores in the order of the points.
fn choose(mut candidates: Vec<Candidate>, settings: &DetectSettings, picture: &Picture) -> Vec<Detection> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut chosen: Vec<(Detection, Bounds)> = Vec::new();
    for candidate in candidates {
        if settings.most > 0 && chosen.len() >= settings.most {
            break;
        }
        let rivals = chosen.iter().filter(|(d, _)| d.class == candidate.class);
        // Masks are at most as alike as their boxes allow: boxes apart need no masks.
        let mut near = rivals.filter(|(_, bounds)| {
            let iou = box_iou(bounds, &candidate.bounds);
            if settings.overlap == Overlap::Boxes { iou > settings.iou } else { iou > 0.0 }
        });
        if settings.overlap == Overlap::Boxes && near.next().is_some() {
            continue;
        }
        let Ok(mask) = Runs::from_outline(candidate.outline.points(), picture.width, picture.height) else { continue };
        if mask.area() == 0 || near.any(|(d, _)| d.mask.iou(&mask) > settings.iou) {
            continue;
        }
        let Candidate { class, score, outline, bounds, centre } = candidate;
        chosen.push((Detection { class, score, centre, outline, mask }, bounds));
    }
    chosen.into_iter().map(|(detection, _)| detection).collect()
}

fn box_iou(a: &Bounds, b: &Bounds) -> f64 {
    let width = (a.right.min(b.right) - a.left.max(b.left)).max(0.0);
    let height = (a.bottom.min(b.bottom) - a.top.max(b.top)).max(0.0);
    let both = width * height;
    let either = a.width() * a.height() + b.width() * b.height() - both;
    if both > 0.0 { both / either } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(class: usize, score: f64, left: f64, side: f64) -> Candidate {
        let right = left + side;
        let outline = Polygon::from_flat(&[left, 10.0, right, 10.0, right, 10.0 + side, left, 10.0 + side]).unwrap();
        Candidate { class, score, bounds: outline.bounds(), centre: [left, 10.0], outline }
    }

    fn scores(candidates: Vec<Candidate>, settings: &DetectSettings) -> Vec<f64> {
        let picture = Picture { width: 64, height: 48, pixels: vec![0; 3 * 64 * 48] };
        choose(candidates, settings, &picture).iter().map(|d| d.score).collect()
    }

    #[test]
    fn the_better_of_two_alike_stays() {
        let some = || vec![candidate(0, 0.5, 11.0, 20.0), candidate(0, 0.9, 10.0, 20.0), candidate(1, 0.4, 10.0, 20.0)];
        for overlap in [Overlap::Boxes, Overlap::Masks] {
            let settings = DetectSettings { overlap, ..DetectSettings::default() };
            assert_eq!(scores(some(), &settings), [0.9, 0.4]);
            assert_eq!(scores(some(), &DetectSettings { most: 1, ..settings }), [0.9]);
            assert_eq!(scores(some(), &DetectSettings { iou: 0.95, ..settings }), [0.9, 0.5, 0.4]);
        }
    }

    #[test]
    fn the_limit_is_chosen_from_the_truth() {
        let truth = |objects: usize| {
            let made = lossmith_data::make::shapes::make(0, 1, 64, 0).unwrap().truth;
            let annotations = vec![made.annotations[0].clone(); objects];
            coco::Coco { annotations, ..made }
        };
        let chosen = |most, objects| {
            let settings = DetectSettings { most, ..DetectSettings::default() }.for_truth(&truth(objects));
            (settings.most, settings.per_level)
        };
        assert_eq!(chosen(0, 196), (392, 3920));
        assert_eq!((chosen(0, 3), chosen(0, 0), chosen(7, 196)), ((100, 1000), (100, 1000), (7, 1000)));
        let many = || (0..120).map(|i| candidate(0, 0.9, f64::from(i % 40), 2.0)).collect::<Vec<_>>();
        let settings = DetectSettings { iou: 1.0, ..DetectSettings::default() };
        assert_eq!(scores(many(), &settings).len(), 100);
        assert_eq!(scores(many(), &DetectSettings { most: 0, ..settings }).len(), 120);
    }

    #[test]
    fn what_covers_no_pixel_is_no_object() {
        assert!(scores(vec![candidate(0, 0.9, 10.0, 0.0)], &DetectSettings::default()).is_empty());
    }

    #[test]
    fn labels_are_painted_best_on_top() {
        let picture = Picture { width: 64, height: 48, pixels: vec![0; 3 * 64 * 48] };
        let settings = DetectSettings { iou: 0.9, ..DetectSettings::default() };
        let some = vec![candidate(0, 0.9, 10.0, 20.0), candidate(0, 0.5, 20.0, 20.0), candidate(0, 0.2, 40.0, 20.0)];
        let found = choose(some, &settings, &picture);
        let labels = label_image(&found, 0.4, 64, 48);
        let count = |id: u32| labels.iter().filter(|l| **l == id).count();
        assert_eq!([count(1), count(2), count(3)], [400, 200, 0]);
        assert_eq!((labels[10 * 64 + 10], labels[10 * 64 + 30], labels[9 * 64 + 10]), (1, 2, 0));
    }

    #[test]
    fn published_scores_exceed_one() {
        assert_eq!(score(Score::Published, 0.9, 0.9), 0.9 * 1.4);
        assert_eq!(score(Score::Product, 0.5, 0.5), 0.25);
    }
}
