//! Polar IoU: the overlap of two star-shaped outlines about one centre, as sums over their rays.
//!
//! ```text
//! a_i = sum_r min(p_ir, t_ir)    b_i = sum_r max(p_ir, t_ir)
//! L   = sum_i w_i k(a_i, b_i) / sum_i w_i        k(a, b) = log(b/a)
//! ```
//!
//! Gradient: `dL/dp_ir = w_i / sum w * (k_a [p < t] + k_b [p > t])`, where `k_a = -1/a` and `k_b = 1/b`.
//!
//! Input: distances from the centre to the contour in pixels, above 0; `prediction` and `target` `[N,R]`, `weight` `[N]`.
//! The value does not change when all rays of an object are multiplied by one factor.
//!
//! Corners: where `p = t` the slope is the mean of both sides, as PyTorch's `minimum` and `maximum` have it. An object
//! whose rays do not overlap (`a = 0 < b`) costs infinity, one of zero rays throughout is not a number: targets hold at
//! least 1e-6. Objects of weight 0 are passed over; without any weight the loss is 0.
//!
//! Reference: Xie et al., PolarMask: Single Shot Instance Segmentation with Polar Representation, CVPR 2020, section 3.4
//! (the squares of the true polar IoU are dropped there); the centerness weights are those of the authors' code.

use ndarray::{ArrayView1, ArrayView2};

use super::rays::{self, Rays};
use super::{Arguments, Entry, Evaluation, Family, Inputs, Loss, LossError, Param, ParamKind};
use crate::expr::{Expr, Kernel, Variables};

/// `a`: sum of the smaller ones of each pair of rays, `b`: sum of the larger ones.
pub const OVERLAP_VARIABLES: Variables = &["a", "b"];

/// The catalogue's line.
pub(super) static ENTRY: Entry = Entry {
    name: "polar-iou",
    family: Family::Rays,
    summary: "Overlap of two star-shaped outlines about one centre: all rays of an object are one unit, whatever its size.",
    formula: "sum_i w_i k(a_i, b_i) / sum_i w_i,  a_i = sum_r min(p_ir, t_ir),  b_i = sum_r max(p_ir, t_ir),  k = log(b/a)",
    gradient: "w_i / sum w * (k_a [p < t] + k_b [p > t]);  k_a = -1/a, k_b = 1/b",
    space: "distances in pixels, above 0",
    corners: "p = t: the mean of both slopes; no overlap: infinite; weight 0: passed over; no weight at all: 0",
    reference: "Xie et al., PolarMask, CVPR 2020, arXiv 1909.13226, section 3.4",
    inputs: rays::INPUTS,
    params: &[Param {
        name: "kernel",
        kind: ParamKind::Kernel { default: "log(b/a)", variables: OVERLAP_VARIABLES },
        doc: "cost of one object from the ray sums",
    }],
    example: rays::example,
    build: |arguments| Ok(Box::new(PolarIou::from_arguments(arguments))),
};

/// The ray-sum aggregator, with the published kernel or another.
#[derive(Clone, Debug, Default)]
pub struct PolarIou {
    kernel: Option<Kernel>,
}

impl PolarIou {
    /// With the published kernel `log(b/a)`.
    pub fn new() -> Self {
        Self::default()
    }

    /// With another kernel over [`OVERLAP_VARIABLES`].
    pub fn with_kernel(kernel: &Expr) -> Self {
        Self { kernel: Some(Kernel::new(kernel)) }
    }

    fn from_arguments(arguments: &Arguments) -> Self {
        arguments.kernel("kernel").map_or_else(Self::new, Self::with_kernel)
    }

    /// Value and gradient; `prediction` and `target` `[N,R]`, `weight` `[N]`, all 1 if absent.
    ///
    /// # Errors
    /// Shapes that do not agree, no rays, a negative distance, a weight that is negative or not finite.
    pub fn evaluate_rays(
        &self,
        prediction: ArrayView2<f32>,
        target: ArrayView2<f32>,
        weight: Option<ArrayView1<f32>>,
    ) -> Result<Evaluation, LossError> {
        Ok(self.mean(&Rays::new(prediction, target, weight)?.not_negative()?))
    }

    fn mean(&self, rays: &Rays) -> Evaluation {
        match &self.kernel {
            None => rays.weighted_mean(|p, t, share, grad| one_object(p, t, share, grad, published)),
            Some(kernel) => rays.weighted_mean(|p, t, share, grad| {
                one_object(p, t, share, grad, |a, b| {
                    let at = kernel.at(&[a, b]);
                    (at.value, at.slope[0], at.slope[1])
                })
            }),
        }
    }
}

