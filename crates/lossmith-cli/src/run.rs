//! A run is a folder: recipe, log, model, study, report. Nothing is overwritten unasked; files appear whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A run's folder.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
}

impl Run {
    /// Makes the folder of a new run: the one the user named, which must not hold anything yet, or a fresh one
    /// `runs/<name>-<number>`.
    pub fn create(named: Option<&Path>, name: &str) -> anyhow::Result<Self> {
        if let Some(folder) = named {
            let taken = folder.exists() && fs::read_dir(folder).map(|mut d| d.next().is_some()).unwrap_or(true);
            if taken {
                bail!(
                    "--out {}: this exists and is not an empty folder; name another, or go on with --resume",
                    folder.display()
                );
            }
            fs::create_dir_all(folder)
                .with_context(|| format!("--out {}: cannot make the folder", folder.display()))?;
            return Ok(Self { folder: folder.to_owned() });
        }
        fs::create_dir_all("runs").context("runs: cannot make the folder; name another place with --out")?;
        for number in 1.. {
            let folder = PathBuf::from(format!("runs/{name}-{number}"));
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(Self { folder }),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e).with_context(|| format!("{}: cannot make the folder", folder.display())),
            }
        }
        unreachable!("the numbers do not end")
    }

    /// An existing run.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        if !folder.join("recipe.toml").is_file() {
            bail!("{}: this is no run folder (it has no recipe.toml)", folder.display());
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Reads a JSON file of the run.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        serde_json::from_str(&self.read(name)?).with_context(|| self.path(name).display().to_string())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file whole, replacing the run's own earlier version of it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        lossmith_data::atomic::replace(&path, bytes)?;
        Ok(path)
    }

    /// Writes a value as indented JSON.
    pub fn write_json(&self, name: &str, value: &impl serde::Serialize) -> anyhow::Result<PathBuf> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    /// Reads a text file of the run.
    pub fn read(&self, name: &str) -> anyhow::Result<String> {
        Ok(lossmith_data::whole_text(&self.path(name))?)
    }
}
