//! `lossmith study URL`: how a study on PostgreSQL is doing.

use crate::output::{self, Answer, Table};
use crate::shared::address::Address;
use crate::shared::postgres::{Progress, Store};

/// The arguments of `study`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: lossmith study postgres://ada@db.example/losses#mnist\n\n\
    The part behind # is the study's name, 'default' without it; several studies share a database. \
    The password is never printed.")]
pub struct Args {
    /// Where the study is: postgres://user:password@host:port/database#study
    url: Address,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let progress = Store::progress(&args.url)?;
    if args.json {
        output::print_json(&progress)?;
    } else {
        output::print(&text(&progress))?;
    }
    Ok(Answer::Yes)
}

fn text(progress: &Progress) -> String {
    let state = if progress.finished { "finished" } else { "running" };
    let mut text = format!("study {}: {state}, generation {}\n", progress.study, progress.generation);
    let counts: Vec<String> = progress.candidates.iter().map(|(what, n)| format!("{n} {what}")).collect();
    text += &format!("candidates: {}; {} in the last hour\n", counts.join(", "), progress.outcomes_last_hour);
    if let Some(best) = progress.best {
        text += &format!("best fitness: {best}\n");
    }
    if !progress.leases.is_empty() {
        let mut table = Table::new(["worker", "candidate", "attempt", "lease"]);
        for l in &progress.leases {
            let lease = if l.lease_seconds < 0.0 { "expired".to_owned() } else { format!("{:.0} s", l.lease_seconds) };
            table.row([l.worker.clone(), l.candidate.clone(), l.attempt.to_string(), lease]);
        }
        text += &format!("\n{table}");
    }
    if !progress.failures.is_empty() {
        let mut table = Table::new(["latest errors", "attempt", "worker", "error"]);
        for f in &progress.failures {
            table.row([f.candidate.clone(), f.attempt.to_string(), f.worker.clone(), f.error.clone()]);
        }
        text += &format!("\n{table}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::postgres::{Failure, Running};

    #[test]
    fn the_text_says_what_people_ask() {
        let progress = Progress {
            study: "mnist".into(),
            generation: 3,
            finished: false,
            candidates: [("done".to_owned(), 240), ("running".to_owned(), 1)].into(),
            leases: vec![Running {
                candidate: "3.7".into(),
                worker: "ada:12:0".into(),
                attempt: 2,
                lease_seconds: 41.3,
            }],
            failures: vec![Failure {
                candidate: "3.7".into(),
                worker: "bob:9:1".into(),
                attempt: 1,
                error: "out of memory".into(),
            }],
            best: Some(0.9875),
            outcomes_last_hour: 80,
        };
        let expected = "study mnist: running, generation 3\n\
            candidates: 240 done, 1 running; 80 in the last hour\n\
            best fitness: 0.9875\n\n\
            worker    candidate  attempt  lease\n\
            ada:12:0        3.7        2   41 s\n\n\
            latest errors  attempt   worker          error\n\
            3.7                  1  bob:9:1  out of memory\n";
        assert_eq!(text(&progress), expected);
    }
}
