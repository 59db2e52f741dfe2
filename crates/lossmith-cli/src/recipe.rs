//! Recipes: every number that a run depends on, as TOML. A recipe is a preset, or a file over a preset, with `--set`
//! on top; the complete one is written into the run's folder.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use lossmith::loss::nearest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// The presets of one task.
#[derive(Clone, Copy, Debug)]
pub struct Presets {
    /// What the names of its recipes begin with.
    pub task: &'static str,
    /// Minutes on two cores.
    pub laptop: &'static str,
    /// The published setting.
    pub full: &'static str,
}

macro_rules! built_in {
    ($($name:literal),*) => {
        /// The recipes of `recipes/` by name, built in so that a name is known wherever the program runs.
        const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../recipes/", $name, ".toml")))),*];
    };
}

built_in!(
    "classifier-full",
    "classifier-laptop",
    "classifier-quick",
    "cmat-full",
    "cmat-laptop",
    "embedding-full",
    "embedding-laptop",
    "embedding-nuclei",
    "fetch",
    "polarmask-ablation",
    "polarmask-full",
    "polarmask-laptop",
    "polarmask-nuclei",
    "reldn-full",
    "reldn-laptop",
    "slot-laptop"
);

/// Reads a recipe: `choice` is `laptop`, `full`, the name of another recipe or a file, which change keys of the laptop preset;
/// each of `set` is `dotted.key=value`.
pub fn load<R: DeserializeOwned>(presets: Presets, choice: &str, set: &[String]) -> anyhow::Result<R> {
    match named(presets, choice)? {
        Some(table) => load_table(table, None, set),
        None => load_over(presets.laptop, Some(Path::new(choice)), set),
    }
}

/// Reads a recipe that has one preset: the file, if there is one, changes some of its keys, then `set` does.
pub fn load_over<R: DeserializeOwned>(base: &str, file: Option<&Path>, set: &[String]) -> anyhow::Result<R> {
    load_table(preset(base), file, set)
}

/// The same over a table that was put together.
pub fn load_table<R: DeserializeOwned>(mut table: Table, file: Option<&Path>, set: &[String]) -> anyhow::Result<R> {
    if let Some(file) = file {
        change(&mut table, read(file)?).with_context(|| format!("--recipe {}", file.display()))?;
    }
    for assignment in set {
        assign(&mut table, assignment).with_context(|| format!("--set {assignment}"))?;
    }
    parse(table)
}

/// The complete recipe of a name; `None` where `choice` is a file.
///
/// # Errors
/// Neither a file nor a name, or the name of another task's recipe.
pub fn named(presets: Presets, choice: &str) -> anyhow::Result<Option<Table>> {
    match choice {
        "laptop" => return Ok(Some(preset(presets.laptop))),
        "full" => return Ok(Some(preset(presets.full))),
        // A pipe is told to be one where it is read.
        file if Path::new(file).exists() && !Path::new(file).is_dir() => return Ok(None),
        _ => {}
    }
    let own = || BUILT_IN.iter().map(|(name, _)| *name).filter(|name| task_of(name) == presets.task);
    let Some((name, text)) = built_in(choice) else {
        let names: Vec<&str> = ["laptop", "full"].into_iter().chain(own()).collect();
        let guess = did_you_mean(bare(choice), names.iter().copied());
        let names = names.join(", ");
        bail!("--recipe {choice}: there is no such file, and no recipe of that name (there is: {names}){guess}");
    };
    ensure!(
        task_of(name) == presets.task,
        "--recipe {choice}: this is a recipe for {}; for {} there is: laptop, full, {}",
        task_of(name),
        presets.task,
        own().collect::<Vec<_>>().join(", ")
    );
    let mut table = preset(presets.laptop);
    change(&mut table, preset(text)).with_context(|| format!("--recipe {choice}"))?;
    Ok(Some(table))
}

