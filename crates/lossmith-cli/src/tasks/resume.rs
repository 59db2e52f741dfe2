//! What a training leaves in its run while it goes: so it goes on after Ctrl-C or a kill, and ends in the same bytes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Context;
use lossmith_burn::checkpoint::{Checkpoint, Save};

use crate::interrupt::{self, Interrupted};
use crate::run::Run;

/// The state of the training.
const STATE: &str = "checkpoint.bin";
/// The course of the training, a line for each step.
const LOG: &str = "log.jsonl";

/// How often the state is saved.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Saving {
    /// Seconds from one saving of the training's state to the next; --resume goes on from the last
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = crate::args::whole::<u64>(..))]
    save_every: u64,
}

/// The log of a training, and its state from time to time.
pub struct Keeper<'r> {
    run: &'r Run,
    every: Duration,
    last: Instant,
    log: String,
}

impl<'r> Keeper<'r> {
    /// For a new run, or for one that goes on: then with its last state, if it got so far as to have one.
    pub fn open(run: &'r Run, saving: Saving) -> anyhow::Result<(Self, Option<Checkpoint>)> {
        let mut keeper =
            Self { run, every: Duration::from_secs(saving.save_every), last: Instant::now(), log: String::new() };
        let path = run.path(STATE);
        if !path.is_file() {
            return Ok((keeper, None));
        }
        let bytes = lossmith_data::whole_bytes(&path)?;
        let state = Checkpoint::from_bytes(&bytes).with_context(|| path.display().to_string())?;
        // A kill may have come between the log and the state.
        keeper.log = run.read(LOG)?.split_inclusive('\n').take(state.step).collect();
        let steps = keeper.log.lines().count();
        anyhow::ensure!(
            steps == state.step,
            "{}: {steps} steps, but {} has {}",
            run.path(LOG).display(),
            path.display(),
            state.step
        );
        Ok((keeper, Some(state)))
    }

    /// Adds a step to the log, and saves the state where it is time; ends the training where the user asked for it.
    pub fn step(&mut self, line: &serde_json::Value, save: &Save<'_>) -> anyhow::Result<ControlFlow<()>> {
        self.log += &format!("{line}\n");
        let stop = interrupt::asked();
        if stop || self.last.elapsed() >= self.every {
            self.write_log()?;
            self.run.write(STATE, &save()?.to_bytes())?;
            self.last = Instant::now();
        }
        Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// The log as it is now.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Writes the log into the run.
    pub fn write_log(&self) -> anyhow::Result<()> {
        self.run.write(LOG, self.log.as_bytes()).map(drop)
    }

    /// Says how to go on, if the user asked to stop; `command` is what was typed.
    pub fn check_stopped(&self, command: &str) -> anyhow::Result<()> {
        if !interrupt::asked() {
            return Ok(());
        }
        let folder = self.run.folder().display();
        Err(Interrupted).with_context(|| format!("go on with `lossmith {command} --resume {folder}`"))
    }

    /// The training is done and its model written: the state is not needed any more.
    pub fn finish(self) -> anyhow::Result<()> {
        let path = self.run.path(STATE);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("{}: cannot be removed", path.display()))
            }
            _ => Ok(()),
        }
    }
}
