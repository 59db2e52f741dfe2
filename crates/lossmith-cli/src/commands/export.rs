//! `lossmith export LOSS|RUN --to pytorch|jax|burn|latex`: the loss leaves the tool as source.

use std::path::{Path, PathBuf};

use anyhow::Context;
use lossmith::expr::emit::{Example, Language, Module};
use lossmith::loss::{ClassLoss, Spec};

use super::read_loss;
use crate::output::{self, Answer};
use crate::run::Run;

/// The arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: lossmith export runs/search-classifier-1 --to pytorch > found_loss.py")]
pub struct Args {
    /// A loss (name, formula, @FILE) or the folder of a search
    #[arg(allow_hyphen_values = true)]
    loss: String,
    /// The framework: pytorch, jax, burn or latex
    #[arg(long, value_parser = language)]
    to: Language,
    /// A file to write, which must not exist yet; stdout without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn language(name: &str) -> Result<Language, String> {
    let names = Language::ALL.map(|(_, name)| name).join(", ");
    Language::find(name).ok_or_else(|| format!("expected one of {names}"))
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    let (name, spec, provenance) = origin(&args.loss)?;
    let loss = ClassLoss::from_spec(&spec)?;
    let module = Module { name: &name, formula: loss.formula(), provenance: &provenance, example: example(&loss) };
    let source = module.source(args.to);
    match &args.out {
        Some(file) => lossmith_data::atomic::write(file, source.as_bytes())?,
        None => output::print(&source)?,
    }
    Ok(Answer::Yes)
}

/// The name, the loss and where it comes from.
fn origin(loss: &str) -> anyhow::Result<(String, Spec, String)> {
    if Path::new(loss).is_dir() {
        let run = Run::open(Path::new(loss))?;
        let found = run.read("found.loss").map_err(|e| e.context("the run has not found a loss (yet)"))?;
        // Another's run may name a file here, which is nobody's business.
        let spec = Spec::parse(&found).with_context(|| run.path("found.loss").display().to_string())?;
        return Ok(("found".to_owned(), spec, format!("the search in {}", run.folder().display())));
    }
    let spec = read_loss(loss)?;
    Ok(match &spec {
        Spec::Named(arguments) => {
            let entry = arguments.entry();
            (entry.name.to_owned(), spec.clone(), format!("{spec}; {}", entry.reference))
        }
        Spec::Formula(_) => ("found".to_owned(), spec, "a formula from the command line".to_owned()),
    })
}

/// Three rows of four classes, and what the loss makes of them.
fn example(loss: &ClassLoss) -> Example {
    let logits = vec![vec![0.2, -1.0, 1.5, 0.0], vec![1.0, 0.5, -0.5, 2.0], vec![-0.3, 0.8, 0.1, -1.2]];
    let labels = vec![2, 0, 1];
    let flat: Vec<f32> = logits.concat();
    let mut gradient = vec![0.0; flat.len()];
    let value = loss.value_and_gradient(&flat, &labels, 4, &mut gradient);
    Example { logits, labels, value, gradient: gradient.chunks(4).map(<[f32]>::to_vec).collect() }
}
