//! Scene graphs by agents with a counterfactual critic.

pub mod compare;
mod picture;
pub mod predict;
pub mod train;

use std::path::Path;

use burn::module::Module;
use burn::prelude::Device;
use lossmith::critic::{Kind, Reward};
use lossmith::graph::SceneGraph;
use lossmith_burn::cmat::evaluate::{Outcome, evaluate};
use lossmith_burn::cmat::scene::{Seen, frequency_bias};
use lossmith_burn::cmat::{CmatError, Config, Objective, Settings, Trainer};
use lossmith_data::make::hubs;
use lossmith_data::node_graphs::NodeGraphs;
use serde::{Deserialize, Serialize};

use crate::interrupt;
use crate::recipe::{self, Presets};

pub const PRESETS: Presets = Presets {
    laptop: include_str!("../../../../../recipes/cmat-laptop.toml"),
    full: include_str!("../../../../../recipes/cmat-full.toml"),
};

/// Every number that a run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub seed: u64,
    pub data: Data,
    pub agents: AgentSizes,
    pub train: Train,
}

/// The generated scenes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub blocks: usize,
    pub noise: f64,
    pub train: usize,
    pub test: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSizes {
    pub hidden: usize,
    pub pair: usize,
    pub rounds: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    pub loss: String,
    pub reward: String,
    pub critic: String,
    pub epochs: usize,
    pub policy_epochs: usize,
    pub batch: usize,
    pub rate: f64,
    pub policy_rate: f64,
    pub node_weight: f64,
    pub pair_weight: f64,
}

/// What `train` and `compare` share.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// A folder of scenes with node vectors (vocabulary.json, train.jsonl, test.jsonl); without it hub worlds are made
    #[arg(long, value_name = "DIR")]
    pub data: Option<std::path::PathBuf>,
    /// What the graph earns: recall@K or spice
    #[arg(long)]
    pub reward: Option<String>,
    /// What the reward is measured against: exact, truncated, naive, self-critical, moving-average, none
    #[arg(long)]
    pub critic: Option<String>,
    /// How many rounds the agents talk
    #[arg(long, value_name = "T")]
    pub rounds: Option<usize>,
    /// Passes over the data, in each of the two stages
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Decides all randomness
    #[arg(long)]
    pub seed: Option<u64>,
    /// laptop, full, or a file that changes keys of laptop
    #[arg(long, default_value = "laptop")]
    pub recipe: String,
    /// Change one key of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl Common {
    /// The complete recipe, with the flags on top of it.
    pub fn recipe(&self, loss: Option<&str>) -> anyhow::Result<Recipe> {
        let mut recipe: Recipe = recipe::load(PRESETS, &self.recipe, &self.set)?;
        let train = &mut recipe.train;
        train.loss = loss.map_or_else(|| train.loss.clone(), str::to_owned);
        train.reward = self.reward.clone().unwrap_or_else(|| train.reward.clone());
        train.critic = self.critic.clone().unwrap_or_else(|| train.critic.clone());
        train.epochs = self.epochs.unwrap_or(train.epochs);
        train.policy_epochs = self.epochs.unwrap_or(train.policy_epochs);
        recipe.agents.rounds = self.rounds.unwrap_or(recipe.agents.rounds);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.check()?;
        Ok(recipe)
    }
}

impl Recipe {
    fn check(&self) -> anyhow::Result<()> {
        self.objective(&self.train.loss)?;
        let at_least_one = [
            ("agents.hidden", self.agents.hidden / 2),
            ("agents.pair", self.agents.pair),
            ("agents.rounds", self.agents.rounds),
            ("train.batch", self.train.batch),
            ("train.epochs", self.train.epochs),
        ];
        for (key, value) in at_least_one {
            anyhow::ensure!((1..=4096).contains(&value), "recipe: {key} is too small or too large");
        }
        for (key, rate) in [("train.rate", self.train.rate), ("train.policy_rate", self.train.policy_rate)] {
            anyhow::ensure!(rate > 0.0 && rate.is_finite(), "recipe: {key}: expected a number above 0, found {rate}");
        }
        Ok(())
    }

    /// What stage 2 trains by: a name, or the catalogue's loss with its parameters, `counterfactual-critic(reward=recall@50)`.
    pub fn objective(&self, loss: &str) -> anyhow::Result<Objective> {
        Ok(match loss {
            "cross-entropy" => Objective::CrossEntropy,
            "degree" => Objective::Degree,
            "node-priority" => Objective::NodePriority,
            "cmat" => policy(&self.train.reward, &self.train.critic)?,
            other => {
                // One of the critics' own names makes their comparison short.
                let kind: Result<Kind, _> = other.parse();
                if kind.is_err() {
                    anyhow::bail!(
                        "--loss: expected cross-entropy, degree, node-priority, cmat or a critic (exact, truncated, \
                         self-critical, moving-average, none), found '{other}'"
                    );
                }
                policy(&self.train.reward, other)?
            }
        })
    }

    pub fn settings(&self, loss: &str, seed: u64) -> anyhow::Result<Settings> {
        let t = &self.train;
        Ok(Settings {
            objective: self.objective(loss)?,
            epochs: t.epochs,
            policy_epochs: t.policy_epochs,
            batch: t.batch,
            rate: t.rate,
            policy_rate: t.policy_rate,
            node_weight: t.node_weight,
            pair_weight: t.pair_weight,
            seed,
        })
    }

