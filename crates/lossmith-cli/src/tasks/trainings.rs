//! The trainings of a comparison: what is done is kept in the run, one JSON line each, so that a kill loses at most one.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::interrupt::{self, Interrupted};
use crate::progress::Talk;
use crate::recipe;
use crate::run::Run;
use crate::tasks::again;

/// The file of the trainings that are done.
const FILE: &str = "trainings.jsonl";

/// Where a comparison is kept.
#[derive(Clone, Debug, clap::Args)]
pub struct Kept {
    /// The folder of the run; a new one under runs/ without it
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Go on with a comparison that was stopped or killed, with its own recipe; name the same losses and seeds
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
}

impl Kept {
    /// The recipe of the run that goes on, or else this one.
    /// Flags in `given` would change it, and are refused.
    pub fn recipe<R: DeserializeOwned>(
        &self,
        name: &str,
        given: &[(&'static str, bool)],
        new: impl FnOnce() -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let Some(folder) = &self.resume else { return new() };
        again::refuse(folder, given)?;
        let run = Run::open(folder)?;
        run.check_command(name)?;
        recipe::parse_text(&run.read("recipe.toml")?).with_context(|| run.path("recipe.toml").display().to_string())
    }

    /// The run that goes on, or a new one with this recipe.
    pub fn run(&self, name: &str, recipe: &impl Serialize) -> anyhow::Result<Run> {
        if let Some(folder) = &self.resume {
            return Run::resume(folder, name);
        }
        let run = Run::create(self.out.as_deref(), name)?;
        run.write("recipe.toml", recipe::to_text(recipe)?.as_bytes())?;
        Ok(run)
    }
}

/// Checks that there is something to compare: two losses or more, each named once.
pub fn check_losses(names: &[impl AsRef<str>]) -> anyhow::Result<()> {
    ensure!(names.len() >= 2, "--losses: expected two or more, separated by commas; found {}", names.len());
    for (at, name) in names.iter().enumerate() {
        let twice = names[..at].iter().any(|other| other.as_ref() == name.as_ref());
        ensure!(!twice, "--losses: {} is named twice", name.as_ref());
    }
    Ok(())
}

/// The trainings of a run, and what came of each that is done.
pub struct Trainings<T> {
    run: Run,
    done: HashMap<String, T>,
    text: String,
    talk: Talk,
    ahead: Option<Ahead>,
}

/// Trainings of which none has yet been done by this program, so that nothing was said of them.
struct Ahead {
    what: String,
    count: usize,
    /// Those that turned out to have been done before.
    found: usize,
}

#[derive(Serialize, Deserialize)]
struct Line<T> {
    training: String,
    outcome: T,
}

impl<T: Clone + Serialize + DeserializeOwned> Trainings<T> {
    /// Those of a new run, or of one that goes on.
    pub fn open(run: &Run) -> anyhow::Result<Self> {
        let text = if run.path(FILE).is_file() { run.read(FILE)? } else { String::new() };
        let mut done = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let place = || format!("{}, line {}", run.path(FILE).display(), at + 1);
            let Line { training, outcome } = serde_json::from_str(line).with_context(place)?;
            done.insert(training, outcome);
        }
        Ok(Self { run: run.clone(), done, text, talk: Talk::new(false), ahead: None })
    }

    /// So many trainings begin, which take about the same time.
    pub fn begin(&mut self, what: &str, count: usize) {
        self.ahead = Some(Ahead { what: what.to_owned(), count, found: 0 });
    }

    /// What came of a training: what was kept, or what comes of `train`, which is kept from now on.
    pub fn outcome(&mut self, training: &str, train: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        if let Some(outcome) = self.done.get(training) {
            match &mut self.ahead {
                Some(ahead) => ahead.found += 1,
                None => self.talk.was_done(),
            }
            return Ok(outcome.clone());
        }
        if let Some(Ahead { what, count, found }) = self.ahead.take() {
            self.talk.stage(&what, found, count, count as u64, 0);
        }
        let go_on = || format!("go on with the same losses and --resume {}", self.run.folder().display());
        if interrupt::asked() {
            return Err(Interrupted).with_context(go_on);
        }
        let outcome = train().with_context(|| training.to_owned()).with_context(go_on)?;
        if interrupt::asked() {
            // The training may have been cut short: it is not to be kept.
            return Err(Interrupted).with_context(go_on);
        }
        let line = Line { training: training.to_owned(), outcome: outcome.clone() };
        self.text += &format!("{}\n", serde_json::to_string(&line)?);
        self.run.write(FILE, self.text.as_bytes())?;
        self.done.insert(line.training, line.outcome);
        self.talk.one_more();
        Ok(outcome)
    }
}