impl Loss for PolarIou {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        Ok(self.mean(&Rays::from_inputs(inputs)?.not_negative()?))
    }
}

/// `log(b/a)` and its slopes.
fn published(a: f64, b: f64) -> (f64, f64, f64) {
    ((b / a).ln(), -1.0 / a, 1.0 / b)
}

/// The cost of one object; writes `share` times its gradient.
fn one_object(
    prediction: &[f32],
    target: &[f32],
    share: f64,
    grad: &mut [f32],
    kernel: impl Fn(f64, f64) -> (f64, f64, f64),
) -> f64 {
    let (a, b) = ray_sums(prediction, target);
    let (value, slope_a, slope_b) = kernel(a, b);
    let tie = (share * 0.5 * (slope_a + slope_b)) as f32;
    let (slope_a, slope_b) = ((share * slope_a) as f32, (share * slope_b) as f32);
    for ((g, p), t) in grad.iter_mut().zip(prediction).zip(target) {
        let side = if p < t { slope_a } else { slope_b };
        *g = if p == t { tie } else { side };
    }
    value
}

/// Sum of the smaller and sum of the larger ones of each pair of rays.
fn ray_sums(prediction: &[f32], target: &[f32]) -> (f64, f64) {
    // Independent lanes let the compiler use vector registers; their number is fixed, so the sum is always the same.
    const LANES: usize = 4;
    let mut smaller = [0.0f64; LANES];
    let mut larger = [0.0f64; LANES];
    let (p, p_rest) = prediction.as_chunks::<LANES>();
    let (t, t_rest) = target.as_chunks::<LANES>();
    for (p, t) in p.iter().zip(t) {
        for lane in 0..LANES {
            let (low, high) = order(p[lane], t[lane]);
            smaller[lane] += f64::from(low);
            larger[lane] += f64::from(high);
        }
    }
    let (mut a, mut b) = (smaller.iter().sum::<f64>(), larger.iter().sum::<f64>());
    for (p, t) in p_rest.iter().zip(t_rest) {
        let (low, high) = order(*p, *t);
        a += f64::from(low);
        b += f64::from(high);
    }
    (a, b)
}

