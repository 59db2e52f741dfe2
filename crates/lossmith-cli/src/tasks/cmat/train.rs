//! `lossmith train cmat`

use std::path::PathBuf;

use anyhow::Context;
use burn::module::Module;
use lossmith_burn::cmat::evaluate::Given;
use lossmith_burn::cmat::train::Progress;
use lossmith_burn::cmat::{Settings, Trainer, store};
use lossmith_data::node_graphs::{About, NodeGraphs};
use serde_json::json;

use super::{Common, Recipe, Session, identity};
use crate::output::{self, Answer, Table};
use crate::progress::Still;
use crate::run::Run;
use crate::tasks::classifier::compare::how_to_go_on;
use crate::{interrupt, recipe};

const COMMAND: &str = "train cmat";
/// The agents after the first stage, which all losses share.
const FIRST: &str = "stage-1.safetensors";
/// The trained agents.
pub const MODEL: &str = "model.safetensors";
/// What the first stage is called in the log.
const CROSS_ENTROPY: &str = "cross-entropy";

/// Train agents on scene graphs by the counterfactual critic or a control
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  \
lossmith train cmat --out runs/hubs\n  \
lossmith train cmat --data vrd --set data.confusion=0.3 --epochs 4\n  \
lossmith train cmat --resume runs/hubs\n\n\
A run that was stopped goes on after the last stage that was finished, and ends in the same bytes.")]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// What the nodes are trained by in stage 2: cmat, cross-entropy, degree, node-priority, a critic, or the catalogue's loss with its
    /// parameters: 'counterfactual-critic(reward=recall@50, surrogate="-a*l")'
    #[arg(long)]
    loss: Option<String>,
    /// The run's folder
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped; its own recipe holds
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "loss", "data", "reward", "critic", "rounds", "epochs", "seed", "set", "recipe"])]
    resume: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let resumed = args.resume.as_deref().map(|folder| Run::resume(folder, COMMAND)).transpose()?;
    let recipe: Recipe = match &resumed {
        Some((_, began)) => recipe::parse_text(&began.recipe)?,
        None => args.common.recipe(args.loss.as_deref())?,
    };
    recipe.check()?;
    let data = recipe.scenes(recipe.seed)?;
    let session = Session::new(&data, &recipe)?;
    let identity = identity(COMMAND, &recipe, &data)?;
    let run = match resumed {
        Some((run, _)) => run,
        None => Run::begin(args.out.as_deref(), "cmat", &identity)?,
    };
    run.check(&identity)?;
    run.write_json("vocabulary.json", &data.about)?;
    run.write_json("model.json", &session.config)?;

    let settings = recipe.settings(&recipe.train.loss, recipe.seed)?;
    let log = Log::open(&run, args.resume.is_some());
    let [first, second] =
        train(&run, &session, &recipe.train.loss, settings, log).map_err(|e| how_to_go_on(e, COMMAND, run.folder()))?;
    let outcomes =
        [("stage 1", session.outcome(&first, Given::Boxes)?), ("stage 2", session.outcome(&second, Given::Boxes)?)];
    let found = json!({"run": run.folder(), "ceilings": ceilings(&data.about),
        "stage_1": outcomes[0].1, "stage_2": outcomes[1].1});
    run.write_json("outcome.json", &found)?;

    if args.common.json {
        output::print_json(&found)?;
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

/// Both stages; a first one that was kept is not trained again.
fn train(
    run: &Run,
    session: &Session,
    loss: &str,
    settings: Settings,
    mut log: Log<'_>,
) -> anyhow::Result<[Trainer; 2]> {
    let first = match lossmith_data::whole_bytes(&run.path(FIRST)) {
        Ok(bytes) => session.kept(bytes, settings.clone()).with_context(|| run.path(FIRST).display().to_string())?,
        Err(_) => {
            let first = session.first_stage(settings.clone(), |_, epoch, p| log.add(CROSS_ENTROPY, epoch, p))?;
            write_agents(run, FIRST, &first)?;
            first
        }
    };
    let second = session.second_stage(&first, settings, |_, epoch, p| log.add(loss, epoch, p))?;
    write_agents(run, MODEL, &second)?;
    Ok([first, second])
}

fn write_agents(run: &Run, name: &str, trainer: &Trainer) -> anyhow::Result<()> {
    run.write(name, &store::to_bytes(&trainer.agents.valid())?).map(drop)
}

/// One line an epoch.
struct Log<'r> {
    run: &'r Run,
    text: String,
    still: Still,
}

impl<'r> Log<'r> {
    /// The log of a run; of one that goes on only the lines of a first stage that is kept.
    fn open(run: &'r Run, resumed: bool) -> Self {
        let old = if resumed && run.path(FIRST).is_file() {
            run.read("log.jsonl").unwrap_or_default()
        } else {
            String::new()
        };
        let first = format!("\"stage\":\"{CROSS_ENTROPY}\",\"number\":1");
        let kept = old.lines().filter(|line| line.contains(&first)).map(|line| format!("{line}\n"));
        let still = Still::begin();
        still.hear(format!("{CROSS_ENTROPY} epoch 1"));
        Self { run, text: kept.collect(), still }
    }

    fn add(&mut self, stage: &str, epoch: usize, p: Progress) -> anyhow::Result<()> {
        let said = format!("{stage} epoch {epoch}: nodes {:.4}, pairs {:.4}, reward {:.4}", p.nodes, p.pairs, p.reward);
        tracing::info!("{said}");
        self.still.hear(said);
        let number = if self.run.path(FIRST).is_file() { 2 } else { 1 };
        self.text +=
            &format!("{{\"stage\":\"{stage}\",\"number\":{number},\"epoch\":{epoch},\"progress\":{}}}\n", json!(p));
        self.run.write("log.jsonl", self.text.as_bytes()).map(drop)
    }
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
