//! Baikal and BaikalCMA: the losses that GLO discovered by genetic programming, then by CMA-ES on its coefficients.
//!
//! The logarithm runs over *all* classes and is least at the uniform distribution; `1/y_k` pulls to the label. With C
//! classes Baikal is least at `y_k = 1/sqrt(C)`: the right class wins, but is never certain. Compare such losses by
//! accuracy, not by value.

use super::class::{self, ClassLoss, LabelTerms};
use super::{Arguments, Entry, Family, Loss, LossError, Param, ParamKind};

const REFERENCE: &str = "Gonzalez and Miikkulainen, Improved Training Speed, Accuracy, and Data Utilization Through Loss Function Optimization, CEC 2020 (arXiv 1905.11528)";
const CORNERS: &str =
    "Goes to infinity as y_k goes to 0; 1/y_k is held at 2^126, which changes nothing where y_k is a normal f32.";

/// `baikal`
pub(super) static BAIKAL: Entry = Entry {
    name: "baikal",
    family: Family::Class,
    summary: "GLO's discovered loss: it pulls to the label and away from certainty; least at y_k = 1/sqrt(C).",
    formula: "-(1/C) sum_i [log y_i - x_i/y_i], with y = softmax(logits) and x the one-hot label",
    gradient: "(C y_j - 1 + (y_j - [j = k])/y_k) / C with respect to logit j",
    space: class::SPACE,
    corners: CORNERS,
    reference: REFERENCE,
    inputs: class::INPUTS,
    params: &[],
    example: class::example,
    build: |_| {
        let terms = LabelTerms { mean_log: -1.0, mean_inverse: 1.0, ..LabelTerms::default() };
        Ok(Box::new(ClassLoss::fused("-(log(y) - x/y)/n", terms)?))
    },
};

/// `baikal-cma`
pub(super) static BAIKAL_CMA: Entry = Entry {
    name: "baikal-cma",
    family: Family::Class,
    summary: "Baikal with the coefficients that CMA-ES found: Baikal at 2.69 times the scale, 1/y_k weighted 1.84.",
    formula: "-(1/C) sum_i c0 [c1 log(c2 y_i) - c3 (c4 x_i)/(c5 y_i)], with y = softmax(logits) and x the one-hot label",
    gradient: "(a (C y_j - 1) + b (y_j - [j = k])/y_k) / C with respect to logit j; a = c0 c1, b = c0 c3 c4/c5",
    space: class::SPACE,
    corners: CORNERS,
    reference: REFERENCE,
    inputs: class::INPUTS,
    params: &[
        coefficient("c0", 2.7279, "scales the whole loss"),
        coefficient("c1", 0.9863, "scales the logarithms"),
        Param {
            name: "c2",
            kind: ParamKind::Number { default: 1.5352, least: 1e-9, most: 1e9 },
            doc: "scales the probability in the logarithm: adds a constant",
        },
        coefficient("c3", -1.1135, "scales the inverse"),
        coefficient("c4", 1.3716, "scales the label"),
        coefficient("c5", -0.8411, "scales the probability in the inverse; not 0"),
    ],
    example: class::example,
    build: baikal_cma,
};

const fn coefficient(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param { name, kind: ParamKind::Number { default, least: -1e9, most: 1e9 }, doc }
}

fn baikal_cma(arguments: &Arguments) -> Result<Box<dyn Loss>, LossError> {
    let c = ["c0", "c1", "c2", "c3", "c4", "c5"].map(|name| arguments.number(name));
    let (logs, inverse) = (c[0] * c[1], c[0] * c[3] * c[4] / c[5]);
    if !inverse.is_finite() {
        return Err(LossError::param("baikal-cma", "c5: c0*c3*c4/c5 must be finite; c5 must not be 0"));
    }
    let terms =
        LabelTerms { mean_log: -logs, mean_inverse: inverse, constant: -logs * c[2].ln(), ..LabelTerms::default() };
    let [c0, c1, c2, c3, c4, c5] = c;
    let formula = format!("-({c0})*(({c1})*log(({c2})*y) - ({c3})*(({c4})*x)/(({c5})*y))/n");
    Ok(Box::new(ClassLoss::fused(&formula, terms)?))
}
