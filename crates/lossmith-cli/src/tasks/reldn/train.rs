//! `lossmith train reldn`

use std::path::PathBuf;

use lossmith_burn::reldn::{Progress, store};
use serde_json::json;

use super::{By, Common, Data, Figures, Session, identity};
use crate::interrupt;
use crate::output::{self, Answer, Table};
use crate::progress::Still;
use crate::run::Run;

/// The arguments of `train reldn`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  \
lossmith train reldn                                        scenes of who holds what, made here\n  \
lossmith train reldn --data vrd --loss l0                   VRD from its annotations alone; chosen on held-back images for it:\n  \
\x20 --set model.prior=60 --set train.table=0 --set sampling.overlap=false\n  \
lossmith train reldn --data mine --images mine/pictures     your graphs (train-graphs.json, test-graphs.json) with their pictures")]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// A sum of l0, l1, l2 and l3, or graphical-contrastive(...) with its parameters
    #[arg(long)]
    loss: Option<String>,
    /// The run's folder
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let recipe = args.common.recipe(args.loss.as_deref())?;
    let data = Data::read(&args.common.source(), &recipe, recipe.seed)?;
    let session = Session::new(&data, &recipe)?;
    let loss = recipe.loss()?.build()?;
    let run = Run::begin(args.out.as_deref(), "reldn", &identity("train reldn", &recipe, &data)?)?;
    run.write_json("vocabulary.json", &data.names)?;
    run.write_json("model.json", &session.config)?;

    let mut log = String::new();
    let still = Still::begin();
    still.hear(format!("epoch 1 of {}", recipe.train.epochs));
    let mut talk = |done: &Progress| {
        let said = format!("epoch {} of {}: loss {:.4}", done.epoch, recipe.train.epochs, done.loss);
        tracing::info!("{said}");
        still.hear(said);
        log += &format!("{}\n", serde_json::to_string(done)?);
        run.write("log.jsonl", log.as_bytes()).map(drop)
    };
    let (model, epochs) = session.train(&recipe, loss.as_ref(), recipe.seed, &mut talk)?;
    run.write("model.safetensors", &store::to_bytes(&model)?)?;
    if epochs < recipe.train.epochs {
        let error = anyhow::Error::from(interrupt::Interrupted);
        return Err(error.context(format!("the model of {epochs} whole epochs is in {}", run.folder().display())));
    }
    let figures = session.figures(&model)?;
    run.write_json("outcome.json", &figures)?;
    if args.common.json {
        output::print_json(&json!({"run": run.folder(), "loss": recipe.loss()?.to_string(), "figures": figures}))?;
        return Ok(Answer::Yes);
    }
    output::print(&format!("{}\nrun: {}\n", table(&figures, &data), run.folder().display()))?;
    Ok(Answer::Yes)
}

/// The figures in words.
fn table(figures: &Figures, data: &Data) -> Table {
    let percent = |share: f64| format!("{:.2}", 100.0 * share);
    let mut table = Table::new(["test images, boxes given", "%"]);
    for (by, words) in [
        (By::RecallAtTruth, "R@G, as many triplets as relations"),
        (By::Order, "groups in order, by anchor"),
        (By::OrderClass, "groups in order, by anchor and class"),
        (By::OrderPredicate, "groups in order, by anchor and predicate"),
        (By::Predcls, "Visual Genome PredCls, R@50"),
    ] {
        table.row([words.to_owned(), percent(figures.get(by))]);
    }
    for p in figures.predicate.iter().filter(|p| p.rows > 0) {
        let zero_shot = if p.zero_shot { ", zero-shot" } else { "" };
        for (cut, n) in [(1, 50), (2, 100)] {
            table.row([format!("VRD predicate detection, k={}{zero_shot}, R@{n}", p.k), percent(p.recall[cut])]);
        }
    }
    let o = &figures.openimages;
    for (words, value) in [
        ("Open Images (RelDN's evaluator), R@50", o.recall_50),
        ("wmAP of relations", o.wmap_relation),
        ("wmAP of phrases", o.wmap_phrase),
        ("score_wtd", o.score_wtd),
    ] {
        table.row([words.to_owned(), percent(value)]);
    }
    if data.names.predicates.len() <= 10 {
        for (name, ap) in data.names.predicates.iter().zip(&o.ap_relation) {
            table.row([format!("AP of relations, {name}"), percent(*ap)]);
        }
    }
    table
}
