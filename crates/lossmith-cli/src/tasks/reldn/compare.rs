//! `lossmith compare reldn`: the same data and the same fresh weights for every loss, others for every seed.

use lossmith::loss::Spec;
use lossmith::stats::{Verdict, mean, sd};
use serde_json::json;

use super::{By, Common, Data, Figures, Place, Recipe, Session, identity, losses};
use crate::interrupt;
use crate::output::{self, Answer, Table, signed};
use crate::tasks::compared::Finished;
use crate::tasks::trainings::{Kept, Trainings, check_losses, check_seeds, with_zeros};

const COMMAND: &str = "compare reldn";

/// The arguments of `compare reldn`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: lossmith compare reldn --data vrd --losses \"l0,l0+l1,l0+l1+l2+l3\" --seeds 10 --out runs/vrd\n\
After Ctrl-C or a kill the same command goes on with --resume instead of --out.")]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// The losses, with commas between them
    #[arg(long, value_name = "A,B", default_value = "l0,l0+l1+l2+l3")]
    losses: String,
    /// How many seeds, from the recipe's on; as many as the recipe says unless given
    #[arg(long, value_parser = crate::args::whole::<u64>(2..=1000))]
    seeds: Option<u64>,
    /// The figure that decides: recall-at-truth on made data, predicate-k1 on the user's unless given
    #[arg(long)]
    by: Option<By>,
    /// The level below which a corrected p-value counts
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    alpha: f64,
    #[command(flatten)]
    kept: Kept,
}

/// The figures of every loss, one for each seed.
pub struct Compared {
    pub names: Vec<String>,
    pub figures: Vec<Vec<Figures>>,
    /// How many of its trainings diverged; they count as 0.
    pub diverged: Vec<usize>,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let mut recipe = args.common.recipe(None)?;
    recipe.compare.seeds = args.seeds.unwrap_or(recipe.compare.seeds);
    let losses = losses(&args.losses, &recipe.train.variant)?;
    check_losses(&losses.iter().map(|(name, _)| name).collect::<Vec<_>>())?;
    check_seeds(recipe.compare.seeds, args.alpha)?;
    losses.iter().try_for_each(|(_, loss)| loss.build().map(drop))?;
    if let Some(folder) = &args.kept.resume {
        let of_run: Recipe = args.kept.recipe(COMMAND, &[], || Ok(recipe.clone()))?;
        anyhow::ensure!(of_run == recipe, "--resume {}: its recipe is another than this command's", folder.display());
    }
    let data = Data::read(&args.common.source(), &recipe, recipe.seed)?;
    Session::new(&data, &recipe)?;
    let names: Vec<&str> = losses.iter().map(|(name, _)| name.as_str()).collect();
    let run = args.kept.run(&identity(COMMAND, &recipe, &data)?, &names, recipe.compare.seeds)?;
    drop(data);
    let mut trainings = Trainings::open(&run)?;
    let user = args.common.data.is_some();
    let compared = compare(&recipe, &args.common.source(), &losses, recipe.compare.seeds, &mut trainings, "")?;
    let by = args.by.unwrap_or(if user { By::PredicateK1 } else { By::RecallAtTruth });
    let verdict = compared.verdict(by, args.alpha)?;
    let names: Vec<&str> = compared.names.iter().map(String::as_str).collect();
    let data = args.common.data.as_ref().map_or("made scenes".to_owned(), |path| path.display().to_string());
    let finished = Finished {
        metric: by.head(),
        seed: recipe.seed,
        data: &data,
        rate: recipe.train.rate,
        names: &names,
        values: &compared.values(by),
        diverged: &compared.diverged,
        verdict: &verdict,
    };
    let figures: serde_json::Map<String, serde_json::Value> =
        compared.names.iter().zip(&compared.figures).map(|(name, figures)| (name.clone(), json!(figures))).collect();
    let result = json!({"by": by, "rate": recipe.train.rate, "figures": figures, "diverged": compared.diverged, "verdict": verdict});
    finished.write(&run, &result)?;
    if args.common.json {
        output::print_json(&result)?;
    } else {
        let pairs = format!("{}{}\n", differences(&verdict, by), finished.said());
        output::print(&format!("{}\n{pairs}\nrun: {}\n", compared.table(), run.folder().display()))?;
    }
    Ok(if verdict.winner.is_some() { Answer::Yes } else { Answer::No })
}

