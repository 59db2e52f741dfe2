//! `--cache FILE`: what runs found out about formulas, kept for later runs under the same conditions.
//!
//! A JSON object from a checksum of the conditions (program version, task, data, training, seed, arithmetic) to an object from formula
//! to fitness, and whether it was trained to the last rung. Whatever has an influence on a fitness is part of the conditions, so that what is read is what training would give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use lossmith_search::savings::Trained;
use sha2::{Digest, Sha256};

type Entries = BTreeMap<String, BTreeMap<String, Trained>>;

/// A cache file, under certain conditions.
#[derive(Clone, Debug)]
pub struct CacheFile {
    path: PathBuf,
    conditions: String,
}

impl CacheFile {
    /// The file, which need not exist.
    pub fn new(path: &Path, conditions: &str) -> Self {
        let checksum = Sha256::digest(conditions.as_bytes());
        let conditions = checksum.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { path: path.to_owned(), conditions }
    }

    /// What is known under the conditions.
    pub fn read(&self) -> anyhow::Result<BTreeMap<String, Trained>> {
        Ok(self.entries()?.remove(&self.conditions).unwrap_or_default())
    }

    /// Adds what was found out.
    pub fn add(&self, known: &[(String, Trained)]) -> anyhow::Result<()> {
        let mut entries = self.entries()?;
        entries.entry(self.conditions.clone()).or_default().extend(known.iter().cloned());
        let mut text = serde_json::to_string_pretty(&entries)?;
        text.push('\n');
        lossmith_data::atomic::replace(&self.path, text.as_bytes())
            .with_context(|| format!("--cache {}", self.path.display()))?;
        Ok(())
    }

    fn entries(&self) -> anyhow::Result<Entries> {
        if !self.path.exists() {
            return Ok(Entries::new());
        }
        let name = || format!("--cache {}", self.path.display());
        let text = lossmith_data::whole_text(&self.path).with_context(name)?;
        let entries: Entries = serde_json::from_str(&text)
            .with_context(|| format!("{}: this is no file that `search --cache` has written", name()))?;
        for (formula, known) in entries.values().flatten() {
            anyhow::ensure!(known.fitness.is_finite(), "{}: {formula}: the fitness is not finite", name());
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_is_kept_by_conditions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.json");
        let (a, b) = (CacheFile::new(&path, "a"), CacheFile::new(&path, "b"));
        assert!(a.read().unwrap().is_empty());
        let known = |formula: &str, fitness| (formula.to_owned(), Trained { fitness, to_the_end: true });
        a.add(&[known("x/y", 0.5), known("y", 0.25)]).unwrap();
        b.add(&[known("x/y", 0.75)]).unwrap();
        a.add(&[known("x", 0.125)]).unwrap();
        assert_eq!((a.read().unwrap().len(), b.read().unwrap()["x/y"].fitness), (3, 0.75));
        std::fs::write(&path, "[1]").unwrap();
        let error = format!("{:#}", a.read().unwrap_err());
        assert!(error.contains("cache.json") && error.contains("no file that"), "{error}");
    }
}
