//! pycocotools' figures where an object has the id 0, which is its sign for "no match": whatever finds that object counts as wrong,
//! though the object counts as found by it. The matches are the evaluator's; what is summed here is what pycocotools then sums.

use std::collections::BTreeMap;

use hotcoco::params::Params;
use hotcoco::{COCOeval, EvalImg};
use lossmith::metric::numpy::mean;

use super::Figures;

/// Precision at each recall threshold and the greatest recall, for each IoU threshold.
struct Curve {
    precision: Vec<Vec<f64>>,
    recall: Vec<f64>,
}

/// The figures of an evaluation that has matched; `zero` is the number of the object whose id is 0.
pub fn figures(evaluation: &COCOeval, zero: u64) -> Figures {
    let params = &evaluation.params;
    let mut cells: BTreeMap<(usize, u64), Vec<&EvalImg>> = BTreeMap::new();
    for cell in evaluation.eval_imgs().iter().flatten() {
        let range = params.area_ranges.iter().position(|range| range.range == cell.area_rng).unwrap_or(0);
        cells.entry((range, cell.category_id)).or_default().push(cell);
    }
    cells.values_mut().for_each(|cells| cells.sort_by_key(|cell| cell.image_id));
    let curves = |range: usize, most: usize| -> Vec<Curve> {
        let of_range = cells.iter().filter(|((of, _), _)| *of == range);
        of_range.filter_map(|(_, cells)| curve(evaluation, cells, zero, most)).collect()
    };
    let most = params.max_det();
    let [all, small, medium, large] = [0, 1, 2, 3].map(|range| curves(range, most));
    let thresholds = params.iou_thrs.len();
    let ap = |curves: &[Curve], of: std::ops::Range<usize>| {
        // In numpy's order: threshold, recall, category.
        let at = |t: usize, r: usize| curves.iter().map(move |curve| curve.precision[t][r]);
        mean_or_none(of.flat_map(|t| (0..params.rec_thrs.len()).flat_map(move |r| at(t, r))).collect())
    };
    let ar = |curves: &[Curve]| {
        mean_or_none((0..thresholds).flat_map(|t| curves.iter().map(move |c| c.recall[t])).collect())
    };
    let at = |iou: f64| params.iou_thr_idx(iou).map_or(0..0, |t| t..t + 1);
    let few = |place: usize| ar(&curves(0, params.max_dets[place]));
    let figures = [
        ap(&all, 0..thresholds),
        ap(&all, at(0.5)),
        ap(&all, at(0.75)),
        ap(&small, 0..thresholds),
        ap(&medium, 0..thresholds),
        ap(&large, 0..thresholds),
        few(0),
        few(1),
        ar(&all),
        ar(&small),
        ar(&medium),
        ar(&large),
    ];
    Figures::of(|place| figures[place])
}

fn mean_or_none(values: Vec<f64>) -> f64 {
    if values.is_empty() { -1.0 } else { mean(&values) }
}

/// The curve of one category; `None` where it has no object to find.
fn curve(evaluation: &COCOeval, cells: &[&EvalImg], zero: u64, most: usize) -> Option<Curve> {
    let params = &evaluation.params;
    let objects: usize = cells.iter().map(|cell| cell.num_gt_in_denominator()).sum();
    if objects == 0 {
        return None;
    }
    let mut found: Vec<(&EvalImg, usize)> =
        cells.iter().flat_map(|cell| (0..cell.dt_scores.len().min(most)).map(move |d| (*cell, d))).collect();
    // Stable: equal scores stay in the order of the images.
    found.sort_by(|(a, d), (b, e)| b.dt_scores[*e].partial_cmp(&a.dt_scores[*d]).unwrap_or(std::cmp::Ordering::Equal));
    let mut curve = Curve { precision: Vec::new(), recall: Vec::new() };
    for t in 0..params.iou_thrs.len() {
        let (mut right, mut wrong) = (0.0, 0.0);
        let (mut recall, mut precision) = (Vec::new(), Vec::new());
        for (cell, d) in &found {
            match outcome(evaluation, cell, t, *d, zero) {
                Some(true) => right += 1.0,
                Some(false) => wrong += 1.0,
                None => {}
            }
            recall.push(right / objects as f64);
            precision.push(right / (wrong + right + f64::EPSILON));
        }
        curve.recall.push(recall.last().copied().unwrap_or(0.0));
        curve.precision.push(at_recalls(params, &recall, precision));
    }
    Some(curve)
}

/// Whether a detection is right at a threshold; `None` where it does not count.
fn outcome(evaluation: &COCOeval, cell: &EvalImg, t: usize, d: usize, zero: u64) -> Option<bool> {
    if cell.dt_ignore[(t, d)] {
        return None;
    }
    let matched = cell.dt_matched[(t, d)];
    if !matched || cell.dt_matches[(t, d)] != zero {
        return Some(matched);
    }
    // Taken for unmatched, so it is passed over where its own size is out of range.
    let area = evaluation.coco_dt().get_ann(cell.dt_ids[d]).and_then(|a| a.area).unwrap_or(0.0);
    let [least, greatest] = cell.area_rng;
    if area < least || area > greatest { None } else { Some(false) }
}

/// The best precision at each recall threshold or beyond, 0 where it is not reached.
fn at_recalls(params: &Params, recall: &[f64], mut precision: Vec<f64>) -> Vec<f64> {
    for at in (1..precision.len()).rev() {
        precision[at - 1] = precision[at - 1].max(precision[at]);
    }
    let at = |threshold: &f64| recall.partition_point(|r| r < threshold);
    params.rec_thrs.iter().map(|threshold| precision.get(at(threshold)).copied().unwrap_or(0.0)).collect()
}
