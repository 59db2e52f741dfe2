//! Ctrl-C: the first one asks the running work to stop at the next safe place, the second one stops at once.

use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell calls the end by Ctrl-C: 128 and the signal's number.
pub const EXIT_CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens for Ctrl-C and the termination signal; harmless when called twice.
pub fn listen() {
    // An error means that a handler is already there, which is what is wanted.
    let _ = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE.into());
        }
        eprintln!("\nstopping at the next safe place; press Ctrl-C again to stop at once");
    });
}

/// Whether the user asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// The error that ends an interrupted command.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("stopped on request")]
pub struct Interrupted;

/// The same, where the work can be gone on with by a command.
#[derive(Clone, Debug, thiserror::Error)]
#[error("stopped on request; go on with: {0}")]
pub struct GoOn(pub String);

/// Whether an error only says that the user asked to stop.
pub fn ended(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Interrupted>() || cause.is::<GoOn>())
}
