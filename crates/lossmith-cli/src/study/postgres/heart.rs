//! Leases are kept alive by a thread with a connection of its own, so that a long training is no silence.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::address::Address;
use super::connection::Connection;
use crate::study::Job;

const RENEW: &str = "
    UPDATE lossmith_trial t SET lease = clock_timestamp() + make_interval(secs => $6)
    FROM unnest($2::bigint[], $3::integer[], $4::integer[]) AS held (stage, place, attempt)
    WHERE t.study = $1 AND t.stage = held.stage AND t.place = held.place AND t.attempt = held.attempt
      AND t.worker = $5 AND t.state = 'running'";

/// The jobs that are held, and the thread that renews their leases. It ends with the value.
pub struct Heart {
    held: Arc<Mutex<Vec<Job>>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    /// Starts to beat ten times a lease, for what is held.
    pub fn start(address: &Address, study: i64, worker: &str, lease: Duration) -> anyhow::Result<Self> {
        let mut connection = Connection::new(address)?;
        let held: Arc<Mutex<Vec<Job>>> = Arc::default();
        let (stop, stopped) = mpsc::channel::<()>();
        let (theirs, worker) = (Arc::clone(&held), worker.to_owned());
        let thread = std::thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(lease / 10) {
                let jobs = lock(&theirs).clone();
                if jobs.is_empty() {
                    continue;
                }
                let (stages, places, attempts) = columns(&jobs);
                let seconds = lease.as_secs_f64();
                let renewed = connection.run(|link| {
                    let renew = link.prepared(RENEW)?;
                    link.client.execute(&renew, &[&study, &stages, &places, &attempts, &worker, &seconds])
                });
                if let Err(e) = renewed {
                    tracing::warn!("{e:#}");
                }
            }
        });
        Ok(Self { held, stop: Some(stop), thread: Some(thread) })
    }

    /// From now on these are held too.
    pub fn hold(&self, jobs: &[Job]) {
        lock(&self.held).extend_from_slice(jobs);
    }

    /// These are held no longer.
    pub fn release<'a>(&self, jobs: impl Iterator<Item = &'a Job>) {
        let mut held = lock(&self.held);
        for job in jobs {
            held.retain(|h| (h.stage, h.place) != (job.stage, job.place));
        }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(held: &Mutex<Vec<Job>>) -> MutexGuard<'_, Vec<Job>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stages, places and attempts of jobs, as arrays of the database.
pub fn columns(jobs: &[Job]) -> (Vec<i64>, Vec<i32>, Vec<i32>) {
    (
        jobs.iter().map(|j| i64::from(j.stage)).collect(),
        jobs.iter().map(|j| j.place as i32).collect(),
        jobs.iter().map(|j| j.attempt as i32).collect(),
    )
}
