//! A run as it was begun: what `--resume` needs to go on as if nothing had happened.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lossmith_nets::Precision;
use serde::{Deserialize, Serialize};

use crate::run::Run;
use crate::study::{Address, Identity, without_passwords};

/// What is written into `run.json` when a run begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begun {
    /// The command line.
    pub command: String,
    /// The user's data folder, absolute.
    pub data: Option<PathBuf>,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// The losses of a comparison.
    pub losses: Vec<String>,
    /// The names of those that are given as files, or nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Option<String>>,
    /// The number of training images, or all.
    pub train_size: Option<u32>,
    /// Where a shared study is; its password is not kept.
    #[serde(default)]
    pub study: Option<String>,
    /// The file of what earlier searches found out, absolute.
    #[serde(default)]
    pub cache: Option<PathBuf>,
    /// What multiplies, as [`Judge::arithmetic`](crate::tasks::Judge::arithmetic) says it.
    #[serde(default = "not_said")]
    pub arithmetic: String,
}

/// What a run of an older program says.
fn not_said() -> String {
    "f32".to_owned()
}

impl Begun {
    /// A run that begins now.
    pub fn now(data: Option<&Path>, study: Option<&Address>) -> anyhow::Result<Self> {
        Ok(Self {
            command: without_passwords(std::env::args()).join(" "),
            data: data.map(Path::canonicalize).transpose()?,
            started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            losses: Vec::new(),
            files: Vec::new(),
            train_size: None,
            study: study.map(ToString::to_string),
            cache: None,
            arithmetic: Precision::F32.arithmetic(),
        })
    }

    /// Makes the run's folder.
    pub fn start(&self, out: Option<&Path>, name: &str, identity: &Identity) -> anyhow::Result<Run> {
        let run = Run::begin(out, name, identity)?;
        run.write_json("run.json", self)?;
        Ok(run)
    }

    /// What a run that was begun before says.
    pub fn read(run: &Run) -> anyhow::Result<Self> {
        anyhow::ensure!(
            run.path("run.json").is_file(),
            "{}: it has no run.json, so it was killed before it began; begin a new run with --out",
            run.folder().display()
        );
        run.read_json("run.json")
    }

    /// The day it began, as `2026-11-23`.
    pub fn date(&self) -> String {
        let (year, month, day) = civil(self.started / 86_400);
        format!("{year}-{month:02}-{day:02}")
    }
}

/// The date of a day counted from 1970-01-01 (the Gregorian calendar repeats every 146,097 days).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_are_dates() {
        for (days, date) in [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_780, (2026, 11, 23))] {
            assert_eq!(super::civil(days), date);
        }
    }
}
