//! The study in one SQLite file: the default, for one process.

use std::path::Path;

use anyhow::Context;
use lossmith_search::trial::{End, Outcome, Trial};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Job, MOST_ERRORS, Stage, Study};

/// A study in a SQLite file.
#[derive(Debug)]
pub struct SqliteStudy {
    connection: Connection,
}

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS stage (
        number INTEGER PRIMARY KEY,
        state TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS trial (
        stage INTEGER NOT NULL REFERENCES stage,
        place INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        errors INTEGER NOT NULL DEFAULT 0,
        trial TEXT NOT NULL,
        outcome TEXT,
        PRIMARY KEY (stage, place)
    ) STRICT;";

impl SqliteStudy {
    /// Opens the file, making it where there is none.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let connection =
            Connection::open(file).with_context(|| format!("{}: cannot open the study", file.display()))?;
        connection.execute_batch(SCHEMA).with_context(|| format!("{}: cannot be used as a study", file.display()))?;
        Ok(Self { connection })
    }
}

impl Study for SqliteStudy {
    fn latest(&mut self) -> anyhow::Result<Option<Stage>> {
        let stage = self
            .connection
            .query_row("SELECT number, state FROM stage ORDER BY number DESC LIMIT 1", [], |row| {
                Ok(Stage { number: row.get(0)?, state: row.get(1)? })
            })
            .optional()?;
        Ok(stage)
    }

    fn open(&mut self, stage: &Stage, trials: &[Trial]) -> anyhow::Result<()> {
        let transaction = self.connection.transaction()?;
        let opened = transaction.execute(
            "INSERT OR IGNORE INTO stage (number, state) VALUES (?1, ?2)",
            params![stage.number, stage.state],
        )?;
        if opened == 1 {
            // Only the latest state is ever needed, and a long search's is large.
            transaction.execute("UPDATE stage SET state = '' WHERE number < ?1", [stage.number])?;
            let mut insert = transaction.prepare("INSERT INTO trial (stage, place, trial) VALUES (?1, ?2, ?3)")?;
            for (place, trial) in (0u32..).zip(trials) {
                insert.execute(params![stage.number, place, serde_json::to_string(trial)?])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn take(&mut self, most: usize) -> anyhow::Result<Vec<Job>> {
        let mut take = self.connection.prepare_cached(
            "UPDATE trial SET attempt = attempt + 1
             WHERE rowid IN (SELECT rowid FROM trial WHERE outcome IS NULL ORDER BY stage, place LIMIT ?1)
             RETURNING stage, place, attempt, trial",
        )?;
        let rows =
            take.query_map([most as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?)))?;
        let mut jobs = Vec::new();
        for row in rows {
            let (stage, place, attempt, trial) = row?;
            jobs.push(Job { stage, place, attempt, trial: serde_json::from_str(&trial)? });
        }
        jobs.sort_by_key(|job| job.place);
        Ok(jobs)
    }

    fn finish(&mut self, done: &[(Job, Outcome)]) -> anyhow::Result<()> {
        let transaction = self.connection.transaction()?;
        for (job, outcome) in done {
            store(&transaction, job, outcome)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn give_back(&mut self, jobs: &[Job], error: Option<&str>) -> anyhow::Result<()> {
        let Some(error) = error else { return Ok(()) };
        let transaction = self.connection.transaction()?;
        for job in jobs {
            let errors: u32 = transaction.query_row(
                "UPDATE trial SET errors = errors + 1 WHERE stage = ?1 AND place = ?2 RETURNING errors",
                params![job.stage, job.place],
                |row| row.get(0),
            )?;
            if errors >= MOST_ERRORS {
                store(&transaction, job, &Outcome::without_score(End::Failed(error.to_owned()), 0))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn done(&mut self, stage: u32) -> anyhow::Result<usize> {
        let mut count =
            self.connection.prepare_cached("SELECT count(*) FROM trial WHERE stage = ?1 AND outcome IS NOT NULL")?;
        Ok(count.query_row([stage], |row| row.get::<_, i64>(0))? as usize)
    }

    fn outcomes(&mut self, stage: u32) -> anyhow::Result<Vec<(Trial, Option<Outcome>)>> {
        let mut all =
            self.connection.prepare_cached("SELECT trial, outcome FROM trial WHERE stage = ?1 ORDER BY place")?;
        let rows = all.query_map([stage], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
        let mut outcomes = Vec::new();
        for row in rows {
            let (trial, outcome) = row?;
            let outcome = outcome.map(|text| serde_json::from_str(&text)).transpose()?;
            outcomes.push((serde_json::from_str(&trial)?, outcome));
        }
        Ok(outcomes)
    }
}

fn store(connection: &Connection, job: &Job, outcome: &Outcome) -> anyhow::Result<()> {
    connection.execute(
        "UPDATE trial SET outcome = ?1 WHERE stage = ?2 AND place = ?3 AND outcome IS NULL",
        params![serde_json::to_string(outcome)?, job.stage, job.place],
    )?;
    Ok(())
}
