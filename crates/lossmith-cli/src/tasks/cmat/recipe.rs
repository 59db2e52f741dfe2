//! Every number that a run depends on, and what `train` and `compare` take from the command line.

use std::path::{Path, PathBuf};

use lossmith::critic::{Kind, Reward};
use lossmith::expr::Expr;
use lossmith::loss::Spec;
use lossmith_burn::cmat::{Config, Objective, Settings};
use lossmith_data::make::hubs;
use lossmith_data::node_graphs::NodeGraphs;
use serde::{Deserialize, Serialize};

use crate::commands::loss_text;
use crate::ranges::{self, Limits, MADE, SEED, SHARE, key};
use crate::recipe::{self, Presets};
use crate::tasks::again::{Given, recipe_flags};

/// The loss of the catalogue that the agents are trained by.
const CRITIC: &str = "counterfactual-critic";

pub const PRESETS: Presets = Presets {
    task: "cmat",
    laptop: include_str!("../../../../../recipes/cmat-laptop.toml"),
    full: include_str!("../../../../../recipes/cmat-full.toml"),
};

/// Every number that a run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub seed: u64,
    /// How many seeds `reproduce` takes the mean of.
    pub seeds: u64,
    pub data: Data,
    pub agents: AgentSizes,
    pub train: Train,
}

