//! A connection that outlives its line: every transaction may be repeated, and where the line is lost it is made again and the
//! transaction tried again, until patience ends.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use postgres::error::SqlState;
use postgres::{Client, Error, Statement};

use super::address::Address;
use crate::interrupt;

/// So long a first connection is tried again.
const CONNECTING: Duration = Duration::from_secs(30);
/// So long a lost server is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// A connection to the database of an address.
pub struct Connection {
    address: Address,
    link: Option<Link>,
}

/// A line to the server, and what was prepared on it.
pub struct Link {
    /// The line.
    pub client: Client,
    prepared: HashMap<&'static str, Statement>,
}

impl Link {
    /// A lease or an outcome that a crash of the server forgets is only done again, so nobody waits for the disk; what must be
    /// kept says so.
    fn new(mut client: Client) -> Result<Self, Error> {
        client.batch_execute("SET synchronous_commit = off")?;
        Ok(Self { client, prepared: HashMap::new() })
    }

    /// The statement, prepared once for each line: half of the round trips saved.
    pub fn prepared(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl Connection {
    /// Connects. An address that is wrong is told at once; a line that is cut at this very moment is tried again.
    pub fn new(address: &Address) -> anyhow::Result<Self> {
        let begun = Instant::now();
        loop {
            match address.connect().and_then(Link::new) {
                Ok(link) => return Ok(Self { address: address.clone(), link: Some(link) }),
                Err(e) if was_cut(&e) && begun.elapsed() < CONNECTING => thread::sleep(Duration::from_millis(50)),
                Err(e) => return Err(fault(address, &e)),
            }
        }
    }

    /// The address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Runs a transaction, on a new line where the old one is lost.
    pub fn run<T>(&mut self, mut transaction: impl FnMut(&mut Link) -> Result<T, Error>) -> anyhow::Result<T> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let result = match &mut self.link {
                Some(link) => transaction(link),
                None => self.address.connect().and_then(Link::new).and_then(|link| transaction(self.link.insert(link))),
            };
            match result {
                Ok(value) => return Ok(value),
                Err(e) if is_passing(&e) && begun.elapsed() < PATIENCE && !interrupt::asked() => {
                    tracing::warn!("{}: {}; trying again", self.address, describe(&e));
                    self.link = None;
                    thread::sleep(pause);
                    pause = (2 * pause).min(Duration::from_secs(2));
                }
                Err(e) => return Err(fault(&self.address, &e)),
            }
        }
    }
}

/// Whether somebody answered before the line was lost.
fn was_cut(e: &Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let source = std::error::Error::source(e).and_then(|s| s.downcast_ref::<std::io::Error>());
    let cut = [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof];
    e.is_closed() || e.code() == Some(&SqlState::CANNOT_CONNECT_NOW) || source.is_some_and(|s| cut.contains(&s.kind()))
}

/// Whether trying again may help: the line or the server was lost, or two transactions were in each other's way.
fn is_passing(e: &Error) -> bool {
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

fn fault(address: &Address, e: &Error) -> anyhow::Error {
    anyhow!("{address}: {}", describe(e))
}

/// The error with its cause, which the library leaves out of the text.
fn describe(e: &Error) -> String {
    match std::error::Error::source(e) {
        Some(source) if e.as_db_error().is_none() => format!("{e}: {source}"),
        Some(source) => source.to_string(),
        None => e.to_string(),
    }
}
