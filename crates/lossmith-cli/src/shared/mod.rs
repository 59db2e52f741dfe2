//! A study that many machines share: the coordinator says what to evaluate, any number of workers evaluate it.
//!
//! A study moves from generation to generation. Its state and the candidates of a generation are stored in one transaction;
//! a worker takes a candidate by a lease and stores its outcome once; when all outcomes of a generation are in, they are told
//! in candidate order and the next generation follows from state and outcomes alone. So it does not matter how many workers
//! or coordinators there are, or which of them die: the same study ends in the same result.

pub mod address;
pub mod coordinator;
pub mod postgres;
#[cfg(test)]
mod tests;
pub mod worker;

use serde::{Deserialize, Serialize};

/// After so many attempts that ended in an error or in silence a candidate has failed, and the search goes on.
pub const MOST_ATTEMPTS: i32 = 5;

/// What a worker must have in common with the study, so that its outcomes are the same as anybody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The program's version.
    pub version: String,
    /// A checksum of the data.
    pub data: String,
    /// The complete recipe.
    pub recipe: String,
}

impl Identity {
    /// Compares a worker's identity with that of the study.
    ///
    /// # Errors
    /// Names the first part that differs.
    pub fn check(&self, mine: &Identity) -> anyhow::Result<()> {
        let parts = [
            ("program version", &self.version, &mine.version),
            ("data (checksum)", &self.data, &mine.data),
            ("recipe", &self.recipe, &mine.recipe),
        ];
        for (what, study, mine) in parts {
            anyhow::ensure!(
                study == mine,
                "this {what} is not the study's, so its results would not be either; here: {}, study: {}",
                shorten(mine),
                shorten(study)
            );
        }
        Ok(())
    }
}

/// The beginning of a long text, on one line.
fn shorten(text: &str) -> String {
    const MOST: usize = 200;
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    if text.chars().count() > MOST {
        short.push('…');
    }
    short
}

/// What follows from the outcomes so far.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A new generation.
    Evaluate {
        /// The searcher's state, to be handed back with the outcomes.
        state: String,
        /// One task per candidate, in candidate order; whatever the evaluation needs, its seed included.
        tasks: Vec<String>,
    },
    /// The end.
    Finish {
        /// The result of the whole search.
        result: String,
    },
}

/// How the evaluation of a candidate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// With a fitness.
    Done,
    /// In values that are not finite.
    Diverged,
    /// Not trained: a filter removed it.
    Rejected,
    /// In errors, or in silence, [`MOST_ATTEMPTS`] times.
    Failed,
}

impl Ending {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Diverged => "diverged",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }

    fn from_name(name: &str) -> anyhow::Result<Self> {
        [Self::Done, Self::Diverged, Self::Rejected, Self::Failed]
            .into_iter()
            .find(|e| e.name() == name)
            .ok_or_else(|| anyhow::anyhow!("the study holds an outcome of the unknown kind '{}'", shorten(name)))
    }
}

/// What the evaluation of a candidate gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Larger is better; `None` unless it is done.
    pub fitness: Option<f64>,
    /// Whatever else is to be kept, as text.
    pub detail: String,
}
