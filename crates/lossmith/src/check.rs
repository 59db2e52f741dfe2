//! The gradient check, for the losses here and for users' own: a gradient against central differences, at random
//! points, at corners and at extremes.
//!
//! ```
//! use lossmith::check::Check;
//! let square = |x: &[f64]| x.iter().map(|v| v * v).sum();
//! let report = Check::exact().gradient(square, &[1.0, -2.0], &[2.0, -4.0]);
//! assert!(report.passed(), "{report}");
//! let report = Check::exact().gradient(square, &[1.0, -2.0], &[2.0, 4.0]);
//! assert!(!report.passed());
//! ```

use std::fmt;

use ndarray::ArrayD;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::loss::{Evaluation, Inputs, Loss, LossError};

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// The step of the differences, relative to the coordinate where that is above 1.
    pub step: f64,
    /// The error allowed, relative to the gradient.
    pub tolerance: f64,
    /// The relative rounding error of the value.
    pub rounding: f64,
    /// At most this many coordinates are looked at, evenly spread.
    pub coordinates: usize,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// How many coordinates were looked at.
    pub coordinates: usize,
    /// At how many of them the value has a corner; there the gradient may lie anywhere between the two slopes.
    pub corners: usize,
    /// The coordinate at which gradient and differences are furthest apart, measured by what is allowed.
    pub worst: Option<Difference>,
    /// How many coordinates are further apart than allowed.
    pub wrong: usize,
}

/// Gradient and differences at one coordinate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The coordinate, counted in row-major order.
    pub coordinate: usize,
    /// The gradient's component.
    pub gradient: f64,
    /// The slope by central differences.
    pub slope: f64,
    /// Their distance by the distance allowed.
    pub error: f64,
}

impl Check {
    /// For values computed in f64.
    pub fn exact() -> Self {
        Self { step: 1e-4, tolerance: 1e-6, rounding: 1e-15, coordinates: 200 }
    }

    /// For values computed in f32 with f64 sums, as the losses here are.
    pub fn single() -> Self {
        Self { step: 1.0 / 64.0, tolerance: 2e-3, rounding: 3e-7, coordinates: 200 }
    }

    /// Compares a gradient at a point with central differences of the value.
    ///
    /// # Panics
    /// If gradient and point differ in length.
    pub fn gradient(&self, mut value: impl FnMut(&[f64]) -> f64, point: &[f64], gradient: &[f64]) -> Report {
        assert_eq!(point.len(), gradient.len(), "one component for every coordinate");
        let largest = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        let here = value(point);
        let mut moved = point.to_vec();
        let mut report = Report::default();
        let stride = point.len().div_ceil(self.coordinates.max(1)).max(1);
        for coordinate in (0..point.len()).step_by(stride) {
            let step = self.step * point[coordinate].abs().max(1.0);
            let mut at = |offset: f64| {
                moved[coordinate] = point[coordinate] + offset;
                let v = value(&moved);
                moved[coordinate] = point[coordinate];
                v
            };
            let far = Slopes::new(&mut at, here, step);
            let near = Slopes::new(&mut at, here, step / 2.0);
            let noise = 8.0 * self.rounding * here.abs().max(near.reach) / step;
            report.add(self.judge(coordinate, gradient[coordinate], largest, noise, [far, near]));
        }
        report
    }

    /// Judges one coordinate from the slopes at a step and at half of it; also says whether there is a corner.
    fn judge(
        &self,
        coordinate: usize,
        g: f64,
        largest: f64,
        noise: f64,
        [far, near]: [Slopes; 2],
    ) -> (Difference, bool) {
        // Richardson: the quadratic error of central differences cancels.
        let slope = (4.0 * near.central() - far.central()) / 3.0;
        let allowed = self.tolerance * g.abs().max(slope.abs()).max(largest / 10.0) + noise;
        let error = (g - slope).abs() / allowed.max(f64::MIN_POSITIVE);
        // The two sides of a smooth function come together in proportion to the step; those of a corner do not.
        let corner = near.gap() > 0.7 * far.gap() && near.gap() > allowed;
        if corner && error > 1.0 {
            let outside = (near.left.min(near.right) - g).max(g - near.left.max(near.right)).max(0.0);
            let spread = allowed + far.gap().max(near.gap()) * 0.01;
            return (Difference { coordinate, gradient: g, slope: near.central(), error: outside / spread }, true);
        }
        (Difference { coordinate, gradient: g, slope, error }, corner)
    }

