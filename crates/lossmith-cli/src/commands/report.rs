//! `lossmith report RUN`: the run's page, made anew from its data.

use std::path::PathBuf;

use crate::output::{self, Answer};
use crate::report::{self, ReportData};
use crate::run::Run;

/// The arguments of `report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's folder
    run: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    let run = Run::open(&args.run)?;
    anyhow::ensure!(
        run.path("report.json").is_file(),
        "{}: this run has nothing to report yet; finish it with --resume",
        run.folder().display()
    );
    let data: ReportData = run.read_json("report.json")?;
    let page = run.write("report.html", report::page(&data).as_bytes())?;
    output::print(&format!("{}\n", page.display()))?;
    Ok(Answer::Yes)
}
