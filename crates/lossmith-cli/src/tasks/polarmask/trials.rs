//! Trainings whose scores are kept in a run, so that a comparison goes on where it was stopped or killed.

use std::ops::ControlFlow;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::Recipe;
use super::score::{Scores, score};
use super::train::Session;
use crate::interrupt::{self, Interrupted};
use crate::run::Run;

/// The file of the trainings that are done, one a line.
const FILE: &str = "trials.jsonl";

/// One training and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trial {
    /// What tells it from the others of its seed.
    name: String,
    seed: u64,
    scores: Scores,
}

/// The trainings of a run.
pub struct Trials {
    run: Run,
    done: Vec<Trial>,
    bar: ProgressBar,
}

impl Trials {
    /// Those of a new run, or of one that goes on; `count` of them in all.
    pub fn open(run: &Run, count: usize) -> anyhow::Result<Self> {
        let mut done = Vec::new();
        if run.path(FILE).is_file() {
            for (at, line) in run.read(FILE)?.lines().enumerate() {
                let place = || format!("{}, line {}", run.path(FILE).display(), at + 1);
                done.push(serde_json::from_str(line).with_context(place)?);
            }
        }
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}, {eta} left");
        let bar = ProgressBar::new(count as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(Self { run: run.clone(), done, bar })
    }

    /// The scores of a training by this recipe on the data that it names, done now unless it was before.
    pub fn scores(&mut self, name: &str, recipe: &Recipe) -> anyhow::Result<Scores> {
        let seed = recipe.train.seed;
        self.bar.set_message(format!("{name}, seed {seed}"));
        if let Some(trial) = self.done.iter().find(|t| t.name == name && t.seed == seed) {
            self.bar.inc(1);
            return Ok(trial.scores);
        }
        let data = recipe.data()?;
        let model = Session::new(recipe, &data)?
            .train(recipe, |_| if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })?;
        let stopped = || format!("go on with --resume {}", self.run.folder().display());
        if interrupt::asked() {
            return Err(Interrupted).with_context(stopped);
        }
        let scores = score(&model, &data.test).with_context(stopped)?;
        self.done.push(Trial { name: name.to_owned(), seed, scores });
        let lines =
            self.done.iter().map(|t| Ok(serde_json::to_string(t)? + "\n")).collect::<anyhow::Result<String>>()?;
        self.run.write(FILE, lines.as_bytes())?;
        self.bar.inc(1);
        self.bar
            .suspend(|| tracing::info!("{name}, seed {seed}: AP {:.4}, AP50 {:.4}", scores.coco.AP, scores.coco.AP50));
        Ok(scores)
    }
}

impl Drop for Trials {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
