//! The talk of a long command: a bar with time left on a terminal, a line for each stage elsewhere.

use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Pages are written anew this often while a stage is under way.
const REFRESH: Duration = Duration::from_secs(10);
/// Where there is no terminal, a long stage says this often how it gets on.
const SPEAK: Duration = Duration::from_secs(60);

/// A single training of a stage may take so long that this is said once more meanwhile.
const STILL: Duration = Duration::from_secs(300);

/// Whether it is time to say something where there is no terminal.
#[derive(Debug)]
pub struct Now(Instant);

impl Now {
    /// Nothing is to be said at once.
    pub fn and_then() -> Self {
        Self(Instant::now())
    }

    /// Whether nothing was said for long; then it is said now.
    pub fn is_time(&mut self) -> bool {
        let due = self.0.elapsed() >= SPEAK;
        if due {
            self.0 = Instant::now();
        }
        due
    }
}

/// Talks about the steps of one piece of work: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub struct Steps {
    what: &'static str,
    bar: ProgressBar,
    terminal: bool,
    now: Now,
    begun: Instant,
    /// Where this program began: a training may go on.
    first: Option<u64>,
}

impl Steps {
    /// So many steps, which are called `what`.
    pub fn new(what: &'static str, count: usize) -> Self {
        let style = format!("{{bar:30}} {what} {{pos}}/{{len}}, {{eta}} left, {{msg}}");
        let style = ProgressStyle::with_template(&style).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self {
            what,
            bar: ProgressBar::new(count as u64).with_style(style),
            terminal: std::io::stderr().is_terminal(),
            now: Now::and_then(),
            begun: Instant::now(),
            first: None,
        }
    }

    /// There are so many steps.
    pub fn set_count(&self, count: usize) {
        self.bar.set_length(count as u64);
    }

    /// So many are done, about which this is to be said.
    pub fn at(&mut self, done: usize, said: impl Display) {
        let done = done as u64;
        self.bar.set_position(done);
        if self.terminal {
            self.bar.set_message(said.to_string());
        } else if self.now.is_time() {
            tracing::info!("{}{}", self.line(done), Said(said));
        }
        self.first.get_or_insert(done);
    }

    fn line(&self, done: u64) -> String {
        let count = self.bar.length().unwrap_or(done);
        let own = done.saturating_sub(self.first.unwrap_or(0));
        let left = self.begun.elapsed().as_secs_f64() / own as f64 * count.saturating_sub(done) as f64;
        let left =
            if own > 0 { format!(", about {} left", in_words(Duration::from_secs_f64(left))) } else { String::new() };
        format!("{} {done} of {count}{left}", self.what)
    }

    /// Says something else meanwhile.
    pub fn suspend(&self, say: impl FnOnce()) {
        self.bar.suspend(say);
    }

    /// The work is done.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// What follows a comma, if there is anything.
struct Said<D>(D);

impl<D: Display> Display for Said<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = self.0.to_string();
        if said.is_empty() { Ok(()) } else { write!(f, ", {said}") }
    }
}

/// Says the last line again while nothing new can be said, so that a log shows that the program is at work.
#[derive(Debug)]
pub struct Still {
    lines: Option<Sender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Still {
    /// Nothing was said yet.
    pub fn begin() -> Self {
        let (lines, heard) = mpsc::channel::<String>();
        let thread = std::thread::spawn(move || {
            let mut last = None;
            loop {
                match heard.recv_timeout(STILL) {
                    Ok(line) => last = Some(line),
                    Err(RecvTimeoutError::Timeout) => {
                        if let Some(line) = &last {
                            tracing::info!("{line}; still at work");
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Self { lines: Some(lines), thread: Some(thread) }
    }

    /// This was said, or is going on.
    pub fn hear(&self, line: String) {
        // The listener ends with this only.
        self.lines.iter().for_each(|lines| drop(lines.send(line.clone())));
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.lines = None;
        self.thread.take().map(JoinHandle::join);
    }
}

/// Talks about stages of trials.
#[derive(Debug)]
pub struct Talk {
    bar: ProgressBar,
    terminal: bool,
    /// Where there is no terminal.
    still: Option<Still>,
    begun: Instant,
    stage: Stage,
    /// Trials that were done since this program began, the present stage's left out.
    trials_before: usize,
    /// Training steps, likewise.
    steps_before: f64,
    /// When a page was last written.
    refreshed: Option<Instant>,
    /// When something is to be said where there is no terminal.
    now: Now,
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
            still: (!terminal && !quiet).then(Still::begin),
            begun: now,
            stage: Stage::default(),
            trials_before: 0,
            steps_before: 0.0,
            refreshed: None,
            now: Now::and_then(),
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
        } else if more && self.now.is_time() {
            self.speak();
        }
        if more {
            self.still.iter().for_each(|still| still.hear(self.pace().to_string()));
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
        let said = self.pace().to_string();
        tracing::info!("{said}");
        self.now = Now::and_then();
        self.still.iter().for_each(|still| still.hear(said.clone()));
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
    fn steps_say_how_they_get_on() {
        let mut steps = Steps::new("step", 1_000);
        steps.at(400, "loss 1");
        steps.begun = Instant::now() - Duration::from_secs(60);
        assert_eq!(steps.line(600), "step 600 of 1000, about 2 min left");
        assert_eq!(format!("{}{}", Said(""), Said("loss 1")), ", loss 1");
    }

    #[test]
    fn spans_are_said_as_people_do() {
        let words = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!([words(40), words(720), words(12_000)], ["40 s", "12 min", "3 h 20 min"]);
    }
}
