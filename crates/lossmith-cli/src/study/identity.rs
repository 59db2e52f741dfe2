//! What everybody who works on a study must have in common.

use serde::{Deserialize, Serialize};

/// What a worker must share with the study, so that its outcomes are the same as anybody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The program's version, and a checksum of its sources.
    pub version: String,
    /// What is searched, as `search` names it.
    pub task: String,
    /// A checksum of the data.
    pub data: String,
    /// The complete recipe.
    pub recipe: String,
    /// What multiplies: `f32`, or the unit of the processor that multiplies bf16, since units round differently.
    pub arithmetic: String,
}

impl Identity {
    /// The identity of this program's work on a task.
    pub fn new(task: &str, data: String, recipe: String, arithmetic: String) -> Self {
        Self { version: env!("LOSSMITH_BUILD").to_owned(), task: task.to_owned(), data, recipe, arithmetic }
    }

    /// The same work by this program.
    pub fn by_this_program(&self) -> Self {
        Self::new(&self.task, self.data.clone(), self.recipe.clone(), self.arithmetic.clone())
    }

    /// Compares a worker's identity with that of the study.
    ///
    /// # Errors
    /// Names the first part that differs.
    pub fn check(&self, mine: &Identity) -> anyhow::Result<()> {
        let parts = [
            ("program version", &self.version, &mine.version),
            ("task", &self.task, &mine.task),
            ("data (checksum)", &self.data, &mine.data),
            ("recipe", &self.recipe, &mine.recipe),
            ("arithmetic", &self.arithmetic, &mine.arithmetic),
        ];
        for (what, study, mine) in parts {
            let (here, there) = first_difference(mine, study);
            anyhow::ensure!(
                study == mine,
                "this {what} is not the study's, so its results would not be either; here: {here}, study: {there}"
            );
        }
        Ok(())
    }
}

/// The first lines that differ; short texts as they are.
fn first_difference(mine: &str, study: &str) -> (String, String) {
    let (mut mine, mut study) = (mine.lines(), study.lines());
    loop {
        match (mine.next(), study.next()) {
            (Some(a), Some(b)) if a == b => {}
            (a, b) => return (shorten(a.unwrap_or("(nothing)")), shorten(b.unwrap_or("(nothing)"))),
        }
    }
}

/// The beginning of a long text, on one line.
pub fn shorten(text: &str) -> String {
    const MOST: usize = 200;
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    if text.chars().count() > MOST {
        short.push('…');
    }
    short
}
