//! Every loss by name. Help, docs, `lossmith losses` and the shared tests are made from this list:
//! a new loss is one file with its [`Entry`] and one line in [`ENTRIES`].

use super::counterfactual_critic;
use super::discriminative;
use super::graphical_contrastive;
use super::{Arguments, Inputs, Loss, LossError, ScalarType};
use super::{baikal, cross_entropy, label_smoothing, pointwise, poly, structural_risk};
use super::{focal, polar_centerness, polar_iou, smooth_l1_rays};
use crate::expr::Variables;

/// Every loss, in the order in which it is listed.
pub static ENTRIES: &[&Entry] = &[
    &pointwise::ZERO_ONE,
    &pointwise::TOLERANT_ZERO_ONE,
    &pointwise::PERCEPTRON,
    &pointwise::HINGE,
    &pointwise::ABSOLUTE,
    &pointwise::LOG,
    &pointwise::SQUARED,
    &pointwise::EXPONENTIAL,
    &cross_entropy::ENTRY,
    &baikal::BAIKAL,
    &baikal::BAIKAL_CMA,
    &poly::ENTRY,
    &label_smoothing::ENTRY,
    &structural_risk::ENTRY,
    &polar_iou::ENTRY,
    &smooth_l1_rays::ENTRY,
    &polar_centerness::ENTRY,
    &focal::ENTRY,
    &graphical_contrastive::ENTRY,
    &discriminative::ENTRY,
    &counterfactual_critic::ENTRY,
];

/// The aggregator of a loss: the structure that says which numbers meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// One target and one prediction at a time.
    Pointwise,
    /// The class probabilities of one example, from logits.
    Class,
    /// The weights of a model.
    Weights,
    /// Embeddings, cluster centres, pairs of centres.
    Clusters,
    /// The rays of one object.
    Rays,
    /// Groups of subject-object pairs.
    Groups,
    /// Agents with a graph-level reward.
    Agents,
}

/// One loss of the catalogue: everything that help and docs say about it, and how it is built.
#[derive(Debug)]
pub struct Entry {
    /// The name that users write, in kebab case.
    pub name: &'static str,
    /// Its aggregator.
    pub family: Family,
    /// One sentence: what it is and what follows from it.
    pub summary: &'static str,
    /// The formula, as plain text.
    pub formula: &'static str,
    /// The gradient with respect to the prediction, as plain text.
    pub gradient: &'static str,
    /// The input space and what the arrays mean.
    pub space: &'static str,
    /// Corner cases and the chosen sub-gradient.
    pub corners: &'static str,
    /// Where the formula comes from.
    pub reference: &'static str,
    /// The arrays that [`Loss::evaluate`] reads; the first is the prediction, which the gradient belongs to.
    pub inputs: &'static [InputSpec],
    /// Its parameters, kernels included.
    pub params: &'static [Param],
    /// Small inputs of the right kind, away from the corners: for the shared tests and for demonstrations.
    pub example: fn(seed: u64) -> Inputs,
    /// Makes the loss from checked arguments.
    pub build: fn(&Arguments) -> Result<Box<dyn Loss>, LossError>,
}

/// One array that a loss reads.
#[derive(Clone, Copy, Debug)]
pub struct InputSpec {
    /// Its name in [`Inputs`] and in safetensors files.
    pub name: &'static str,
    /// Its element type.
    pub scalar: ScalarType,
    /// Its shape, for example `[N,C]`.
    pub shape: &'static str,
    /// Whether the loss does without it.
    pub optional: bool,
    /// What it is.
    pub doc: &'static str,
}

/// One parameter of a loss.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name, as in `name=value`.
    pub name: &'static str,
    /// What values it takes, and the default.
    pub kind: ParamKind,
    /// What it does.
    pub doc: &'static str,
}

/// The values that a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum ParamKind {
    /// A finite number between `least` and `most`, both allowed.
    Number {
        /// The published value.
        default: f64,
        /// The least value allowed.
        least: f64,
        /// The greatest value allowed.
        most: f64,
    },
    /// One of a few words.
    Choice {
        /// The published choice.
        default: &'static str,
        /// Every choice.
        choices: &'static [&'static str],
    },
    /// A word with a number in it, or of another pattern that a short list cannot give.
    Word {
        /// The published word.
        default: &'static str,
        /// Whether a word is taken; if not, what would be.
        check: fn(&str) -> Result<(), String>,
    },
    /// A formula in a slot of the aggregator: what the search may replace.
    Kernel {
        /// The published kernel.
        default: &'static str,
        /// The variables of the slot.
        variables: Variables,
    },
}

impl Entry {
    /// The entry of this name.
    pub fn find(name: &str) -> Option<&'static Entry> {
        ENTRIES.iter().copied().find(|e| e.name == name)
    }
}
