//! The talk of a long command: a bar with time left on a terminal, a line for each stage elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Pages are written anew this often while a stage is under way.
const REFRESH: Duration = Duration::from_secs(10);
/// Where there is no terminal, a long stage says this often how it gets on.
const SPEAK: Duration = Duration::from_secs(60);

/// Talks about stages of trials.
#[derive(Debug)]
pub struct Talk {
    bar: ProgressBar,
    terminal: bool,
    begun: Instant,
    stage: Stage,
    /// Trials that were done since this program began, the present stage's left out.
    trials_before: usize,
    /// Training steps, likewise.
    steps_before: f64,
    /// When a page was last written.
    refreshed: Option<Instant>,
    /// When something was last said where there is no terminal.
    spoke: Instant,
}

#[derive(Clone, Debug, Default)]
struct Stage {
    name: String,
    trials: usize,
    steps: u64,
    /// Done before this program came to the stage.
    found: usize,
    done: usize,
    steps_to_come: u64,
}

impl Stage {
    fn own_trials(&self) -> usize {
        self.done.saturating_sub(self.found)
    }

    fn steps_of(&self, trials: usize) -> f64 {
        self.steps as f64 * trials as f64 / self.trials.max(1) as f64
    }
}

/// How a study gets on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    /// What is being done.
    pub stage: String,
    /// Trials of the stage that are done.
    pub done: usize,
    /// Trials of the stage.
    pub trials: usize,
    /// Trials an hour, everybody's, since this program began; none until one is done.
    pub per_hour: Option<f64>,
    /// About how long the whole plan still takes.
    pub left: Option<Duration>,
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} of {} trainings", self.stage, self.done, self.trials)?;
        if let Some(rate) = self.per_hour {
            write!(f, ", {rate:.0} an hour")?;
        }
        if let Some(left) = self.left {
            write!(f, ", about {} left in all", in_words(left))?;
        }
        Ok(())
    }
}

/// A span of time as people say it: `40 s`, `12 min`, `3 h 20 min`.
pub fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6_000 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

impl Talk {
    /// Nothing is said yet, and nothing ever if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let now = Instant::now();
        Self {
            bar: ProgressBar::with_draw_target(None, target),
            terminal,
            begun: now,
            stage: Stage::default(),
            trials_before: 0,
            steps_before: 0.0,
            refreshed: None,
            spoke: now,
        }
    }

    /// A stage begins, of which some trials may be done already. `steps` are its training steps in all, `to_come` about those of
    /// the stages after it.
    pub fn stage(&mut self, name: &str, done: usize, trials: usize, steps: u64, to_come: u64) {
        self.trials_before += self.stage.own_trials();
        self.steps_before += self.stage.steps_of(self.stage.own_trials());
        self.stage = Stage { name: name.to_owned(), trials, steps, found: done, done, steps_to_come: to_come };
        self.bar.finish_and_clear();
        if !self.terminal {
            self.speak();
            return;
        }
        let style = ProgressStyle::with_template("{msg} [{bar:20}]").expect("a fixed template");
        self.bar = ProgressBar::with_draw_target(Some(trials as u64), ProgressDrawTarget::stderr()).with_style(style);
        self.bar.enable_steady_tick(Duration::from_millis(250));
        self.at(done);
    }

    /// So many trials of the stage are done.
    pub fn at(&mut self, done: usize) {
        let more = done > self.stage.done;
        self.stage.done = done;
        self.bar.set_position(done as u64);
        if self.terminal {
            self.bar.set_message(self.pace().to_string());
        } else if more && self.spoke.elapsed() >= SPEAK {
            self.speak();
        }
    }

    /// One more trial of the stage is done.
    pub fn one_more(&mut self) {
        self.at(self.stage.done + 1);
    }

    /// One more trial of the stage turns out to have been done before, which says nothing about the pace.
    pub fn was_done(&mut self) {
        self.stage.found += 1;
        self.one_more();
    }

    fn speak(&mut self) {
        tracing::info!("{}", self.pace());
        self.spoke = Instant::now();
    }

    /// How it goes.
    pub fn pace(&self) -> Pace {
        let stage = &self.stage;
        let seconds = self.begun.elapsed().as_secs_f64().max(1e-3);
        let trials = self.trials_before + stage.own_trials();
        let steps = self.steps_before + stage.steps_of(stage.own_trials());
        let open = stage.steps_of(stage.trials.saturating_sub(stage.done)) + stage.steps_to_come as f64;
        Pace {
            stage: stage.name.clone(),
            done: stage.done,
            trials: stage.trials,
            per_hour: (trials > 0).then(|| trials as f64 / seconds * 3_600.0),
            left: (steps > 0.0).then(|| Duration::from_secs_f64((open / steps * seconds).min(1e9))),
        }
    }

    /// Whether a page that shows the pace is due to be written anew.
    pub fn is_time(&mut self) -> bool {
        let due = self.refreshed.is_none_or(|at| at.elapsed() >= REFRESH);
        if due {
            self.refreshed = Some(Instant::now());
        }
        due
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_counts_steps_of_all_stages() {
        let mut talk = Talk::new(true);
        talk.begun = Instant::now() - Duration::from_secs(100);
        talk.stage("short", 2, 12, 120, 1_900);
        assert_eq!((talk.pace().per_hour, talk.pace().left), (None, None), "what others did before says nothing");
        talk.at(12);
        // 100 steps in 100 seconds, and 1,900 to come.
        let pace = talk.pace();
        assert!((pace.per_hour.unwrap() - 360.0).abs() < 1.0, "{pace:?}");
        assert_eq!(pace.left.unwrap().as_secs(), 1_900);
        assert_eq!(pace.to_string(), "short: 12 of 12 trainings, 360 an hour, about 32 min left in all");
    }

    #[test]
    fn spans_are_said_as_people_do() {
        let words = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!([words(40), words(720), words(12_000)], ["40 s", "12 min", "3 h 20 min"]);
    }
}
