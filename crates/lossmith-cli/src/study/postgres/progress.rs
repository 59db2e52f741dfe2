//! How the studies of a database are doing, for people.

use std::collections::BTreeMap;

use anyhow::bail;
use postgres::Row;
use serde::Serialize;

use super::address::Address;
use super::connection::{Connection, Link};

/// How a study is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// The study's name.
    pub study: String,
    /// What is searched.
    pub task: String,
    /// The program that works on it.
    pub version: String,
    /// What multiplies: `f32`, or a unit for bf16.
    pub arithmetic: String,
    /// The stage under way; -1 before the first.
    pub stage: i64,
    /// Whether it has ended.
    pub finished: bool,
    /// How many trials are queued, running, done, diverged, rejected, failed.
    pub trials: BTreeMap<String, i64>,
    /// Who does what now.
    pub leases: Vec<Running>,
    /// The latest errors, newest first.
    pub failures: Vec<Failure>,
    /// The best fitness on the validation part so far.
    pub best: Option<f64>,
    /// Outcomes stored within the last hour.
    pub outcomes_last_hour: i64,
}

/// A trial that is being done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Running {
    /// Stage and place.
    pub trial: String,
    /// Who does it.
    pub worker: String,
    /// Which attempt this is.
    pub attempt: i32,
    /// How many workers fell silent over it before.
    pub lost: i32,
    /// Seconds until the lease expires without a sign of life; below 0 the trial is free again.
    pub lease_seconds: f64,
}

/// An attempt that ended in an error.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// Stage and place.
    pub trial: String,
    /// Who did it.
    pub worker: String,
    /// Which attempt it was.
    pub attempt: i32,
    /// What went wrong.
    pub error: String,
}

/// The study that the address names, or all of its database where it names none.
///
/// # Errors
/// No connection, no such study, no study at all.
pub fn progress(address: &Address) -> anyhow::Result<Vec<Progress>> {
    let mut connection = Connection::new(address)?;
    let name = address.has_name().then(|| address.name().to_owned());
    let studies = connection.run(|link| {
        // Asked first, because a table that is missing is no error here.
        let tables = link.client.query_one("SELECT to_regclass('lossmith_study') IS NOT NULL", &[])?;
        if !tables.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        link.client.query("SELECT id FROM lossmith_study WHERE name = $1 OR $1 IS NULL ORDER BY id", &[&name])
    })?;
    if studies.is_empty() {
        match name {
            Some(_) => bail!("{address}: there is no such study in this database"),
            None => bail!("{address}: there is no study in this database"),
        }
    }
    studies.iter().map(|row| connection.run(|link| of_study(link, row.get(0)))).collect()
}

fn of_study(link: &mut Link, study: i64) -> Result<Progress, postgres::Error> {
    let mut transaction = link.client.build_transaction().read_only(true).start()?;
    let head = transaction.query_one(
        "SELECT name, task, stage,
                stage >= 0 AND NOT EXISTS (SELECT 1 FROM lossmith_trial t WHERE t.study = s.id AND t.stage = s.stage),
                (SELECT max(fitness) FROM lossmith_outcome o JOIN lossmith_trial t USING (study, stage, place)
                 WHERE o.study = $1 AND fitness < 'infinity' AND trial::json ->> 'part' = 'validation'),
                (SELECT count(*) FROM lossmith_outcome
                 WHERE study = $1 AND at > clock_timestamp() - interval '1 hour'),
                version, coalesce(to_jsonb(s) ->> 'arithmetic', 'f32') -- a database of an older program lacks the column
         FROM lossmith_study s WHERE id = $1",
        &[&study],
    )?;
    let trials = transaction.query(
        "SELECT coalesce(o.ending, t.state), count(*) FROM lossmith_trial t
         LEFT JOIN lossmith_outcome o USING (study, stage, place)
         WHERE study = $1 GROUP BY 1 ORDER BY 1",
        &[&study],
    )?;
    let leases = transaction.query(
        "SELECT stage || '.' || place, coalesce(worker, ''), attempt,
                extract(epoch FROM lease - clock_timestamp())::float8,
                coalesce((to_jsonb(t) ->> 'lost')::integer, 0) -- as above
         FROM lossmith_trial t WHERE study = $1 AND state = 'running' ORDER BY stage, place",
        &[&study],
    )?;
    let failures = transaction.query(
        "SELECT stage || '.' || place, coalesce(worker, ''), attempt, error FROM lossmith_failure
         WHERE study = $1 ORDER BY at DESC LIMIT 10",
        &[&study],
    )?;
    transaction.commit()?;
    Ok(Progress {
        study: head.get(0),
        task: head.get(1),
        stage: head.get(2),
        finished: head.get(3),
        best: head.get(4),
        outcomes_last_hour: head.get(5),
        version: head.get(6),
        arithmetic: head.get(7),
        trials: trials.iter().map(|r| (r.get(0), r.get(1))).collect(),
        leases: leases.iter().map(running).collect(),
        failures: failures.iter().map(failure).collect(),
    })
}

fn running(row: &Row) -> Running {
    Running { trial: row.get(0), worker: row.get(1), attempt: row.get(2), lease_seconds: row.get(3), lost: row.get(4) }
}

fn failure(row: &Row) -> Failure {
    Failure { trial: row.get(0), worker: row.get(1), attempt: row.get(2), error: row.get(3) }
}
