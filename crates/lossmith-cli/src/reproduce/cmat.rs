//! CMAT (Chen et al. 2019): the tables of Visual Genome, the ablations of reward, baseline and rounds, the price of the critic.
//!
//! The digits of the published ablations are not known from public text, only their direction; it stands beside ours.

mod speed;

use anyhow::Context as _;
use lossmith::critic::{Kind, Reward};
use lossmith::stats::{mean, sd};
use lossmith_burn::cmat::Trainer;
use lossmith_burn::cmat::evaluate::Given;
use lossmith_burn::cmat::train::Progress;
use serde_json::{Value, json};
pub use speed::SPEED;

use super::{Context, Experiment, Made};
use crate::interrupt;
use crate::output::Table;
use crate::plot::{Axis, Bars, Chart, Row, Series};
use crate::tasks::cmat::{PRESETS, Recipe, Session};

/// Recall of the agents before and after the critic.
pub static TABLE1: Experiment = Experiment {
    id: "cmat/table1",
    title: "Recall@20/50/100 with given boxes, and with given boxes and classes: cross-entropy, then the critic (Table 1)",
    data: "annotations or scenes with --data (Visual Genome as published), generated hub worlds without",
    time: "2 minutes",
    published: "VG150, SGCls 35.9/39.0/39.8, of stage 1 alone 34.0/36.9/37.6; PredCls 60.2/66.4/68.1 (unverified)",
    make: table1,
};

/// What the graph is rewarded for.
pub static REWARD: Experiment = Experiment {
    id: "cmat/reward",
    title: "Cross-entropy against rewards: recall@20, recall@50, recall@100, SPICE",
    data: "as cmat/table1",
    time: "4 minutes",
    published: "every reward beats cross-entropy; recall@K is somewhat better than SPICE (digits not known)",
    make: reward,
};

/// What the reward is measured against.
pub static BASELINE: Experiment = Experiment {
    id: "cmat/baseline",
    title: "No baseline, moving average, self-critical, truncated and exact critic: recall, and variance of the gradient",
    data: "as cmat/table1",
    time: "4 minutes",
    published: "moving average and self-critical barely improve on cross-entropy, the critic clearly does (digits not known)",
    make: baseline,
};

/// How long the agents talk.
pub static ROUNDS: Experiment = Experiment {
    id: "cmat/rounds",
    title: "1 to 5 rounds of communication",
    data: "annotations or scenes with --data, generated groups whose labels need communication without",
    time: "4 minutes",
    published: "improves from T = 2 to 5 and saturates (digits not known)",
    make: rounds,
};

fn recipe(context: &Context) -> anyhow::Result<Recipe> {
    let recipe: Recipe = if context.resume {
        crate::recipe::parse_text(&context.run.read("recipe.toml")?)?
    } else {
        let mut recipe: Recipe = crate::recipe::load(PRESETS, &context.recipe, &context.set)?;
        if let Some(path) = &context.data {
            recipe.data.path = path.display().to_string();
        }
        recipe
    };
    recipe.check()?;
    context.keep(&crate::recipe::to_text(&recipe)?, &recipe.data.path)?;
    Ok(recipe)
}

/// One way to train: its name in the table, and the recipe that says it.
struct Arm {
    name: String,
    recipe: Recipe,
}

/// What the arms reach, seed by seed: recall at the three cuts, and the share of right nodes.
#[derive(Default)]
struct Reached {
    recalls: Vec<[f64; 3]>,
    nodes: Vec<f64>,
}

impl Reached {
    fn add(&mut self, session: &Session, trainer: &Trainer, given: Given) -> anyhow::Result<()> {
        let outcome = session.outcome(trainer, given)?;
        self.recalls.push(outcome.graphs.constraint.mean);
        self.nodes.push(outcome.node_accuracy);
        Ok(())
    }

    fn at(&self, cut: usize) -> Vec<f64> {
        self.recalls.iter().map(|r| r[cut]).collect()
    }

    /// The means in per cent: the three recalls, the spread of the first over seeds, right nodes.
    fn cells(&self) -> Vec<String> {
        let percent = |values: &[f64]| mean(values).map_or_else(|| "-".to_owned(), |v| format!("{:.1}", 100.0 * v));
        let spread = sd(&self.at(0)).map_or_else(|| "-".to_owned(), |v| format!("{:.1}", 100.0 * v));
        let recalls = (0..3).map(|cut| percent(&self.at(cut)));
        recalls.chain([spread, percent(&self.nodes)]).collect()
    }

