//! What the network is trained by: focal loss on the classes, a loss on the rays weighted by centerness, binary
//! cross-entropy on the centerness; all of weight 1, as published.

use burn::tensor::Tensor;
use lossmith::loss::polar_centerness::binary_cross_entropy;
use lossmith::loss::{Centerness, Family, Focal, Inputs, Loss, LossError, Spec};
use lossmith::polar::targets::Targets;
use ndarray::{Array1, Array2, ArrayD, Ix2, IxDyn};

use super::network::Output;
use crate::bridge::{hang, to_array};

/// The losses of a training.
#[derive(Debug)]
pub struct Criterion {
    rays: Box<dyn Loss>,
    centerness: Centerness,
    ray_count: usize,
}

/// The loss of one batch.
#[derive(Debug)]
pub struct BatchLoss {
    /// What is to be minimised.
    pub total: Tensor<1>,
    /// Its three parts: class, rays, centerness.
    pub parts: [(&'static str, f64); 3],
}

impl Criterion {
    /// With this loss on the rays and this form of centerness.
    ///
    /// # Errors
    /// A loss that is not one of rays, or parameters that do not fit; too few rays for the form of centerness.
    pub fn new(rays: &Spec, centerness: Centerness, ray_count: usize) -> Result<Self, LossError> {
        let of_rays = matches!(rays, Spec::Named(a) if a.entry().family == Family::Rays && has_ray_inputs(a.entry()));
        if !of_rays {
            return Err(LossError::Spec(format!("'{rays}' is no loss on rays: expected polar-iou or smooth-l1-rays")));
        }
        if ray_count < centerness.least_rays() {
            let least = centerness.least_rays();
            return Err(LossError::Spec(format!(
                "this form of centerness needs {least} rays or more, found {ray_count}"
            )));
        }
        Ok(Self { rays: rays.build()?, centerness, ray_count })
    }

    /// The loss of what a network says about a batch, given each image's targets.
    ///
    /// # Errors
    /// A prediction that is not finite: the training has diverged.
    ///
    /// # Panics
    /// If targets and output are not of the same images, points or rays.
    pub fn batch(&self, output: &Output, targets: &[Targets]) -> Result<BatchLoss, LossError> {
        let [images, points, classes] = output.classes.dims();
        assert_eq!(images, targets.len(), "one list of targets for each image");
        let labels: Array1<i64> = targets.iter().flat_map(|t| t.labels.iter().copied()).collect();
        let flat = output.classes.clone().reshape([images * points, classes]);
        let logits = two_dimensions(to_array(&flat))?;
        finite("classes", logits.iter())?;
        let focal = Focal { images: images as f64, ..Focal::default() };
        let class = focal.evaluate_points(logits.view(), labels.view())?;

        let positives: Vec<[usize; 2]> =
            targets.iter().enumerate().flat_map(|(i, t)| t.positives.iter().map(move |p| [i, *p])).collect();
        let rays: Vec<f32> = targets.iter().flat_map(|t| t.rays.iter().copied()).collect();
        let centerness: Array1<f32> = rays.chunks_exact(self.ray_count).map(|r| self.centerness.of(r)).collect();

        let (ray_value, ray_loss) = self.rays(output, &positives, rays, &centerness)?;
        let (even_value, even_loss) = even(output, &positives, &centerness)?;
        let total = hang(flat, class.value, row_major(class.grad)) + ray_loss + even_loss;
        Ok(BatchLoss { total, parts: [("class", class.value), ("rays", ray_value), ("centerness", even_value)] })
    }

    fn rays(
        &self,
        output: &Output,
        positives: &[[usize; 2]],
        target: Vec<f32>,
        weight: &Array1<f32>,
    ) -> Result<(f64, Tensor<1>), LossError> {
        let all = to_array(&output.rays);
        let shape = IxDyn(&[positives.len(), self.ray_count]);
        let target =
            ArrayD::from_shape_vec(shape.clone(), target).map_err(|e| LossError::input("target", e.to_string()))?;
        let prediction = ArrayD::from_shape_fn(shape, |at| all[[positives[at[0]][0], positives[at[0]][1], at[1]]]);
        finite("rays", prediction.iter())?;
        let inputs = Inputs::new()
            .with("prediction", prediction)
            .with("target", target)
            .with("weight", weight.clone().into_dyn());
        let result = self.rays.evaluate(&inputs)?;
        if !(result.value.is_finite() && result.grad.iter().all(|g| g.is_finite())) {
            let said = format!("the loss of the rays is {} or its gradient is not finite", result.value);
            let message = format!("{said}: its formula fails here, or the training has diverged; lower its rate");
            return Err(LossError::input("prediction", message));
        }
        let mut grad = ArrayD::zeros(all.raw_dim());
        for (at, [image, point]) in positives.iter().enumerate() {
            for ray in 0..self.ray_count {
                grad[[*image, *point, ray]] = result.grad[[at, ray]];
            }
        }
        Ok((result.value, hang(output.rays.clone(), result.value, row_major(grad))))
    }
}

/// The loss of the centerness at the points with an object.
fn even(output: &Output, positives: &[[usize; 2]], target: &Array1<f32>) -> Result<(f64, Tensor<1>), LossError> {
    let all = to_array(&output.centerness);
    let logits: Array1<f32> = positives.iter().map(|at| all[*at]).collect();
    finite("centerness", logits.iter())?;
    let result = binary_cross_entropy(logits.view(), target.view())?;
    let mut grad = ArrayD::zeros(all.raw_dim());
    for (at, slope) in positives.iter().zip(&result.grad) {
        grad[*at] = *slope;
    }
    Ok((result.value, hang(output.centerness.clone(), result.value, row_major(grad))))
}

fn row_major(array: ArrayD<f32>) -> Vec<f32> {
    array.iter().copied().collect()
}

fn has_ray_inputs(entry: &lossmith::loss::Entry) -> bool {
    entry.inputs.iter().any(|i| i.name == "weight") && entry.inputs.iter().any(|i| i.name == "target")
}

fn two_dimensions(array: ArrayD<f32>) -> Result<Array2<f32>, LossError> {
    array.into_dimensionality::<Ix2>().map_err(|e| LossError::input("classes", e.to_string()))
}

fn finite<'a>(name: &str, mut numbers: impl Iterator<Item = &'a f32>) -> Result<(), LossError> {
    match numbers.find(|v| !v.is_finite()) {
        Some(v) => {
            Err(LossError::input(name, format!("the network said {v}: the training has diverged; lower its rate")))
        }
        None => Ok(()),
    }
}
