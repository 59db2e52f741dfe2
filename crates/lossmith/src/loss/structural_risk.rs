//! Structural risk: any loss plus lambda times a kernel summed over the weights of the model, so that of two models that
//! fit alike the smaller one is better.
//!
//! The gradient with respect to the inner loss's prediction is that of the inner loss; the gradient with respect to the
//! weights stands in [`Evaluation::more_grads`] under `weights`.

use ndarray::ArrayD;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{Entry, Evaluation, Family, InputSpec, Inputs, Loss, LossError, Param, ParamKind, ScalarType, Spec, class};
use crate::expr::{Expr, Kernel, Variables};

/// `w`: one weight.
pub const WEIGHT_VARIABLES: Variables = &["w"];
const L2: &str = "w^2";

/// `structural-risk`
pub(super) static ENTRY: Entry = Entry {
    name: "structural-risk",
    family: Family::Weights,
    summary: "Any loss plus lambda times a kernel summed over the weights: of two models that fit alike, the smaller wins.",
    formula: "loss + lambda sum_i regulariser(w_i)",
    gradient: "that of the loss; lambda regulariser'(w_i) with respect to weight i (written as grad_weights)",
    space: "the arrays of the inner loss, and weights [M], any finite numbers",
    corners: "Those of the inner loss and of the kernel: for abs(w) the slope at 0 is taken as 0.",
    reference: "Vapnik, Principles of Risk Minimization for Learning Theory, NIPS 1991; Hoerl and Kennard, Ridge Regression, 1970; Tibshirani, Regression Shrinkage and Selection via the Lasso, 1996",
    inputs: &[
        class::INPUTS[0],
        class::INPUTS[1],
        InputSpec {
            name: "weights",
            scalar: ScalarType::F32,
            shape: "[M]",
            optional: false,
            doc: "the weights of the model; the other arrays are those of the inner loss",
        },
    ],
    params: &[
        Param {
            name: "loss",
            kind: ParamKind::Word { default: "cross-entropy", check: check_loss },
            doc: "the inner loss: a name, a name with parameters, or a formula",
        },
        Param {
            name: "lambda",
            kind: ParamKind::Number { default: 1e-4, least: 0.0, most: 1e30 },
            doc: "the weight of the sum over the weights",
        },
        Param {
            name: "regulariser",
            kind: ParamKind::Kernel { default: L2, variables: WEIGHT_VARIABLES },
            doc: "the kernel of one weight w: l1 is abs(w), l2 is w^2, or any formula",
        },
    ],
    example: |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        class::example(seed).with("weights", ArrayD::from_shape_simple_fn(vec![8], || rng.random_range(0.1..2.0f32)))
    },
    build: |arguments| {
        let formula = arguments.kernel("regulariser").cloned().map_or_else(|| Expr::parse(L2, WEIGHT_VARIABLES), Ok)?;
        Ok(Box::new(StructuralRisk {
            loss: Spec::parse(&arguments.word("loss"))?.build()?,
            lambda: arguments.number("lambda"),
            regulariser: Kernel::new(&formula),
        }))
    },
};