    fn json(&self, name: &str) -> Value {
        json!({"name": name, "recall": self.recalls, "nodes": self.nodes})
    }

    fn row(&self, name: &str) -> Row {
        let recalls = self.at(0);
        let m = 100.0 * mean(&recalls).unwrap_or(f64::NAN);
        let spread = sd(&recalls).map(|s| (m - 100.0 * s, m + 100.0 * s));
        Row { name: name.to_owned(), value: m, spread, published: None, colour: None }
    }
}

fn quiet(_: &str, _: usize, _: Progress) -> anyhow::Result<()> {
    Ok(())
}

/// Trains stage 1 once a seed and every arm's stage 2 from it; `each` sees what stage 1 left.
fn second_stages(
    recipe: &Recipe,
    arms: &[Arm],
    mut each: impl FnMut(&Session, &Trainer, u64) -> anyhow::Result<()>,
) -> anyhow::Result<(Reached, Vec<Reached>)> {
    interrupt::listen();
    let mut first = Reached::default();
    let mut seconds: Vec<Reached> = arms.iter().map(|_| Reached::default()).collect();
    for seed in recipe.seed..recipe.seed + recipe.seeds {
        let session = Session::new(&recipe.scenes(seed)?, recipe)?;
        let trained = session.first_stage(recipe.settings("cross-entropy", seed)?, quiet)?;
        first.add(&session, &trained, Given::Boxes)?;
        each(&session, &trained, seed)?;
        for (arm, reached) in arms.iter().zip(&mut seconds) {
            let settings = arm.recipe.settings(&arm.recipe.train.loss, seed)?;
            let trainer = session.second_stage(&trained, settings, quiet)?;
            reached.add(&session, &trainer, Given::Boxes)?;
            tracing::info!("seed {seed}, {}: R@20 {:.4}", arm.name, reached.recalls.last().map_or(0.0, |r| r[0]));
        }
    }
    Ok((first, seconds))
}

fn heads(first: &str) -> [String; 6] {
    [first, "R@20", "R@50", "R@100", "sd of R@20", "nodes right"].map(str::to_owned)
}

/// Which data, how much of it, and what no model can pass.
fn setting(recipe: &Recipe) -> String {
    let t = &recipe.train;
    let data = if recipe.data.path.is_empty() {
        let d = &recipe.data;
        let settings = lossmith_data::make::hubs::Settings { blocks: d.blocks, noise: d.noise, groups: d.groups };
        let c = settings.ceilings();
        format!(
            "generated hubs, {} blocks and {} groups, {} + {} scenes; ceilings: cross-entropy {:.1} (alone {:.1}), degree weights {:.1}, graph {:.1}",
            d.blocks,
            d.groups,
            d.train,
            d.test,
            100.0 * c.cross_entropy,
            100.0 * c.alone,
            100.0 * c.degree,
            100.0 * c.graph
        )
    } else {
        format!("{}, confusion {}, limit {}", recipe.data.path, recipe.data.confusion, recipe.data.limit)
    };
    format!(
        "{data}\n{} seeds from {}, {} + {} epochs, {} rounds; same data as published: no; same network: no (no pictures)",
        recipe.seeds, recipe.seed, t.epochs, t.policy_epochs, recipe.agents.rounds
    )
}

/// A bar for each way, in the run's folder.
fn bars(context: &Context, title: &str, rows: Vec<Row>) -> anyhow::Result<String> {
    let drawing = Bars { title: title.to_owned(), axis: Axis::new("recall@20, per cent"), rows }.draw();
    Ok(context.run.write("figure.svg", drawing.file().as_bytes())?.display().to_string())
}