    pub fn config(&self, data: &NodeGraphs) -> Config {
        Config {
            width: data.width(),
            classes: data.about.vocabulary.objects.len(),
            predicates: data.about.vocabulary.predicates.len(),
            hidden: self.agents.hidden,
            pair: self.agents.pair,
            rounds: self.agents.rounds,
        }
    }
}

fn policy(reward: &str, critic: &str) -> anyhow::Result<Objective> {
    let reward: Reward = reward.parse().map_err(|e| anyhow::anyhow!("--{e}"))?;
    let critic: Kind = critic.parse().map_err(|e| anyhow::anyhow!("--{e}"))?;
    Ok(Objective::Policy { reward, critic })
}

/// The user's scenes, or hub worlds from the recipe and a seed.
pub fn scenes(folder: Option<&Path>, recipe: &Recipe, seed: u64) -> anyhow::Result<NodeGraphs> {
    if let Some(folder) = folder {
        let data = NodeGraphs::read(folder)?;
        anyhow::ensure!(!data.train.is_empty() && !data.test.is_empty(), "--data {}: no scenes", folder.display());
        return Ok(data);
    }
    let settings = hubs::Settings { blocks: recipe.data.blocks, noise: recipe.data.noise };
    anyhow::ensure!(recipe.data.train > 0 && recipe.data.test > 0, "recipe: data.train and data.test must not be 0");
    Ok(hubs::make(settings, recipe.data.train, recipe.data.test, seed)?)
}

/// Scenes on the devices of training and of testing.
pub struct Session {
    pub config: Config,
    bias: Vec<f32>,
    train: Vec<Seen>,
    test: Vec<(Seen, SceneGraph)>,
    device: Device,
}

impl Session {
    pub fn new(data: &NodeGraphs, recipe: &Recipe) -> anyhow::Result<Self> {
        let (device, plain) = (Device::flex().autodiff(), Device::flex());
        let seen =
            |device: &Device, scenes: &[lossmith_data::node_graphs::NodeGraph]| -> Result<Vec<Seen>, CmatError> {
                scenes.iter().enumerate().map(|(at, scene)| Seen::new(scene, at, device)).collect()
            };
        let graphs = data.test.iter().map(|scene| scene.graph.clone());
        Ok(Self {
            config: recipe.config(data),
            bias: frequency_bias(&data.about, &data.train),
            train: seen(&device, &data.train)?,
            test: seen(&plain, &data.test)?.into_iter().zip(graphs).collect(),
            device,
        })
    }

    /// Stage 1, which all losses share. `progress` hears of each epoch.
    pub fn first_stage(
        &self,
        settings: Settings,
        mut progress: impl FnMut(&str, usize, lossmith_burn::cmat::train::Progress) -> anyhow::Result<()>,
    ) -> anyhow::Result<Trainer> {
        let mut trainer = Trainer::new(&self.config, self.bias.clone(), settings, &self.device);
        for epoch in 1..=settings.epochs {
            progress("cross-entropy", epoch, trainer.cross_entropy_epoch(&self.train)?)?;
            stop_if_asked()?;
        }
        Ok(trainer)
    }

    /// Stage 2, from the agents of stage 1.
    pub fn second_stage(
        &self,
        first: &Trainer,
        settings: Settings,
        mut progress: impl FnMut(&str, usize, lossmith_burn::cmat::train::Progress) -> anyhow::Result<()>,
    ) -> anyhow::Result<Trainer> {
        let mut trainer = Trainer::from_agents(first.agents.clone(), self.config.classes, settings);
        for epoch in 1..=settings.policy_epochs {
            progress("second", epoch, trainer.policy_epoch(&self.train)?)?;
            stop_if_asked()?;
        }
        Ok(trainer)
    }

    /// What the agents reach on the test scenes, with greedy labels.
    pub fn outcome(&self, trainer: &Trainer) -> anyhow::Result<Outcome> {
        Ok(evaluate(&trainer.agents.valid(), self.config.classes, &self.test)?)
    }
}

fn stop_if_asked() -> anyhow::Result<()> {
    if interrupt::asked() { Err(interrupt::Interrupted.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_complete_and_losses_are_named() {
        for choice in ["laptop", "full"] {
            let recipe: Recipe = recipe::load(PRESETS, choice, &[]).unwrap();
            recipe.check().unwrap();
        }
        let recipe: Recipe = recipe::load(PRESETS, "laptop", &[]).unwrap();
        assert!(matches!(
            recipe.objective("self-critical").unwrap(),
            Objective::Policy { critic: Kind::SelfCritical, .. }
        ));
        let error = recipe.objective("focal").unwrap_err().to_string();
        assert!(error.contains("expected cross-entropy, degree"), "{error}");
        let set = ["train.reward=recall@0".to_owned()];
        let broken: Recipe = recipe::load(PRESETS, "laptop", &set).unwrap();
        assert!(broken.check().unwrap_err().to_string().contains("--reward: expected recall@K with K at least 1"));
    }
}
