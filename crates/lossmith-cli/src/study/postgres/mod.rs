//! The study on PostgreSQL: any number of coordinators and workers, of which any may die.
//!
//! A trial is taken by a lease, which is renewed while its holder lives; the attempt number is the fencing token. Leases are
//! measured by the database's clock alone. Every method is one transaction that may be repeated.
//!
//! A holder that falls silent says nothing of its trial: machines are taken away, lines are cut. So its trials are given to others,
//! however often that happens, and no result depends on it. One that kills whoever takes it would harm its neighbours, so a trial whose
//! holder fell silent comes after all others, alone after [`SILENCES`] of them, with a warning each time.

mod address;
mod connection;
mod heart;
mod progress;

pub use address::{Address, Typed, without_passwords};
#[cfg(test)]
pub use progress::{Failure, Running};
pub use progress::{Progress, progress};

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use lossmith_search::trial::{End, Outcome, Trial};

use self::connection::Connection;
use self::heart::{Heart, columns};
use super::{Identity, Job, MOST_ERRORS, Stage, Study};

/// After so many holders that fell silent a trial is taken alone.
const SILENCES: i32 = 3;

/// Two programs that make the tables at once take turns by this lock.
const SCHEMA_LOCK: i64 = 0x6c6f_7373_6d69_7468;

/// Who takes trials, and for how long.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The holder's name; unique among all.
    pub worker: String,
    /// How long a lease lasts without a sign of life; a sign is given ten times as often. The study's unless given.
    pub length: Option<Duration>,
}

impl Lease {
    /// The length in a new study.
    const USUAL: Duration = Duration::from_secs(60);

    /// Leases of this process.
    pub fn new(length: Option<Duration>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { worker: format!("{}:{}", host.trim(), std::process::id()), length }
    }

    /// The length that all share who work for a study: another one would let others wait longer for a dead holder's trials, or take
    /// them from a living one, than they were told.
    fn of_study(&self, study: f64) -> anyhow::Result<Duration> {
        let study = Duration::from_secs_f64(study);
        match self.length {
            Some(mine) if mine != study => bail!(
                "--lease {}: this study was begun with --lease {}, which holds for all who work on it; leave it out",
                mine.as_secs_f64(),
                study.as_secs_f64()
            ),
            _ => Ok(study),
        }
    }
}

/// A study on PostgreSQL.
pub struct PostgresStudy {
    connection: Connection,
    study: i64,
    worker: String,
    lease: Duration,
    heart: Heart,
}

