//! RoIAlign: what a feature map holds inside boxes, `7 x 7` numbers a channel, without rounding of corners.
//!
//! A bin is the mean of `2 x 2` points, each read by bilinear interpolation. Weights of rows and columns multiply, so a box is two
//! small matrices, and all boxes are two matrix products: `rows [R*7,H] x map [H,W*C]`, then `columns [R,7,W]` on that.
//!
//! As torchvision's `roi_align(spatial_scale, sampling_ratio=2, aligned=False)`, which is the form of the published model.
//! Reference: He et al., Mask R-CNN, ICCV 2017.

use burn::prelude::*;
use lossmith::graph::Corners;

/// Bins along either side.
pub const BINS: usize = 7;
/// Points of a bin along either side.
const POINTS: usize = 2;

/// `[R,C*49]`: of each box what a map `[1,C,H,W]` holds in it, channel by channel. `scale` takes the boxes to the map.
pub fn roi_align(map: Tensor<4>, boxes: &[Corners], scale: f64) -> Tensor<2> {
    let ([_, c, h, w], r, device) = (map.dims(), boxes.len(), map.device());
    let weights = |axis: usize, cells: usize| -> Vec<f32> {
        boxes.iter().flat_map(|b| axis_weights(b[axis] * scale, b[axis + 2] * scale, cells)).collect()
    };
    let rows = Tensor::<2>::from_data(TensorData::new(weights(1, h), [r * BINS, h]), &device);
    let columns = Tensor::<3>::from_data(TensorData::new(weights(0, w), [r, BINS, w]), &device);
    // [C,H,W] -> [H,W*C] -> [R*7,W*C] -> [R,W,7*C] -> [R,7 columns,7 rows*C].
    let map = map.reshape([c, h, w]).permute([1, 2, 0]).reshape([h, w * c]);
    let by_rows = rows.matmul(map).reshape([r, BINS, w, c]).permute([0, 2, 1, 3]).reshape([r, w, BINS * c]);
    let bins = columns.matmul(by_rows).reshape([r, BINS, BINS, c]);
    bins.permute([0, 3, 2, 1]).reshape([r, c * BINS * BINS])
}

/// The weights of the cells of one axis in each of the bins, `7 * cells` of them.
fn axis_weights(low: f64, high: f64, cells: usize) -> Vec<f32> {
    let mut weights = vec![0.0; BINS * cells];
    // A box has at least the size of a cell.
    let bin = (high - low).max(1.0) / BINS as f64;
    for (at, row) in weights.chunks_exact_mut(cells).enumerate() {
        for point in 0..POINTS {
            let place = low + bin * (at as f64 + (point as f64 + 0.5) / POINTS as f64);
            if !(-1.0..=cells as f64).contains(&place) {
                continue;
            }
            let place = place.max(0.0);
            let first = (place as usize).min(cells - 1);
            let share = if first == cells - 1 { 0.0 } else { place - first as f64 };
            row[first] += ((1.0 - share) / POINTS as f64) as f32;
            if share > 0.0 {
                row[first + 1] += (share / POINTS as f64) as f32;
            }
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tests/fixtures/roi_align.py: torchvision.ops.roi_align on the same map and boxes.
    #[test]
    fn equals_torchvision() {
        #[derive(serde::Deserialize)]
        struct Case {
            shape: [usize; 4],
            map: Vec<f32>,
            boxes: Vec<Corners>,
            scale: f64,
            expected: Vec<f32>,
            map_gradient: Vec<f32>,
        }
        let case: Case = serde_json::from_str(include_str!("../../tests/fixtures/roi_align.json")).unwrap();
        let device = Device::flex().autodiff();
        let map = Tensor::<4>::from_data(TensorData::new(case.map, case.shape), &device).require_grad();
        let out = roi_align(map.clone(), &case.boxes, case.scale);
        let close = |found: Vec<f32>, wanted: &[f32]| {
            assert_eq!(found.len(), wanted.len());
            let most = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most < 2e-5, "{most}");
        };
        close(out.clone().into_data().try_to_vec().unwrap(), &case.expected);
        let grads = (out.clone() * out).sum().backward();
        close(map.grad(&grads).unwrap().into_data().try_to_vec().unwrap(), &case.map_gradient);
    }
}
