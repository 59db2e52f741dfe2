//! A run is a folder: recipe, log, model, study, report. Nothing is overwritten unasked; files appear whole.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::study::Identity;

/// What the run began with.
const IDENTITY: &str = "identity.json";
/// The file that is locked while a program is at work in the run.
const LOCK: &str = ".lock";

/// A run's folder.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
    /// Held while the program is at work in the run; the system lets go of it however the program ends.
    lock: Option<Arc<File>>,
}

impl Run {
    /// Makes the folder of a new run: the one the user named, which must not hold anything yet, or a fresh one
    /// `runs/<name>-<number>`.
    pub fn create(named: Option<&Path>, name: &str) -> anyhow::Result<Self> {
        if let Some(folder) = named {
            if folder.exists() && !holds_nothing(folder) {
                bail!(
                    "--out {}: this exists and is not an empty folder; name another, or go on with --resume",
                    folder.display()
                );
            }
            fs::create_dir_all(folder)
                .with_context(|| format!("--out {}: cannot make the folder", folder.display()))?;
            return Ok(Self { folder: folder.to_owned(), lock: lock(folder)? });
        }
        fs::create_dir_all("runs").context("runs: cannot make the folder; name another place with --out")?;
        for number in 1.. {
            let folder = PathBuf::from(format!("runs/{name}-{number}"));
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(Self { lock: lock(&folder)?, folder }),
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
        if holds_nothing(&self.folder) {
            // Where the system does not give them away nothing is lost.
            let _ = fs::remove_file(self.path(LOCK)).and_then(|()| fs::remove_dir(&self.folder));
        }
    }

    /// Opens a run to go on with it: one of `command`, begun by this program, whose recipe nobody has changed, and in which no other
    /// program is at work. Its data are still to be checked: see [`check`](Self::check).
    pub fn resume(folder: &Path, command: &str) -> anyhow::Result<(Self, Identity)> {
        let mut run = Self::open(folder)?;
        let began = run.identity()?;
        let of_run = command_of(&began.task);
        if of_run != command {
            bail!(
                "--resume {0}: this is a run of `{of_run}`, not of `{command}`; go on with: lossmith {of_run} --resume {0}",
                folder.display()
            );
        }
        run.lock = lock(folder)?;
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

    /// Which command the run is of, if it says so.
    pub fn command(&self) -> Option<String> {
        let began: Identity = self.read_json(IDENTITY).ok()?;
        Some(command_of(&began.task).to_owned())
    }

    /// An existing run, to be read.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        if !folder.join("recipe.toml").is_file() {
            bail!("{}: this is no run folder (it has no recipe.toml)", folder.display());
        }
        Ok(Self { folder: folder.to_owned(), lock: None })
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

/// The command of a task: a search's names its slot too, which a run that goes on is not asked for.
fn command_of(task: &str) -> &str {
    task.split(" --").next().unwrap_or(task)
}

/// Whether there is nothing in a folder but the file that it was locked by.
fn holds_nothing(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut there| there.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK)))
}

/// Locks a run; `None` where the file system has no locks.
fn lock(folder: &Path) -> anyhow::Result<Option<Arc<File>>> {
    let path = folder.join(LOCK);
    let open = File::options().create(true).append(true).open(&path);
    let file = open.with_context(|| format!("{}: cannot be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Arc::new(file))),
        Err(TryLockError::WouldBlock) => {
            bail!("{}: another program is at work in this run; wait for its end, or stop it first", folder.display())
        }
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(None),
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("{}: cannot be locked", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(task: &str) -> Identity {
        Identity::new(task, String::new(), String::new(), String::new())
    }

    #[test]
    fn a_run_has_one_program_at_work_and_one_command() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("run");
        let resume = |command: &str| Run::resume(&folder, command).map_err(|e| e.to_string());
        let run = Run::begin(Some(&folder), "a", &identity("compare embedding")).unwrap();
        let error = resume("compare embedding").unwrap_err();
        assert!(error.contains("another program is at work in this run"), "{error}");
        let clone = run.clone();
        drop(run);
        assert!(resume("compare embedding").is_err());
        assert_eq!(Run::open(&folder).unwrap().command().unwrap(), "compare embedding");
        drop(clone);
        let error = resume("search classifier").unwrap_err();
        assert!(error.contains("this is a run of `compare embedding`, not of `search classifier`; go on with: lossmith compare embedding --resume"), "{error}");
        resume("compare embedding").unwrap();
        assert!(Run::create(Some(&folder), "cmat").is_err(), "it is not empty");
        assert_eq!(command_of("search embedding --slot pull"), "search embedding");
    }

    #[test]
    fn a_run_that_holds_nothing_goes() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("run");
        let run = Run::create(Some(&folder), "a").unwrap();
        run.remove_if_empty();
        assert!(!folder.exists());
        let run = Run::create(Some(&folder), "a").unwrap();
        run.write("log", b"").unwrap();
        run.remove_if_empty();
        assert!(folder.exists());
    }
}
