//! `lossmith compare cmat`: the same scenes and the same stage 1 for every loss, fresh ones for every seed.

use lossmith::loss::split_list;
use lossmith::metric::visual_genome::CUTS;
use lossmith::stats::{Verdict, mean, sd};
use lossmith_burn::cmat::evaluate::Given;
use serde_json::json;

use super::train::ceiling_line;
use super::{Common, Session, cut, identity};
use crate::interrupt;
use crate::output::{self, Answer, Table, signed};
use crate::tasks::compared::Finished;
use crate::tasks::trainings::{Kept, Trainings, check_losses, with_zeros};

const COMMAND: &str = "compare cmat";

/// Compare losses of the agents' second stage, paired by seed
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// The losses, separated by commas: cmat, cross-entropy, degree, node-priority, critics by name, counterfactual-critic(...)
    #[arg(long, default_value = "cross-entropy,degree,node-priority,cmat")]
    losses: String,
    /// How many seeds, from the recipe's on
    #[arg(long, default_value_t = 10, value_parser = crate::args::whole::<u64>(2..=1000))]
    seeds: u64,
    #[command(flatten)]
    kept: Kept,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let losses: Vec<&str> = split_list(&args.losses).into_iter().map(str::trim).collect();
    check_losses(&losses)?;
    let recipe = args.kept.recipe(COMMAND, &args.common.given(), || args.common.recipe(None))?;
    for loss in &losses {
        recipe.objective(loss)?;
    }
    let cut = cut(&recipe.train.reward);
    let k = CUTS[cut];
    let mut outcomes = vec![Vec::new(); losses.len()];
    let mut ceilings = String::new();
    let run = args.kept.run(&identity(COMMAND, &recipe, &recipe.scenes(recipe.seed)?)?, &losses, args.seeds)?;
    let mut trainings = Trainings::open(&run)?;
    trainings.begin("comparison", losses.len() * args.seeds as usize);
    for seed in recipe.seed..recipe.seed + args.seeds {
        let data = recipe.scenes(seed)?;
        ceilings = ceiling_line(&data);
        let session = Session::new(&data, &recipe)?;
        let quiet = |_: &str, _: usize, _: lossmith_burn::cmat::train::Progress| Ok(());
        // All losses of a seed begin where this stage ends.
        let mut first = None;
        for (at, loss) in losses.iter().enumerate() {
            let outcome = trainings.outcome(&format!("{loss}, seed {seed}"), || {
                if first.is_none() {
                    first = Some(session.first_stage(recipe.settings("cross-entropy", seed)?, quiet)?);
                }
                let first = first.as_ref().expect("it was just trained");
                let second = session.second_stage(first, recipe.settings(loss, seed)?, quiet)?;
                let outcome = session.outcome(&second, Given::Boxes)?;
                Ok([outcome.graphs.constraint.mean[cut], outcome.node_accuracy])
            })?;
            if let Some([recall, _]) = outcome {
                tracing::info!("seed {seed}, {loss}: R@{k} {recall:.4}");
            }
            outcomes[at].push(outcome);
        }
    }
    let (figures, diverged) = with_zeros(&outcomes);
    let column = |at: usize| -> Vec<Vec<f64>> {
        figures.iter().map(|of_loss| of_loss.iter().map(|f: &[f64; 2]| f[at]).collect()).collect()
    };
    let (recalls, nodes) = (column(0), column(1));
    let verdict = Verdict::new(&losses, &recalls, 0.05)?;
    let metric = format!("R@{k}");
    let data = if recipe.data.path.is_empty() { "hub worlds" } else { recipe.data.path.as_str() };
    let (seed, rate) = (recipe.seed, recipe.train.policy_rate);
    let finished = Finished {
        metric: &metric,
        seed,
        data,
        rate,
        names: &losses,
        values: &recalls,
        diverged: &diverged,
        verdict: &verdict,
    };
    let lists: Vec<_> = losses.iter().zip(recalls.iter().zip(&nodes)).collect();
    let result = json!({"cut": k, "rate": rate, "recall_and_nodes": lists, "diverged": diverged, "verdict": verdict});
    finished.write(&run, &result)?;
    if args.common.json {
        output::print_json(&result)?;
    } else {
        let mut table =
            Table::new(["loss".to_owned(), format!("R@{k}"), "sd".into(), "nodes right".into(), "diverged".into()]);
        for ((name, diverged), (recall, nodes)) in losses.iter().zip(&diverged).zip(recalls.iter().zip(&nodes)) {
            let number = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
            let cells = [number(mean(recall)), number(sd(recall)), number(mean(nodes)), diverged.to_string()];
            table.row([(*name).to_owned()].into_iter().chain(cells));
        }
        output::print(&format!("{table}{ceilings}\n{}\nrun: {}\n", pairs(&finished), run.folder().display()))?;
    }
    Ok(Answer::Yes)
}

fn pairs(finished: &Finished<'_>) -> String {
    let mut table = Table::new(["pair", "difference", "p", "p (Holm)", "d_z"]);
    for pair in &finished.verdict.pairs {
        table.row([
            format!("{} - {}", pair.a, pair.b),
            signed(pair.difference, 4),
            format!("{:.2e}", pair.p),
            format!("{:.2e}", pair.p_holm),
            pair.effect_size.map_or_else(|| "-".to_owned(), |d| format!("{d:.1}")),
        ]);
    }
    format!("{table}{}\n", finished.said())
}
