//! Generators: data without a download, the same bytes for the same seed and any number of threads.

pub mod digits;
pub mod holds;
pub mod hubs;
pub mod rosettes;
pub mod scenes;
pub mod shapes;
pub mod sticks;

use crate::{DataError, Result};

/// The most that generated data may take in memory, where they are made before they are written or used.
pub const MOST_BYTES: usize = 4 << 30;

/// Checks how many examples are asked for, of which each takes so many bytes, before memory is.
fn check_count(what: &str, train: usize, test: usize, bytes: usize) -> Result<()> {
    let most = MOST_BYTES / bytes.max(1);
    if train.checked_add(test).is_some_and(|all| all <= most) {
        return Ok(());
    }
    let gigabytes = MOST_BYTES >> 30;
    Err(DataError::argument(format!(
        "{what}: expected at most {most} examples to train and to test on, which are {gigabytes} GiB, found {train} and {test}"
    )))
}
