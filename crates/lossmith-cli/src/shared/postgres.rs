//! The study on PostgreSQL. Every method is one transaction that may be repeated: where the connection is lost it is made
//! again and the transaction tried again, until patience ends.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use postgres::error::SqlState;
use postgres::{Client, Row};
use serde::Serialize;

use super::address::Address;
use super::{Ending, Identity, MOST_ATTEMPTS, Outcome};

/// So long a lost server is waited for.
const PATIENCE: Duration = Duration::from_secs(600);
/// Two programs that make the tables at once take turns by this lock.
const SCHEMA_LOCK: i64 = 0x6c6f_7373_6d69_7468;

/// A connection to one study.
#[derive(Debug)]
pub struct Store {
    address: Address,
    client: Option<Link>,
    study: i64,
    patience: Duration,
}

/// A client, which has no text form of its own.
struct Link(Client);

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

/// A candidate that a worker may evaluate until the lease expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The generation, from 0.
    pub generation: i64,
    /// The place in the generation, from 0.
    pub place: i32,
    /// What to evaluate.
    pub task: String,
    /// The fencing token.
    pub attempt: i32,
    /// Who holds it.
    pub worker: String,
}

/// Where a study stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// The generation under evaluation; -1 before the first.
    pub generation: i64,
    /// The searcher's state.
    pub state: String,
    /// The result, when the study has ended.
    pub result: Option<String>,
    /// The outcomes in candidate order, when all are in.
    pub outcomes: Option<Vec<Outcome>>,
}

/// How a study is doing, for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// The study's name.
    pub study: String,
    /// The generation under evaluation; -1 before the first.
    pub generation: i64,
    /// Whether it has ended.
    pub finished: bool,
    /// How many candidates are queued, running, done, diverged, rejected, failed.
    pub candidates: BTreeMap<String, i64>,
    /// Who evaluates what now.
    pub leases: Vec<Running>,
    /// The latest errors, newest first.
    pub failures: Vec<Failure>,
    /// The best fitness so far.
    pub best: Option<f64>,
    /// Outcomes stored within the last hour.
    pub outcomes_last_hour: i64,
}

/// A candidate under evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Running {
    /// Generation and place.
    pub candidate: String,
    /// Who evaluates it.
    pub worker: String,
    /// Which attempt this is.
    pub attempt: i32,
    /// Seconds until the lease expires without a sign of life; below 0 the candidate is free again.
    pub lease_seconds: f64,
}

/// An attempt that ended in an error.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// Generation and place.
    pub candidate: String,
    /// Who evaluated it.
    pub worker: String,
    /// Which attempt it was.
    pub attempt: i32,
    /// What went wrong.
    pub error: String,
}

