//! Two stages: cross-entropy over nodes and pairs; then the policy gradient of the graph's reward, with both cross-entropies.
//!
//! Free choices where the paper is silent: Adam, whose step size falls linearly to 0 over each stage; advantages divided by their running root mean square, so that every critic
//! takes steps of equal size; one sampled graph per scene and step; the reward's scores are those of the sampled classes.
//! The controls share stage 1 and replace the policy gradient of stage 2 by their own node loss.

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use lossmith::critic::{Bias, Critic, CriticError, Kind, Reward, Scene};
use lossmith::expr::{Expr, Kernel};
use ndarray::Array2;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::agents::{Agents, Config, Said};
use super::scene::Seen;
use super::{CmatError, node_losses};
use crate::bridge::hang;

/// What stage 2 trains the nodes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// Cross-entropy, as in stage 1.
    CrossEntropy,
    /// Cross-entropy weighted by the number of relations of a node.
    Degree,
    /// GPS-Net's node-priority loss.
    NodePriority,
    /// The policy gradient of a reward, with cross-entropy.
    Policy {
        /// What the graph earns.
        reward: Reward,
        /// What it is measured against.
        critic: Kind,
    },
}

/// How the agents are trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What stage 2 trains the nodes by.
    pub objective: Objective,
    /// A kernel of the scaled advantage `a` and the log-probability `l` in the place of the policy gradient's `-a*l`.
    pub surrogate: Option<Expr>,
    /// The passes over the data of stage 1.
    pub epochs: usize,
    /// The passes over the data of stage 2.
    pub policy_epochs: usize,
    /// Scenes per step.
    pub batch: usize,
    /// Adam's step size in stage 1.
    pub rate: f64,
    /// Adam's step size in stage 2.
    pub policy_rate: f64,
    /// The weight of the nodes' cross-entropy beside the policy gradient.
    pub node_weight: f64,
    /// The weight of the pairs' cross-entropy, in both stages.
    pub pair_weight: f64,
    /// Decides all randomness.
    pub seed: u64,
}

impl Settings {
    /// Settings of a short training on hub worlds.
    pub fn new(objective: Objective, seed: u64) -> Self {
        Self {
            objective,
            surrogate: None,
            epochs: 4,
            policy_epochs: 3,
            batch: 8,
            rate: 5e-3,
            policy_rate: 1e-3,
            node_weight: 0.1,
            pair_weight: 1.0,
            seed,
        }
    }
}

/// How much of the running mean of squared advantages stays at each step.
const MEMORY: f64 = 0.98;

/// Agents in training.
pub struct Trainer {
    /// The agents as they are now.
    pub agents: Agents,
    settings: Settings,
    classes: usize,
    optimizer: ModuleOptimizer,
    critic: Option<Critic>,
    surrogate: Option<Kernel>,
    mean_square: Option<f64>,
    /// The frequency bias as the critic reads it; the same for all scenes of a step.
    bias: Option<Bias>,
    random: ChaCha8Rng,
    /// The epochs done of each stage.
    done: [usize; 2],
}

/// What one step or one epoch came to, as means over scenes.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Progress {
    /// The node loss of the stage: cross-entropy, the control's, or the policy surrogate.
    pub nodes: f64,
    /// The cross-entropy of the pairs.
    pub pairs: f64,
    /// The mean reward of the sampled graphs, 0 in stage 1 and for the controls.
    pub reward: f64,
}

impl Trainer {
    /// Fresh agents. The weights come from the device's own random state, which this seeds.
    pub fn new(config: &Config, bias: Vec<f32>, settings: Settings, device: &Device) -> Self {
        device.seed(settings.seed);
        Self::from_agents(config.init(bias, device), config.classes, settings)
    }

    /// Training goes on from given agents: several objectives may share one stage 1.
    pub fn from_agents(agents: Agents, classes: usize, settings: Settings) -> Self {
        let critic = match settings.objective {
            Objective::Policy { reward, critic } => Some(Critic::new(critic, reward)),
            _ => None,
        };
        Self {
            agents,
            classes,
            optimizer: AdamConfig::new().init(),
            critic,
            surrogate: settings.surrogate.as_ref().map(Kernel::new),
            mean_square: None,
            bias: None,
            random: ChaCha8Rng::seed_from_u64(settings.seed),
            done: [0; 2],
            settings,
        }
    }

