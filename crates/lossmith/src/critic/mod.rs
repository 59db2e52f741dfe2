//! The counterfactual critic: what the graph's score would be had one agent chosen another class.
//!
//! The agents of a scene each choose a class; with the pair logits that makes a scene graph, which earns a [`Reward`] `R(V)`.
//! The baseline of agent `i` is the mean reward over its own policy, all others fixed, and its advantage is the reward above it:
//!
//! ```text
//! b_i = sum_c p_i(c) R(V with i -> c)        A_i = R(V) - b_i
//! ```
//!
//! `b_i` does not depend on what `i` chose, so that the policy gradient `sum_i A_i grad log p_i(v_i)` stays unbiased.
//! [`Kind::Exact`] sums over all classes for the price of one or two graph evaluations where policies are peaked, and of up to four
//! where they are flat (`exact.rs` has its cost); no truncation is needed.
//! Scores are held fixed while counterfactuals are weighed: the score of agent `i` with class `c` is `p_i(c)`.
//!
//! Source: Chen et al., "Counterfactual Critic Multi-Agent Training for Scene Graph Generation", ICCV 2019; the exact sum is ours.
//!
//! ```
//! use lossmith::critic::{Critic, Kind, Reward, Scene, Truth};
//! use ndarray::array;
//! // Two agents, classes background/person/hat, one predicate: 1 wears 2.
//! let truth = Truth::new(vec![1, 2], vec![[0, 1, 1]])?;
//! let policy = array![[0.1, 0.8, 0.1], [0.2, 0.3, 0.5]];
//! let pair_logits = array![[0.0, 2.0], [1.0, -1.0]];
//! let scene = Scene::new(policy.view(), pair_logits.view(), None, &truth)?;
//! let judged = Critic::new(Kind::Exact, Reward::Recall(20)).judge(&scene, &[1, 2])?;
//! assert_eq!(judged.reward, 1.0);
//! assert!((judged.advantages[1] - (1.0 - 0.5)).abs() < 1e-7);
//! # Ok::<(), lossmith::critic::CriticError>(())
//! ```

mod bias;
mod exact;
mod exact_spice;
mod naive;
mod reward;
mod scene;
mod score;
mod truncated;
mod truth;
mod weights;

pub use bias::Bias;
pub use reward::Reward;
pub use scene::Scene;
pub use truth::Truth;

use std::fmt;
use std::str::FromStr;

use ndarray::Array2;
use truncated::Classes;

/// Something is wrong with the policy, the actions or the ground truth of a scene.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{input}: {message}")]
pub struct CriticError {
    /// What is wrong: `probabilities`, `pair_logits`, `bias`, `actions`, `truth_labels`, `truth_triplets`, `boxes`, ...
    pub input: &'static str,
    /// How, and what would be right.
    pub message: String,
}

impl CriticError {
    fn new(input: &'static str, message: String) -> Self {
        Self { input, message }
    }
}

/// What an agent's reward is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The counterfactual baseline over all classes, fast.
    Exact,
    /// The same by one full graph evaluation per agent and class: the oracle.
    Naive,
    /// The counterfactual baseline over background and the two most probable other classes: the published shortcut.
    Truncated {
        /// Whether the three probabilities are scaled to sum to 1. Else the advantage keeps about the missing mass times
        /// the reward, which adds variance and no bias.
        renormalise: bool,
        /// Whether each class costs a full graph evaluation, as published, or goes the way of [`Kind::Exact`].
        naive: bool,
    },
    /// The reward of the greedy labels.
    SelfCritical,
    /// The running mean of the rewards so far.
    MovingAverage,
    /// Nothing: every agent gets the reward itself.
    None,
}

impl Kind {
    /// Every kind with the word that it is written by.
    pub const ALL: [(Kind, &'static str); 8] = [
        (Kind::Exact, "exact"),
        (Kind::Truncated { renormalise: false, naive: false }, "truncated"),
        (Kind::Truncated { renormalise: true, naive: false }, "truncated-renormalised"),
        (Kind::Naive, "naive"),
        (Kind::Truncated { renormalise: false, naive: true }, "truncated-naive"),
        (Kind::SelfCritical, "self-critical"),
        (Kind::MovingAverage, "moving-average"),
        (Kind::None, "none"),
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::ALL.iter().find(|(kind, _)| kind == self).map(|(_, word)| *word);
        f.write_str(word.unwrap_or("truncated-renormalised-naive"))
    }
}

impl FromStr for Kind {
    type Err = CriticError;

