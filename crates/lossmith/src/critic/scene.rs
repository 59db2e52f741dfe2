//! The policy of one scene, checked once: class probabilities, pair logits, bias table and ground truth.

use std::borrow::Cow;

use ndarray::{Array1, Array2, ArrayView, ArrayView2, Dimension};

use super::score::Labelled;
use super::weights::{Row, Weights};
use super::{Bias, CriticError, Truth};

/// The largest logit: two of them still add up without overflow.
const LARGEST: f32 = 1e30;

/// One scene of `n` agents, `C` classes and `P` predicates, ready to be judged. Class 0 is background, predicate 0 none.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    agents: usize,
    classes: usize,
    predicates: usize,
    probabilities: Cow<'a, [f32]>,
    pair_logits: Cow<'a, [f32]>,
    weights: Weights,
    bias: Option<&'a Bias>,
    /// Stands for the bias where there is none.
    no_bias: Weights,
    truth: &'a Truth,
}

impl<'a> Scene<'a> {
    /// Checks and takes up a scene.
    ///
    /// * `probabilities` `[n,C]`: of each agent's classes, between 0 and 1, each row summing to 1
    /// * `pair_logits` `[n*(n-1),1+P]`: of the predicates of each ordered pair, row-major without `i = i`
    /// * `bias`: added to the logits of a pair by the classes of its subject and object; without it they do not depend on them
    ///
    /// Costs `O(n*n*P)`: the exponentials of all pair logits, once.
    ///
    /// # Errors
    /// A shape that does not fit, a value that is not finite or no probability, a truth that names other agents or classes.
    pub fn new(
        probabilities: ArrayView2<'a, f32>,
        pair_logits: ArrayView2<'a, f32>,
        bias: Option<&'a Bias>,
        truth: &'a Truth,
    ) -> Result<Self, CriticError> {
        let (agents, classes) = probabilities.dim();
        let (pairs, columns) = pair_logits.dim();
        if agents == 0 || classes < 2 {
            let found = format!("expected at least one agent and two classes, found shape [{agents},{classes}]");
            return Err(CriticError::new("probabilities", found));
        }
        if agents.checked_mul(agents - 1) != Some(pairs) || columns < 2 || pairs > u32::MAX as usize {
            let right = format!("expected [n*(n-1),1+P] with n = {agents} and P at least 1");
            return Err(CriticError::new("pair_logits", format!("{right}, found shape [{pairs},{columns}]")));
        }
        if let Some(bias) = bias
            && bias.shape() != (classes, columns)
        {
            let (c, k) = bias.shape();
            let message = format!("expected shape [{classes},{classes},{columns}], found [{c},{c},{k}]");
            return Err(CriticError::new("bias", message));
        }
        truth.check(agents, classes, columns)?;
        let probabilities = flat(probabilities);
        check_probabilities(&probabilities, classes)?;
        let pair_logits = flat(pair_logits);
        check_finite("pair_logits", &pair_logits, columns)?;
        let weights = Weights::new(&pair_logits, columns);
        let no_bias = Weights::new(&vec![0.0; columns], columns);
        let predicates = columns - 1;
        Ok(Self { agents, classes, predicates, probabilities, pair_logits, weights, bias, no_bias, truth })
    }

    /// Whether these are one class per agent.
    ///
    /// # Errors
    /// Another number of actions, or a class out of range.
    pub fn check_actions(&self, actions: &[usize]) -> Result<(), CriticError> {
        if actions.len() != self.agents {
            let message = format!("expected {} (one per agent), found {}", self.agents, actions.len());
            return Err(CriticError::new("actions", message));
        }
        match actions.iter().position(|&a| a >= self.classes) {
            None => Ok(()),
            Some(at) => {
                let message = format!("agent {at}: expected a class below {}, found {}", self.classes, actions[at]);
                Err(CriticError::new("actions", message))
            }
        }
    }

    /// The number of agents, `n`.
    pub fn agents(&self) -> usize {
        self.agents
    }

    /// The number of classes with background, `C`.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The number of predicates without none, `P`.
    pub fn predicates(&self) -> usize {
        self.predicates
    }

    /// The number of ordered pairs, `n*(n-1)`.
    pub fn pairs(&self) -> usize {
        self.agents * (self.agents - 1)
    }

