//! The rays of many objects, checked, and their weighted mean: what every loss on rays shares.

use ndarray::{Array2, ArrayD, ArrayView1, ArrayView2, CowArray, Ix1, Ix2, IxDyn};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::catalogue::InputSpec;
use super::{Evaluation, Inputs, LossError, ScalarType};

/// The arrays that the losses on rays read.
pub(super) const INPUTS: &[InputSpec] = &[
    InputSpec {
        name: "prediction",
        scalar: ScalarType::F32,
        shape: "[N,R]",
        optional: false,
        doc: "predicted distances from the centre to the contour, R rays for each of N objects",
    },
    InputSpec { name: "target", scalar: ScalarType::F32, shape: "[N,R]", optional: false, doc: "true distances" },
    InputSpec {
        name: "weight",
        scalar: ScalarType::F32,
        shape: "[N]",
        optional: true,
        doc: "weight of each object, published: the centerness of its target; 1 if absent",
    },
];

/// Seven objects of twelve rays, none within a fifth of its target, the last of weight 0.
pub(super) fn example(seed: u64) -> Inputs {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let target = ArrayD::from_shape_fn(IxDyn(&[7, 12]), |_| rng.random_range(2.0f32..20.0));
    let prediction =
        target.mapv(|t| t * if rng.random() { rng.random_range(1.2..2.0) } else { rng.random_range(0.5..0.8) });
    let weight = ArrayD::from_shape_fn(IxDyn(&[7]), |i| 1.0 - i[0] as f32 / 6.0);
    Inputs::new().with("prediction", prediction).with("target", target).with("weight", weight)
}

/// Objects per piece of parallel work. Fixed, so that sums do not depend on the number of threads.
const PIECE: usize = 512;

/// Predicted and true rays of N objects: equal shapes, at least one ray, weights finite and not negative.
pub(super) struct Rays<'a> {
    prediction: CowArray<'a, f32, Ix2>,
    target: CowArray<'a, f32, Ix2>,
    weight: Option<CowArray<'a, f32, Ix1>>,
    total: f64,
}

impl<'a> Rays<'a> {
    pub(super) fn new(
        prediction: ArrayView2<'a, f32>,
        target: ArrayView2<'a, f32>,
        weight: Option<ArrayView1<'a, f32>>,
    ) -> Result<Self, LossError> {
        let (objects, rays) = prediction.dim();
        if target.dim() != (objects, rays) {
            let shape = target.shape();
            return Err(LossError::input("target", format!("expected shape [{objects}, {rays}], found {shape:?}")));
        }
        if rays == 0 {
            return Err(LossError::input(
                "prediction",
                format!("expected at least one ray, found shape [{objects}, 0]"),
            ));
        }
        let total = match weight {
            Some(weight) => weight_sum(weight, objects)?,
            None => objects as f64,
        };
        Ok(Self {
            prediction: contiguous(prediction),
            target: contiguous(target),
            weight: weight.map(|w| CowArray::from(w.to_owned())),
            total,
        })
    }

    pub(super) fn from_inputs(inputs: &'a Inputs) -> Result<Self, LossError> {
        let weight = if inputs.has("weight") { Some(one_dimension(inputs.f32("weight", 1)?)?) } else { None };
        Self::new(two_dimensions(inputs.f32("prediction", 2)?)?, two_dimensions(inputs.f32("target", 2)?)?, weight)
    }

    /// Refuses negative distances, for losses that have no meaning there. What is not a number is let through, so that a
    /// training that has diverged is told by its loss.
    pub(super) fn not_negative(self) -> Result<Self, LossError> {
        for (name, array) in [("prediction", &self.prediction), ("target", &self.target)] {
            let numbers = array.as_slice().unwrap_or_default();
            if numbers.par_chunks(1 << 16).any(|piece| piece.iter().fold(false, |any, d| any | (*d < 0.0))) {
                let (at, d) = array.indexed_iter().find(|(_, d)| **d < 0.0).unwrap_or(((0, 0), &0.0));
                let message = format!("expected distances of 0 or more, found {d} at [{}, {}]", at.0, at.1);
                return Err(LossError::input(name, message));
            }
        }
        Ok(self)
    }

    /// The weighted mean over objects of `object(prediction, target, gradient)`, which returns the object's loss and
    /// writes its gradient. Objects of weight 0 are passed over, so that their empty rays cannot make the mean undefined;
    /// without any weight the mean is 0.
    pub(super) fn weighted_mean(&self, object: impl Fn(&[f32], &[f32], f64, &mut [f32]) -> f64 + Sync) -> Evaluation {
        let (objects, rays) = self.prediction.dim();
        let mut grad = vec![0.0f32; objects * rays];
        let prediction = self.prediction.as_slice().unwrap_or_default();
        let target = self.target.as_slice().unwrap_or_default();
        let sums: Vec<f64> = grad
            .par_chunks_mut(PIECE * rays)
            .zip(prediction.par_chunks(PIECE * rays))
            .zip(target.par_chunks(PIECE * rays))
            .enumerate()
            .map(|(piece, ((grad, prediction), target))| {
                let rows =
                    grad.chunks_exact_mut(rays).zip(prediction.chunks_exact(rays)).zip(target.chunks_exact(rays));
                let mut sum = 0.0;
                for (row, ((grad, prediction), target)) in rows.enumerate() {
                    let weight = self.weight.as_ref().map_or(1.0, |w| f64::from(w[piece * PIECE + row]));
                    if weight > 0.0 {
                        sum += weight * object(prediction, target, weight / self.total, grad);
                    }
                }
                sum
            })
            .collect();
        let value = if self.total > 0.0 { sums.iter().sum::<f64>() / self.total } else { 0.0 };
        let grad = Array2::from_shape_vec((objects, rays), grad).unwrap_or_default();
        Evaluation::new(value, grad.into_dyn())
    }
}

fn weight_sum(weight: ArrayView1<f32>, objects: usize) -> Result<f64, LossError> {
    if weight.len() != objects {
        let message = format!("expected one weight for each of {objects} objects, found {}", weight.len());
        return Err(LossError::input("weight", message));
    }
    match weight.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        Some(i) => {
            Err(LossError::input("weight", format!("expected finite weights of 0 or more, found {} at {i}", weight[i])))
        }
        None => Ok(weight.iter().map(|w| f64::from(*w)).sum()),
    }
}

/// The array in row-major order, copied only if it is not so already.
fn contiguous(view: ArrayView2<'_, f32>) -> CowArray<'_, f32, Ix2> {
    if view.is_standard_layout() {
        CowArray::from(view)
    } else {
        CowArray::from(view.as_standard_layout().into_owned())
    }
}

pub(super) fn one_dimension(view: ndarray::ArrayViewD<'_, f32>) -> Result<ArrayView1<'_, f32>, LossError> {
    view.into_dimensionality().map_err(|e| LossError::input("weight", e.to_string()))
}

pub(super) fn two_dimensions(view: ndarray::ArrayViewD<'_, f32>) -> Result<ArrayView2<'_, f32>, LossError> {
    view.into_dimensionality().map_err(|e| LossError::input("prediction", e.to_string()))
}
