//! PolyLoss (Poly-1): cross-entropy with the first coefficient of its series in `1 - y_k` changed by epsilon.

use super::class::{self, ClassLoss, LabelTerms};
use super::{Entry, Family, Param, ParamKind};

/// `poly-loss`
pub(super) static ENTRY: Entry = Entry {
    name: "poly-loss",
    family: Family::Class,
    summary: "Cross-entropy plus epsilon times the probability that misses the label; epsilon = 0 is cross-entropy.",
    formula: "-log y_k + epsilon (1 - y_k), with y = softmax(logits) and k the label",
    gradient: "(1 + epsilon y_k) (y_j - [j = k]) with respect to logit j",
    space: class::SPACE,
    corners: "None: smooth everywhere, and finite for every finite logit.",
    reference: "Leng et al., PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions, ICLR 2022",
    inputs: class::INPUTS,
    params: &[Param {
        name: "epsilon",
        kind: ParamKind::Number { default: 1.0, least: -1e6, most: 1e6 },
        doc: "what is added to the coefficient of 1 - y_k",
    }],
    example: class::example,
    build: |arguments| {
        let epsilon = arguments.number("epsilon");
        let terms = LabelTerms { own_log: -1.0, own_missed: epsilon, ..LabelTerms::default() };
        Ok(Box::new(ClassLoss::fused(&format!("x*(({epsilon})*(1 - y) - log(y))"), terms)?))
    },
};