fn check_loss(text: &str) -> Result<(), String> {
    match Spec::parse(text) {
        Ok(Spec::Named(arguments)) if std::ptr::eq(arguments.entry(), &ENTRY) => {
            Err("expected a loss that is not structural-risk itself".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The formula that a short name of a regulariser stands for.
pub(super) fn spelled_out(text: &str, variables: Variables) -> &str {
    match text {
        "l1" if variables == WEIGHT_VARIABLES => "abs(w)",
        "l2" if variables == WEIGHT_VARIABLES => L2,
        other => other,
    }
}

/// `lambda` times the kernel summed over the weights; its gradient is *added* to `grad`.
///
/// # Panics
/// If weights and gradient differ in length.
pub fn regularise(kernel: &Kernel, lambda: f64, weights: &[f32], grad: &mut [f32]) -> f64 {
    assert_eq!(weights.len(), grad.len(), "one gradient for every weight");
    let (mut value, mut slope) = ([0.0; 256], [0.0; 256]);
    let mut sum = 0.0;
    for (weights, grad) in weights.chunks(256).zip(grad.chunks_mut(256)) {
        let (value, slope) = (&mut value[..weights.len()], &mut slope[..weights.len()]);
        kernel.block(&[weights], value, &mut [slope]);
        sum += value.iter().map(|&v| f64::from(v)).sum::<f64>();
        grad.iter_mut().zip(slope).for_each(|(g, s)| *g += (lambda * f64::from(*s)) as f32);
    }
    lambda * sum
}

#[derive(Debug)]
struct StructuralRisk {
    loss: Box<dyn Loss>,
    lambda: f64,
    regulariser: Kernel,
}

impl Loss for StructuralRisk {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let weights: Vec<f32> = inputs.f32("weights", 1)?.iter().copied().collect();
        let inner = self.loss.evaluate(inputs)?;
        let mut grad = vec![0.0; weights.len()];
        let penalty = regularise(&self.regulariser, self.lambda, &weights, &mut grad);
        let mut more_grads = inner.more_grads;
        more_grads.push(("weights", ndarray::Array1::from_vec(grad).into_dyn()));
        let parts = vec![("loss", inner.value), ("regulariser", penalty)];
        Ok(Evaluation { value: inner.value + penalty, parts, more_grads, ..inner })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;

    fn build(text: &str) -> Box<dyn Loss> {
        Spec::parse(text).unwrap().build().unwrap()
    }

    #[test]
    fn weights_add_their_kernel_and_get_their_own_gradient() {
        let weights = ndarray::arr1(&[1.0f32, -2.0, 0.0]).into_dyn();
        let inputs = class::example(0).with("weights", weights);
        let inner = build("cross-entropy").evaluate(&inputs).unwrap();
        for (regulariser, sum, slopes) in
            [("l2", 5.0, [2.0, -4.0, 0.0]), ("l1", 3.0, [1.0, -1.0, 0.0]), ("w^4", 17.0, [4.0, -32.0, 0.0])]
        {
            let outer =
                build(&format!("structural-risk(lambda=0.5, regulariser={regulariser})")).evaluate(&inputs).unwrap();
            assert!((outer.value - inner.value - 0.5 * sum).abs() < 1e-6, "{regulariser}");
            assert_eq!(outer.parts[1], ("regulariser", 0.5 * sum));
            assert_eq!(outer.grad, inner.grad);
            assert_eq!(
                outer.more_grads[0].1,
                ndarray::arr1(&slopes.map(|s| 0.5 * s as f32)).into_dyn(),
                "{regulariser}"
            );
        }
    }

    #[test]
    fn the_gradient_of_the_weights_is_the_slope() {
        for text in ["structural-risk(lambda=0.3)", "structural-risk(lambda=0.3, regulariser=\"log(1 + w^2)\")"] {
            let report = Check::single().loss(&*build(text), &(ENTRY.example)(3), "weights").unwrap();
            assert!(report.passed(), "{text}: {report}");
        }
    }

    #[test]
    fn any_loss_goes_inside_but_itself() {
        let text = "structural-risk(loss=poly-loss(epsilon=2), lambda=0.1)";
        assert_eq!(Spec::parse(text).unwrap().to_string(), text);
        assert!(Spec::parse("structural-risk(loss=\"-max(x, 0)*log(y)\")").unwrap().build().is_ok());
        assert!(Spec::parse("structural-risk(loss=hinge)").unwrap().build().is_ok());
        for bad in
            ["structural-risk(loss=structural-risk)", "structural-risk(loss=hinje)", "structural-risk(loss=log(q))"]
        {
            assert!(Spec::parse(bad).is_err(), "{bad}");
        }
    }
}
