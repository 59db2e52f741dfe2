//! A run is a folder: recipe, log, model, study, report. Nothing is overwritten unasked; files appear whole.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};

/// The file that holds which command's run this is, and that is locked while a program is at work in it.
const LOCK: &str = ".lock";

/// A run's folder.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
    /// Held while the program is at work in the run; the system lets go of it however the program ends.
    _lock: Option<Arc<File>>,
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
            return Ok(Self { folder: folder.to_owned(), _lock: lock(folder, name)? });
        }
        fs::create_dir_all("runs").context("runs: cannot make the folder; name another place with --out")?;
        for number in 1.. {
            let folder = PathBuf::from(format!("runs/{name}-{number}"));
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(Self { _lock: lock(&folder, name)?, folder }),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e).with_context(|| format!("{}: cannot make the folder", folder.display())),
            }
        }
        unreachable!("the numbers do not end")
    }

    /// An existing run, to be read.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        if !folder.join("recipe.toml").is_file() {
            bail!("{}: this is no run folder (it has no recipe.toml)", folder.display());
        }
        Ok(Self { folder: folder.to_owned(), _lock: None })
    }

    /// An existing run, to go on with; `name` is what it was created with.
    ///
    /// # Errors
    /// No run, one of another command, or one in which another program is at work.
    pub fn resume(folder: &Path, name: &str) -> anyhow::Result<Self> {
        Self::open(folder)?.check_command(name)?;
        Ok(Self { folder: folder.to_owned(), _lock: lock(folder, name)? })
    }

    /// Checks that the run was created with this name.
    pub fn check_command(&self, name: &str) -> anyhow::Result<()> {
        let mut of_run = String::new();
        // Runs of earlier versions do not say it.
        if let Ok(file) = File::open(self.path(LOCK)) {
            file.take(200).read_to_string(&mut of_run).with_context(|| self.path(LOCK).display().to_string())?;
        }
        let (of_run, folder) = (of_run.trim(), self.folder.display());
        ensure!(
            of_run.is_empty() || of_run == name,
            "{folder}: this is a run of `{}`, not of `{}`; go on with: lossmith {0} --resume {folder}",
            command_of(of_run),
            command_of(name)
        );
        Ok(())
    }

    /// Which command the run is of, if it says so.
    pub fn command(&self) -> Option<String> {
        let name = self.read(LOCK).ok()?;
        Some(command_of(name.trim())).filter(|command| !command.is_empty())
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

/// The command by which a run of this name is made: `compare embedding` for `compare-embedding`, `train cmat` for `cmat`.
fn command_of(name: &str) -> String {
    match name.split_once('-') {
        Some((verb @ ("compare" | "search" | "train"), task)) => format!("{verb} {task}"),
        Some(("reproduce", id)) => format!("reproduce {}", id.replacen('-', "/", 1)),
        _ if name.is_empty() => String::new(),
        _ => format!("train {name}"),
    }
}

/// Locks a run, which says from now on what it was created as; `None` where the file system has no locks.
fn lock(folder: &Path, name: &str) -> anyhow::Result<Option<Arc<File>>> {
    let path = folder.join(LOCK);
    let place = || path.display().to_string();
    let mut file = File::options().create(true).append(true).open(&path).with_context(place)?;
    match file.try_lock() {
        Ok(()) => {
            if file.metadata().with_context(place)?.len() == 0 {
                file.write_all(format!("{name}\n").as_bytes()).with_context(place)?;
            }
            Ok(Some(Arc::new(file)))
        }
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

    #[test]
    fn a_run_has_one_program_at_work_and_one_command() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("run");
        let run = Run::create(Some(&folder), "compare-embedding").unwrap();
        run.write("recipe.toml", b"").unwrap();
        let error = Run::resume(&folder, "compare-embedding").unwrap_err().to_string();
        assert!(error.contains("another program is at work in this run"), "{error}");
        let clone = run.clone();
        drop(run);
        assert!(Run::resume(&folder, "compare-embedding").is_err());
        assert_eq!(Run::open(&folder).unwrap().command().unwrap(), "compare embedding");
        drop(clone);
        let error = Run::resume(&folder, "search-classifier").unwrap_err().to_string();
        assert!(error.contains("this is a run of `compare embedding`, not of `search classifier`; go on with: lossmith compare embedding --resume"), "{error}");
        Run::resume(&folder, "compare-embedding").unwrap();
        assert!(Run::create(Some(&folder), "cmat").is_err(), "it is not empty");
        assert_eq!(
            ["cmat", "reproduce-glo-fig2", "search-reldn"].map(command_of),
            ["train cmat", "reproduce glo/fig2", "search reldn"]
        );
    }
}
