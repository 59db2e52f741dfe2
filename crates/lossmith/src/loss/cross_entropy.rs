//! Cross-entropy: the negative log-likelihood of the label; the loss that others are measured against.

use super::class::{self, ClassLoss, LabelTerms};
use super::{Entry, Family};

/// `cross-entropy`
pub(super) static ENTRY: Entry = Entry {
    name: "cross-entropy",
    family: Family::Class,
    summary: "The negative log-likelihood of the label under the softmax; least where the label's probability is 1.",
    formula: "-log y_k, with y = softmax(logits) and k the label",
    gradient: "y_j - [j = k] with respect to logit j",
    space: class::SPACE,
    corners: "None: smooth everywhere. Taken from the logarithm of the softmax, so finite for every finite logit.",
    reference: "Good, Rational decisions, 1952; Bridle, Probabilistic interpretation of feedforward outputs, 1990",
    inputs: class::INPUTS,
    params: &[],
    example: class::example,
    build: |_| {
        let terms = LabelTerms { own_log: -1.0, ..LabelTerms::default() };
        Ok(Box::new(ClassLoss::fused("-x*log(y)", terms)?))
    },
};
