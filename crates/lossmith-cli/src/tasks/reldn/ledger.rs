//! Finished trainings of a comparison, one JSON line each, so that a kill loses at most one.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Figures;
use crate::interrupt;

/// The trainings that are done, and the file that they are kept in.
pub struct Ledger {
    file: Option<PathBuf>,
    done: HashMap<String, Figures>,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    training: String,
    figures: Figures,
}

impl Ledger {
    /// The ledger of a file, which may not be there yet; without a file nothing is kept.
    pub fn open(file: Option<PathBuf>) -> anyhow::Result<Self> {
        let text = match &file {
            Some(path) if path.exists() => {
                std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?
            }
            _ => String::new(),
        };
        let mut done = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let place = || format!("{}, line {}", file.as_deref().unwrap_or("".as_ref()).display(), at + 1);
            let line: Line = serde_json::from_str(line).with_context(place)?;
            done.insert(line.training, line.figures);
        }
        Ok(Self { file, done, text })
    }

    /// The figures of a training: kept ones, or those of `train`, which are kept from now on.
    pub fn figures(
        &mut self,
        training: &str,
        train: impl FnOnce() -> anyhow::Result<Figures>,
    ) -> anyhow::Result<Figures> {
        if let Some(figures) = self.done.get(training) {
            return Ok(figures.clone());
        }
        if interrupt::asked() {
            return Err(interrupt::Interrupted.into());
        }
        let figures = train()?;
        if interrupt::asked() {
            // The training may have been cut short: it is not to be kept.
            return Err(interrupt::Interrupted.into());
        }
        self.done.insert(training.to_owned(), figures.clone());
        if let Some(path) = &self.file {
            let line = Line { training: training.to_owned(), figures: figures.clone() };
            self.text += &format!("{}\n", serde_json::to_string(&line)?);
            lossmith_data::atomic::replace(path, self.text.as_bytes())?;
        }
        Ok(figures)
    }
}
