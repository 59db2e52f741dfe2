//! The task `polarmask`: instance segmentation by rays.

pub mod compare;
pub mod limits;
pub mod model;
pub mod predict;
pub mod score;
pub mod search;
pub mod train;

use std::path::Path;

use anyhow::{Context, ensure};
use lossmith_burn::polarmask::{BackboneKind, DetectSettings, PolarMaskConfig, TrainSettings};
use lossmith_data::coco::Coco;
use lossmith_data::instance_set::{self, InstanceSet, Part, Source};
use serde::{Deserialize, Serialize};

use crate::ranges::{self, Limits, MADE, SEED, SHARE, key};
use crate::recipe::{self, Presets};
use crate::study::Identity;
use crate::tasks::again::{Given, recipe_flags};
use crate::tasks::fingerprint::Fingerprint;
use crate::tasks::{self, inputs};

/// The presets.
pub const PRESETS: Presets = Presets {
    task: "polarmask",
    laptop: include_str!("../../../../../recipes/polarmask-laptop.toml"),
    full: include_str!("../../../../../recipes/polarmask-full.toml"),
};

/// Everything that a run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// `shapes`, a folder, or a file of COCO ground truth.
    pub data: String,
    /// The folder of the pictures, where `data` is a file.
    pub images: String,
    /// Pretrained weights; none if empty.
    pub weights: String,
    /// The figures that are made.
    pub made: Made,
    /// The network.
    pub network: Network,
    /// Its training.
    pub train: TrainSettings,
    /// How objects are chosen.
    pub detect: DetectSettings,
}

/// How many figures are made, and how large their pictures are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    pub train: usize,
    pub test: usize,
    pub side: usize,
}

/// What a network is made of, but for the classes, which the data names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub backbone: BackboneKind,
    pub rays: usize,
    pub width: usize,
    pub height: usize,
}