    /// How it trains.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// One pass of stage 1 over the scenes, in random order.
    ///
    /// # Errors
    /// None of its own; the type is shared with stage 2.
    pub fn cross_entropy_epoch(&mut self, scenes: &[Seen]) -> Result<Progress, CmatError> {
        self.epoch(scenes, 0, |_, _, scene, said| {
            Ok((node_losses::cross_entropy(said.class_logits.clone(), scene.truth.labels()), 0.0))
        })
    }

    /// One pass of stage 2 over the scenes, in random order.
    ///
    /// # Errors
    /// The critic refuses a scene, because the agents' numbers are no longer finite.
    pub fn policy_epoch(&mut self, scenes: &[Seen]) -> Result<Progress, CmatError> {
        self.epoch(scenes, 1, |trainer, at, scene, said| {
            let (logits, labels) = (said.class_logits.clone(), scene.truth.labels());
            let relations = scene.truth.triplets().len();
            Ok(match trainer.settings.objective {
                Objective::CrossEntropy => (node_losses::cross_entropy(logits, labels), 0.0),
                Objective::Degree => (node_losses::degree(logits, labels, &scene.degrees), 0.0),
                Objective::NodePriority => (node_losses::node_priority(logits, labels, &scene.degrees, relations), 0.0),
                Objective::Policy { .. } => {
                    let (policy, reward) = trainer.policy(at, scene, said)?;
                    (policy + node_losses::cross_entropy(logits, labels) * trainer.settings.node_weight, reward)
                }
            })
        })
    }

    fn epoch(
        &mut self,
        scenes: &[Seen],
        stage: usize,
        nodes: impl Fn(&mut Self, usize, &Seen, &Said) -> Result<(Tensor<1>, f64), CmatError>,
    ) -> Result<Progress, CmatError> {
        let mut order: Vec<usize> = (0..scenes.len()).collect();
        order.shuffle(&mut self.random);
        let mut progress = Progress::default();
        for (step, batch) in order.chunks(self.settings.batch.max(1)).enumerate() {
            let mut losses = Vec::with_capacity(2 * batch.len());
            for &at in batch {
                let said = self.agents.forward(&scenes[at]);
                let (node_loss, reward) = nodes(self, at, &scenes[at], &said)?;
                let pair_loss = self.pair_loss(&scenes[at], &said);
                progress.nodes += f64::from(node_loss.clone().detach().into_scalar::<f32>()) / scenes.len() as f64;
                progress.reward += reward / scenes.len() as f64;
                losses.push(node_loss);
                if let Some(pair_loss) = pair_loss {
                    progress.pairs += f64::from(pair_loss.clone().detach().into_scalar::<f32>()) / scenes.len() as f64;
                    losses.push(pair_loss * self.settings.pair_weight);
                }
            }
            let loss = Tensor::cat(losses, 0).sum() / batch.len() as f64;
            let rate = self.rate(stage, step as f64 * batch.len() as f64 / scenes.len() as f64);
            let grads = GradientsParams::from_grads(loss.backward(), &self.agents);
            self.agents = self.optimizer.step(rate, self.agents.clone(), grads);
            self.bias = None;
        }
        self.done[stage] += 1;
        Ok(progress)
    }

    /// The step size after this share of the present epoch; it stays at a hundredth past the last.
    fn rate(&self, stage: usize, share: f64) -> f64 {
        let (rate, epochs) = match stage {
            0 => (self.settings.rate, self.settings.epochs),
            _ => (self.settings.policy_rate, self.settings.policy_epochs),
        };
        let left = 1.0 - (self.done[stage] as f64 + share) / epochs.max(1) as f64;
        rate * left.max(0.01)
    }