fn table1(context: &Context) -> anyhow::Result<Made> {
    /// Rows of VG150 with VGG-16: model, SGCls, PredCls.
    const PUBLISHED: [(&str, &str, &str); 4] = [
        ("published FREQ", "27.7 / 32.4 / 34.0", "49.4 / 59.9 / 64.1"),
        ("published MotifNet", "32.9 / 35.8 / 36.5", "58.5 / 65.2 / 67.1"),
        ("published CMAT stage 1 (unverified)", "34.0 / 36.9 / 37.6", "-"),
        ("published CMAT (unverified)", "35.9 / 39.0 / 39.8", "60.2 / 66.4 / 68.1"),
    ];
    let recipe = recipe(context)?;
    interrupt::listen();
    let mut reached: [[Reached; 2]; 2] = Default::default();
    for seed in recipe.seed..recipe.seed + recipe.seeds {
        let session = Session::new(&recipe.scenes(seed)?, &recipe)?;
        let settings = recipe.settings(&recipe.train.loss, seed)?;
        let first = session.first_stage(settings.clone(), quiet)?;
        let second = session.second_stage(&first, settings, quiet)?;
        for (trainer, reached) in [first, second].iter().zip(&mut reached) {
            for (given, reached) in [Given::Boxes, Given::Classes].into_iter().zip(reached) {
                reached.add(&session, trainer, given)?;
            }
        }
    }
    let mut table = Table::new(["R@20 / 50 / 100", "SGDet", "SGCls", "PredCls"]);
    let mut rows = Vec::new();
    let (mut bar_rows, names) = (Vec::new(), ["ours, stage 1 (cross-entropy)", "ours, stage 2 (the critic)"]);
    for (name, reached) in names.iter().zip(&reached) {
        let cell = |r: &Reached| r.cells()[..3].join(" / ");
        table.row([(*name).to_owned(), "no detector".to_owned(), cell(&reached[0]), cell(&reached[1])]);
        rows.push(json!({"name": name, "sgcls": reached[0].json("SGCls"), "predcls": reached[1].json("PredCls")}));
        bar_rows.push(reached[0].row(name));
    }
    for (name, sgcls, predcls) in PUBLISHED {
        let sgdet = if name.ends_with("CMAT (unverified)") { "22.1 / 27.9 / 31.2" } else { "-" };
        table.row([name, sgdet, sgcls, predcls]);
    }
    let picture = bars(context, "Recall@20 with given boxes", bar_rows)?;
    let text = format!("{table}\n{}; published: VG150\n\npicture {picture}\n", setting(&recipe));
    Ok(Made { text, json: json!({"recipe": recipe, "rows": rows}) })
}

fn reward(context: &Context) -> anyhow::Result<Made> {
    let recipe = recipe(context)?;
    let arm = |name: &str, loss: &str, reward: &str| {
        let mut recipe = recipe.clone();
        (recipe.train.loss, recipe.train.reward) = (loss.to_owned(), reward.to_owned());
        Arm { name: name.to_owned(), recipe }
    };
    let mut arms = vec![arm("cross-entropy", "cross-entropy", "recall@20")];
    arms.extend(["recall@20", "recall@50", "recall@100", "spice"].map(|reward| arm(reward, "cmat", reward)));
    ablation(context, &recipe, &arms, ("stage 2 by", REWARD.published))
}

fn ablation(context: &Context, recipe: &Recipe, arms: &[Arm], (head, published): (&str, &str)) -> anyhow::Result<Made> {
    let (first, seconds) = second_stages(recipe, arms, |_, _, _| Ok(()))?;
    let mut table = Table::new(heads(head));
    table.row([vec!["(stage 1)".to_owned()], first.cells()].concat());
    for (arm, reached) in arms.iter().zip(&seconds) {
        table.row([vec![arm.name.clone()], reached.cells()].concat());
    }
    let named = || arms.iter().zip(&seconds);
    let picture = bars(context, "Recall@20 after stage 2", named().map(|(a, r)| r.row(&a.name)).collect())?;
    let text = format!("{table}\n{}\npublished: {published}\n\npicture {picture}\n", setting(recipe));
    let rows: Vec<Value> = named().map(|(a, r)| r.json(&a.name)).collect();
    Ok(Made { text, json: json!({"recipe": recipe, "stage_1": first.json("stage 1"), "rows": rows}) })
}