/// A recipe of `recipes/` by its name, or by the path that it has in the source.
pub fn built_in(choice: &str) -> Option<(&'static str, &'static str)> {
    BUILT_IN.iter().copied().find(|(name, _)| *name == bare(choice))
}

/// `embedding-nuclei` of `recipes/embedding-nuclei.toml`.
fn bare(choice: &str) -> &str {
    let name = choice.strip_suffix(".toml").unwrap_or(choice);
    name.strip_prefix("./").unwrap_or(name).strip_prefix("recipes/").unwrap_or(name)
}

fn task_of(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

/// `; did you mean 'laptop'?`, where a known word is like this one.
fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!("; did you mean '{near}'?"))
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
    let text =
        lossmith_data::whole_text(file).with_context(|| format!("--recipe {}: cannot be read", file.display()))?;
    text.parse().with_context(|| format!("--recipe {}", file.display()))
}

fn parse<R: DeserializeOwned>(table: Table) -> anyhow::Result<R> {
    Value::Table(table).try_into().map_err(|e: toml::de::Error| anyhow::anyhow!("recipe: {}", fault(&e)))
}

/// What is wrong, with the key: TOML's own message has it in its last line.
fn fault(error: &toml::de::Error) -> String {
    let message = error.message();
    let text = error.to_string();
    let key = text.trim_end().rsplit_once("\nin `").and_then(|(_, key)| key.strip_suffix('`'));
    let Some(key) = key.filter(|key| !message.starts_with(key)) else { return message.to_owned() };
    let number = message.strip_prefix("invalid value: integer `").and_then(|rest| rest.split_once("`, expected "));
    let most = |kind: &str| match kind {
        "u8" => Some(u64::from(u8::MAX)),
        "u16" => Some(u64::from(u16::MAX)),
        "u32" => Some(u64::from(u32::MAX)),
        // TOML's own numbers end here.
        "u64" | "usize" => Some(i64::MAX as u64),
        _ => None,
    };
    match number.and_then(|(found, kind)| Some((found, most(kind)?))) {
        Some((found, most)) => format!("{key}: expected a whole number from 0 to {most}, found {found}"),
        None => format!("{key}: {message}"),
    }
}

/// Lays `changes` over `table`; a key that the preset does not have is an error.
fn change(table: &mut Table, changes: Table) -> anyhow::Result<()> {
    let known = keys(table, "");
    merge(table, changes, "", &known)
}

fn merge(table: &mut Table, changes: Table, prefix: &str, known: &[String]) -> anyhow::Result<()> {
    for (key, value) in changes {
        let path = format!("{prefix}{key}");
        match (table.get_mut(&key), value) {
            (None, _) => return unknown(table, &path, known),
            (Some(Value::Table(inner)), Value::Table(changes)) => merge(inner, changes, &format!("{path}."), known)?,
            (Some(slot), value) => *slot = fitted(slot, value, &path)?,
        }
    }
    Ok(())
}

/// All keys of a table, dotted.
fn keys(table: &Table, prefix: &str) -> Vec<String> {
    let below = |(key, value): (&String, &Value)| match value {
        Value::Table(inner) => keys(inner, &format!("{prefix}{key}.")),
        _ => vec![format!("{prefix}{key}")],
    };
    table.iter().flat_map(below).collect()
}

