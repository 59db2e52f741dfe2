//! What `--resume` cannot honour: a run goes on as it was begun, so flags that would begin another are refused.

use std::path::Path;

use anyhow::ensure;

/// Flags by name, each with whether it was given.
pub type Given = Vec<(&'static str, bool)>;

/// Whether a recipe was chosen or changed.
pub fn recipe_flags(recipe: &str, set: &[String]) -> Given {
    vec![("--recipe", recipe != "laptop"), ("--set", !set.is_empty())]
}

/// Refuses flags that a run which goes on cannot follow.
///
/// # Errors
/// Names those that were given.
pub fn refuse(folder: &Path, given: &[(&'static str, bool)]) -> anyhow::Result<()> {
    let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag).collect();
    ensure!(
        given.is_empty(),
        "{}: the run in {} goes on with its own recipe and data; leave this out with --resume, or begin another run",
        given.join(", "),
        folder.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_named() {
        let folder = Path::new("runs/a");
        refuse(folder, &recipe_flags("laptop", &[])).unwrap();
        let given = [recipe_flags("full", &[]), vec![("--data", false), ("--steps", true)]].concat();
        let error = refuse(folder, &given).unwrap_err().to_string();
        assert!(error.starts_with("--recipe, --steps: the run in runs/a goes on with its own"), "{error}");
    }
}