fn baseline(context: &Context) -> anyhow::Result<Made> {
    let recipe = recipe(context)?;
    let kinds = [
        Kind::None,
        Kind::MovingAverage,
        Kind::SelfCritical,
        Kind::Truncated { renormalise: false, naive: false },
        Kind::Exact,
    ];
    let arm = |loss: &str| {
        let mut recipe = recipe.clone();
        loss.clone_into(&mut recipe.train.loss);
        Arm { name: loss.to_owned(), recipe }
    };
    let mut arms = vec![arm("cross-entropy")];
    arms.extend(kinds.map(|kind| arm(&kind.to_string())));
    let reward: Reward = recipe.train.reward.parse().map_err(|e| anyhow::anyhow!("recipe: {e}"))?;
    let mut variances = kinds.map(|_| Vec::new());
    let (first, seconds) = second_stages(&recipe, &arms, |session, trainer, seed| {
        for (kind, variances) in kinds.into_iter().zip(&mut variances) {
            variances.push(session.variance(trainer, (kind, reward), seed)?);
        }
        Ok(())
    })?;
    let variance: Vec<f64> = variances.iter().map(|v| mean(v).unwrap_or(f64::NAN)).collect();
    let exact = *variance.last().context("the exact critic is among them")?;
    let mut table = Table::new(heads("stage 2 by").into_iter().chain(["variance".into(), "of exact".into()]));
    table.row([vec!["(stage 1)".to_owned()], first.cells(), vec![String::new(); 2]].concat());
    for (at, (arm, reached)) in arms.iter().zip(&seconds).enumerate() {
        let more = match at.checked_sub(1) {
            Some(kind) => vec![format!("{:.4}", variance[kind]), format!("{:.1}x", variance[kind] / exact)],
            None => vec![String::new(); 2],
        };
        table.row([vec![arm.name.clone()], reached.cells(), more].concat());
    }
    let named = || arms.iter().zip(&seconds);
    let picture = bars(context, "Recall@20 after stage 2", named().map(|(a, r)| r.row(&a.name)).collect())?;
    let text = format!(
        "{table}\n{}\nvariance: of the policy gradient over the class logits, summed, 50 graphs of each of 20 test scenes, after stage 1\npublished: {}\n\npicture {picture}\n",
        setting(&recipe),
        BASELINE.published
    );
    let rows: Vec<Value> = named().map(|(a, r)| r.json(&a.name)).collect();
    let variances: Vec<Value> =
        kinds.iter().zip(&variances).map(|(kind, v)| json!({"critic": kind.to_string(), "variance": v})).collect();
    Ok(Made {
        text,
        json: json!({"recipe": recipe, "stage_1": first.json("stage 1"), "rows": rows, "variances": variances}),
    })
}

fn rounds(context: &Context) -> anyhow::Result<Made> {
    let mut recipe = recipe(context)?;
    if recipe.data.path.is_empty() && recipe.data.groups == 0 {
        (recipe.data.blocks, recipe.data.groups) = (0, 2);
        context.keep(&crate::recipe::to_text(&recipe)?, &recipe.data.path)?;
    }
    interrupt::listen();
    let mut table = Table::new(heads("rounds T"));
    let (mut rows, mut points) = (Vec::new(), Vec::new());
    for rounds in 1..=5 {
        let mut recipe = recipe.clone();
        recipe.agents.rounds = rounds;
        let mut reached = Reached::default();
        for seed in recipe.seed..recipe.seed + recipe.seeds {
            let session = Session::new(&recipe.scenes(seed)?, &recipe)?;
            let trained = session.first_stage(recipe.settings("cross-entropy", seed)?, quiet)?;
            reached.add(&session, &trained, Given::Boxes)?;
        }
        tracing::info!("{rounds} rounds: R@20 {:.4}", mean(&reached.at(0)).unwrap_or(f64::NAN));
        table.row([vec![rounds.to_string()], reached.cells()].concat());
        points.push((rounds as f64, 100.0 * mean(&reached.at(0)).unwrap_or(f64::NAN)));
        rows.push(reached.json(&rounds.to_string()));
    }
    let title = "Recall@20 by rounds of communication, after stage 1".to_owned();
    let (x, y) = (Axis::new("rounds T"), Axis::new("recall@20, per cent"));
    let drawing = Chart { title, x, y, series: vec![Series::line("ours", points)] }.draw();
    let picture = context.run.write("figure.svg", drawing.file().as_bytes())?;
    let text = format!(
        "{table}\n{}\nT = 1: every node decides alone; a message passes between rounds\npublished: {}\n\npicture {}\n",
        setting(&recipe),
        ROUNDS.published,
        picture.display()
    );
    Ok(Made { text, json: json!({"recipe": recipe, "rows": rows}) })
}
