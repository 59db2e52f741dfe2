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
        self.compare(mine, "study").map_err(|(_, message)| anyhow::anyhow!(message))
    }

    /// Compares the identity of what goes on with that of the run, as it began.
    ///
    /// # Errors
    /// Names the first part that differs, and what to do.
    pub fn check_resumed(&self, mine: &Identity) -> anyhow::Result<()> {
        self.compare(mine, "run").map_err(|(part, message)| {
            let how = match part {
                "program version" => "go on with the program that began it",
                "task" => "go on with the command that began it",
                "data (checksum)" => "go on with the data that it began with",
                "recipe" => "undo the change of its recipe.toml",
                _ => "go on with a processor that multiplies in the same way",
            };
            anyhow::anyhow!("{message}; {how}, or begin a new run with --out")
        })
    }

    /// The first part that differs from that of `whose`, and what to say about it.
    fn compare(&self, mine: &Identity, whose: &str) -> Result<(), (&'static str, String)> {
        let parts = [
            ("program version", &self.version, &mine.version),
            ("task", &self.task, &mine.task),
            ("data (checksum)", &self.data, &mine.data),
            ("recipe", &self.recipe, &mine.recipe),
            ("arithmetic", &self.arithmetic, &mine.arithmetic),
        ];
        let Some((what, theirs, mine)) = parts.into_iter().find(|(_, theirs, mine)| theirs != mine) else {
            return Ok(());
        };
        let (here, there) = first_difference(mine, theirs);
        let so = "so its results would not be either";
        Err((what, format!("this {what} is not the {whose}'s, {so}; here: {here}, {whose}: {there}")))
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
