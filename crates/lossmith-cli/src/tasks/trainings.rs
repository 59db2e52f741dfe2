//! The trainings of a comparison: what is done is kept in the run, one JSON line each, so that a kill loses at most one.
//!
//! That a training diverges says something of its loss, so it is an outcome too. It is kept like the others, and counts as 0 in every
//! figure.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use lossmith::loss::LossError;
use lossmith_burn::cmat::CmatError;
use lossmith_burn::embedding::EmbeddingError;
use lossmith_burn::polarmask::TrainError;
use lossmith_burn::reldn::ReldnError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::interrupt::{self, Interrupted};
use crate::progress::Talk;
use crate::recipe;
use crate::run::Run;
use crate::study::Identity;
use crate::tasks::again;

/// The file of the trainings that are done.
const FILE: &str = "trainings.jsonl";
/// The file of what a comparison compares.
const COMPARES: &str = "comparison.json";

/// What a comparison compares, from its beginning to its end.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Compares {
    losses: Vec<String>,
    seeds: u64,
}

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
    /// The recipe of the run of `command` that goes on, or else this one. Flags in `given` would change it, and are refused.
    pub fn recipe<R: DeserializeOwned>(
        &self,
        command: &str,
        given: &[(&'static str, bool)],
        new: impl FnOnce() -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let Some(folder) = &self.resume else { return new() };
        again::refuse(folder, given)?;
        let (run, began) = Run::resume(folder, command)?;
        recipe::parse_text(&began.recipe).with_context(|| run.path("recipe.toml").display().to_string())
    }

    /// The run that goes on, which must have begun as this one would, with these losses and seeds, or a new one. A comparison whose
    /// seeds are added until somebody wins says nothing.
    pub fn run(&self, identity: &Identity, losses: &[impl AsRef<str>], seeds: u64) -> anyhow::Result<Run> {
        let losses: Vec<&str> = losses.iter().map(AsRef::as_ref).collect();
        let mine = Compares { losses: losses.iter().map(ToString::to_string).collect(), seeds };
        let Some(folder) = &self.resume else {
            let run = Run::begin(self.out.as_deref(), &identity.task.replace(' ', "-"), identity)?;
            run.write_json(COMPARES, &mine)?;
            return Ok(run);
        };
        let (run, _) = Run::resume(folder, &identity.task)?;
        run.check(identity)?;
        let began: Compares = run.read_json(COMPARES)?;
        ensure!(
            began == mine,
            "--resume {}: it compares {} with {} seeds, and goes on with these alone; this command names {} with {seeds} seeds",
            folder.display(),
            began.losses.join(", "),
            began.seeds,
            losses.join(", ")
        );
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

/// Checks how often each loss is trained, and the level that decides.
pub fn check_seeds(seeds: u64, alpha: f64) -> anyhow::Result<()> {
    ensure!((2..=1000).contains(&seeds), "--seeds: expected 2 to 1000, found {seeds}");
    ensure!(alpha > 0.0 && alpha < 1.0, "--alpha: expected a number between 0 and 1, found {alpha}");
    Ok(())
}

/// The trainings of a run, and what came of each that is done.
pub struct Trainings<T> {
    run: Run,
    done: HashMap<String, Option<T>>,
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

/// One of the two is there.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    training: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<T>,
    /// What was seen of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    diverged: Option<String>,
}

/// Whether an error says that a training diverged: that its loss, a gradient or a weight became infinite or undefined.
pub fn has_diverged(error: &anyhow::Error) -> bool {
    let embedding = matches!(
        error.downcast_ref(),
        Some(
            EmbeddingError::Diverged { .. }
                | EmbeddingError::Cluster(_)
                | EmbeddingError::Loss(LossError::Input { .. })
        )
    );
    let polarmask = matches!(error.downcast_ref(), Some(TrainError::Loss(LossError::Input { .. })));
    let reldn = matches!(error.downcast_ref(), Some(ReldnError::Step { .. } | ReldnError::Diverged { .. }));
    // The critic turns agents away whose numbers are no longer finite.
    let cmat = matches!(error.downcast_ref(), Some(CmatError::Scene { .. }));
    embedding || polarmask || reldn || cmat
}

/// The figures of each loss, 0 for what diverged, and how often that was.
pub fn with_zeros<T: Clone + Default>(outcomes: &[Vec<Option<T>>]) -> (Vec<Vec<T>>, Vec<usize>) {
    let figures = |of_loss: &Vec<Option<T>>| of_loss.iter().map(|o| o.clone().unwrap_or_default()).collect();
    let diverged = |of_loss: &Vec<Option<T>>| of_loss.iter().filter(|o| o.is_none()).count();
    (outcomes.iter().map(figures).collect(), outcomes.iter().map(diverged).collect())
}

impl<T: Clone + Serialize + DeserializeOwned> Trainings<T> {
    /// Those of a new run, or of one that goes on.
    pub fn open(run: &Run) -> anyhow::Result<Self> {
        let text = if run.path(FILE).is_file() { run.read(FILE)? } else { String::new() };
        let mut done = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let place = || format!("{}, line {}", run.path(FILE).display(), at + 1);
            let Line { training, outcome, diverged } = serde_json::from_str(line).with_context(place)?;
            ensure!(
                outcome.is_some() != diverged.is_some(),
                "{}: expected either an outcome or why it diverged",
                place()
            );
            done.insert(training, outcome);
        }
        Ok(Self { run: run.clone(), done, text, talk: Talk::new(false), ahead: None })
    }

    /// So many trainings begin, which take about the same time.
    pub fn begin(&mut self, what: &str, count: usize) {
        self.ahead = Some(Ahead { what: what.to_owned(), count, found: 0 });
    }

    /// What came of a training: what was kept, or what comes of `train`, which is kept from now on. `None` where it diverged.
    pub fn outcome(&mut self, training: &str, train: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<Option<T>> {
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
        let outcome = train();
        if interrupt::asked() {
            // The training may have been cut short: it is not to be kept.
            return Err(Interrupted).with_context(go_on);
        }
        let (outcome, diverged) = match outcome {
            Ok(outcome) => (Some(outcome), None),
            Err(e) if has_diverged(&e) => {
                tracing::warn!("{training}: it diverged, and counts as 0 ({e:#})");
                (None, Some(format!("{e:#}")))
            }
            Err(e) => return Err(e.context(training.to_owned())).with_context(go_on),
        };
        let line = Line { training: training.to_owned(), outcome: outcome.clone(), diverged };
        self.text += &format!("{}\n", serde_json::to_string(&line)?);
        self.run.write(FILE, self.text.as_bytes())?;
        self.done.insert(line.training, line.outcome);
        self.talk.one_more();
        Ok(outcome)
    }
}
