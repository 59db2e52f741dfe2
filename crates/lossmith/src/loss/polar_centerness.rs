//! Polar centerness: how even the rays about a point are, and the binary cross-entropy that a network learns it by.
//!
//! ```text
//! hard: c_i = sqrt(min_r t_ir / max_r t_ir)
//! soft: c_i = sqrt(ratio(F1, F3) * ratio(F2, F4)),  F_q = mean of the rays of quadrant q,  ratio = smaller / larger
//! box:  c_i = sqrt(ratio(left, right) * ratio(top, bottom)),  sides of the box around the ends of the rays
//! L     = mean_i ( max(z_i, 0) - z_i c_i + log(1 + exp(-abs(z_i))) )
//! ```
//!
//! Gradient: `(sigmoid(z_i) - c_i) / N`.
//!
//! Input: `prediction` `[N]` logits `z`, `target` `[N,R]` true distances from which `c` is made.
//!
//! Corners: rays that are all 0 have centerness 0; the soft and the box form need at least 4 rays. Finite for every finite logit.
//!
//! Reference: Xie et al., PolarMask, CVPR 2020, equation 2 (hard); Xie et al., PolarMask++, arXiv 2105.02184 (soft);
//! Tian et al., FCOS, ICCV 2019, equation 3 (box; what polar centerness was published against).

use ndarray::{Array1, ArrayD, ArrayView1, ArrayView2, Axis, IxDyn};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::rays::two_dimensions;
use super::{Arguments, Entry, Evaluation, Family, InputSpec, Inputs, Loss, LossError, Param, ParamKind, ScalarType};

/// The catalogue's line.
pub(super) static ENTRY: Entry = Entry {
    name: "polar-centerness",
    family: Family::Rays,
    summary: "Binary cross-entropy of a logit against the evenness of the rays: it learns to rate uneven centres low.",
    formula: "mean_i max(z_i,0) - z_i c_i + log(1 + exp(-abs(z_i))),  c_i = sqrt(min_r t_ir / max_r t_ir)",
    gradient: "(sigmoid(z_i) - c_i) / N",
    space: "logits; distances in pixels",
    corners: "rays that are all 0: c = 0; finite for every finite logit; no objects: 0",
    reference: "Xie et al., PolarMask, CVPR 2020, arXiv 1909.13226, equation 2; PolarMask++, arXiv 2105.02184 (soft)",
    inputs: &[
        InputSpec {
            name: "prediction",
            scalar: ScalarType::F32,
            shape: "[N]",
            optional: false,
            doc: "logit of the centerness of each object",
        },
        InputSpec {
            name: "target",
            scalar: ScalarType::F32,
            shape: "[N,R]",
            optional: false,
            doc: "true distances from the centre to the contour",
        },
    ],
    params: &[Param {
        name: "form",
        kind: ParamKind::Choice { default: "hard", choices: &["hard", "soft", "box"] },
        doc: "hard: shortest against longest ray; soft: means of opposite quadrants; box: opposite sides of the box, as FCOS",
    }],
    example,
    build: |arguments| Ok(Box::new(PolarCenterness::from_arguments(arguments))),
};

/// Six objects of eight rays.
fn example(seed: u64) -> Inputs {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let prediction = ArrayD::from_shape_fn(IxDyn(&[6]), |_| rng.random_range(-3.0f32..3.0));
    let target = ArrayD::from_shape_fn(IxDyn(&[6, 8]), |_| rng.random_range(1.0f32..20.0));
    Inputs::new().with("prediction", prediction).with("target", target)
}

/// How centerness is made from rays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Centerness {
    /// Shortest against longest ray (PolarMask).
    #[default]
    Hard,
    /// Means of opposite quadrants (PolarMask++); needs at least 4 rays.
    Soft,
    /// Opposite sides of the box around the ends of the rays (FCOS); needs at least 4 rays.
    Box,
}

impl Centerness {
    /// The fewest rays that it can be made from.
    pub fn least_rays(self) -> usize {
        if self == Self::Hard { 1 } else { 4 }
    }

    /// The centerness of one object, from 0 to 1; 0 where the rays are all 0.
    pub fn of(self, rays: &[f32]) -> f32 {
        match self {
            Self::Hard => {
                let (least, most) =
                    rays.iter().fold((f32::INFINITY, 0.0f32), |(least, most), r| (least.min(*r), most.max(*r)));
                if most > 0.0 { (least / most).sqrt() } else { 0.0 }
            }
            Self::Soft => {
                let quadrant = |q: usize| {
                    let rays = &rays[q * rays.len() / 4..(q + 1) * rays.len() / 4];
                    rays.iter().map(|r| f64::from(*r)).sum::<f64>() / rays.len().max(1) as f64
                };
                evenness(quadrant(0), quadrant(2), quadrant(1), quadrant(3))
            }
            Self::Box => {
                let turn = std::f64::consts::TAU / rays.len() as f64;
                let mut sides = [0.0f64; 4];
                for (i, ray) in rays.iter().enumerate() {
                    let (sin, cos) = (i as f64 * turn).sin_cos();
                    let ray = f64::from(*ray);
                    let reach = [-ray * sin, ray * sin, -ray * cos, ray * cos];
                    sides.iter_mut().zip(reach).for_each(|(side, reach)| *side = side.max(reach));
                }
                evenness(sides[0], sides[1], sides[2], sides[3])
            }
        }
    }
}

/// `sqrt(ratio(a, b) ratio(c, d))`, the ratio of smaller and larger.
fn evenness(a: f64, b: f64, c: f64, d: f64) -> f32 {
    let ratio = |a: f64, b: f64| if a.max(b) > 0.0 { a.min(b) / a.max(b) } else { 0.0 };
    (ratio(a, b) * ratio(c, d)).sqrt() as f32
}

