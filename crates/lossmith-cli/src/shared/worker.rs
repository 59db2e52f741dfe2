//! A worker: takes candidates, evaluates them, and keeps its lease alive meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::address::Address;
use super::postgres::{Lease, Store};
use super::{Identity, Outcome, shorten};

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name; unique among all workers.
    pub name: String,
    /// How long a lease lasts without a sign of life; a sign is given ten times as often.
    pub lease: Duration,
    /// How often it looks for work where there is none.
    pub poll: Duration,
}

impl Settings {
    /// A worker of this process, with a lease of a minute.
    pub fn new(thread: usize) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = format!("{}:{}:{thread}", host.trim(), std::process::id());
        Self { name, lease: Duration::from_secs(60), poll: Duration::from_millis(20) }
    }
}

/// Works for a study until it has ended or `stop` says so; returns how many outcomes were stored.
///
/// `evaluate` gets the task and a flag that says that its outcome is no longer wanted. An error or a panic in it gives the
/// candidate back, with the error kept; the worker goes on.
///
/// # Errors
/// No such study, one that is not of this identity, or a database that is lost for good.
pub fn work(
    address: &Address,
    mine: &Identity,
    settings: &Settings,
    evaluate: impl Fn(&str, &AtomicBool) -> anyhow::Result<Outcome>,
    stop: impl Fn() -> bool + Sync,
) -> anyhow::Result<u64> {
    let mut store = Store::join(address, mine)?;
    let mut beats = Store::join(address, mine)?;
    let mut stored = 0;
    while !stop() {
        let Some(lease) = store.take(&settings.name, settings.lease)? else {
            if store.position()?.result.is_some() {
                break;
            }
            thread::sleep(settings.poll);
            continue;
        };
        let result = with_heartbeat(&mut beats, &lease, settings.lease, &stop, |lost| {
            catch_unwind(AssertUnwindSafe(|| evaluate(&lease.task, lost)))
                .unwrap_or_else(|panic| Err(panic_error(&*panic)))
        });
        match result {
            Ok(outcome) => {
                let counts = store.close(&lease, &outcome)?;
                stored += u64::from(counts);
                if !counts {
                    tracing::warn!(
                        "candidate {}.{}: the lease was lost; another's outcome counts",
                        lease.generation,
                        lease.place
                    );
                }
            }
            // A worker that is told to stop gives back what it could not finish.
            Err(_) if stop() => store.give_back(&lease, None)?,
            Err(e) => {
                let error = shorten(&format!("{e:#}"));
                tracing::warn!("candidate {}.{}: {error}", lease.generation, lease.place);
                store.give_back(&lease, Some(&error))?;
            }
        }
    }
    Ok(stored)
}

/// Runs `action` while the lease is renewed; raises its flag when the lease is lost or the worker is to stop.
fn with_heartbeat<T>(
    store: &mut Store,
    lease: &Lease,
    length: Duration,
    stop: &(impl Fn() -> bool + Sync),
    action: impl FnOnce(&AtomicBool) -> T,
) -> T {
    let unwanted = AtomicBool::new(false);
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let unwanted = &unwanted;
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(length / 10) {
                match store.renew(lease, length) {
                    Ok(true) if !stop() => {}
                    Ok(_) => unwanted.store(true, Ordering::Relaxed),
                    Err(e) => tracing::warn!("{e:#}"),
                }
            }
        });
        let result = action(unwanted);
        drop(done);
        result
    })
}

fn panic_error(panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow::anyhow!("the evaluation panicked: {}", text.unwrap_or("without a word"))
}
