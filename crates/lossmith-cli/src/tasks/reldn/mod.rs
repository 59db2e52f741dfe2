//! Scene graphs from pairs of boxes, by graphical contrastive losses (RelDN).

pub mod compare;
mod figures;
mod picture;
pub mod predict;
pub mod search;
mod session;
pub mod train;

pub use figures::{By, Figures};
pub use picture::{Arrow, picture};
pub use session::{Data, Place, Session};

use std::path::PathBuf;

use anyhow::Context;
use lossmith::loss::{Spec, split_list};
use lossmith_burn::reldn::{Optimizer, Sampling, Settings};
use serde::{Deserialize, Serialize};

use crate::commands::loss_text;
use crate::ranges::{self, Limits, MADE, SEED, SHARE, key};
use crate::recipe::{self, Presets};
use crate::study::Identity;
use crate::tasks;
use crate::tasks::fingerprint::Fingerprint;

pub const PRESETS: Presets = Presets {
    task: "reldn",
    laptop: include_str!("../../../../../recipes/reldn-laptop.toml"),
    full: include_str!("../../../../../recipes/reldn-full.toml"),
};

/// Every number that a run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub seed: u64,
    pub data: Generated,
    pub model: Model,
    pub sampling: Sampling,
    pub train: Train,
    pub compare: Compare,
}

/// The generated scenes, and what is judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    pub train: usize,
    pub test: usize,
    pub pictures: bool,
    pub noise: f64,
    pub clutter: usize,
    /// The share of the training images, the last, that is judged by instead of the test images; 0 for none.
    pub validation: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub modules: String,
    pub prior: f64,
    pub spatial: usize,
    pub hidden: usize,
    pub width: usize,
    pub side: usize,
    pub channels: [usize; 2],
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    pub loss: String,
    pub variant: String,
    pub epochs: usize,
    pub batch: usize,
    pub optimizer: Optimizer,
    pub rate: f64,
    pub table: f64,
    pub decay: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    pub seeds: u64,
    pub scenes_steps: usize,
}

/// What `train` and `compare` share.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// A VRD folder, a folder with train-graphs.json and test-graphs.json, or VG-SGG.h5; without it scenes of who holds what are made
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The pictures, named as the images of the data; DIR/images unless given
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Feature vectors of boxes and pairs (safetensors); DIR/features.safetensors unless given
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub features: Option<PathBuf>,
    /// What the model is made of: semantic, spatial, visual, with commas between them; all that the data allow unless given
    #[arg(long, value_name = "A,B")]
    pub modules: Option<String>,
    /// One head for each group of predicates: 'default' (VRD and VG150 by name) or a JSON file {group: [names]}
    #[arg(long, value_name = "FILE")]
    pub predicate_groups: Option<String>,
    /// Train on this many images of the data only, the first
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    pub limit: Option<usize>,
    /// Passes over the data
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    pub epochs: Option<usize>,
    /// Decides all randomness
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<u64>(..))]
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
    /// The complete recipe, with the flags on top of it.
    pub fn recipe(&self, loss: Option<&str>) -> anyhow::Result<Recipe> {
        let mut recipe: Recipe = recipe::load(PRESETS, &self.recipe, &self.set)?;
        recipe.train.loss = loss_text(loss.unwrap_or(&recipe.train.loss))?;
        recipe.train.epochs = self.epochs.unwrap_or(recipe.train.epochs);
        recipe.model.modules = self.modules.clone().unwrap_or_else(|| recipe.model.modules.clone());
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.check()?;
        Ok(recipe)
    }

    /// Where the data come from.
    pub fn source(&self) -> Place {
        Place {
            data: self.data.clone(),
            images: self.images.clone(),
            features: self.features.clone(),
            groups: self.predicate_groups.clone(),
            limit: self.limit,
        }
    }
}

const RANGES: &[Limits] = &[
    key("seed", SEED),
    key("data.train", MADE),
    key("data.test", MADE),
    ("data.noise", 0.0, 10.0),
    ("data.clutter", 0.0, 50.0),
    key("data.validation", SHARE),
    ("model.prior", 0.0, 1e6),
    ("model.spatial", 1.0, 8192.0),
    ("model.hidden", 1.0, 8192.0),
    ("model.width", 1.0, 8192.0),
    ("model.side", 32.0, 4096.0),
    ("model.channels", 1.0, 8192.0),
    ("sampling.related", 0.0, 1e6),
    ("sampling.total", 1.0, 1e6),
    ("sampling.nodes", 0.0, 1e6),
    ("train.epochs", 1.0, 1e6),
    ("train.batch", 1.0, 4096.0),
    ("train.rate", 1e-12, 10.0),
    key("train.table", SHARE),
    key("train.decay", SHARE),
    ("compare.seeds", 2.0, 1e3),
    ("compare.scenes_steps", 1.0, 1e6),
];