/// Smaller and larger of two; a prediction that is not a number stays one, unlike with `f32::min`.
fn order(p: f32, t: f32) -> (f32, f32) {
    (if t < p { t } else { p }, if t > p { t } else { p })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, array};
    use proptest::prelude::*;

    use super::super::polar_fixture::{close, fixture, matrix, vector};
    use super::*;

    /// The formula, word for word, in f64.
    fn oracle(p: &Array2<f32>, t: &Array2<f32>, w: &Array1<f32>) -> (f64, Array2<f64>) {
        let total: f64 = w.iter().map(|w| f64::from(*w)).sum();
        let mut grad = Array2::zeros(p.dim());
        let mut value = 0.0;
        for i in 0..p.nrows() {
            let pair = |r: usize| (f64::from(p[[i, r]]), f64::from(t[[i, r]]));
            let a: f64 = (0..p.ncols()).map(|r| pair(r).0.min(pair(r).1)).sum();
            let b: f64 = (0..p.ncols()).map(|r| pair(r).0.max(pair(r).1)).sum();
            let w = f64::from(w[i]) / total;
            value += w * (b / a).ln();
            for r in 0..p.ncols() {
                let (p, t) = pair(r);
                grad[[i, r]] = w * match p.total_cmp(&t) {
                    std::cmp::Ordering::Less => -1.0 / a,
                    std::cmp::Ordering::Equal => 0.5 / b - 0.5 / a,
                    std::cmp::Ordering::Greater => 1.0 / b,
                };
            }
        }
        (value, grad)
    }

    fn rays(objects: usize, rays: usize, salt: u32) -> Array2<f32> {
        Array2::from_shape_fn((objects, rays), |(i, r)| {
            let hash = ((i * rays + r) as u32).wrapping_add(salt).wrapping_mul(2_654_435_761) >> 8;
            1.0 + (hash % 1000) as f32 / 20.0
        })
    }

    #[test]
    fn equals_the_oracle_over_many_pieces() {
        let (p, t) = (rays(1500, 37, 1), rays(1500, 37, 9));
        let w = Array1::from_shape_fn(1500, |i| (i % 7) as f32 / 7.0);
        let ours = PolarIou::new().evaluate_rays(p.view(), t.view(), Some(w.view())).unwrap();
        let (value, grad) = oracle(&p, &t, &w);
        assert!((ours.value - value).abs() < 1e-12, "{} {value}", ours.value);
        for (a, b) in ours.grad.iter().zip(&grad) {
            assert!((f64::from(*a) - b).abs() <= 1e-6 * b.abs(), "{a} {b}");
        }
    }

    #[test]
    fn a_kernel_equal_to_the_published_one_gives_the_same() {
        let (p, t) = (rays(40, 36, 1), rays(40, 36, 9));
        let kernel = Expr::parse("log(b/a)", OVERLAP_VARIABLES).unwrap();
        let ours = PolarIou::new().evaluate_rays(p.view(), t.view(), None).unwrap();
        let theirs = PolarIou::with_kernel(&kernel).evaluate_rays(p.view(), t.view(), None).unwrap();
        assert!((ours.value - theirs.value).abs() < 1e-14);
        assert!(ours.grad.iter().zip(&theirs.grad).all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs()));
    }

    #[test]
    fn equals_pytorch() {
        let fixture = fixture();
        let case = &fixture["polar_iou"];
        let (p, t, w) = (matrix(&case["prediction"]), matrix(&case["target"]), vector(&case["weight"]));
        for (weight, expected) in [(Some(w.view()), "weighted"), (None, "plain")] {
            let ours = PolarIou::new().evaluate_rays(p.view(), t.view(), weight).unwrap();
            close(ours.value, &case[expected]["value"], 1e-6);
            for (a, b) in ours.grad.iter().zip(&matrix(&case[expected]["grad"])) {
                assert!((a - b).abs() < 1e-7, "{a} {b}");
            }
        }
    }

    #[test]
    fn views_of_any_layout_do() {
        let (p, t) = (rays(8, 12, 1), rays(8, 12, 9));
        let flipped = (p.t().to_owned(), t.t().to_owned());
        let straight = PolarIou::new().evaluate_rays(p.view(), t.view(), None).unwrap();
        assert_eq!(PolarIou::new().evaluate_rays(flipped.0.t(), flipped.1.t(), None).unwrap(), straight);
    }

    #[test]
    fn corners() {
        let loss = PolarIou::new();
        let one = array![[1.0f32, 2.0]];
        let zero = array![[0.0f32, 0.0]];
        assert_eq!(loss.evaluate_rays(one.view(), one.view(), None).unwrap().value, 0.0);
        assert_eq!(loss.evaluate_rays(zero.view(), one.view(), None).unwrap().value, f64::INFINITY);
        assert!(loss.evaluate_rays(zero.view(), zero.view(), None).unwrap().value.is_nan());
        let nan = array![[f32::NAN, 2.0]];
        assert!(loss.evaluate_rays(nan.view(), one.view(), None).unwrap().value.is_nan());
        let passed_over = loss.evaluate_rays(zero.view(), zero.view(), Some(array![0.0].view())).unwrap();
        assert_eq!((passed_over.value, passed_over.grad.sum()), (0.0, 0.0));
        let none = Array2::zeros((0, 36));
        assert_eq!(loss.evaluate_rays(none.view(), none.view(), None).unwrap().value, 0.0);
    }

    #[test]
    fn bad_input_is_named() {
        let loss = PolarIou::new();
        let (two, three) = (Array2::<f32>::ones((2, 4)), Array2::<f32>::ones((3, 4)));
        let error = |e: Result<Evaluation, LossError>| e.unwrap_err().to_string();
        assert_eq!(
            error(loss.evaluate_rays(two.view(), three.view(), None)),
            "input 'target': expected shape [2, 4], found [3, 4]"
        );
        let bad = array![1.0, -1.0];
        assert_eq!(
            error(loss.evaluate_rays(two.view(), two.view(), Some(bad.view()))),
            "input 'weight': expected finite weights of 0 or more, found -1 at 1"
        );
        let negative = array![[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, -3.0, 4.0]];
        assert_eq!(
            error(loss.evaluate_rays(negative.view(), two.view(), None)),
            "input 'prediction': expected distances of 0 or more, found -3 at [1, 2]"
        );
        let empty = Array2::<f32>::ones((2, 0));
        assert!(error(loss.evaluate_rays(empty.view(), empty.view(), None)).contains("at least one ray"));
    }

    proptest! {
        #[test]
        fn one_factor_on_all_rays_changes_nothing(factor in 0.01f32..100.0, salt in 0u32..1000) {
            let (p, t) = (rays(5, 36, salt), rays(5, 36, salt + 77));
            let plain = PolarIou::new().evaluate_rays(p.view(), t.view(), None).unwrap();
            let scaled = PolarIou::new().evaluate_rays((&p * factor).view(), (&t * factor).view(), None).unwrap();
            prop_assert!((plain.value - scaled.value).abs() < 1e-6);
        }
    }
}
