//! A run is a folder: recipe, log, model, study, report. Nothing is overwritten unasked; files appear whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::study::Identity;

/// What the run began with.
const IDENTITY: &str = "identity.json";

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

    /// Makes the folder of a new run, with its recipe, and with all that must be the same where it goes on.
    pub fn begin(named: Option<&Path>, name: &str, identity: &Identity) -> anyhow::Result<Self> {
        let run = Self::create(named, name)?;
        run.keep(identity)?;
        Ok(run)
    }

    /// Writes the recipe, and with it all that must be the same where the run goes on.
    pub fn keep(&self, identity: &Identity) -> anyhow::Result<()> {
        self.write("recipe.toml", identity.recipe.as_bytes())?;
        self.write_json(IDENTITY, identity).map(drop)
    }

    /// Removes the folder of a run that never came to hold anything.
    pub fn remove_if_empty(&self) {
        // Of a folder that holds something, or that a system does not give away, nothing is lost.
        let _ = fs::remove_dir(&self.folder);
    }

    /// Opens a run to go on with it: one of `command`, begun by this program, whose recipe nobody has changed. Its data are still to be
    /// checked: see [`check`](Self::check).
    pub fn resume(folder: &Path, command: &str) -> anyhow::Result<(Self, Identity)> {
        let run = Self::open(folder)?;
        let began = run.identity()?;
        // A search's identity names its slot too.
        if began.task != command && !began.task.starts_with(&format!("{command} ")) {
            bail!("--resume {}: this is a run of `{}`, not of `{command}`", folder.display(), began.task);
        }
        run.check(&Identity { recipe: run.read("recipe.toml")?, ..began.by_this_program() })?;
        Ok((run, began))
    }

    /// Checks that what goes on in this run is what it began with.
    ///
    /// # Errors
    /// Names the part that differs: program, task, data, recipe or arithmetic.
    pub fn check(&self, mine: &Identity) -> anyhow::Result<()> {
        self.identity()?.check_resumed(mine).with_context(|| format!("--resume {}", self.folder.display()))
    }

    fn identity(&self) -> anyhow::Result<Identity> {
        if !self.path(IDENTITY).is_file() {
            bail!(
                "--resume {}: it has no {IDENTITY}, so it was killed before it began, or an older program began it; begin a new run with --out",
                self.folder.display()
            );
        }
        self.read_json(IDENTITY)
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
        let path = self.path(name);
        fs::read_to_string(&path).with_context(|| format!("{}: cannot be read", path.display()))
    }
}