impl PostgresStudy {
    /// Begins the study, or finds it where it has begun.
    ///
    /// # Errors
    /// No connection, or a study of that name with another program version, task, data, recipe or arithmetic.
    pub fn begin(address: &Address, mine: &Identity, lease: Lease) -> anyhow::Result<Self> {
        let mut connection = Connection::new(address)?;
        let length = lease.length.unwrap_or(Lease::USUAL).as_secs_f64();
        connection.run(|link| {
            let mut transaction = link.client.transaction()?;
            transaction.batch_execute("SET LOCAL synchronous_commit = on")?;
            transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])?;
            transaction.batch_execute(include_str!("schema.sql"))?;
            transaction.execute(
                "INSERT INTO lossmith_study (name, task, version, data, recipe, arithmetic, lease)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING",
                &[&address.name(), &mine.task, &mine.version, &mine.data, &mine.recipe, &mine.arithmetic, &length],
            )?;
            transaction.commit()
        })?;
        Self::find(connection, mine, lease)
    }

    /// Finds a study that has begun, to work for it.
    ///
    /// # Errors
    /// No connection, no such study, or one with another program version, task, data, recipe or arithmetic.
    pub fn join(address: &Address, mine: &Identity, lease: Lease) -> anyhow::Result<Self> {
        Self::find(Connection::new(address)?, mine, lease)
    }

    /// The identity of a study, for a worker that makes its own from it.
    ///
    /// # Errors
    /// No connection, or no such study.
    pub fn identity(address: &Address) -> anyhow::Result<Identity> {
        Ok(lookup(&mut Connection::new(address)?)?.identity)
    }

    fn find(mut connection: Connection, mine: &Identity, lease: Lease) -> anyhow::Result<Self> {
        let Found { study, identity, lease: length } = lookup(&mut connection)?;
        let place = || connection.address().to_string();
        identity.check(mine).with_context(place)?;
        let length = lease.of_study(length).with_context(place)?;
        let heart = Heart::start(connection.address(), study, &lease.worker, length)?;
        Ok(Self { connection, study, worker: lease.worker, lease: length, heart })
    }

    /// Whether the study has ended: its latest stage has no trials.
    pub fn is_over(&mut self) -> anyhow::Result<bool> {
        let study = self.study;
        self.connection.run(|link| {
            let over = link.prepared(
                "SELECT stage >= 0 AND NOT EXISTS
                     (SELECT 1 FROM lossmith_trial t WHERE t.study = s.id AND t.stage = s.stage)
                 FROM lossmith_study s WHERE id = $1",
            )?;
            Ok(link.client.query_one(&over, &[&study])?.get(0))
        })
    }

    /// Closes what has failed too often, so that no trial holds up its stage for ever.
    fn give_up(&mut self) -> anyhow::Result<()> {
        let (study, most) = (self.study, MOST_ERRORS as i32);
        self.connection.run(|link| {
            let give_up = link.prepared(
                "UPDATE lossmith_trial t SET state = 'closed'
                 WHERE study = $1 AND errors >= $2 AND state = 'queued'
                 RETURNING stage, place, attempt, worker,
                     (SELECT error FROM lossmith_failure f WHERE f.study = t.study AND f.stage = t.stage
                         AND f.place = t.place ORDER BY at DESC LIMIT 1)",
            )?;
            let mut transaction = link.client.transaction()?;
            for row in transaction.query(&give_up, &[&study, &most])? {
                let error: Option<String> = row.get(4);
                let outcome = Outcome::without_score(End::Failed(error.unwrap_or_default()), 0);
                // An outcome without numbers always has a text.
                let text = serde_json::to_string(&outcome).unwrap_or_default();
                transaction.execute(
                    "INSERT INTO lossmith_outcome (study, stage, place, ending, outcome, attempt, worker)
                     VALUES ($1, $2, $3, 'failed', $4, $5, $6)",
                    &[
                        &study,
                        &row.get::<_, i64>(0),
                        &row.get::<_, i32>(1),
                        &text,
                        &row.get::<_, i32>(2),
                        &row.get::<_, Option<String>>(3),
                    ],
                )?;
            }
            transaction.commit()
        })
    }
}

/// A study as it stands in the database.
struct Found {
    study: i64,
    identity: Identity,
    /// Seconds.
    lease: f64,
}

fn lookup(connection: &mut Connection) -> anyhow::Result<Found> {
    let address = connection.address().clone();
    let found = connection.run(|link| {
        // Asked first, because a table that is missing is no error here.
        let tables = link.client.query_one("SELECT to_regclass('lossmith_study') IS NOT NULL", &[])?;
        if !tables.get::<_, bool>(0) {
            return Ok(None);
        }
        // Through JSON, because tables of older programs lack the last columns.
        let select = "SELECT id, version, task, data, recipe, coalesce(to_jsonb(s) ->> 'arithmetic', 'f32'),
                 coalesce((to_jsonb(s) ->> 'lease')::float8, 60)
             FROM lossmith_study s WHERE name = $1";
        link.client.query_opt(select, &[&address.name()])
    })?;
    let row = found.ok_or_else(|| anyhow!("{address}: there is no such study in this database"))?;
    let (version, task, data, recipe, arithmetic) = (row.get(1), row.get(2), row.get(3), row.get(4), row.get(5));
    let identity = Identity { version, task, data, recipe, arithmetic };
    Ok(Found { study: row.get(0), identity, lease: row.get(6) })
}

/// The name of an ending in the database.
fn ending(end: &End) -> &'static str {
    match end {
        End::Done => "done",
        End::Diverged => "diverged",
        End::Rejected(_) => "rejected",
        End::Failed(_) => "failed",
    }
}

impl Study for PostgresStudy {
    fn latest(&mut self) -> anyhow::Result<Option<Stage>> {
        let study = self.study;
        let row = self
            .connection
            .run(|link| link.client.query_one("SELECT stage, state FROM lossmith_study WHERE id = $1", &[&study]))?;
        let number: i64 = row.get(0);
        Ok(u32::try_from(number).ok().map(|number| Stage { number, state: row.get(1) }))
    }

