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
    anyhow::ensure!(run.path("report.json").is_file(), "{}", without_page(&run));
    let data: ReportData = run.read_json("report.json")?;
    let page = run.write("report.html", report::page(&data).as_bytes())?;
    output::print(&format!("{}\n", page.display()))?;
    Ok(Answer::Yes)
}

/// The files that commands leave when they are done.
const RESULTS: [&str; 4] = ["result.json", "comparison.json", "outcome.json", "scores.json"];

/// Why a run has no page: its command makes none, or it is not finished.
fn without_page(run: &Run) -> String {
    let folder = run.folder().display();
    let Some(command) = run.command() else {
        return format!("{folder}: an older program began this run, and it has no page; begin a new one");
    };
    let results: Vec<&str> = RESULTS.into_iter().filter(|file| run.path(file).is_file()).collect();
    if !results.is_empty() {
        let results = results.join(", ");
        return format!("{folder}: this run is finished, and `{command}` makes no page; its results are in {results}");
    }
    // These have no --resume.
    let again = ["train classifier", "train reldn"].contains(&command.as_str());
    let go_on = if again {
        format!("begin it anew: lossmith {command}")
    } else {
        format!("go on with: lossmith {command} --resume {folder}")
    };
    format!("{folder}: this run is not finished, so there is nothing to report yet; {go_on}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Identity;

    #[test]
    fn a_run_without_a_page_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let identity = Identity::new("compare cmat", String::new(), String::new(), String::new());
        let made = Run::begin(Some(&path), "compare-cmat", &identity).unwrap();
        let error = || run(Args { run: path.clone() }).unwrap_err().to_string();
        assert!(
            error().ends_with(&format!("go on with: lossmith compare cmat --resume {}", path.display())),
            "{}",
            error()
        );
        made.write("scores.json", b"{}").unwrap();
        assert!(
            error().contains("this run is finished, and `compare cmat` makes no page; its results are in scores.json")
        );
    }
}