/// What `train` and `compare` share.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// `shapes` (made), a folder (COCO's, of `data make shapes`, of label images), or a COCO file with --images
    #[arg(long, value_name = "DIR|FILE")]
    pub data: Option<String>,
    /// The folder of the pictures, where --data is a COCO file
    #[arg(long, value_name = "DIR")]
    pub images: Option<String>,
    /// light, resnet50, resnet101, resnet50-caffe or resnet101-caffe
    #[arg(long, value_name = "NAME")]
    pub backbone: Option<String>,
    /// Weights to begin with: a ResNet of torchvision (.pth, .safetensors), a published PolarMask (.pth), or a run
    #[arg(long, value_name = "FILE|RUN")]
    pub weights: Option<String>,
    /// Rays for each object
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    pub rays: Option<usize>,
    /// How often every picture is seen
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    pub epochs: Option<usize>,
    /// The seed of weights, order, turns and made data
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<u64>(..))]
    pub seed: Option<u64>,
    /// `laptop`, `full`, `polarmask-nuclei`, or a TOML file that changes keys of `laptop`
    #[arg(long, value_name = "RECIPE", default_value = "laptop")]
    pub recipe: String,
    /// Change one setting of the recipe, for example `train.batch=4`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Common {
    /// What was given that a run which goes on cannot follow.
    pub fn given(&self) -> Given {
        let flags = vec![
            ("--data", self.data.is_some()),
            ("--images", self.images.is_some()),
            ("--backbone", self.backbone.is_some()),
            ("--weights", self.weights.is_some()),
            ("--rays", self.rays.is_some()),
            ("--epochs", self.epochs.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        [recipe_flags(&self.recipe, &self.set), flags].concat()
    }

    /// The complete recipe, with the flags on top of it.
    pub fn recipe(&self) -> anyhow::Result<Recipe> {
        let mut recipe: Recipe = recipe::load(PRESETS, &self.recipe, &self.set)?;
        if let Some(name) = &self.backbone {
            let kind = serde_json::from_value(name.as_str().into());
            recipe.network.backbone = kind.map_err(|e| anyhow::anyhow!("--backbone: {e}"))?;
        }
        let texts =
            [(&self.data, &mut recipe.data), (&self.images, &mut recipe.images), (&self.weights, &mut recipe.weights)];
        for (value, key) in texts {
            if let Some(value) = value {
                key.clone_from(value);
            }
        }
        recipe.network.rays = self.rays.unwrap_or(recipe.network.rays);
        recipe.train.epochs = self.epochs.unwrap_or(recipe.train.epochs);
        recipe.train.seed = self.seed.unwrap_or(recipe.train.seed);
        recipe.check("")?;
        Ok(recipe)
    }
}

const RANGES: &[Limits] = &[
    key("made.train", MADE),
    key("made.test", MADE),
    ("made.side", 32.0, 4096.0),
    ("network.rays", 3.0, 3600.0),
    ("network.width", 32.0, 4096.0),
    ("network.height", 32.0, 4096.0),
    ("train.epochs", 1.0, 1e6),
    ("train.steps", 0.0, 1e8),
    ("train.batch", 1.0, 256.0),
    ("train.rate", 1e-12, 10.0),
    key("train.seed", SEED),
    key("detect.least", SHARE),
    ("detect.per_level", 1.0, 1e6),
    key("detect.iou", SHARE),
    // 0 where it is chosen from the data.
    ("detect.most", 0.0, 1e6),
];

impl Recipe {
    /// Checks what the types do not say; `prefix` is where the recipe stands in that of a search.
    pub fn check(&self, prefix: &str) -> anyhow::Result<()> {
        ranges::check(self, prefix, &[RANGES])
    }

    /// The data that it names.
    pub fn data(&self) -> anyhow::Result<InstanceSet> {
        let path = Path::new(&self.data);
        let set = match self.data.as_str() {
            "shapes" => {
                inputs::warn_of_folder(&self.data);
                instance_set::made(self.made.train, self.made.test, self.made.side, self.train.seed)?
            }
            _ if path.is_file() => {
                ensure!(!self.images.is_empty(), "--data {}: a file needs --images, its folder of pictures", self.data);
                instance_set::read_file(path, Path::new(&self.images))?
            }
            _ => instance_set::read(path).with_context(|| format!("--data {}", self.data))?,
        };
        ensure!(!set.train.pictures.is_empty(), "--data {}: no picture to train on", self.data);
        ensure!(!set.test.pictures.is_empty(), "--data {}: no picture to judge by", self.data);
        Ok(set)
    }

    /// The identity of a run of `command` on these data.
    pub fn identity(&self, command: &str, data: &InstanceSet) -> anyhow::Result<Identity> {
        let mut print = Fingerprint::default();
        self.digest(&mut print, [&data.train, &data.test])?;
        tasks::identity(command, print, self)
    }

    /// Adds data, and the weights that a training begins with, to a checksum.
    pub fn digest<'a>(&self, print: &mut Fingerprint, parts: impl IntoIterator<Item = &'a Part>) -> anyhow::Result<()> {
        for part in parts {
            print.json(&part.truth)?;
            part.pictures.iter().try_for_each(|picture| add_picture(print, picture))?;
        }
        if self.weights.is_empty() { Ok(()) } else { print.file(&model::weights_file(&self.weights)) }
    }

    /// Says which pictures of its folder take no part; apart from [`data`](Self::data), which a comparison calls often.
    pub fn warn_of_unlabelled(&self) -> anyhow::Result<()> {
        let path = Path::new(&self.data);
        if self.data != "shapes" && path.is_dir() { inputs::warn_of_unlabelled(path) } else { Ok(()) }
    }

    /// The network for the classes of some ground truth.
    pub fn config(&self, truth: &Coco) -> anyhow::Result<PolarMaskConfig> {
        let Network { backbone, rays, width, height } = self.network;
        let classes = truth.categories.iter().map(|c| c.name.clone()).collect();
        let config = PolarMaskConfig { classes, rays, backbone, width, height };
        config.check().context("recipe: network")?;
        Ok(config)
    }
}

fn add_picture(print: &mut Fingerprint, picture: &Source) -> anyhow::Result<()> {
    match picture {
        Source::Here(picture) => {
            print.numbers([picture.width, picture.height]);
            print.bytes(&picture.pixels);
            Ok(())
        }
        Source::File(path) | Source::Stored(path) => print.file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_complete() {
        for choice in ["laptop", "full"] {
            let recipe: Recipe = recipe::load(PRESETS, choice, &[]).unwrap();
            let truth = lossmith_data::make::shapes::make(0, 1, 32, 0).unwrap().truth;
            recipe.config(&truth).unwrap();
        }
    }
}