/// The scenes: read from a path, or generated if there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub path: String,
    pub confusion: f64,
    pub limit: usize,
    pub blocks: usize,
    pub groups: usize,
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
    /// Scenes with node vectors (vocabulary.json, train.jsonl, test.jsonl), or annotations, whose nodes show their label with noise: a
    /// VRD folder, a folder of train-graphs.json and test-graphs.json, VG-SGG.h5. Without it hub worlds are made
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// What the graph earns: recall@K or spice
    #[arg(long)]
    pub reward: Option<String>,
    /// What the reward is measured against: exact, truncated, naive, self-critical, moving-average, none
    #[arg(long)]
    pub critic: Option<String>,
    /// How many rounds the agents talk
    #[arg(long, value_name = "T", value_parser = crate::args::whole::<usize>(..))]
    pub rounds: Option<usize>,
    /// Passes over the data, in each of the two stages
    #[arg(long, value_parser = crate::args::whole::<usize>(..))]
    pub epochs: Option<usize>,
    /// Decides all randomness
    #[arg(long, value_parser = crate::args::whole::<u64>(..))]
    pub seed: Option<u64>,
    /// laptop, full, another recipe by name, or a file that changes keys of laptop
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
    /// What was given that a run which goes on cannot follow.
    pub fn given(&self) -> Given {
        let flags = vec![
            ("--data", self.data.is_some()),
            ("--reward", self.reward.is_some()),
            ("--critic", self.critic.is_some()),
            ("--rounds", self.rounds.is_some()),
            ("--epochs", self.epochs.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        [recipe_flags(&self.recipe, &self.set), flags].concat()
    }

    /// The complete recipe, with the flags on top of it.
    pub fn recipe(&self, loss: Option<&str>) -> anyhow::Result<Recipe> {
        let mut recipe: Recipe = recipe::load(PRESETS, &self.recipe, &self.set)?;
        let train = &mut recipe.train;
        train.loss = loss_text(loss.unwrap_or(&train.loss))?;
        train.reward = self.reward.clone().unwrap_or_else(|| train.reward.clone());
        train.critic = self.critic.clone().unwrap_or_else(|| train.critic.clone());
        train.epochs = self.epochs.unwrap_or(train.epochs);
        train.policy_epochs = self.epochs.unwrap_or(train.policy_epochs);
        recipe.agents.rounds = self.rounds.unwrap_or(recipe.agents.rounds);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        if let Some(path) = &self.data {
            recipe.data.path = path.display().to_string();
        }
        recipe.check()?;
        Ok(recipe)
    }
}

const RANGES: &[Limits] = &[
    key("seed", SEED),
    ("seeds", 1.0, 1e3),
    key("data.confusion", SHARE),
    ("data.limit", 0.0, 1e9),
    ("data.blocks", 0.0, 20.0),
    ("data.groups", 0.0, 20.0),
    ("data.noise", 0.0, 10.0),
    key("data.train", MADE),
    key("data.test", MADE),
    ("agents.hidden", 2.0, 4096.0),
    ("agents.pair", 1.0, 4096.0),
    ("agents.rounds", 1.0, 4096.0),
    ("train.epochs", 1.0, 4096.0),
    ("train.policy_epochs", 0.0, 4096.0),
    ("train.batch", 1.0, 4096.0),
    ("train.rate", 1e-12, 10.0),
    ("train.policy_rate", 1e-12, 10.0),
    ("train.node_weight", 0.0, 1e6),
    ("train.pair_weight", 0.0, 1e6),
];

impl Recipe {
    /// Whether all numbers are in range.
    pub fn check(&self) -> anyhow::Result<()> {
        self.check_as("")
    }

    /// The same; `prefix` is where the recipe stands in that of a search.
    pub fn check_as(&self, prefix: &str) -> anyhow::Result<()> {
        self.objective(&self.train.loss)?;
        anyhow::ensure!((1..=1000).contains(&self.seeds), "recipe: seeds: expected 1 to 1000, found {}", self.seeds);
        let sizes = [
            ("agents.hidden", self.agents.hidden, 2),
            ("agents.pair", self.agents.pair, 1),
            ("agents.rounds", self.agents.rounds, 1),
            ("train.batch", self.train.batch, 1),
            ("train.epochs", self.train.epochs, 1),
        ];
        for (key, value, least) in sizes {
            anyhow::ensure!((least..=4096).contains(&value), "recipe: {key}: expected {least} to 4096, found {value}");
        }
        for (key, rate) in [("train.rate", self.train.rate), ("train.policy_rate", self.train.policy_rate)] {
            anyhow::ensure!(rate > 0.0 && rate.is_finite(), "recipe: {key}: expected a number above 0, found {rate}");
        }
        ranges::check(self, prefix, &[RANGES])
    }

    /// What stage 2 trains by: a name, or the catalogue's loss with its parameters, `counterfactual-critic(reward=recall@50)`.
    pub fn objective(&self, loss: &str) -> anyhow::Result<Objective> {
        Ok(match loss {
            "cross-entropy" => Objective::CrossEntropy,
            "degree" => Objective::Degree,
            "node-priority" => Objective::NodePriority,
            "cmat" => policy(&self.train.reward, &self.train.critic)?,
            // One of the critics' own names makes their comparison short.
            other => match other.parse::<Kind>() {
                Ok(_) => policy(&self.train.reward, other)?,
                Err(_) => named(other)?.0,
            },
        })
    }

    pub fn settings(&self, loss: &str, seed: u64) -> anyhow::Result<Settings> {
        let t = &self.train;
        Ok(Settings {
            objective: self.objective(loss)?,
            surrogate: if loss.starts_with(CRITIC) { named(loss)?.1 } else { None },
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

    /// The scenes, where they are read; else hub worlds of this seed.
    pub fn scenes(&self, seed: u64) -> anyhow::Result<NodeGraphs> {
        if self.data.path.is_empty() {
            let settings =
                hubs::Settings { blocks: self.data.blocks, noise: self.data.noise, groups: self.data.groups };
            anyhow::ensure!(
                self.data.train > 0 && self.data.test > 0,
                "recipe: data.train and data.test must not be 0"
            );
            return Ok(hubs::make(settings, self.data.train, self.data.test, seed)?);
        }
        let mut data = NodeGraphs::open(Path::new(&self.data.path), self.data.confusion, seed)?;
        if self.data.limit > 0 {
            data.train.truncate(self.data.limit);
            data.test.truncate(self.data.limit);
        }
        anyhow::ensure!(!data.train.is_empty() && !data.test.is_empty(), "--data {}: no scenes", self.data.path);
        Ok(data)
    }
}

/// The catalogue's loss with its parameters: `counterfactual-critic(reward=recall@50, surrogate="-a*l")`.
fn named(loss: &str) -> anyhow::Result<(Objective, Option<Expr>)> {
    let wanted = "expected cross-entropy, degree, node-priority, cmat, a critic (exact, truncated, self-critical, moving-average, none) \
                  or counterfactual-critic(...)";
    if !loss.starts_with(CRITIC) {
        anyhow::bail!("--loss: {wanted}, found '{loss}'");
    }
    let Spec::Named(arguments) = Spec::parse(loss)? else { anyhow::bail!("--loss: {wanted}, found '{loss}'") };
    let objective = policy(&arguments.word("reward"), arguments.choice("critic"))?;
    Ok((objective, arguments.kernel("surrogate").cloned()))
}

fn policy(reward: &str, critic: &str) -> anyhow::Result<Objective> {
    let reward: Reward = reward.parse().map_err(|e| anyhow::anyhow!("--{e}"))?;
    let critic: Kind = critic.parse().map_err(|e| anyhow::anyhow!("--{e}"))?;
    Ok(Objective::Policy { reward, critic })
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
        let spec = "counterfactual-critic(reward=recall@50, surrogate=\"-2*a*l\")";
        let settings = recipe.settings(spec, 1).unwrap();
        assert!(matches!(settings.objective, Objective::Policy { reward: Reward::Recall(50), critic: Kind::Exact }));
        assert!(settings.surrogate.is_some() && recipe.settings("cmat", 1).unwrap().surrogate.is_none());
        assert!(recipe.objective("counterfactual-critic(surrogate=\"-q\")").is_err());
        let error = recipe.objective("focal").unwrap_err().to_string();
        assert!(error.contains("expected cross-entropy, degree"), "{error}");
        let set = ["train.reward=recall@0".to_owned()];
        let broken: Recipe = recipe::load(PRESETS, "laptop", &set).unwrap();
        assert!(broken.check().unwrap_err().to_string().contains("--reward: expected recall@K with K at least 1"));
    }
}
