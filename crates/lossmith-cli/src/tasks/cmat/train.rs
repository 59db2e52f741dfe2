//! `lossmith train cmat`

use std::path::PathBuf;

use burn::module::Module;
use lossmith_burn::cmat::store;
use lossmith_data::node_graphs::{About, NodeGraphs};
use serde_json::json;

use super::{Common, Session, scenes};
use crate::output::{self, Answer, Table};
use crate::run::Run;
use crate::{interrupt, recipe};

/// Train agents on scene graphs by the counterfactual critic or a control
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// What the nodes are trained by in stage 2: cmat, cross-entropy, degree, node-priority
    #[arg(long)]
    loss: Option<String>,
    /// The run's folder
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let recipe = args.common.recipe(args.loss.as_deref())?;
    let data = scenes(args.common.data.as_deref(), &recipe, recipe.seed)?;
    let session = Session::new(&data, &recipe)?;
    let run = Run::create(args.out.as_deref(), "cmat")?;
    run.write("recipe.toml", recipe::to_text(&recipe)?.as_bytes())?;
    run.write_json("vocabulary.json", &data.about)?;
    run.write_json("model.json", &session.config)?;

    let mut log = String::new();
    let mut progress = |stage: &str, epoch: usize, p: lossmith_burn::cmat::train::Progress| {
        tracing::info!("{stage} epoch {epoch}: nodes {:.4}, pairs {:.4}, reward {:.4}", p.nodes, p.pairs, p.reward);
        log += &format!("{}\n", json!({"stage": stage, "epoch": epoch, "progress": p}));
        run.write("log.jsonl", log.as_bytes()).map(drop)
    };
    let settings = recipe.settings(&recipe.train.loss, recipe.seed)?;
    let first = session.first_stage(settings, &mut progress)?;
    let second = session.second_stage(&first, settings, &mut progress)?;
    run.write("model.safetensors", &store::to_bytes(&second.agents.valid())?)?;
    let outcomes = [("stage 1", session.outcome(&first)?), ("stage 2", session.outcome(&second)?)];
    run.write_json("outcome.json", &json!({"stage_1": outcomes[0].1, "stage_2": outcomes[1].1}))?;

    if args.common.json {
        output::print_json(&json!({"run": run.folder(), "ceilings": ceilings(&data.about),
            "stage_1": outcomes[0].1, "stage_2": outcomes[1].1}))?;
        return Ok(Answer::Yes);
    }
    let mut table = Table::new(["", "R@20", "R@50", "R@100", "nodes right"]);
    for (stage, outcome) in &outcomes {
        let recall = outcome.graphs.constraint.mean.map(|r| format!("{r:.4}"));
        table.row([vec![(*stage).to_owned()], recall.to_vec(), vec![format!("{:.4}", outcome.node_accuracy)]].concat());
    }
    output::print(&format!("{table}{}run: {}\n", ceiling_line(&data), run.folder().display()))?;
    Ok(Answer::Yes)
}

fn ceilings(about: &About) -> Option<lossmith_data::make::hubs::Ceilings> {
    about.hubs.map(|settings| settings.ceilings())
}

/// What no model can pass, where that is known.
pub fn ceiling_line(data: &NodeGraphs) -> String {
    ceilings(&data.about).map_or_else(String::new, |c| {
        format!(
            "ceilings: cross-entropy {:.4}, degree weights {:.4}, graph reward {:.4}\n",
            c.cross_entropy, c.degree, c.graph
        )
    })
}