    fn from_str(text: &str) -> Result<Self, CriticError> {
        let words = || Self::ALL.map(|(_, word)| word).join(", ");
        let found = Self::ALL.iter().find(|(_, word)| *word == text).map(|(kind, _)| *kind);
        found.ok_or_else(|| CriticError::new("critic", format!("expected one of {}, found '{text}'", words())))
    }
}

/// How much of the running mean stays at each scene.
const MEMORY: f64 = 0.95;

/// A judge of sampled graphs. Only [`Kind::MovingAverage`] remembers anything from one scene to the next.
#[derive(Clone, Debug)]
pub struct Critic {
    kind: Kind,
    reward: Reward,
    mean: Option<f64>,
}

/// What a critic says about one sampled graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The reward of the graph, `R(V)`.
    pub reward: f64,
    /// What each agent's reward is measured against, `b_i`.
    pub baselines: Vec<f64>,
    /// What each agent did better than that, `A_i = R(V) - b_i`.
    pub advantages: Vec<f64>,
    /// The rewards of the counterfactual graphs, where the baseline is made of them.
    pub counterfactuals: Option<Counterfactuals>,
}

/// The rewards of the graphs in which one agent has another class.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterfactuals {
    /// The reward of the graph as it is.
    pub reward: f64,
    /// `[n,C]`: the reward of the graph in which agent `i` has class `c`; not a number where a truncated sum leaves it out.
    pub rewards: Array2<f64>,
    /// How many of them had to be evaluated: what exact pruning left over.
    pub evaluated: usize,
}

impl Critic {
    /// A critic that has seen nothing yet.
    pub fn new(kind: Kind, reward: Reward) -> Self {
        Self { kind, reward, mean: None }
    }

    /// What its baseline is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it rewards.
    pub fn reward(&self) -> Reward {
        self.reward
    }

    /// The reward and the advantages of the graph in which agent `i` has the class `actions[i]`.
    ///
    /// # Errors
    /// Another number of actions than agents, or a class out of range.
    pub fn judge(&mut self, scene: &Scene<'_>, actions: &[usize]) -> Result<Judgement, CriticError> {
        scene.check_actions(actions)?;
        let agents = scene.agents();
        Ok(match self.kind {
            // All probabilities sum to 1 but for rounding: scaling takes that out.
            Kind::Exact => self.counterfactual(scene, actions, &Classes::All, false, true),
            Kind::Naive => self.counterfactual(scene, actions, &Classes::All, true, true),
            Kind::Truncated { renormalise, naive } => {
                self.counterfactual(scene, actions, &Classes::truncated(scene), naive, renormalise)
            }
            Kind::SelfCritical => {
                let greedy = self.reward.of_checked(scene, &scene.greedy());
                against(self.reward.of_checked(scene, actions), vec![greedy; agents], None)
            }
            Kind::MovingAverage => {
                let reward = self.reward.of_checked(scene, actions);
                let mean = self.mean.unwrap_or(reward);
                self.mean = Some(MEMORY * mean + (1.0 - MEMORY) * reward);
                against(reward, vec![mean; agents], None)
            }
            Kind::None => against(self.reward.of_checked(scene, actions), vec![0.0; agents], None),
        })
    }

    fn counterfactual(
        &self,
        scene: &Scene<'_>,
        actions: &[usize],
        classes: &Classes,
        naive: bool,
        renormalise: bool,
    ) -> Judgement {
        let counterfactuals = match self.reward {
            _ if naive => naive::counterfactuals(scene, actions, self.reward, classes),
            Reward::Recall(k) => exact::counterfactuals(scene, actions, k, classes),
            Reward::Spice => exact_spice::counterfactuals(scene, actions, classes),
        };
        let baseline = |agent| baseline(scene.policy(agent), &counterfactuals, agent, renormalise);
        let baselines = (0..scene.agents()).map(baseline).collect();
        against(counterfactuals.reward, baselines, Some(counterfactuals))
    }
}

/// The mean reward over an agent's policy, as far as rewards are known.
fn baseline(policy: &[f32], counterfactuals: &Counterfactuals, agent: usize, renormalise: bool) -> f64 {
    let known = policy.iter().zip(counterfactuals.rewards.row(agent)).filter(|(_, reward)| !reward.is_nan());
    let (mut sum, mut mass) = (0.0, 0.0);
    for (&p, &reward) in known {
        sum += f64::from(p) * reward;
        mass += f64::from(p);
    }
    if renormalise && mass > 0.0 { sum / mass } else { sum }
}

fn against(reward: f64, baselines: Vec<f64>, counterfactuals: Option<Counterfactuals>) -> Judgement {
    let advantages = baselines.iter().map(|b| reward - b).collect();
    Judgement { reward, baselines, advantages, counterfactuals }
}

#[cfg(test)]
mod tests;
