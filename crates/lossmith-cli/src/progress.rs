//! The talk of a long command: a bar with time left on a terminal, a line for each stage elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Talks about a stage of trials.
#[derive(Debug)]
pub struct Talk {
    bar: ProgressBar,
    terminal: bool,
}

impl Talk {
    /// Nothing is said yet, and nothing ever if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(None, target), terminal }
    }

    /// A stage begins, of which some trials may be done already.
    pub fn stage(&mut self, name: &str, done: usize, trials: usize) {
        self.bar.finish_and_clear();
        if !self.terminal {
            tracing::info!("{name}: {} trainings", trials - done);
            return;
        }
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}, {eta} left").expect("a fixed template");
        self.bar = ProgressBar::with_draw_target(Some(trials as u64), ProgressDrawTarget::stderr()).with_style(style);
        self.bar.set_message(name.to_owned());
        self.bar.set_position(done as u64);
        self.bar.enable_steady_tick(Duration::from_millis(250));
    }

    /// A trial is done.
    pub fn trial(&mut self) {
        self.bar.inc(1);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
