//! Where a command keeps its study: a file in the run's folder, or a server that many machines share.

use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::{Address, Identity, Lease, PostgresStudy, SqliteStudy, Study, Typed};
use crate::run::Run;

/// The arguments of a command whose study may be shared.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// Share the work by a study on PostgreSQL (postgres://user:password@host/database#name; the password may stand in PGPASSWORD)
    #[arg(long, value_name = "URL")]
    study: Option<Typed>,
    /// Seconds after which the work of a process that gives no sign of life is given to another, whoever works for the study; 60 unless
    /// given when the study begins
    #[arg(long, value_name = "SECONDS", value_parser = lease_length)]
    pub lease: Option<Duration>,
}

/// Reads the length of a lease.
pub fn lease_length(text: &str) -> anyhow::Result<Duration> {
    let seconds: f64 = text.parse().with_context(|| format!("expected seconds, found '{text}'"))?;
    ensure!((1.0..=86_400.0).contains(&seconds), "expected 1 to 86400 seconds, found {text}");
    Ok(Duration::from_secs_f64(seconds))
}

impl Place {
    /// Where the study is to be, if the user names a server.
    ///
    /// # Errors
    /// What was typed is no address.
    pub fn address(&self) -> anyhow::Result<Option<Address>> {
        self.study.as_ref().map(|typed| typed.address("--study")).transpose()
    }

    /// The study of a new run on a server, if the user names one.
    ///
    /// # Errors
    /// No connection, or a study of that name with another program version, task, data or recipe.
    pub fn shared(&self, identity: &Identity) -> anyhow::Result<Option<PostgresStudy>> {
        self.address()?.map(|address| self.begin(&address, identity)).transpose()
    }

    /// The study of a run that goes on; `begun` is where the run says its study is, without the password.
    ///
    /// # Errors
    /// Another study than the run's, or a password that is missing; as [`Place::shared`].
    pub fn shared_again(&self, begun: Option<&str>, identity: &Identity) -> anyhow::Result<Option<PostgresStudy>> {
        let address = match (self.address()?, begun) {
            (None, None) => return Ok(None),
            (Some(address), None) => {
                bail!("--study {address}: this run keeps its study in its folder; leave --study out")
            }
            (Some(address), Some(begun)) => {
                ensure!(
                    address.to_string() == begun,
                    "--study {address}: this run's study is {begun}; give that one, with its password"
                );
                address
            }
            (None, Some(begun)) if begun.contains("***") => {
                bail!("this run's study is {begun} and its password is not kept; name it with --study")
            }
            (None, Some(begun)) => begun.parse()?,
        };
        self.begin(&address, identity).map(Some)
    }

    fn begin(&self, address: &Address, identity: &Identity) -> anyhow::Result<PostgresStudy> {
        PostgresStudy::begin(address, identity, Lease::new(self.lease))
    }
}

/// The study, or without one the file in the run's folder.
pub fn or_file(shared: Option<PostgresStudy>, run: &Run) -> anyhow::Result<Box<dyn Study>> {
    Ok(match shared {
        Some(study) => Box::new(study),
        None => Box::new(SqliteStudy::open(&run.path("study.db"))?),
    })
}
