//! How many objects of a picture a network keeps, and who is to hear of it.

use std::collections::HashMap;
use std::hash::Hash;

use lossmith_burn::polarmask::Detection;
use lossmith_data::coco::{Coco, Id};

/// What COCO's figures look at: detections of a class in a picture.
const COCO_MOST: usize = 100;

/// Says where ground truth has more objects in a picture than are kept.
pub fn warn_of_truth(which: &str, truth: &Coco, most: usize) {
    if let Some((count, fullest)) = above(objects(truth, |_| ()), most) {
        let pictures = truth.images.len();
        tracing::warn!(
            "{which}: {count} of {pictures} pictures have more than {most} objects, up to {fullest}, and detect.most keeps no more; raise it, or 0 chooses it from the training data"
        );
    }
}

/// Says where ground truth has more objects of a class in a picture than COCO's figures look at.
pub fn warn_of_figures(truth: &Coco) {
    if let Some((count, fullest)) = above(objects(truth, |category| category), COCO_MOST) {
        tracing::warn!(
            "{count} times a class has more than {COCO_MOST} objects in a picture, up to {fullest}: COCO's figures look at the {COCO_MOST} best detections alone"
        );
    }
}

/// Says which pictures have as many detections as are kept.
pub fn warn_of_found<'a>(found: impl IntoIterator<Item = (&'a str, &'a [Detection])>, most: usize, remedy: &str) {
    let (mut pictures, mut full) = (0, Vec::new());
    for (name, detections) in found {
        pictures += 1;
        if most > 0 && detections.len() >= most {
            full.push(name);
        }
    }
    if let Some(first) = full.first() {
        let count = full.len();
        tracing::warn!(
            "{count} of {pictures} pictures have {most} detections, as many as are kept, so that objects may be missing; the first: {first}; {remedy}"
        );
    }
}

/// The objects of each picture, crowds left out, by a key of their class.
fn objects<'a, K: Eq + Hash>(truth: &'a Coco, key: impl Fn(&'a Id) -> K) -> impl Iterator<Item = usize> {
    let mut counts: HashMap<(&Id, K), usize> = HashMap::new();
    for object in truth.annotations.iter().filter(|a| a.iscrowd == 0) {
        *counts.entry((&object.image_id, key(&object.category_id))).or_default() += 1;
    }
    counts.into_values()
}

/// How many counts are above a limit, and the greatest of them; 0 is no limit.
fn above(counts: impl Iterator<Item = usize>, most: usize) -> Option<(usize, usize)> {
    let above: Vec<usize> = counts.filter(|count| most > 0 && *count > most).collect();
    above.iter().max().map(|fullest| (above.len(), *fullest))
}
