//! A trained network with what is needed to use it, as it lies in a run's folder.

use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::tensor::Device;
use lossmith_burn::polarmask::weights::{self, WeightsError};
use lossmith_burn::polarmask::{DetectSettings, Detection, PolarMask, PolarMaskConfig, detect};
use lossmith_data::coco::Id;
use lossmith_data::instance_set::Source;
use lossmith_data::picture::Picture;
use serde::{Deserialize, Serialize};

use crate::interrupt::{self, Interrupted};
use crate::run::Run;

/// The file of the weights in a run.
pub const WEIGHTS: &str = "model.safetensors";
/// The file of everything else.
const ABOUT: &str = "model.json";

/// All of a model but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The network.
    pub network: PolarMaskConfig,
    /// The ids of the classes in the ground truth that they were learned from.
    pub category_ids: Vec<Id>,
    /// How objects are chosen.
    pub detect: DetectSettings,
    /// From which score on a detection counts as sure; chosen on the pictures of the training.
    pub sure: f64,
}

/// A network that is ready to predict.
pub struct Model {
    pub about: About,
    pub network: PolarMask,
}

impl Model {
    /// Reads the model of a run.
    pub fn open(run: &Run) -> anyhow::Result<Self> {
        let none = || format!("{}: no finished run of `train polarmask`", run.folder().display());
        let about: About = run.read_json(ABOUT).with_context(none)?;
        let mut network = about.network.init(&Device::flex())?;
        weights::load_own(&mut network, &run.path(WEIGHTS))?;
        Ok(Self { about, network })
    }

    /// Whether a run has its model: the last file of a training.
    pub fn is_in(run: &Run) -> bool {
        run.path(ABOUT).is_file()
    }

    /// Writes the model into a run.
    pub fn save(&self, run: &Run) -> anyhow::Result<()> {
        run.write(WEIGHTS, &weights::to_bytes(&self.network)?)?;
        run.write_json(ABOUT, &self.about)?;
        Ok(())
    }

    /// The objects in pictures, best first.
    pub fn detect(&self, pictures: &[Picture]) -> Vec<Vec<Detection>> {
        detect(&self.network, &self.about.network, &self.about.detect, pictures, &Device::flex())
    }

    /// The same of any number of pictures, some at a time; Ctrl-C ends it.
    pub fn detect_all(&self, pictures: &[Source]) -> anyhow::Result<Vec<Vec<Detection>>> {
        const AT_ONCE: usize = 16;
        let mut found = Vec::with_capacity(pictures.len());
        for some in pictures.chunks(AT_ONCE) {
            if interrupt::asked() {
                return Err(Interrupted.into());
            }
            let loaded = some.iter().map(Source::load).collect::<Result<Vec<_>, _>>()?;
            found.extend(self.detect(&loaded));
        }
        Ok(found)
    }
}

/// The file of what a user named as weights.
pub fn weights_file(named: &str) -> PathBuf {
    let path = Path::new(named);
    if path.is_dir() { path.join(WEIGHTS) } else { path.to_owned() }
}

/// Loads what a user named as weights to begin with: a run, a ResNet of torchvision, or a published PolarMask.
pub fn begin_from(network: &mut PolarMask, named: &str) -> anyhow::Result<()> {
    let path = weights_file(named);
    let loaded = if Path::new(named).is_dir() {
        weights::load_own(network, &path)
    } else {
        match weights::load_backbone(network, &path) {
            // A file that lacks the backbone's names may have them as a published checkpoint does.
            Err(WeightsError::Missing { .. }) if weights::load_published(network, &path).is_ok() => Ok(()),
            other => other,
        }
    };
    loaded.with_context(|| format!("--weights {named}"))
}
