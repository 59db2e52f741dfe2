//! `lossmith study URL`: how a study on PostgreSQL is doing.

use crate::output::{self, Answer, Table};
use crate::study::{Progress, Typed, progress};

/// The arguments of `study`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: lossmith study postgres://ada@db.example/losses#mnist\n\n\
    The part behind # is the study's name; several studies share a database, and without a name all are listed. \
    The password is never printed.")]
pub struct Args {
    /// Where the study is: postgres://user:password@host:port/database#study
    url: Typed,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let address = args.url.address("URL")?;
    let studies = progress(&address)?;
    if args.json {
        match &studies[..] {
            [one] if address.has_name() => output::print_json(one)?,
            all => output::print_json(&all)?,
        }
        return Ok(Answer::Yes);
    }
    match &studies[..] {
        [one] => output::print(&text(one))?,
        all => output::print(&list(all))?,
    }
    Ok(Answer::Yes)
}

/// A line for each study.
fn list(studies: &[Progress]) -> String {
    let mut table = Table::new(["study", "task", "", "stage", "trainings", "open", "best"]);
    for study in studies {
        let count = |open: bool| {
            let states =
                study.trials.iter().filter(|(state, _)| ["queued", "running"].contains(&state.as_str()) == open);
            states.map(|(_, n)| n).sum::<i64>().to_string()
        };
        let best = study.best.map_or_else(|| "-".to_owned(), fitness);
        let row = [study.study.clone(), study.task.clone(), state(study).to_owned(), study.stage.to_string()];
        table.row(row.into_iter().chain([count(false), count(true), best]));
    }
    table.to_string()
}

fn state(progress: &Progress) -> &'static str {
    if progress.finished { "finished" } else { "running" }
}

/// As many digits as `search` shows.
fn fitness(value: f64) -> String {
    format!("{value:.4}")
}

fn text(progress: &Progress) -> String {
    let mut text =
        format!("study {} ({}): {}, stage {}\n", progress.study, progress.task, state(progress), progress.stage);
    let counts: Vec<String> = progress.trials.iter().map(|(what, n)| format!("{n} {what}")).collect();
    text += &format!("trainings: {}; {} in the last hour\n", counts.join(", "), progress.outcomes_last_hour);
    text += &format!("program {}, arithmetic {}\n", progress.version, progress.arithmetic);
    if let Some(best) = progress.best {
        text += &format!("best fitness: {}\n", fitness(best));
    }
    if !progress.leases.is_empty() {
        let mut table = Table::new(["worker", "training", "attempt", "lost", "lease"]);
        for l in &progress.leases {
            let lease = if l.lease_seconds < 0.0 { "expired".to_owned() } else { format!("{:.0} s", l.lease_seconds) };
            table.row([l.worker.clone(), l.trial.clone(), l.attempt.to_string(), l.lost.to_string(), lease]);
        }
        text += &format!("\n{table}");
    }
    if !progress.failures.is_empty() {
        let mut table = Table::new(["latest errors", "attempt", "worker", "error"]);
        for f in &progress.failures {
            table.row([f.trial.clone(), f.attempt.to_string(), f.worker.clone(), f.error.clone()]);
        }
        text += &format!("\n{table}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::{Failure, Running};

    #[test]
    fn the_text_says_what_people_ask() {
        let progress = Progress {
            study: "mnist".into(),
            task: "classifier".into(),
            version: "0.1.0+ab12".into(),
            arithmetic: "f32".into(),
            stage: 3,
            finished: false,
            trials: [("done".to_owned(), 240), ("running".to_owned(), 1)].into(),
            leases: vec![Running {
                trial: "3.7".into(),
                worker: "ada:12:0".into(),
                attempt: 2,
                lost: 1,
                lease_seconds: 41.3,
            }],
            failures: vec![Failure {
                trial: "3.7".into(),
                worker: "bob:9:1".into(),
                attempt: 1,
                error: "out of memory".into(),
            }],
            best: Some(0.98754999),
            outcomes_last_hour: 80,
        };
        let expected = "study mnist (classifier): running, stage 3\n\
            trainings: 240 done, 1 running; 80 in the last hour\n\
            program 0.1.0+ab12, arithmetic f32\n\
            best fitness: 0.9875\n\n\
            worker    training  attempt  lost  lease\n\
            ada:12:0       3.7        2     1   41 s\n\n\
            latest errors  attempt   worker          error\n\
            3.7                  1  bob:9:1  out of memory\n";
        assert_eq!(text(&progress), expected);
        let other = Progress { study: "cifar".into(), finished: true, best: None, ..progress.clone() };
        let expected = "study        task            stage  trainings  open    best\n\
            mnist  classifier   running      3        240     1  0.9875\n\
            cifar  classifier  finished      3        240     1       -\n";
        assert_eq!(list(&[progress, other]), expected);
    }
}
