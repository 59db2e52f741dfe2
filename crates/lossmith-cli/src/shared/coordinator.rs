//! The coordinator: waits until a generation is in, and says what follows. Several may run; all come to the same.

use std::thread;
use std::time::Duration;

use super::postgres::Store;
use super::{Outcome, Step};

/// So often the coordinator looks.
const POLL: Duration = Duration::from_millis(20);

/// Leads a study to its end and returns its result. `next` is told the state and all outcomes of a generation, `None` at the
/// very beginning, and must follow from them alone; `stop` ends the coordinator early, with `None`.
///
/// # Errors
/// The database is lost for good, or `next` fails.
pub fn coordinate(
    store: &mut Store,
    mut next: impl FnMut(Option<(&str, &[Outcome])>) -> anyhow::Result<Step>,
    stop: impl Fn() -> bool,
) -> anyhow::Result<Option<String>> {
    while !stop() {
        let position = store.position()?;
        if let Some(result) = position.result {
            return Ok(Some(result));
        }
        let Some(outcomes) = position.outcomes else {
            thread::sleep(POLL);
            continue;
        };
        let told = (position.generation >= 0).then_some((position.state.as_str(), &outcomes[..]));
        match next(told)? {
            Step::Evaluate { state, tasks } => {
                // Another coordinator may have been faster: then the study already stands where this one would put it.
                store.advance(position.generation, &state, &tasks)?;
            }
            Step::Finish { result } => store.finish(position.generation, &result)?,
        }
    }
    Ok(None)
}