    fn open(&mut self, stage: &Stage, trials: &[Trial]) -> anyhow::Result<()> {
        let (study, number) = (self.study, i64::from(stage.number));
        let trials: Vec<String> = trials.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        self.connection.run(|link| {
            let mut transaction = link.client.transaction()?;
            // Written through to the disk, and with it every outcome that the new stage follows from.
            transaction.batch_execute("SET LOCAL synchronous_commit = on")?;
            // Another coordinator may have been faster: then the study already stands where this one would put it.
            let moved = transaction.execute(
                "UPDATE lossmith_study SET stage = $2::bigint, state = $3 WHERE id = $1 AND stage = $2::bigint - 1",
                &[&study, &number, &stage.state],
            )?;
            if moved == 1 {
                transaction.execute(
                    "INSERT INTO lossmith_trial (study, stage, place, trial)
                     SELECT $1::bigint, $2::bigint, (place - 1)::integer, trial
                     FROM unnest($3::text[]) WITH ORDINALITY AS t (trial, place)",
                    &[&study, &number, &trials],
                )?;
            }
            transaction.commit()
        })
    }

    fn take(&mut self, most: usize) -> anyhow::Result<Vec<Job>> {
        let (study, most) = (self.study, most as i64);
        let (worker, seconds) = (self.worker.clone(), self.lease.as_secs_f64());
        let rows = self.connection.run(|link| {
            // A quarter of what is open, so that nobody waits long for the last one at the end of a stage. Of trials whose holders
            // fell silent again and again only one, and nothing beside it.
            let take = link.prepared(
                "WITH free AS (
                     SELECT stage, place, state, lost + (state = 'running')::integer AS silences FROM lossmith_trial
                     WHERE study = $1 AND errors < $4
                       AND (state = 'queued' OR (state = 'running' AND lease < clock_timestamp()))
                     ORDER BY silences, stage, place
                     LIMIT (SELECT least($5::bigint, greatest(2, (count(*) + 3) / 4)) FROM lossmith_trial
                            WHERE study = $1 AND state = 'queued')
                     FOR UPDATE SKIP LOCKED),
                 ranked AS (SELECT *, row_number() OVER (ORDER BY silences, stage, place) AS rank FROM free)
                 UPDATE lossmith_trial t
                 SET state = 'running', attempt = attempt + 1, worker = $2, lost = silences,
                     lease = clock_timestamp() + make_interval(secs => $3)
                 FROM ranked r
                 WHERE t.study = $1 AND t.stage = r.stage AND t.place = r.place AND (silences < $6 OR rank = 1)
                 RETURNING t.stage, t.place, t.attempt, t.trial, t.lost",
            )?;
            link.client.query(&take, &[&study, &worker, &seconds, &(MOST_ERRORS as i32), &most, &SILENCES])
        })?;
        if rows.is_empty() {
            self.give_up()?;
        }
        let mut jobs = Vec::with_capacity(rows.len());
        for row in &rows {
            let (stage, place): (i64, i32) = (row.get(0), row.get(1));
            let trial = serde_json::from_str(row.get(3))
                .with_context(|| format!("{}: trial {stage}.{place} is damaged", self.connection.address()))?;
            let (stage, place, attempt) = (stage as u32, place as u32, row.get::<_, i32>(2) as u32);
            let lost: i32 = row.get(4);
            if lost >= SILENCES {
                tracing::warn!("trial {stage}.{place}: {lost} workers fell silent over it; trying it again, alone");
            }
            jobs.push(Job { stage, place, attempt, trial });
        }
        jobs.sort_by_key(|job| (job.stage, job.place));
        self.heart.hold(&jobs);
        Ok(jobs)
    }

    fn finish(&mut self, done: &[(Job, Outcome)]) -> anyhow::Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let jobs: Vec<Job> = done.iter().map(|(job, _)| job.clone()).collect();
        let (stages, places, attempts) = columns(&jobs);
        let endings: Vec<&str> = done.iter().map(|(_, o)| ending(&o.end)).collect();
        let fitness: Vec<Option<f64>> = done.iter().map(|(_, o)| (o.end == End::Done).then_some(o.accuracy)).collect();
        let texts: Vec<String> = done.iter().map(|(_, o)| serde_json::to_string(o)).collect::<Result<_, _>>()?;
        let (study, worker) = (self.study, self.worker.clone());
        let stored = self.connection.run(|link| {
            let finish = link.prepared(
                "WITH told AS (
                     SELECT * FROM unnest($2::bigint[], $3::integer[], $4::integer[], $6::text[], $7::float8[], $8::text[])
                         AS t (stage, place, attempt, ending, fitness, outcome)),
                 closed AS (
                     UPDATE lossmith_trial t SET state = 'closed' FROM told
                     WHERE t.study = $1 AND t.stage = told.stage AND t.place = told.place AND t.state = 'running'
                       AND t.attempt = told.attempt AND t.worker = $5
                     RETURNING t.stage, t.place)
                 INSERT INTO lossmith_outcome (study, stage, place, ending, fitness, outcome, attempt, worker)
                 SELECT $1, stage, place, ending, fitness, outcome, attempt, $5::text FROM told JOIN closed USING (stage, place)",
            )?;
            let arguments: &[&(dyn postgres::types::ToSql + Sync)] =
                &[&study, &stages, &places, &attempts, &worker, &endings, &fitness, &texts];
            link.client.execute(&finish, arguments)
        })?;
        self.heart.release(jobs.iter());
        if stored < done.len() as u64 {
            tracing::warn!("{} outcomes came too late: others' count", done.len() as u64 - stored);
        }
        Ok(())
    }

    fn give_back(&mut self, jobs: &[Job], error: Option<&str>) -> anyhow::Result<()> {
        let (study, worker, unharmed) = (self.study, self.worker.clone(), i32::from(error.is_none()));
        let (stages, places, attempts) = columns(jobs);
        self.connection.run(|link| {
            let give_back = link.prepared(
                "WITH held AS (
                     SELECT * FROM unnest($2::bigint[], $3::integer[], $4::integer[]) AS t (stage, place, attempt)),
                 given AS (
                     UPDATE lossmith_trial t SET state = 'queued', lease = NULL, returned = returned + $6, errors = errors + 1 - $6
                     FROM held
                     WHERE t.study = $1 AND t.stage = held.stage AND t.place = held.place AND t.state = 'running'
                       AND t.attempt = held.attempt AND t.worker = $5
                     RETURNING t.stage, t.place, t.attempt)
                 INSERT INTO lossmith_failure (study, stage, place, attempt, worker, error)
                 SELECT $1, stage, place, attempt, $5::text, $7::text FROM given WHERE $7::text IS NOT NULL",
            )?;
            let arguments: &[&(dyn postgres::types::ToSql + Sync)] =
                &[&study, &stages, &places, &attempts, &worker, &unharmed, &error];
            link.client.execute(&give_back, arguments)
        })?;
        self.heart.release(jobs.iter());
        Ok(())
    }

    fn done(&mut self, stage: u32) -> anyhow::Result<usize> {
        let (study, stage) = (self.study, i64::from(stage));
        let row = self.connection.run(|link| {
            let count = link.prepared("SELECT count(*) FROM lossmith_outcome WHERE study = $1 AND stage = $2")?;
            link.client.query_one(&count, &[&study, &stage])
        })?;
        Ok(row.get::<_, i64>(0) as usize)
    }

    fn outcomes(&mut self, stage: u32) -> anyhow::Result<Vec<(Trial, Option<Outcome>)>> {
        let (study, stage) = (self.study, i64::from(stage));
        let rows = self.connection.run(|link| {
            let outcomes = link.prepared(
                "SELECT trial, outcome FROM lossmith_trial LEFT JOIN lossmith_outcome USING (study, stage, place)
                 WHERE study = $1 AND stage = $2 ORDER BY place",
            )?;
            link.client.query(&outcomes, &[&study, &stage])
        })?;
        let mut outcomes = Vec::with_capacity(rows.len());
        for row in &rows {
            let outcome = row.get::<_, Option<&str>>(1).map(serde_json::from_str).transpose()?;
            outcomes.push((serde_json::from_str(row.get(0))?, outcome));
        }
        Ok(outcomes)
    }
}
