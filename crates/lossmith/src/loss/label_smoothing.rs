//! Cross-entropy with label smoothing: a share epsilon of the target is spread evenly over all classes.

use super::class::{self, ClassLoss, LabelTerms};
use super::{Entry, Family, Param, ParamKind};

/// `label-smoothing`
pub(super) static ENTRY: Entry = Entry {
    name: "label-smoothing",
    family: Family::Class,
    summary: "Cross-entropy against a target that gives every class epsilon/C and the label the rest; keeps answers modest.",
    formula: "-sum_i q_i log y_i, with q_i = (1 - epsilon) [i = k] + epsilon/C, y = softmax(logits) and k the label",
    gradient: "y_j - q_j with respect to logit j",
    space: class::SPACE,
    corners: "None: smooth everywhere, and finite for every finite logit.",
    reference: "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, section 7",
    inputs: class::INPUTS,
    params: &[Param {
        name: "epsilon",
        kind: ParamKind::Number { default: 0.1, least: 0.0, most: 1.0 },
        doc: "the share of the target that is spread over all classes",
    }],
    example: class::example,
    build: |arguments| {
        let epsilon = arguments.number("epsilon");
        let terms = LabelTerms { own_log: epsilon - 1.0, mean_log: -epsilon, ..LabelTerms::default() };
        Ok(Box::new(ClassLoss::fused(&format!("-(x*(1 - {epsilon}) + {epsilon}/n)*log(y)"), terms)?))
    },
};