    /// The cross-entropy of the pairs' predicates under the true classes.
    fn pair_loss(&self, scene: &Seen, said: &Said) -> Option<Tensor<1>> {
        let n = scene.agents();
        if n < 2 {
            return None;
        }
        let labels = scene.truth.labels();
        let rows: Vec<i32> = (0..n * n)
            .filter(|p| p / n != p % n)
            .map(|p| (labels[p / n] * self.classes + labels[p % n]) as i32)
            .collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n * (n - 1)]), &said.pair_logits.device());
        let logits = said.pair_logits.clone() + self.agents.bias.val().select(0, rows);
        Some(node_losses::chosen(log_softmax(logits, 1), &scene.predicates).mean().neg())
    }

    /// The surrogate `-sum_i A_i log p_i(v_i) / n`, or that of a kernel, of one sampled graph, advantages scaled, and the graph's reward.
    fn policy(&mut self, at: usize, scene: &Seen, said: &Said) -> Result<(Tensor<1>, f64), CmatError> {
        let numbers = Numbers::of(said);
        let actions = sample(&numbers.policy, &mut self.random);
        let refused = |cause| CmatError::Scene { scene: at, cause };
        if self.bias.is_none() {
            self.bias = Some(bias(&self.agents, self.classes).map_err(refused)?);
        }
        let policy = Scene::new(numbers.policy.view(), numbers.pair_logits.view(), self.bias.as_ref(), &scene.truth);
        let critic = self.critic.as_mut().expect("a policy has a critic");
        let judged = policy.and_then(|policy| critic.judge(&policy, &actions)).map_err(refused)?;
        let scale = self.scale(&judged.advantages);
        let (mut value, mut grad) = (0.0, numbers.policy.mapv(|_| 0.0f32));
        for (agent, (&action, advantage)) in actions.iter().zip(&judged.advantages).enumerate() {
            let log_p = f64::from(numbers.policy[[agent, action]]).max(1e-30).ln();
            let (term, slope) = self.term(advantage * scale, log_p, actions.len() as f64);
            value += term;
            for (class, g) in grad.row_mut(agent).iter_mut().enumerate() {
                let chosen = f64::from(u8::from(class == action));
                *g = (slope * (chosen - f64::from(numbers.policy[[agent, class]]))) as f32;
            }
        }
        Ok((hang(said.class_logits.clone(), value, grad.into_raw_vec_and_offset().0), judged.reward))
    }

    /// What one of `n` agents adds to the surrogate, and its slope in the log-probability.
    fn term(&self, advantage: f64, log_p: f64, n: f64) -> (f64, f64) {
        match &self.surrogate {
            None => (-advantage / n * log_p, -advantage / n),
            Some(kernel) => {
                let term = kernel.at(&[advantage, log_p]);
                (term.value / n, term.slope[1] / n)
            }
        }
    }

    /// One over the running root mean square of the advantages.
    fn scale(&mut self, advantages: &[f64]) -> f64 {
        let now = advantages.iter().map(|a| a * a).sum::<f64>() / advantages.len().max(1) as f64;
        let mean = self.mean_square.map_or(now, |mean| MEMORY * mean + (1.0 - MEMORY) * now);
        self.mean_square = Some(mean);
        1.0 / mean.sqrt().max(1e-6)
    }
}

/// What agents say as plain numbers.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// `[n,C]`: class probabilities.
    pub policy: Array2<f32>,
    /// `[n*(n-1),1+P]`
    pub pair_logits: Array2<f32>,
}

impl Numbers {
    /// Brings down what the agents say.
    pub fn of(said: &Said) -> Self {
        let policy = array(log_softmax(said.class_logits.clone().detach(), 1).exp());
        Self { policy, pair_logits: array(said.pair_logits.clone().detach()) }
    }
}

/// The agents' frequency bias, which all scenes share.
///
/// # Errors
/// It is no longer finite.
pub fn bias(agents: &Agents, classes: usize) -> Result<Bias, CriticError> {
    let table = array(agents.bias.val().detach());
    let shape = (classes, classes, table.ncols());
    Bias::new(table.view().into_shape_with_order(shape).expect("a row for each pair of classes"))
}

fn array(tensor: Tensor<2>) -> Array2<f32> {
    let [rows, columns] = tensor.dims();
    let numbers = tensor.into_data().try_to_vec().unwrap_or_default();
    Array2::from_shape_vec((rows, columns), numbers).expect("as many numbers as the tensor has")
}

/// One class for each agent, drawn from its policy.
pub fn sample(policy: &Array2<f32>, random: &mut ChaCha8Rng) -> Vec<usize> {
    let draw = |row: ndarray::ArrayView1<'_, f32>| {
        let sum: f64 = row.iter().map(|p| f64::from(*p)).sum();
        let mut left = f64::from(random.random::<f32>()) * sum;
        let at = row.iter().position(|p| {
            left -= f64::from(*p);
            left < 0.0
        });
        at.unwrap_or(row.len() - 1)
    };
    policy.rows().into_iter().map(draw).collect()
}