    /// Compares the gradient of a loss with central differences on the array `name`.
    ///
    /// # Errors
    /// Whatever the loss says about the inputs, at the point or a step away from it.
    pub fn loss(&self, loss: &dyn Loss, inputs: &Inputs, name: &str) -> Result<Report, LossError> {
        let point = inputs.f32_of_any_shape(name)?.to_owned();
        let evaluation = loss.evaluate(inputs)?;
        let gradient = gradient_of(&evaluation, name);
        if gradient.shape() != point.shape() {
            let message = format!("has shape {:?}, but its gradient {:?}", point.shape(), gradient.shape());
            return Err(LossError::input(name, message));
        }
        let mut failure = None;
        let value = |at: &[f64]| {
            let mut moved = point.clone();
            moved.iter_mut().zip(at).for_each(|(m, &v)| *m = v as f32);
            match loss.evaluate(&inputs.clone().with(name, moved)) {
                Ok(evaluation) => evaluation.value,
                Err(error) => {
                    failure = Some(error);
                    f64::NAN
                }
            }
        };
        let at: Vec<f64> = point.iter().map(|&v| f64::from(v)).collect();
        let gradient: Vec<f64> = gradient.iter().map(|&v| f64::from(v)).collect();
        let report = self.gradient(value, &at, &gradient);
        failure.map_or(Ok(report), Err)
    }
}

fn gradient_of<'a>(evaluation: &'a Evaluation, name: &str) -> &'a ArrayD<f32> {
    evaluation.more_grads.iter().find(|(n, _)| *n == name).map_or(&evaluation.grad, |(_, grad)| grad)
}

/// What a loss answers where every number of the array `name` is `-magnitude` or `magnitude`, signs from `seed`.
///
/// # Errors
/// Whatever the loss says about the inputs: numbers outside its input space, for instance.
pub fn extremes(
    loss: &dyn Loss,
    inputs: &Inputs,
    name: &str,
    magnitude: f32,
    seed: u64,
) -> Result<Evaluation, LossError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let point = inputs.f32_of_any_shape(name)?.map(|_| if rng.random() { magnitude } else { -magnitude });
    loss.evaluate(&inputs.clone().with(name, point))
}

/// The two one-sided slopes of a value at a point.
struct Slopes {
    left: f64,
    right: f64,
    /// The largest value seen.
    reach: f64,
}

impl Slopes {
    fn new(at: &mut impl FnMut(f64) -> f64, here: f64, step: f64) -> Self {
        let (before, after) = (at(-step), at(step));
        Self { left: (here - before) / step, right: (after - here) / step, reach: before.abs().max(after.abs()) }
    }

    fn central(&self) -> f64 {
        0.5 * (self.left + self.right)
    }

    fn gap(&self) -> f64 {
        (self.right - self.left).abs()
    }
}

impl Report {
    /// Whether the gradient is right everywhere that was looked at.
    pub fn passed(&self) -> bool {
        self.wrong == 0
    }

    fn add(&mut self, (difference, corner): (Difference, bool)) {
        self.coordinates += 1;
        self.corners += usize::from(corner);
        // Not a number is wrong too.
        let right = difference.error <= 1.0;
        self.wrong += usize::from(!right);
        // What is not a number is worse than anything.
        let worse = self.worst.is_none_or(|w| difference.error.is_nan() || difference.error > w.error);
        if worse {
            self.worst = Some(difference);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} coordinates, {} at corners, {} wrong", self.coordinates, self.corners, self.wrong)?;
        let Some(worst) = self.worst else { return Ok(()) };
        let Difference { coordinate, gradient, slope, error } = worst;
        write!(f, "; furthest at {coordinate}: gradient {gradient:e}, slope {slope:e}, {error:.2} of what is allowed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: impl Fn(f64) -> f64, point: f64, gradient: f64) -> Report {
        Check::exact().gradient(|x| value(x[0]), &[point], &[gradient])
    }

    #[test]
    fn wrong_gradients_are_found() {
        assert!(check(f64::exp, 1.0, 1f64.exp()).passed());
        assert!(!check(f64::exp, 1.0, 1f64.exp() * (1.0 + 1e-5)).passed());
        assert!(!check(f64::exp, 1.0, f64::NAN).passed());
        assert!(!check(|_| f64::NAN, 1.0, 1.0).passed());
        assert!(check(|x| x.powi(3), 100.0, 30_000.0).passed());
    }

    #[test]
    fn at_a_corner_every_slope_between_the_two_is_right() {
        for slope in [-1.0, 0.0, 0.3, 1.0] {
            let report = check(f64::abs, 0.0, slope);
            assert!(report.passed() && report.corners == 1, "{slope}: {report}");
        }
        assert!(!check(f64::abs, 0.0, 1.1).passed());
        assert!(!check(|x: f64| x.max(0.0), 0.0, -0.1).passed());
        assert!(check(|x: f64| x.abs(), 0.00002, 1.0).passed(), "a corner within the step");
    }
}
