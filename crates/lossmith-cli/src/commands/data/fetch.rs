//! `lossmith data fetch`: downloads with checksum, which go on where they were cut.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use lossmith_data::fetch::DataSet;
use serde::Deserialize;

use crate::output::{self, Answer};
use crate::progress::Now;
use crate::recipe;

const MIRRORS: &str = include_str!("../../../../../recipes/fetch.toml");

/// Where data sets are found; documented in `recipes/fetch.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    mirrors: BTreeMap<String, Vec<String>>,
}

/// The arguments of `data fetch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// mnist, fashion-mnist or cifar10
    name: String,
    /// The folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A file with other mirrors (see recipes/fetch.toml)
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// A key of the recipe, such as mirrors.mnist='["http://..."]'
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The place to download from, instead of the recipe's (may be repeated; tried in this order)
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    let set = DataSet::find(&args.name)?;
    let mirrors = mirrors(&args, set.name)?;
    let style =
        ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes}, {eta} left").expect("a fixed template");
    let (terminal, mut now) = (std::io::stderr().is_terminal(), Now::and_then());
    let bar = ProgressBar::new(0).with_style(style);
    set.fetch(&mirrors, &args.out, &mut |progress| {
        if bar.message() != progress.file {
            bar.set_message(progress.file.to_owned());
        }
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        if !terminal && now.is_time() {
            tracing::info!("{}: {} of {} MB", progress.file, progress.done >> 20, progress.total >> 20);
        }
    })?;
    bar.finish_and_clear();
    output::print(&format!("{} is in {}\n", set.name, args.out.display()))?;
    Ok(Answer::Yes)
}

/// Where a data set is looked for.
fn mirrors(args: &Args, name: &str) -> anyhow::Result<Vec<String>> {
    if !args.mirror.is_empty() {
        return Ok(args.mirror.clone());
    }
    let other = |file: &&Path| {
        file.is_file() || recipe::built_in(&file.to_string_lossy()).is_none_or(|(name, _)| name != "fetch")
    };
    let mut recipe: Recipe = recipe::load_over(MIRRORS, args.recipe.as_deref().filter(other), &args.set)?;
    let mirrors = recipe.mirrors.remove(name).with_context(|| format!("the recipe has no key 'mirrors.{name}'"))?;
    ensure!(!mirrors.is_empty(), "mirrors.{name}: expected at least one address");
    Ok(mirrors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_data_set_has_mirrors() {
        let recipe: Recipe = recipe::load_over(MIRRORS, None, &[]).unwrap();
        let sets: Vec<&str> = lossmith_data::fetch::DATA_SETS.iter().map(|set| set.name).collect();
        assert!(sets.iter().all(|name| !recipe.mirrors[*name].is_empty()));
        assert_eq!(recipe.mirrors.len(), sets.len());
    }
}
