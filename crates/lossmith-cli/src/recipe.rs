//! Recipes: every number that a run depends on, as TOML. A recipe is a preset, or a file over a preset, with `--set`
//! on top; the complete one is written into the run's folder.

use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// The presets of one task.
#[derive(Clone, Copy, Debug)]
pub struct Presets {
    /// Minutes on two cores.
    pub laptop: &'static str,
    /// The published setting.
    pub full: &'static str,
}

/// Reads a recipe: `choice` is `laptop`, `full` or a file that changes keys of the laptop preset; each of `set` is
/// `dotted.key=value`.
pub fn load<R: DeserializeOwned>(presets: Presets, choice: &str, set: &[String]) -> anyhow::Result<R> {
    match choice {
        "laptop" => load_over(presets.laptop, None, set),
        "full" => load_over(presets.full, None, set),
        file => load_over(presets.laptop, Some(Path::new(file)), set),
    }
}

/// Reads a recipe that has one preset: the file, if there is one, changes some of its keys, then `set` does.
pub fn load_over<R: DeserializeOwned>(base: &str, file: Option<&Path>, set: &[String]) -> anyhow::Result<R> {
    load_table(preset(base), file, set)
}

/// The same over a table that was put together.
pub fn load_table<R: DeserializeOwned>(mut table: Table, file: Option<&Path>, set: &[String]) -> anyhow::Result<R> {
    if let Some(file) = file {
        merge(&mut table, read(file)?, "").with_context(|| format!("--recipe {}", file.display()))?;
    }
    for assignment in set {
        assign(&mut table, assignment).with_context(|| format!("--set {assignment}"))?;
    }
    parse(table)
}

/// Reads the complete recipe of a run.
pub fn parse_text<R: DeserializeOwned>(text: &str) -> anyhow::Result<R> {
    parse(text.parse::<Table>().context("recipe.toml")?)
}

/// The complete recipe as text.
pub fn to_text(recipe: &impl Serialize) -> anyhow::Result<String> {
    Ok(toml::to_string_pretty(recipe)?)
}

fn preset(text: &str) -> Table {
    text.parse().expect("a preset is valid TOML: a test reads each")
}

fn read(file: &Path) -> anyhow::Result<Table> {
    let text = lossmith_data::whole_text(file)
        .with_context(|| format!("--recipe {}: not a preset's name, and no file that can be read", file.display()))?;
    text.parse().with_context(|| format!("--recipe {}", file.display()))
}

fn parse<R: DeserializeOwned>(table: Table) -> anyhow::Result<R> {
    Value::Table(table).try_into().map_err(|e: toml::de::Error| anyhow::anyhow!("recipe: {}", e.message()))
}

/// Lays `changes` over `table`; a key that the preset does not have is an error.
fn merge(table: &mut Table, changes: Table, prefix: &str) -> anyhow::Result<()> {
    for (key, value) in changes {
        let path = format!("{prefix}{key}");
        match (table.get_mut(&key), value) {
            (None, _) => return unknown(table, &path),
            (Some(Value::Table(inner)), Value::Table(changes)) => merge(inner, changes, &format!("{path}."))?,
            (Some(slot), value) => *slot = fitted(slot, value, &path)?,
        }
    }
    Ok(())
}

/// Changes one key of a table: `dotted.key=value`.
pub fn assign(table: &mut Table, assignment: &str) -> anyhow::Result<()> {
    let Some((path, text)) = assignment.split_once('=') else { bail!("expected key=value") };
    let (path, text) = (path.trim(), text.trim());
    let mut keys = path.split('.').peekable();
    let mut here = table;
    while let Some(key) = keys.next() {
        if keys.peek().is_none() {
            let Some(slot) = here.get_mut(key) else { return unknown(here, path) };
            *slot = fitted(slot, value_of(text), path)?;
            return Ok(());
        }
        here = match here.get_mut(key) {
            Some(Value::Table(inner)) => inner,
            _ => return unknown(&Table::new(), path),
        };
    }
    Ok(())
}

/// A bare word is a string, everything else is TOML.
fn value_of(text: &str) -> Value {
    format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The new value, if it is of the old one's type; whole numbers serve as floats.
fn fitted(old: &Value, new: Value, path: &str) -> anyhow::Result<Value> {
    match (old, new) {
        (Value::Float(_), Value::Integer(v)) => Ok(Value::Float(v as f64)),
        (old, new) if old.same_type(&new) => Ok(new),
        (old, new) => bail!("{path}: expected {}, found {} ({new})", old.type_str(), new.type_str()),
    }
}

fn unknown<T>(there: &Table, path: &str) -> anyhow::Result<T> {
    let keys: Vec<&str> = there.keys().map(String::as_str).collect();
    let has = if keys.is_empty() { String::new() } else { format!(" (there is: {})", keys.join(", ")) };
    bail!("the recipe has no key '{path}'{has}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESETS: Presets = Presets { laptop: "name = 'a'\n[train]\nsteps = 10\nrate = 0.1\n", full: "name = 'b'" };

    #[test]
    fn settings_keep_their_type() {
        let set = ["train.steps=20".to_owned(), "train.rate=1".to_owned(), "name=mlp".to_owned()];
        let table: Table = load(PRESETS, "laptop", &set).unwrap();
        assert_eq!(table.to_string(), "name = \"mlp\"\n\n[train]\nrate = 1.0\nsteps = 20\n");
    }

    #[test]
    fn faults_name_the_key() {
        for (set, part) in [
            ("train.step=1", "no key 'train.step' (there is: rate, steps)"),
            ("train.steps=many", "expected integer, found string"),
            ("nets.steps=1", "no key 'nets.steps'"),
            ("steps", "expected key=value"),
        ] {
            let error = load::<Table>(PRESETS, "laptop", &[set.to_owned()]).unwrap_err();
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
        assert!(load::<Table>(PRESETS, "no-such-file", &[]).is_err());
    }
}