impl Recipe {
    pub fn check(&self) -> anyhow::Result<()> {
        self.check_as("")
    }

    /// The same; `prefix` is where the recipe stands in that of a search.
    pub fn check_as(&self, prefix: &str) -> anyhow::Result<()> {
        self.loss()?;
        let t = &self.train;
        for (key, value) in
            [("train.epochs", t.epochs), ("train.batch", t.batch), ("sampling.total", self.sampling.total)]
        {
            anyhow::ensure!((1..=1_000_000).contains(&value), "recipe: {key}: expected 1 to 1000000, found {value}");
        }
        anyhow::ensure!(
            t.rate > 0.0 && t.rate <= 10.0,
            "recipe: train.rate: expected a number above 0, at most 10, found {}",
            t.rate
        );
        anyhow::ensure!(
            (2..=1000).contains(&self.compare.seeds),
            "recipe: compare.seeds: expected 2 to 1000, found {}",
            self.compare.seeds
        );
        anyhow::ensure!((0.0..=1.0).contains(&t.table), "recipe: train.table: expected 0 to 1, found {}", t.table);
        let (validation, prior) = (self.data.validation, self.model.prior);
        anyhow::ensure!(
            (0.0..1.0).contains(&validation),
            "recipe: data.validation: expected 0 to below 1, found {validation}"
        );
        anyhow::ensure!(
            prior >= 0.0 && prior.is_finite(),
            "recipe: model.prior: expected a number of at least 0, found {prior}"
        );
        anyhow::ensure!((0.0..=1.0).contains(&t.decay), "recipe: train.decay: expected 0 to 1, found {}", t.decay);
        ranges::check(self, prefix, &[RANGES])
    }

    /// The loss of the recipe.
    pub fn loss(&self) -> anyhow::Result<Spec> {
        loss(&self.train.loss, &self.train.variant)
    }

    pub fn settings(&self, seed: u64) -> Settings {
        let t = &self.train;
        Settings {
            epochs: t.epochs,
            batch: t.batch,
            optimizer: t.optimizer,
            rate: t.rate,
            table: t.table,
            decay: t.decay,
            sampling: self.sampling,
            seed,
        }
    }
}

/// The identity of a run of `command`.
pub fn identity(command: &str, recipe: &Recipe, data: &Data) -> anyhow::Result<Identity> {
    let mut print = Fingerprint::default();
    data.digest(&mut print)?;
    tasks::identity(command, print, recipe)
}

/// A sum of `l0`, `l1`, `l2`, `l3` as the loss in which the others weigh nothing, or the loss as it is written.
pub fn loss(text: &str, variant: &str) -> anyhow::Result<Spec> {
    let terms: Vec<String> = text.split('+').map(|t| t.trim().to_ascii_lowercase()).collect();
    let named = ["l0", "l1", "l2", "l3"];
    if terms.iter().all(|t| named.contains(&t.as_str())) {
        let absent = (0..4).filter(|&l| !terms.iter().any(|t| t == named[l])).map(|l| format!(", lambda{l}=0"));
        return Ok(Spec::parse(&format!("graphical-contrastive(variant={variant}{})", absent.collect::<String>()))?);
    }
    let wanted = "--loss: expected a sum of l0, l1, l2 and l3, or graphical-contrastive(...) with its parameters";
    match Spec::parse(text).context(wanted)? {
        Spec::Named(arguments) if arguments.entry().name == "graphical-contrastive" => Ok(Spec::Named(arguments)),
        other => anyhow::bail!("{wanted}, found '{other}'"),
    }
}

/// Losses with commas between them.
pub fn losses(text: &str, variant: &str) -> anyhow::Result<Vec<(String, Spec)>> {
    let read = |piece: &str| anyhow::Ok((piece.to_owned(), loss(&loss_text(piece)?, variant)?));
    split_list(text).into_iter().map(|piece| read(piece.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_complete() {
        for choice in ["laptop", "full"] {
            let recipe: Recipe = recipe::load(PRESETS, choice, &[]).unwrap();
            recipe.check().unwrap();
        }
    }

    #[test]
    fn sums_are_losses_with_weights() {
        let text = |t: &str| loss(t, "paper").unwrap().to_string();
        assert_eq!(text("L0"), "graphical-contrastive(variant=paper, lambda1=0, lambda2=0, lambda3=0)");
        assert_eq!(text("l0+l1+l2+l3"), "graphical-contrastive(variant=paper)");
        assert_eq!(text("graphical-contrastive(alpha1=0.5)"), "graphical-contrastive(alpha1=0.5)");
        let two = losses("l0, graphical-contrastive(lambda1=2, lambda2=1)", "code").unwrap();
        assert_eq!(two.len(), 2);
        assert!(loss("baikal", "code").unwrap_err().to_string().contains("expected a sum of l0"));
        assert!(loss("l0", "book").is_err());
    }
}
