//! Rejection on raw predictions: a loss that cannot move free logits to the right class will not train a network either.
//!
//! A few rows of random logits are descended directly with Adam, whose step does not depend on the scale of the loss. The loss
//! passes if afterwards enough rows answer the right class, whatever probability they give it: the minimum of Baikal lies
//! at 0.32 for ten classes.

use lossmith::expr::Expr;
use lossmith::loss::ClassLoss;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Rejection;
use crate::Stream;

/// The trial that a loss has to pass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawPredictions {
    /// Classes.
    pub classes: usize,
    /// Rows of logits.
    pub rows: usize,
    /// Steps of Adam.
    pub steps: u32,
    /// Adam's step size.
    pub rate: f32,
    /// The share of rows that must answer the right class at the end.
    pub accuracy: f64,
}

impl Default for RawPredictions {
    fn default() -> Self {
        Self { classes: 10, rows: 50, steps: 100, rate: 0.1, accuracy: 0.9 }
    }
}

impl RawPredictions {
    /// Judges a class loss.
    ///
    /// # Errors
    /// [`Rejection::Untrainable`], also where the gradient becomes infinite or undefined on the way.
    pub fn check(&self, formula: &Expr) -> Result<(), Rejection> {
        if self.final_accuracy(formula).is_some_and(|reached| reached >= self.accuracy) {
            Ok(())
        } else {
            Err(Rejection::Untrainable)
        }
    }

    /// The share of rows that answer the right class at the end; `None` where the descent breaks down.
    pub fn final_accuracy(&self, formula: &Expr) -> Option<f64> {
        let (rows, classes) = (self.rows.max(1), self.classes.max(2));
        let mut rng = Stream::new(0, 0);
        let labels: Vec<u32> = (0..rows).map(|_| rng.random_range(0..classes as u32)).collect();
        let mut logits: Vec<f32> = (0..rows * classes).map(|_| rng.random_range(-1.0..1.0)).collect();
        let loss = ClassLoss::from_formula(formula.clone());
        let mut grad = vec![0.0; logits.len()];
        let mut adam = Adam::new(logits.len(), self.rate);
        for _ in 0..self.steps {
            loss.value_and_gradient(&logits, &labels, classes, &mut grad);
            if grad.iter().any(|g| !g.is_finite()) {
                return None;
            }
            adam.step(&mut logits, &grad);
        }
        let right = logits.chunks_exact(classes).zip(&labels).filter(|(row, label)| is_right(row, **label as usize));
        Some(right.count() as f64 / rows as f64)
    }
}

/// Whether the label has the one highest logit: a loss that makes all equal has learned nothing.
fn is_right(row: &[f32], label: usize) -> bool {
    row.iter().enumerate().all(|(i, z)| i == label || *z < row[label])
}

/// Kingma and Ba, arXiv 1412.6980, algorithm 1, with the usual constants.
struct Adam {
    rate: f32,
    t: i32,
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Adam {
    fn new(length: usize, rate: f32) -> Self {
        Self { rate, t: 0, m: vec![0.0; length], v: vec![0.0; length] }
    }

    fn step(&mut self, values: &mut [f32], grad: &[f32]) {
        let (b1, b2) = (0.9f32, 0.999f32);
        self.t += 1;
        let (c1, c2) = (1.0 - b1.powi(self.t), 1.0 - b2.powi(self.t));
        for (((x, g), m), v) in values.iter_mut().zip(grad).zip(&mut self.m).zip(&mut self.v) {
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *x -= self.rate * (*m / c1) / ((*v / c2).sqrt() + 1e-8);
        }
    }
}

#[cfg(test)]
mod tests {
    use lossmith::expr::CLASS_VARIABLES;

    use super::*;

    #[test]
    fn published_losses_pass_and_losses_that_lead_astray_do_not() {
        let baikal_cma = "-2.7279*(0.9863*log(1.5352*y) + 1.1135*(1.3716*x)/(-0.8411*y))";
        for (text, passes) in [
            ("-x*log(y)", true),
            ("-(log(y) - x/y)", true),
            (baikal_cma, true),
            ("square(x - y)", true),
            ("abs(x - y)", true),
            ("x*log(y)", false),
            ("log(y) - x/y", false),
            ("-log(y)", false),
            ("x*y", false),
            ("x/n + 0*y", false),
            ("sqrt(0 - y)*x", false),
        ] {
            let formula = Expr::parse(text, CLASS_VARIABLES).unwrap();
            for classes in [2, 10] {
                let trial = RawPredictions { classes, ..RawPredictions::default() };
                let reached = trial.final_accuracy(&formula);
                assert_eq!(trial.check(&formula).is_ok(), passes, "{text}, {classes} classes: {reached:?}");
            }
        }
    }

    #[test]
    fn the_scale_of_a_loss_does_not_matter() {
        for text in ["-1e-6*x*log(y)", "-1e6*x*log(y)"] {
            let formula = Expr::parse(text, CLASS_VARIABLES).unwrap();
            assert_eq!(RawPredictions::default().check(&formula), Ok(()), "{text}");
        }
    }
}