/// Changes one key of a table: `dotted.key=value`.
pub fn assign(table: &mut Table, assignment: &str) -> anyhow::Result<()> {
    let Some((path, text)) = assignment.split_once('=') else { bail!("expected key=value") };
    let (path, text) = (path.trim(), text.trim());
    let known = keys(table, "");
    let mut keys = path.split('.').peekable();
    let mut here = table;
    while let Some(key) = keys.next() {
        if keys.peek().is_none() {
            let Some(slot) = here.get_mut(key) else { return unknown(here, path, &known) };
            *slot = fitted(slot, value_of(text), path)?;
            return Ok(());
        }
        if !matches!(here.get(key), Some(Value::Table(_))) {
            return unknown(here, path, &known);
        }
        let Some(Value::Table(inner)) = here.get_mut(key) else { unreachable!("it was just seen") };
        here = inner;
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

fn unknown<T>(there: &Table, path: &str, known: &[String]) -> anyhow::Result<T> {
    let keys: Vec<&str> = there.keys().map(String::as_str).collect();
    let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
    // Often only the section is missing.
    let elsewhere: Vec<&str> = known.iter().filter(|key| last(key) == last(path)).map(String::as_str).collect();
    let guess = match &elsewhere[..] {
        [] => did_you_mean(path, known.iter().map(String::as_str)),
        there => format!("; did you mean '{}'?", there.join("' or '")),
    };
    bail!("the recipe has no key '{path}' (there is: {}){guess}", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PRESETS: Presets =
        Presets { task: "embedding", laptop: "name = 'a'\n[train]\nsteps = 10\nrate = 0.1\n", full: "name = 'b'" };

    #[test]
    fn settings_keep_their_type() {
        let set = ["train.steps=20".to_owned(), "train.rate=1".to_owned(), "name=mlp".to_owned()];
        let table: Table = load(PRESETS, "laptop", &set).unwrap();
        assert_eq!(table.to_string(), "name = \"mlp\"\n\n[train]\nrate = 1.0\nsteps = 20\n");
    }

    #[test]
    fn faults_name_the_key() {
        for (set, part) in [
            ("train.step=1", "no key 'train.step' (there is: rate, steps); did you mean 'train.steps'?"),
            ("steps=1", "no key 'steps' (there is: name, train); did you mean 'train.steps'?"),
            ("trian.rate=1", "no key 'trian.rate' (there is: name, train); did you mean 'train.rate'?"),
            ("colour=1", "no key 'colour' (there is: name, train)"),
            ("train.steps=many", "expected integer, found string"),
            ("nets.steps=1", "no key 'nets.steps'"),
            ("steps", "expected key=value"),
        ] {
            let error = load::<Table>(PRESETS, "laptop", &[set.to_owned()]).unwrap_err();
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
        #[derive(Debug, serde::Deserialize)]
        struct Typed {
            #[allow(dead_code)]
            train: Steps,
        }
        #[derive(Debug, serde::Deserialize)]
        struct Steps {
            #[allow(dead_code)]
            steps: u32,
        }
        let error = load::<Typed>(PRESETS, "laptop", &["train.steps=-3".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "recipe: train.steps: expected a whole number from 0 to 4294967295, found -3");
    }

    /// The names work wherever the program runs, and so do the paths that the recipes have in the source.
    #[test]
    fn recipes_are_known_by_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let files = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
        let mut files: Vec<String> = files.map(|p| p.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        files.sort();
        assert_eq!(files, BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        let presets = crate::tasks::embedding::PRESETS;
        for choice in ["embedding-nuclei", "recipes/embedding-nuclei.toml", "./recipes/embedding-nuclei.toml"] {
            let table = named(presets, choice).unwrap().unwrap();
            assert_eq!(table["model"]["side"].as_integer(), Some(128), "{choice}");
        }
        let listed = "laptop, full, embedding-full, embedding-laptop, embedding-nuclei";
        for (choice, said) in [
            (
                "embedding-nucle",
                format!("no recipe of that name (there is: {listed}); did you mean 'embedding-nuclei'?"),
            ),
            ("labtop", format!("(there is: {listed}); did you mean 'laptop'?")),
            ("my/recipe.toml", format!("there is no such file, and no recipe of that name (there is: {listed})")),
            ("polarmask-nuclei", format!("this is a recipe for polarmask; for embedding there is: {listed}")),
        ] {
            let error = named(presets, choice).unwrap_err().to_string();
            assert!(error.contains(&said), "{error}");
        }
    }
}
