//! The published tables and figures: one file for each line of work, one line here for each experiment.

mod cmat;
mod discriminative;
mod glo;
mod polarmask;
mod reldn;

use std::path::{Path, PathBuf};

use lossmith_nets::Precision;

use crate::run::Run;
use crate::study::Identity;
use crate::tasks::fingerprint::Fingerprint;

/// Every experiment, in the order in which it is listed.
pub static EXPERIMENTS: &[&Experiment] = &[
    &glo::FIG2,
    &glo::FIG3,
    &glo::FIG4,
    &glo::FIG5,
    &glo::FIG6,
    &discriminative::TOY,
    &discriminative::TABLE1,
    &discriminative::TABLE3,
    &polarmask::UPPER_BOUND,
    &polarmask::REPRESENTATION,
    &polarmask::LOSS,
    &polarmask::RAYS,
    &polarmask::CENTERNESS,
    &polarmask::TABLE2,
    &cmat::TABLE1,
    &cmat::REWARD,
    &cmat::BASELINE,
    &cmat::ROUNDS,
    &cmat::SPEED,
    &reldn::TABLE1,
    &reldn::TABLE2,
    &reldn::VRD,
    &reldn::CONFUSION,
    &reldn::SCENES,
];

/// A published table or figure that can be made anew.
#[derive(Debug)]
pub struct Experiment {
    /// What the user types, `work/figure`.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The data: published, and what is used without `--data`.
    pub data: &'static str,
    /// How long it takes with the laptop recipe on two cores.
    pub time: &'static str,
    /// The published figures, in short.
    pub published: &'static str,
    /// Makes it.
    pub make: fn(&Context) -> anyhow::Result<Made>,
}

/// What an experiment is given.
#[derive(Debug)]
pub struct Context {
    /// What was typed: `reproduce glo/fig2`.
    pub command: String,
    /// The user's data folder.
    pub data: Option<PathBuf>,
    /// The recipe's name or file.
    pub recipe: String,
    /// Changes to the recipe.
    pub set: Vec<String>,
    /// Where pictures and results are written.
    pub run: Run,
    /// Whether the run was begun before.
    pub resume: bool,
}

impl Context {
    /// Writes the recipe into the run, with what else must be the same where it goes on; checks both in a run that goes on. The data are
    /// those that were named, or else those that the recipe names.
    pub fn keep(&self, recipe: &str, named: &str) -> anyhow::Result<()> {
        let mut print = Fingerprint::default();
        let named = Some(Path::new(named)).filter(|path| path.exists());
        if let Some(data) = self.data.as_deref().or(named) {
            print.tree(data)?;
        }
        let identity = Identity::new(&self.command, print.text(), recipe.to_owned(), Precision::F32.arithmetic());
        if self.resume { self.run.check(&identity) } else { self.run.keep(&identity) }
    }
}

/// What an experiment says.
#[derive(Debug)]
pub struct Made {
    /// The table, ours beside theirs, with a column that says whether data and setting are the same.
    pub text: String,
    /// The same for programs.
    pub json: serde_json::Value,
}
