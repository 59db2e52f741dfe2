//! Image classifiers: data, training, comparison and the search for a loss.

mod begin;
pub mod compare;
mod evaluator;
mod recipe;
pub mod search;
pub mod train;

use std::path::PathBuf;

pub use evaluator::Evaluator;
pub use recipe::{PRESETS, Recipe};

use crate::tasks::again::{Given, recipe_flags};

/// The judge of a study, from the study's recipe.
pub fn judge(recipe: &str, data: Option<&std::path::Path>) -> anyhow::Result<Evaluator> {
    let recipe: Recipe = crate::recipe::parse_text(recipe)?;
    recipe.check()?;
    Evaluator::new(&recipe, data)
}

/// The arguments that every classifier command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// A folder with IDX files (MNIST, Fashion-MNIST) or CIFAR-10 batches; generated digits without it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The recipe: laptop, full, classifier-quick, or a file that changes keys of the laptop recipe
    #[arg(long, default_value = "laptop", value_name = "NAME|FILE")]
    recipe: String,
    /// Change one key of the recipe (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The network: mlp, lenet or alexnet-cifar
    #[arg(long, value_name = "NET")]
    net: Option<String>,
    /// Training steps
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<u32>(..))]
    steps: Option<u32>,
    /// What the operands of products are rounded to; bf16 where the processor has AMX or AVX512-BF16, f32 otherwise
    #[arg(long, value_name = "f32|bf16", value_parser = ["f32", "bf16"])]
    precision: Option<String>,
    /// Where every random number comes from
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<u64>(..))]
    seed: Option<u64>,
    /// The run's folder, which must not exist yet; runs/TASK-NUMBER without it
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Common {
    /// What was given that a run which goes on cannot follow.
    fn given(&self) -> Given {
        let flags = vec![
            ("--data", self.data.is_some()),
            ("--net", self.net.is_some()),
            ("--steps", self.steps.is_some()),
            ("--precision", self.precision.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        [recipe_flags(&self.recipe, &self.set), flags].concat()
    }

    /// The recipe as chosen, with `--set` and then the short flags on top.
    fn recipe(&self) -> anyhow::Result<Recipe> {
        let mut set = self.set.clone();
        set.extend(self.net.iter().map(|v| format!("train.net={v}")));
        set.extend(self.steps.iter().map(|v| format!("train.steps={v}")));
        set.extend(self.precision.iter().map(|v| format!("train.precision={v}")));
        set.extend(self.seed.iter().map(|v| format!("seed={v}")));
        let recipe: Recipe = crate::recipe::load(PRESETS, &self.recipe, &set)?;
        recipe.check()?;
        Ok(recipe)
    }
}
