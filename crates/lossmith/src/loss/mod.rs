//! Losses: one file per aggregator, one line each in the [catalogue](catalogue::ENTRIES).
//!
//! Whatever a user may write for a loss is a [`Spec`]; [`Spec::build`] makes the [`Loss`] that evaluates.

mod baikal;
pub mod catalogue;
mod class;
mod counterfactual_critic;
mod cross_entropy;
pub mod discriminative;
mod focal;
pub mod graphical_contrastive;
mod inputs;
mod label_smoothing;
mod pointwise;
pub mod polar_centerness;
#[cfg(test)]
mod polar_fixture;
mod polar_iou;
mod poly;
mod rays;
mod smooth_l1_rays;
mod spec;
pub mod structural_risk;

pub use catalogue::{Entry, Family, InputSpec, Param, ParamKind};
pub use class::{ClassLoss, Reference, Rounding};
pub use discriminative::Discriminative;
pub use focal::Focal;
pub use inputs::{Array, Inputs, ScalarType};
pub use polar_centerness::{Centerness, PolarCenterness};
pub use polar_iou::{OVERLAP_VARIABLES, PolarIou};
pub use smooth_l1_rays::{RAY_VARIABLES, SmoothL1Rays};
pub use spec::{Arguments, Spec, Value, nearest, split_list};

use ndarray::ArrayD;

use crate::expr::ParseError;

/// A loss, ready to be evaluated: a pure function.
pub trait Loss: Send + Sync + std::fmt::Debug {
    /// Value, named parts and gradient on named arrays.
    ///
    /// # Errors
    /// A missing array, a wrong type, shape, label or value. Infinite and undefined *results* are no errors: they are
    /// reported as they are.
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError>;

    /// The class loss that this is, if it is one: what trainers of classifiers call without named arrays.
    fn into_class(self: Box<Self>) -> Option<ClassLoss> {
        None
    }
}

/// What a loss says about one prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The loss, summed in f64.
    pub value: f64,
    /// The terms that make up the value, by name, in a fixed order.
    pub parts: Vec<(&'static str, f64)>,
    /// Terms of which there is one per agent or object, by name; most losses have none.
    pub lists: Vec<(&'static str, Vec<f64>)>,
    /// The gradient with respect to the prediction, of its shape.
    pub grad: ArrayD<f32>,
    /// Gradients with respect to further arrays, by the array's name; most losses have none.
    pub more_grads: Vec<(&'static str, ArrayD<f32>)>,
}

impl Evaluation {
    /// A value of one part, and its gradient.
    pub fn new(value: f64, grad: ArrayD<f32>) -> Self {
        Self { value: unsigned_zero(value), parts: Vec::new(), lists: Vec::new(), grad, more_grads: Vec::new() }
    }

    /// The same with the named parts of the value.
    #[must_use]
    pub fn with_parts(mut self, parts: Vec<(&'static str, f64)>) -> Self {
        self.parts = parts.into_iter().map(|(name, part)| (name, unsigned_zero(part))).collect();
        self
    }

    /// The same with one more named list.
    #[must_use]
    pub fn with_list(mut self, name: &'static str, list: Vec<f64>) -> Self {
        self.lists.push((name, list.into_iter().map(unsigned_zero).collect()));
        self
    }
}

/// The same, but 0 for -0, which the sum of nothing is.
fn unsigned_zero(value: f64) -> f64 {
    value + 0.0
}

/// What can be wrong with a loss or its input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LossError {
    /// The text of a formula or kernel does not parse.
    #[error(transparent)]
    Formula(#[from] ParseError),
    /// The text of a loss does not parse.
    #[error("{0}")]
    Spec(String),
    /// No loss of that name.
    #[error("there is no loss '{name}'{hint}; `lossmith losses` lists them")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// `", did you mean 'baikal'?"`, or nothing.
        hint: String,
    },
    /// A parameter that the loss does not have, or a value that it does not take.
    #[error("{loss}: {message}")]
    Param {
        /// The loss.
        loss: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// Something is wrong with an input array.
    #[error("input '{name}': {message}")]
    Input {
        /// The array's name.
        name: String,
        /// What is wrong and what would be right.
        message: String,
    },
}

impl LossError {
    /// Something is wrong with the input array `name`.
    pub fn input(name: &str, message: impl Into<String>) -> Self {
        Self::Input { name: name.to_owned(), message: message.into() }
    }

    /// Something is wrong with a parameter of `loss`.
    pub fn param(loss: &str, message: impl Into<String>) -> Self {
        Self::Param { loss: loss.to_owned(), message: message.into() }
    }
}