/// Trains every loss with every seed, or takes what is done; `mark` tells this comparison's trainings from others of the run.
pub fn compare(
    recipe: &Recipe,
    place: &Place,
    losses: &[(String, Spec)],
    seeds: u64,
    trainings: &mut Trainings<Figures>,
    mark: &str,
) -> anyhow::Result<Compared> {
    let built = losses.iter().map(|(_, spec)| Ok(spec.build()?)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut outcomes = vec![Vec::new(); losses.len()];
    trainings.begin(if mark.is_empty() { "comparison" } else { mark }, losses.len() * seeds as usize);
    // The user's data are the same for every seed, made ones are not.
    let mut data: Option<Data> = None;
    for seed in recipe.seed..recipe.seed + seeds {
        if place.data.is_none() {
            data = None;
        }
        for (at, (name, spec)) in losses.iter().enumerate() {
            let found = trainings.outcome(&format!("{mark} {spec} seed {seed}"), || {
                if data.is_none() {
                    data = Some(Data::read(place, recipe, seed)?);
                }
                let data = data.as_ref().expect("it was just read");
                let session = Session::new(data, recipe)?;
                let (model, _) = session.train(recipe, built[at].as_ref(), seed, |_| Ok(()))?;
                session.figures(&model)
            })?;
            if let Some(found) = &found {
                tracing::debug!("seed {seed}, {name}: R@G {:.4}", found.recall_at_truth);
            }
            outcomes[at].push(found);
        }
    }
    let (figures, diverged) = with_zeros(&outcomes);
    Ok(Compared { names: losses.iter().map(|(name, _)| name.clone()).collect(), figures, diverged })
}

impl Compared {
    /// One figure of every loss and seed.
    pub fn values(&self, by: By) -> Vec<Vec<f64>> {
        self.figures.iter().map(|of_loss| of_loss.iter().map(|f| f.get(by)).collect()).collect()
    }

    pub fn verdict(&self, by: By, alpha: f64) -> anyhow::Result<Verdict> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        Ok(Verdict::new(&names, &self.values(by), alpha)?)
    }

    /// Means of all figures, in percent, a row for each; the standard deviation beside each mean.
    pub fn table(&self) -> Table {
        let mut table = Table::new(std::iter::once("mean (sd), %".to_owned()).chain(self.names.iter().cloned()));
        for (by, head) in By::ALL {
            let cell = |values: &Vec<f64>| {
                let part = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{:.2}", 100.0 * v));
                format!("{} ({})", part(mean(values)), part(sd(values)))
            };
            table.row(std::iter::once(head.to_owned()).chain(self.values(by).iter().map(cell)));
        }
        table.row(std::iter::once("diverged, n".to_owned()).chain(self.diverged.iter().map(ToString::to_string)));
        table
    }
}

/// The paired differences and the verdict.
pub fn pairs(verdict: &Verdict, by: By) -> String {
    format!("{}{}\n", differences(verdict, by), verdict.verdict)
}

fn differences(verdict: &Verdict, by: By) -> Table {
    let mut table = Table::new([
        format!("{}, pair", by.head()),
        "difference".into(),
        "95 %".into(),
        "p (Holm)".into(),
        "d_z".into(),
    ]);
    for pair in &verdict.pairs {
        let number = |v: f64| signed(100.0 * v, 2);
        table.row([
            format!("{} - {}", pair.a, pair.b),
            number(pair.difference),
            pair.ci95.map_or_else(|| "-".to_owned(), |[low, high]| format!("{} to {}", number(low), number(high))),
            format!("{:.1e}", pair.p_holm),
            pair.effect_size.map_or_else(|| "-".to_owned(), |d| format!("{d:.1}")),
        ]);
    }
    table
}