    /// The ground truth.
    pub fn truth(&self) -> &Truth {
        self.truth
    }

    /// The probability of each class of one agent.
    #[inline]
    pub fn policy(&self, agent: usize) -> &[f32] {
        &self.probabilities[agent * self.classes..][..self.classes]
    }

    /// The most probable class of each agent without background, the lowest where several are: the labels at test.
    pub fn greedy(&self) -> Vec<usize> {
        let best = |agent| {
            let policy = self.policy(agent);
            (1..self.classes).fold(1, |best, c| if policy[c] > policy[best] { c } else { best })
        };
        (0..self.agents).map(best).collect()
    }

    /// `[n*(n-1),1+P]`: the probabilities of the predicates of each ordered pair under these classes, none first.
    ///
    /// # Errors
    /// Another number of labels than agents, or a class out of range.
    pub fn relation_probabilities(&self, labels: &[usize]) -> Result<Array2<f64>, CriticError> {
        self.check_actions(labels)?;
        let mut all = Array2::zeros((self.pairs(), self.columns()));
        for (pair, mut row) in all.rows_mut().into_iter().enumerate() {
            let (subject, object) = self.ends(pair);
            let labelled = Labelled { pair, subject: labels[subject], object: labels[object] };
            row.assign(&Array1::from(labelled.probabilities(self)));
        }
        Ok(all)
    }

    /// The row of an ordered pair of different agents.
    #[inline]
    pub(super) fn pair(&self, subject: usize, object: usize) -> usize {
        subject * (self.agents - 1) + object - usize::from(object > subject)
    }

    /// Subject and object of a row.
    pub(super) fn ends(&self, pair: usize) -> (usize, usize) {
        let (subject, rest) = (pair / (self.agents - 1), pair % (self.agents - 1));
        (subject, rest + usize::from(rest >= subject))
    }

    pub(super) fn columns(&self) -> usize {
        self.predicates + 1
    }

    pub(super) fn logits(&self, pair: usize) -> &[f32] {
        &self.pair_logits[pair * self.columns()..][..self.columns()]
    }

    #[inline]
    pub(super) fn weights(&self, pair: usize) -> Row<'_> {
        self.weights.row(pair)
    }

    pub(super) fn bias(&self, subject_class: usize, object_class: usize) -> Option<&[f32]> {
        self.bias.map(|bias| bias.logits(subject_class, object_class))
    }

    #[inline]
    pub(super) fn bias_weights(&self, subject_class: usize, object_class: usize) -> Row<'_> {
        match self.bias {
            Some(bias) => bias.weights(subject_class, object_class),
            None => self.no_bias.row(0),
        }
    }
}

fn check_probabilities(probabilities: &[f32], classes: usize) -> Result<(), CriticError> {
    for (agent, row) in probabilities.chunks_exact(classes).enumerate() {
        let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
        let fits = row.iter().all(|p| (0.0..=1.0).contains(p)) && (sum - 1.0).abs() <= 1e-3;
        if !fits {
            let message = format!("row {agent}: expected probabilities that sum to 1, found the sum {sum}");
            return Err(CriticError::new("probabilities", message));
        }
    }
    Ok(())
}

/// The elements in row-major order, copied only where they lie otherwise.
pub(super) fn flat<'a, D: Dimension>(view: ArrayView<'a, f32, D>) -> Cow<'a, [f32]> {
    match view.to_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(view.iter().copied().collect()),
    }
}

pub(super) fn check_finite(name: &'static str, values: &[f32], columns: usize) -> Result<(), CriticError> {
    // No early end, so that the test of a whole row is vector code.
    let fits = |row: &[f32]| row.iter().fold(true, |fits, v| fits & (v.abs() <= LARGEST));
    match values.chunks_exact(columns).position(|row| !fits(row)) {
        None => Ok(()),
        Some(at) => {
            let bad =
                values[at * columns..][..columns].iter().find(|v| v.is_nan() || v.abs() > LARGEST).unwrap_or(&f32::NAN);
            Err(CriticError::new(name, format!("row {at}: expected logits between -1e30 and 1e30, found {bad}")))
        }
    }
}