/// Mean over objects of the binary cross-entropy of logits against centerness; both `[N]`.
///
/// # Errors
/// Lengths that differ.
pub fn binary_cross_entropy(logit: ArrayView1<f32>, centerness: ArrayView1<f32>) -> Result<Evaluation, LossError> {
    if logit.len() != centerness.len() {
        let message = format!("expected one row for each of {} predictions, found {}", logit.len(), centerness.len());
        return Err(LossError::input("target", message));
    }
    let count = logit.len().max(1) as f64;
    let mut sum = 0.0;
    let grad: Array1<f32> = logit
        .iter()
        .zip(centerness)
        .map(|(z, c)| {
            let (z, c) = (f64::from(*z), f64::from(*c));
            sum += z.max(0.0) - z * c + (-z.abs()).exp().ln_1p();
            ((sigmoid(z) - c) / count) as f32
        })
        .collect();
    let value = sum / count;
    Ok(Evaluation::new(value, grad.into_dyn()))
}

pub(super) fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// Polar centerness of true rays, learned by binary cross-entropy.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolarCenterness {
    form: Centerness,
}

impl PolarCenterness {
    fn from_arguments(arguments: &Arguments) -> Self {
        let form = match arguments.choice("form") {
            "soft" => Centerness::Soft,
            "box" => Centerness::Box,
            _ => Centerness::Hard,
        };
        Self { form }
    }

    /// With centerness of this form.
    pub fn new(form: Centerness) -> Self {
        Self { form }
    }

    /// Value and gradient; `prediction` `[N]` logits, `target` `[N,R]` distances.
    ///
    /// # Errors
    /// Another number of rows, too few rays, a target that is negative or not finite.
    pub fn evaluate_rays(&self, prediction: ArrayView1<f32>, target: ArrayView2<f32>) -> Result<Evaluation, LossError> {
        let least = self.form.least_rays();
        if target.ncols() < least {
            return Err(LossError::input("target", format!("expected {least} rays or more, found {}", target.ncols())));
        }
        if let Some(((i, r), d)) = target.indexed_iter().find(|(_, d)| !(d.is_finite() && **d >= 0.0)) {
            return Err(LossError::input(
                "target",
                format!("expected distances of 0 or more, found {d} at [{i}, {r}]"),
            ));
        }
        let centerness = target.map_axis(Axis(1), |row| self.form.of(&row.to_vec()));
        binary_cross_entropy(prediction, centerness.view())
    }
}

impl Loss for PolarCenterness {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let prediction = super::rays::one_dimension(inputs.f32("prediction", 1)?)?;
        self.evaluate_rays(prediction, two_dimensions(inputs.f32("target", 2)?)?)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::polar_fixture::{close, fixture, matrix, vector};
    use super::*;

    #[test]
    fn equals_pytorch() {
        let fixture = fixture();
        let case = &fixture["polar_centerness"];
        for (form, name) in [(Centerness::Hard, "hard"), (Centerness::Soft, "soft")] {
            let (z, t) = (vector(&case["prediction"]), matrix(&case["target"]));
            let ours = PolarCenterness::new(form).evaluate_rays(z.view(), t.view()).unwrap();
            close(ours.value, &case[name]["value"], 1e-6);
            for (a, b) in ours.grad.iter().zip(&vector(&case[name]["grad"])) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }

    #[test]
    fn centerness_of_plain_cases() {
        assert_eq!(Centerness::Hard.of(&[2.0; 36]), 1.0);
        assert_eq!(Centerness::Soft.of(&[2.0; 36]), 1.0);
        assert_eq!(Centerness::Hard.of(&[1.0, 4.0, 4.0, 4.0]), 0.5);
        // One short ray of 36 halves the hard form and hardly touches the soft one: why PolarMask++ has it.
        let mut dented = [4.0; 36];
        dented[0] = 1.0;
        assert_eq!(Centerness::Hard.of(&dented), 0.5);
        assert!(Centerness::Soft.of(&dented) > 0.95);
        // FCOS sees the box alone: rays of a star about its middle are even to it.
        let star: Vec<f32> = (0..8).map(|i| if i % 2 == 0 { 4.0 } else { 1.0 }).collect();
        assert_eq!((Centerness::Hard.of(&star), Centerness::Box.of(&star)), (0.5, 1.0));
        // Left 2, right 8, top and bottom 4.
        assert!((Centerness::Box.of(&[4.0, 8.0, 4.0, 2.0]) - 0.5).abs() < 1e-6);
        assert_eq!(Centerness::Box.of(&[0.0; 4]), 0.0);
        assert_eq!((Centerness::Hard.of(&[0.0; 4]), Centerness::Soft.of(&[0.0; 4])), (0.0, 0.0));
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let z = array![-1e30f32, 1e30, 0.0];
        let ours = binary_cross_entropy(z.view(), array![0.0, 1.0, 0.5].view()).unwrap();
        assert!((ours.value - 2f64.ln() / 3.0).abs() < 1e-12);
        assert!(ours.grad.iter().all(|g| g.is_finite()));
    }

    #[test]
    fn bad_input_is_named() {
        let soft = PolarCenterness::new(Centerness::Soft);
        let error = soft.evaluate_rays(array![0.0].view(), array![[1.0, 1.0]].view()).unwrap_err();
        assert_eq!(error.to_string(), "input 'target': expected 4 rays or more, found 2");
        let error =
            PolarCenterness::default().evaluate_rays(array![0.0].view(), array![[f32::NAN]].view()).unwrap_err();
        assert_eq!(error.to_string(), "input 'target': expected distances of 0 or more, found NaN at [0, 0]");
    }
}