impl Store {
    /// Begins the study, or finds it where it has begun.
    ///
    /// # Errors
    /// No connection, or a study of that name with another program version, data or recipe.
    pub fn begin(address: &Address, mine: &Identity) -> anyhow::Result<Self> {
        let mut store = Self::connect(address)?;
        store.run(|client| {
            let mut transaction = client.transaction()?;
            transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])?;
            transaction.batch_execute(include_str!("schema.sql"))?;
            transaction.execute(
                "INSERT INTO lossmith_study (name, version, data, recipe) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (name) DO NOTHING",
                &[&address.name(), &mine.version, &mine.data, &mine.recipe],
            )?;
            transaction.commit()
        })?;
        store.find(mine)?;
        Ok(store)
    }

    /// Finds a study that has begun, to work for it.
    ///
    /// # Errors
    /// No connection, no such study, or one with another program version, data or recipe.
    pub fn join(address: &Address, mine: &Identity) -> anyhow::Result<Self> {
        let mut store = Self::connect(address)?;
        store.find(mine)?;
        Ok(store)
    }

    /// The identity of a study, for a worker that makes its own from it.
    ///
    /// # Errors
    /// No connection, or no such study.
    pub fn identity(address: &Address) -> anyhow::Result<Identity> {
        Ok(Self::connect(address)?.lookup()?.1)
    }

    /// How a study is doing.
    ///
    /// # Errors
    /// No connection, or no such study.
    pub fn progress(address: &Address) -> anyhow::Result<Progress> {
        let mut store = Self::connect(address)?;
        store.study = store.lookup()?.0;
        store.read_progress()
    }

    fn connect(address: &Address) -> anyhow::Result<Self> {
        let client = address.connect().map_err(|e| fault(address, &e))?;
        Ok(Self { address: address.clone(), client: Some(Link(client)), study: 0, patience: PATIENCE })
    }

    fn find(&mut self, mine: &Identity) -> anyhow::Result<()> {
        let (study, identity) = self.lookup()?;
        identity.check(mine).with_context(|| self.address.to_string())?;
        self.study = study;
        Ok(())
    }

    fn lookup(&mut self) -> anyhow::Result<(i64, Identity)> {
        let name = self.address.name().to_owned();
        let found = self.run(|client| {
            // Asked first, because a table that is missing is no error here.
            let tables = client.query_one("SELECT to_regclass('lossmith_study') IS NOT NULL", &[])?;
            if !tables.get::<_, bool>(0) {
                return Ok(None);
            }
            client.query_opt("SELECT id, version, data, recipe FROM lossmith_study WHERE name = $1", &[&name])
        })?;
        let row = found.ok_or_else(|| anyhow!("{}: there is no such study in this database", self.address))?;
        Ok((row.get(0), Identity { version: row.get(1), data: row.get(2), recipe: row.get(3) }))
    }

    /// Where the study stands. Closes what has been tried too often, so that no candidate holds up its generation for ever.
    pub fn position(&mut self) -> anyhow::Result<Position> {
        let study = self.study;
        let (head, rows) = self.run(|client| {
            let mut transaction = client.transaction()?;
            transaction.execute(
                "WITH given_up AS (
                     UPDATE lossmith_candidate SET state = 'closed'
                     WHERE study = $1 AND attempt - returned >= $2
                       AND (state = 'queued' OR (state = 'running' AND lease < clock_timestamp()))
                     RETURNING study, generation, place, attempt, worker)
                 INSERT INTO lossmith_outcome (study, generation, place, ending, fitness, detail, attempt, worker)
                 SELECT study, generation, place, 'failed', NULL, 'tried too often', attempt, worker FROM given_up",
                &[&study, &MOST_ATTEMPTS],
            )?;
            let head = transaction.query_one(
                "SELECT generation, state, result,
                        (SELECT count(*) FROM lossmith_candidate c
                         WHERE c.study = s.id AND c.generation = s.generation AND c.state <> 'closed')
                 FROM lossmith_study s WHERE id = $1",
                &[&study],
            )?;
            let rows = if head.get::<_, i64>(3) == 0 {
                transaction.query(
                    "SELECT ending, fitness, detail FROM lossmith_outcome
                     WHERE study = $1 AND generation = $2 ORDER BY place",
                    &[&study, &head.get::<_, i64>(0)],
                )?
            } else {
                Vec::new()
            };
            transaction.commit()?;
            Ok((head, rows))
        })?;
        let outcomes = (head.get::<_, i64>(3) == 0).then(|| rows.iter().map(outcome).collect::<anyhow::Result<_>>());
        Ok(Position {
            generation: head.get(0),
            state: head.get(1),
            result: head.get(2),
            outcomes: outcomes.transpose()?,
        })
    }

    /// Goes from one generation to the next, if nobody else has: `false` then, and nothing is changed.
    pub fn advance(&mut self, from: i64, state: &str, tasks: &[String]) -> anyhow::Result<bool> {
        let study = self.study;
        self.run(|client| {
            let mut transaction = client.transaction()?;
            let moved = transaction.execute(
                "UPDATE lossmith_study SET generation = $2::bigint + 1, state = $3
                 WHERE id = $1 AND generation = $2 AND result IS NULL",
                &[&study, &from, &state],
            )?;
            if moved == 1 {
                transaction.execute(
                    "INSERT INTO lossmith_candidate (study, generation, place, task)
                     SELECT $1::bigint, $2::bigint + 1, (place - 1)::integer, task FROM unnest($3::text[]) WITH ORDINALITY AS t (task, place)",
                    &[&study, &from, &tasks],
                )?;
            }
            transaction.commit()?;
            Ok(moved == 1)
        })
    }

    /// Ends the study with its result, if nobody else has.
    pub fn finish(&mut self, from: i64, result: &str) -> anyhow::Result<()> {
        let study = self.study;
        self.run(|client| {
            client.execute(
                "UPDATE lossmith_study SET result = $3 WHERE id = $1 AND generation = $2 AND result IS NULL",
                &[&study, &from, &result],
            )
        })?;
        Ok(())
    }

    /// Takes the first candidate that nobody evaluates, or whose lease has expired.
    pub fn take(&mut self, worker: &str, lease: Duration) -> anyhow::Result<Option<Lease>> {
        let (study, seconds) = (self.study, lease.as_secs_f64());
        let row = self.run(|client| {
            client.query_opt(
                "UPDATE lossmith_candidate c
                 SET state = 'running', attempt = attempt + 1, worker = $2,
                     lease = clock_timestamp() + make_interval(secs => $3)
                 FROM (SELECT generation, place FROM lossmith_candidate
                       WHERE study = $1 AND attempt - returned < $4
                         AND (state = 'queued' OR (state = 'running' AND lease < clock_timestamp()))
                       ORDER BY generation, place LIMIT 1 FOR UPDATE SKIP LOCKED) free
                 WHERE c.study = $1 AND c.generation = free.generation AND c.place = free.place
                 RETURNING c.generation, c.place, c.task, c.attempt",
                &[&study, &worker, &seconds, &MOST_ATTEMPTS],
            )
        })?;
        Ok(row.map(|row| Lease {
            generation: row.get(0),
            place: row.get(1),
            task: row.get(2),
            attempt: row.get(3),
            worker: worker.to_owned(),
        }))
    }

    /// Makes a lease last from now on; `false` if it is no longer held.
    pub fn renew(&mut self, held: &Lease, lease: Duration) -> anyhow::Result<bool> {
        let (study, seconds) = (self.study, lease.as_secs_f64());
        let changed = self.run(|client| {
            client.execute(
                "UPDATE lossmith_candidate SET lease = clock_timestamp() + make_interval(secs => $6)
                 WHERE study = $1 AND generation = $2 AND place = $3 AND state = 'running' AND attempt = $4
                   AND worker = $5",
                &[&study, &held.generation, &held.place, &held.attempt, &held.worker, &seconds],
            )
        })?;
        Ok(changed == 1)
    }

    /// Stores the outcome of a lease that is still held. `false`: it came too late, and another's outcome counts.
    pub fn close(&mut self, held: &Lease, outcome: &Outcome) -> anyhow::Result<bool> {
        let study = self.study;
        self.run(|client| {
            let stored = client.execute(
                "WITH closed AS (
                     UPDATE lossmith_candidate SET state = 'closed'
                     WHERE study = $1 AND generation = $2 AND place = $3 AND state = 'running' AND attempt = $4
                       AND worker = $5
                     RETURNING study, generation, place, attempt, worker)
                 INSERT INTO lossmith_outcome (study, generation, place, ending, fitness, detail, attempt, worker)
                 SELECT study, generation, place, $6::text, $7::float8, $8::text, attempt, worker FROM closed",
                &[
                    &study,
                    &held.generation,
                    &held.place,
                    &held.attempt,
                    &held.worker,
                    &outcome.ending.name(),
                    &outcome.fitness,
                    &outcome.detail,
                ],
            )?;
            Ok(stored == 1)
        })
    }

    /// Gives a lease back: with an error, which is kept and counts as an attempt, or unharmed, because the worker must stop.
    pub fn give_back(&mut self, held: &Lease, error: Option<&str>) -> anyhow::Result<()> {
        let study = self.study;
        let unharmed = i32::from(error.is_none());
        self.run(|client| {
            let mut transaction = client.transaction()?;
            let changed = transaction.execute(
                "UPDATE lossmith_candidate SET state = 'queued', lease = NULL, returned = returned + $6
                 WHERE study = $1 AND generation = $2 AND place = $3 AND state = 'running' AND attempt = $4
                   AND worker = $5",
                &[&study, &held.generation, &held.place, &held.attempt, &held.worker, &unharmed],
            )?;
            if let (1, Some(error)) = (changed, error) {
                transaction.execute(
                    "INSERT INTO lossmith_failure (study, generation, place, attempt, worker, error)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                    &[&study, &held.generation, &held.place, &held.attempt, &held.worker, &error],
                )?;
            }
            transaction.commit()
        })
    }

    fn read_progress(&mut self) -> anyhow::Result<Progress> {
        let study = self.study;
        self.run(|client| {
            let mut transaction = client.build_transaction().read_only(true).start()?;
            let head = transaction.query_one(
                "SELECT name, generation, result IS NOT NULL,
                        (SELECT max(fitness) FROM lossmith_outcome WHERE study = $1 AND fitness < 'infinity'),
                        (SELECT count(*) FROM lossmith_outcome
                         WHERE study = $1 AND at > clock_timestamp() - interval '1 hour')
                 FROM lossmith_study WHERE id = $1",
                &[&study],
            )?;
            let candidates = transaction.query(
                "SELECT coalesce(o.ending, c.state), count(*) FROM lossmith_candidate c
                 LEFT JOIN lossmith_outcome o USING (study, generation, place)
                 WHERE study = $1 GROUP BY 1 ORDER BY 1",
                &[&study],
            )?;
            let leases = transaction.query(
                "SELECT generation || '.' || place, coalesce(worker, ''), attempt,
                        extract(epoch FROM lease - clock_timestamp())::float8
                 FROM lossmith_candidate WHERE study = $1 AND state = 'running' ORDER BY generation, place",
                &[&study],
            )?;
            let failures = transaction.query(
                "SELECT generation || '.' || place, coalesce(worker, ''), attempt, error FROM lossmith_failure
                 WHERE study = $1 ORDER BY at DESC LIMIT 10",
                &[&study],
            )?;
            transaction.commit()?;
            Ok(Progress {
                study: head.get(0),
                generation: head.get(1),
                finished: head.get(2),
                best: head.get(3),
                outcomes_last_hour: head.get(4),
                candidates: candidates.iter().map(|r| (r.get(0), r.get(1))).collect(),
                leases: leases.iter().map(running).collect(),
                failures: failures.iter().map(failure).collect(),
            })
        })
    }

    /// Runs a transaction, on a new connection where the old one is lost.
    fn run<T>(&mut self, mut transaction: impl FnMut(&mut Client) -> Result<T, postgres::Error>) -> anyhow::Result<T> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let result = match &mut self.client {
                Some(link) => transaction(&mut link.0),
                None => self.address.connect().and_then(|client| transaction(&mut self.client.insert(Link(client)).0)),
            };
            match result {
                Ok(value) => return Ok(value),
                Err(e) if is_passing(&e) && begun.elapsed() < self.patience => {
                    tracing::warn!("{}: {}; trying again", self.address, describe(&e));
                    self.client = None;
                    thread::sleep(pause);
                    pause = (2 * pause).min(Duration::from_secs(2));
                }
                Err(e) => return Err(fault(&self.address, &e)),
            }
        }
    }
}

