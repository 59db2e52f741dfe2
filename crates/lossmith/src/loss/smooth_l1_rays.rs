//! Smooth-L1 on rays: every ray by itself, the baseline that Polar IoU was published against.
//!
//! ```text
//! L = scale * sum_i w_i mean_r k(t_ir, p_ir) / sum_i w_i
//! k(x, y) = d^2/2 if d < 1, d - 1/2 otherwise,  d = abs(x - y)
//! ```
//!
//! Gradient: `scale * w_i / (R sum w) * clamp(p - t, -1, 1)`.
//!
//! Input: distances in pixels; `prediction` and `target` `[N,R]`, `weight` `[N]`. Large objects weigh more than small ones,
//! and `scale` has to be tuned against the other losses: the paper tried 0.05, 0.30 and 1.00.
//!
//! Corners: smooth everywhere. Objects of weight 0 are passed over; without any weight the loss is 0.
//!
//! Reference: Girshick, Fast R-CNN, ICCV 2015 (the function); Xie et al., PolarMask, CVPR 2020, table 1b (on rays).

use ndarray::{ArrayView1, ArrayView2};

use super::rays::{self, Rays};
use super::{Arguments, Entry, Evaluation, Family, Inputs, Loss, LossError, Param, ParamKind};
use crate::expr::{Expr, Kernel, Variables};

/// `x`: true distance, `y`: predicted distance.
pub const RAY_VARIABLES: Variables = &["x", "y"];

/// The catalogue's line.
pub(super) static ENTRY: Entry = Entry {
    name: "smooth-l1-rays",
    family: Family::Rays,
    summary: "Smooth-L1 of every ray by itself, the published baseline of Polar IoU: large objects weigh more.",
    formula: "scale * sum_i w_i mean_r k(t_ir, p_ir) / sum_i w_i,  k = d^2/2 if d < 1, d - 1/2 otherwise, d = abs(x - y)",
    gradient: "scale * w_i / (R sum w) * clamp(p - t, -1, 1)",
    space: "distances in pixels",
    corners: "smooth everywhere; weight 0: passed over; no weight at all: 0",
    reference: "Girshick, Fast R-CNN, ICCV 2015; Xie et al., PolarMask, CVPR 2020, arXiv 1909.13226, table 1b",
    inputs: rays::INPUTS,
    params: &[
        Param {
            name: "kernel",
            kind: ParamKind::Kernel {
                default: "0.5*min(abs(x - y), 1)^2 + max(abs(x - y) - 1, 0)",
                variables: RAY_VARIABLES,
            },
            doc: "cost of one ray",
        },
        Param {
            name: "scale",
            kind: ParamKind::Number { default: 1.0, least: 0.0, most: 1e6 },
            doc: "factor on the whole, to balance it against other losses",
        },
    ],
    example: rays::example,
    build: |arguments| Ok(Box::new(SmoothL1Rays::from_arguments(arguments))),
};

/// The mean of a kernel over the rays of each object.
#[derive(Clone, Debug)]
pub struct SmoothL1Rays {
    kernel: Option<Kernel>,
    scale: f64,
}

impl SmoothL1Rays {
    /// With the published kernel and this factor.
    pub fn new(scale: f64) -> Self {
        Self { kernel: None, scale }
    }

    /// The same with another kernel over [`RAY_VARIABLES`].
    #[must_use]
    pub fn with_kernel(self, kernel: &Expr) -> Self {
        Self { kernel: Some(Kernel::new(kernel)), ..self }
    }

    fn from_arguments(arguments: &Arguments) -> Self {
        let plain = Self::new(arguments.number("scale"));
        match arguments.kernel("kernel") {
            Some(kernel) => plain.with_kernel(kernel),
            None => plain,
        }
    }

    /// Value and gradient; `prediction` and `target` `[N,R]`, `weight` `[N]`, all 1 if absent.
    ///
    /// # Errors
    /// Shapes that do not agree, no rays, a weight that is negative or not finite.
    pub fn evaluate_rays(
        &self,
        prediction: ArrayView2<f32>,
        target: ArrayView2<f32>,
        weight: Option<ArrayView1<f32>>,
    ) -> Result<Evaluation, LossError> {
        Ok(self.mean(&Rays::new(prediction, target, weight)?))
    }

    fn mean(&self, rays: &Rays) -> Evaluation {
        match &self.kernel {
            None => rays.weighted_mean(|p, t, share, grad| self.one_object(p, t, share, grad, published)),
            Some(kernel) => rays.weighted_mean(|p, t, share, grad| {
                self.one_object(p, t, share, grad, |x, y| {
                    let at = kernel.at(&[f64::from(x), f64::from(y)]);
                    (at.value, at.slope[1] as f32)
                })
            }),
        }
    }

    /// The cost of one object; writes `share` times its gradient.
    fn one_object(
        &self,
        prediction: &[f32],
        target: &[f32],
        share: f64,
        grad: &mut [f32],
        kernel: impl Fn(f32, f32) -> (f64, f32),
    ) -> f64 {
        let per_ray = self.scale / prediction.len() as f64;
        let share = (share * per_ray) as f32;
        let mut sum = 0.0;
        for ((g, p), t) in grad.iter_mut().zip(prediction).zip(target) {
            let (value, slope) = kernel(*t, *p);
            sum += value;
            *g = share * slope;
        }
        sum * per_ray
    }
}

impl Loss for SmoothL1Rays {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        Ok(self.mean(&Rays::from_inputs(inputs)?))
    }
}

/// Smooth-L1 and its slope in the prediction `y`.
fn published(x: f32, y: f32) -> (f64, f32) {
    // In f64, where the difference of any two distances is finite.
    let difference = f64::from(y) - f64::from(x);
    let inner = difference.clamp(-1.0, 1.0);
    (inner * (difference - 0.5 * inner), inner as f32)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::ParamKind;
    use super::super::polar_fixture::{close, fixture, matrix, vector};
    use super::*;

    #[test]
    fn equals_pytorch_and_its_own_formula() {
        let fixture = fixture();
        let case = &fixture["smooth_l1_rays"];
        let (p, t, w) = (matrix(&case["prediction"]), matrix(&case["target"]), vector(&case["weight"]));
        let ParamKind::Kernel { default, variables } = ENTRY.params[0].kind else { panic!("the kernel comes first") };
        let formula = Expr::parse(default, variables).unwrap();
        for loss in [SmoothL1Rays::new(1.0), SmoothL1Rays::new(1.0).with_kernel(&formula)] {
            let ours = loss.evaluate_rays(p.view(), t.view(), Some(w.view())).unwrap();
            close(ours.value, &case["value"], 1e-6);
            for (a, b) in ours.grad.iter().zip(&matrix(&case["grad"])) {
                assert!((a - b).abs() < 1e-7, "{a} {b}");
            }
        }
    }

    #[test]
    fn scale_is_a_factor_on_value_and_gradient() {
        let (p, t) = (array![[1.0f32, 5.0]], array![[1.5f32, 2.0]]);
        let (one, third) = (SmoothL1Rays::new(1.0), SmoothL1Rays::new(0.3));
        let (a, b) = (
            one.evaluate_rays(p.view(), t.view(), None).unwrap(),
            third.evaluate_rays(p.view(), t.view(), None).unwrap(),
        );
        assert!((a.value - (0.125 + 2.5) / 2.0).abs() < 1e-12);
        assert!((b.value - 0.3 * a.value).abs() < 1e-12);
        assert!((&a.grad * 0.3 - &b.grad).iter().all(|d| d.abs() < 1e-7));
    }
}
