//! `lossmith worker`: does trials of a study that a search elsewhere leads.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use lossmith_search::trial::Trial;

use crate::interrupt;
use crate::output::{self, Answer};
use crate::study::{self, Identity, Lease, PostgresStudy, Typed, lease_length};
use crate::tasks;

/// How many trials are taken at once, at most.
const BATCH: usize = 16;

/// The arguments of `worker`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: lossmith worker --study postgres://ada@db.example/losses#mnist --data mnist --threads 8\n\n\
    The search itself is begun with `lossmith search TASK --study URL`, which works too; it may be stopped and resumed while workers go on. \
    A worker takes the recipe from the study, works until the study has ended, and may be killed at any moment: its trials are done by \
    others when its lease expires."
)]
pub struct Args {
    /// The study: postgres://user:password@host/database#name; the password may stand in PGPASSWORD
    #[arg(long, value_name = "URL")]
    study: Typed,
    /// The data of the study on this machine, checked by their checksum; none for generated data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Threads that train; all cores without it
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<u16>(1..))]
    threads: Option<u16>,
    /// Seconds after which the work of a worker that gives no sign of life is given to another; the study's, so there is no need to say it
    #[arg(long, value_name = "SECONDS", value_parser = lease_length)]
    lease: Option<Duration>,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build_global().context("--threads")?;
    }
    let address = args.study.address("--study")?;
    let theirs = PostgresStudy::identity(&address)?;
    // First of all: another version may read recipe and data in another way.
    theirs.check(&theirs.by_this_program())?;
    let judge = tasks::judge(&theirs.task, &theirs.recipe, args.data.as_deref())
        .with_context(|| format!("{address}: cannot work for this study"))?;
    let mine = Identity::new(&theirs.task, judge.checksum()?, judge.recipe()?, judge.arithmetic());
    let mut study = PostgresStudy::join(&address, &mine, Lease::new(args.lease))?;
    tracing::info!("working for {address}, {}", theirs.task);
    let mut evaluate = |trials: &[Trial]| judge.evaluate(trials);
    let stored = study::work(&mut study, BATCH, &mut evaluate)?;
    output::print(&format!("{stored} trainings done\n"))?;
    if interrupt::asked() { Err(interrupt::Interrupted.into()) } else { Ok(Answer::Yes) }
}