fn outcome(row: &Row) -> anyhow::Result<Outcome> {
    Ok(Outcome { ending: Ending::from_name(row.get(0))?, fitness: row.get(1), detail: row.get(2) })
}

fn running(row: &Row) -> Running {
    Running { candidate: row.get(0), worker: row.get(1), attempt: row.get(2), lease_seconds: row.get(3) }
}

fn failure(row: &Row) -> Failure {
    Failure { candidate: row.get(0), worker: row.get(1), attempt: row.get(2), error: row.get(3) }
}

/// Whether trying again may help: the line or the server was lost, or two transactions were in each other's way.
fn is_passing(e: &postgres::Error) -> bool {
    match e.code() {
        Some(code) => {
            code.code().starts_with("08")
                || [
                    SqlState::ADMIN_SHUTDOWN,
                    SqlState::CRASH_SHUTDOWN,
                    SqlState::CANNOT_CONNECT_NOW,
                    SqlState::TOO_MANY_CONNECTIONS,
                    SqlState::T_R_SERIALIZATION_FAILURE,
                    SqlState::T_R_DEADLOCK_DETECTED,
                ]
                .contains(code)
        }
        None => e.is_closed() || std::error::Error::source(e).is_some_and(|s| s.is::<std::io::Error>()),
    }
}

fn fault(address: &Address, e: &postgres::Error) -> anyhow::Error {
    anyhow!("{address}: {}", describe(e))
}

/// The error with its cause, which the library leaves out of the text.
fn describe(e: &postgres::Error) -> String {
    match std::error::Error::source(e) {
        Some(source) if e.as_db_error().is_none() => format!("{e}: {source}"),
        Some(source) => source.to_string(),
        None => e.to_string(),
    }
}
