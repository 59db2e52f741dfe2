//! GLO (Gonzalez and Miikkulainen 2020): accuracy, training curves, less data, another data set, the binary loss curves.
//!
//! The published figures were read off the paper's text by others (`notes` mark them unverified); networks, batch and rate are
//! those of the authors' later code.

use anyhow::Context as _;
use lossmith_search::comparison::{Comparison, Settings};
use lossmith_search::trial::{Outcome, Trial};
use serde_json::{Value, json};

use super::{Context, Experiment, Made};
use crate::output::Table;
use crate::plot::{Axis, Chart, Series};
use crate::progress::Talk;
use crate::study::{SqliteStudy, work_through};
use crate::tasks::classifier::compare::{Compared, names, settings};
use crate::tasks::classifier::{Evaluator, PRESETS, Recipe};
use crate::tasks::search::page::binary_curves;

/// The losses of the paper.
const LOSSES: [&str; 3] = ["cross-entropy", "baikal", "baikal-cma"];
/// Fig. 2: mean test accuracy on MNIST, 20,000 steps, ten networks each.
const PUBLISHED: [f64; 3] = [0.9899, 0.9933, 0.9947];

/// Accuracy of ten networks each.
pub static FIG2: Experiment = Experiment {
    id: "glo/fig2",
    title: "Test accuracy of the three losses, ten networks each",
    data: "MNIST with --data, generated digits without",
    time: "1 minute",
    published: "MNIST, 20,000 steps: cross-entropy 0.9899, Baikal 0.9933, BaikalCMA 0.9947",
    make: |context| accuracy(context, false),
};

/// Accuracy while training.
pub static FIG3: Experiment = Experiment {
    id: "glo/fig3",
    title: "Accuracy while training: how fast each loss learns",
    data: "MNIST with --data, generated digits without",
    time: "1 minute",
    published: "both Baikal losses learn markedly faster than cross-entropy (a curve, no table)",
    make: |context| accuracy(context, true),
};

/// Accuracy against the size of the training set.
pub static FIG4: Experiment = Experiment {
    id: "glo/fig4",
    title: "Accuracy against the number of training images, five networks each",
    data: "MNIST with --data, generated digits without",
    time: "3 minutes",
    published: "the gap to cross-entropy grows as the training set shrinks (a curve, no table)",
    make: training_sizes,
};

/// Carried over to CIFAR-10.
pub static FIG5: Experiment = Experiment {
    id: "glo/fig5",
    title: "Cross-entropy and Baikal carried over to CIFAR-10, at several training lengths",
    data: "CIFAR-10 with --data, generated digits without",
    time: "2 minutes on digits, an hour on CIFAR-10",
    published: "Baikal above cross-entropy at every length, most at short ones (a curve, no table)",
    make: training_lengths,
};

/// The losses in the binary case.
pub static FIG6: Experiment = Experiment {
    id: "glo/fig6",
    title: "The losses in the binary case, against the probability of the right class",
    data: "none: exact",
    time: "no time",
    published: "cross-entropy falls all the way; both Baikal losses rise again towards 1",
    make: binary,
};

fn recipe(context: &Context) -> anyhow::Result<Recipe> {
    let recipe: Recipe = if context.resume {
        crate::recipe::parse_text(&context.run.read("recipe.toml")?)?
    } else {
        crate::recipe::load(PRESETS, &context.recipe, &context.set)?
    };
    recipe.check()?;
    context.keep(&crate::recipe::to_text(&recipe)?, "")?;
    Ok(recipe)
}

/// Does a comparison in a study of its own inside the run's folder, so that a kill loses nothing.
fn compare(context: &Context, evaluator: &Evaluator, name: &str, settings: Settings) -> anyhow::Result<Comparison> {
    let mut study = SqliteStudy::open(&context.run.path(&format!("{name}.db")))?;
    let mut evaluate = |trials: &[Trial]| evaluator.evaluate(trials);
    let hint = || format!("go on with: lossmith reproduce ID --resume {}", context.run.folder().display());
    work_through(&mut study, Comparison::new(settings), 24, &mut Talk::new(false), &mut evaluate).with_context(hint)
}

fn losses(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// Whether data and setting are those of the paper.
fn same_as_published(context: &Context, recipe: &Recipe) -> String {
    let data = if context.data.is_some() { "yours" } else { "generated" };
    let setting = (recipe.train.net.as_str(), recipe.train.steps, recipe.train.rate) == ("lenet", 20_000, 0.01);
    format!("{data}; {}", if setting { "as published" } else { "smaller" })
}

fn accuracy(context: &Context, curves: bool) -> anyhow::Result<Made> {
    let recipe = recipe(context)?;
    let evaluator = Evaluator::new(&recipe, context.data.as_deref())?;
    let done = compare(context, &evaluator, "study", settings(&recipe, losses(&LOSSES), None))?;
    let compared = Compared::new(&done, &names(&done.settings.losses, &[]))?;
    let drawing = curve_chart(&LOSSES, &done.same_rate);
    context.run.write("curves.svg", drawing.as_bytes())?;
    if curves {
        return Ok(curve_table(&done, &evaluator.data));
    }
    let setting = same_as_published(context, &recipe);
    let mut table = Table::new(["loss", "ours", "sd", "n", "published", "data; setting"]);
    for (m, published) in compared.losses.iter().zip(PUBLISHED) {
        let n = m.values.len().to_string();
        let (mean, sd) = (format!("{:.4}", m.mean), format!("{:.4}", m.sd));
        table.row([m.loss.clone(), mean, sd, n, format!("{published:.4}"), setting.clone()]);
    }
    let text = format!("{table}\n{}\n\npicture {}\n", compared.verdict, context.run.path("curves.svg").display());
    Ok(Made {
        text,
        json: json!({"data": evaluator.data, "setting": setting, "published": PUBLISHED, "ours": compared}),
    })
}

fn curve_chart(losses: &[&str], outcomes: &[Vec<Outcome>]) -> String {
    let curves = crate::tasks::search::page::curves(&self::losses(losses), outcomes);
    let series = curves
        .iter()
        .map(|c| Series::banded(c.name.clone(), c.points.iter().map(|p| (p.at, p.mean, p.low, p.high))))
        .collect();
    chart("Accuracy while training", Axis::new("step"), "test accuracy", series)
}

fn chart(title: &str, x: Axis, y: &str, series: Vec<Series>) -> String {
    Chart { title: title.to_owned(), x, y: Axis::new(y), series }.draw().file()
}

/// The step at which each loss reaches cross-entropy's final accuracy.
fn curve_table(done: &Comparison, data: &str) -> Made {
    let curves = crate::tasks::search::page::curves(&done.settings.losses, &done.same_rate);
    let goal = curves.first().and_then(|c| c.points.last()).map_or(0.0, |p| p.mean);
    let mut table = Table::new(["loss", "final accuracy", "steps to cross-entropy's final accuracy"]);
    let mut rows = Vec::new();
    for curve in &curves {
        let last = curve.points.last().map_or(0.0, |p| p.mean);
        let reached = curve.points.iter().find(|p| p.mean >= goal).map(|p| p.at);
        let words = reached.map_or_else(|| "not reached".to_owned(), |at| at.to_string());
        table.row([curve.name.clone(), format!("{last:.4}"), words]);
        rows.push(json!({"loss": curve.name, "final": last, "reached": reached}));
    }
    Made { text: format!("{table}\ndata: {data}; published as a curve only\n"), json: Value::Array(rows) }
}

/// A table and a chart of the mean accuracy of each loss over a grid.
struct Grid {
    head: &'static str,
    losses: Vec<String>,
    rows: Vec<(f64, Vec<f64>)>,
}

impl Grid {
    fn made(&self, context: &Context, data: &str) -> anyhow::Result<Made> {
        let heads = [self.head.to_owned()].into_iter().chain(self.losses.iter().cloned());
        let mut table = Table::new(heads.chain(["best gain".to_owned()]));
        for (at, means) in &self.rows {
            let gain = means[1..].iter().copied().fold(f64::MIN, f64::max) - means[0];
            let cells = means.iter().map(|m| format!("{m:.4}")).chain([format!("{gain:+.4}")]);
            table.row([at.to_string()].into_iter().chain(cells));
        }
        let series = self
            .losses
            .iter()
            .enumerate()
            .map(|(i, loss)| Series::line(loss.clone(), self.rows.iter().map(move |(at, means)| (*at, means[i]))));
        let drawing = chart(self.head, Axis::new(self.head).log(), "test accuracy", series.collect());
        context.run.write("figure.svg", drawing.as_bytes())?;
        let text = format!(
            "{table}\ndata: {data}; published as a curve only\n\npicture {}\n",
            context.run.path("figure.svg").display()
        );
        let rows = self.rows.iter().map(|(at, means)| json!({"at": at, "means": means})).collect::<Vec<_>>();
        Ok(Made { text, json: json!({"data": data, "losses": self.losses, "rows": rows}) })
    }
}

/// Mean accuracy of each loss at the same rate.
fn means(context: &Context, evaluator: &Evaluator, name: &str, settings: Settings) -> anyhow::Result<Vec<f64>> {
    let done = compare(context, evaluator, name, settings)?;
    let mean = |o: &Vec<Outcome>| o.iter().map(Outcome::fitness).sum::<f64>() / o.len() as f64;
    Ok(done.same_rate.iter().map(mean).collect())
}

fn training_sizes(context: &Context) -> anyhow::Result<Made> {
    let mut recipe = recipe(context)?;
    recipe.compare.seeds = 5;
    recipe.compare.tune_rate = false;
    let evaluator = Evaluator::new(&recipe, context.data.as_deref())?;
    let all = evaluator.training_images() as u32;
    let mut rows = Vec::new();
    for share in [0.05, 0.1, 0.25, 0.5, 1.0] {
        let size = ((f64::from(all) * share) as u32).max(1);
        let settings = settings(&recipe, losses(&LOSSES), Some(size));
        rows.push((f64::from(size), means(context, &evaluator, &format!("size-{size}"), settings)?));
    }
    Grid { head: "training images", losses: losses(&LOSSES), rows }.made(context, &evaluator.data)
}

fn training_lengths(context: &Context) -> anyhow::Result<Made> {
    let mut recipe = recipe(context)?;
    recipe.compare.tune_rate = false;
    let evaluator = Evaluator::new(&recipe, context.data.as_deref())?;
    let mut rows = Vec::new();
    for share in [8, 4, 2, 1] {
        let steps = (recipe.train.steps / share).max(1);
        let settings = Settings { steps, ..settings(&recipe, losses(&LOSSES[..2]), None) };
        rows.push((f64::from(steps), means(context, &evaluator, &format!("steps-{steps}"), settings)?));
    }
    Grid { head: "training steps", losses: losses(&LOSSES[..2]), rows }.made(context, &evaluator.data)
}

#[expect(clippy::approx_constant, reason = "published figures as they are printed")]
fn binary(context: &Context) -> anyhow::Result<Made> {
    // The paper divides the log loss by the number of classes too.
    let shown = ["-x*log(y)/n", "baikal", "baikal-cma"];
    let curves = binary_curves(&losses(&shown), &losses(&["log loss", "Baikal", "BaikalCMA"]))?;
    let points = [
        (0.01, [2.3026, 52.3076, 252.7226]),
        (0.1, [1.1513, 6.2040, 26.8527]),
        (0.5, [0.3466, 1.6931, 5.6650]),
        (0.75, [0.1438, 1.5037, 4.4008]),
        (0.99, [0.0050, 2.8127, 7.5571]),
    ];
    let mut table =
        Table::new(["probability", "log loss", "published", "Baikal", "published", "BaikalCMA", "published"]);
    let mut rows = Vec::new();
    for (probability, published) in points {
        let place = curves.probability.iter().position(|p| (p - probability).abs() < 1e-9);
        let ours = |i: usize| place.and_then(|at| curves.losses[i].1[at]).unwrap_or(f64::NAN);
        let cells = (0..3).flat_map(|i| [format!("{:.4}", ours(i)), format!("{:.4}", published[i])]);
        table.row([probability.to_string()].into_iter().chain(cells));
        rows.push(json!({"probability": probability, "ours": [ours(0), ours(1), ours(2)], "published": published}));
    }
    let series = curves.losses.iter().map(|(name, values)| {
        let points =
            curves.probability.iter().zip(values).filter_map(|(p, v)| v.filter(|v| *v < 15.0).map(|v| (*p, v)));
        Series::line(name.clone(), points.collect::<Vec<_>>())
    });
    let drawing =
        chart("The losses in the binary case", Axis::new("probability of the right class"), "loss", series.collect());
    context.run.write("figure.svg", drawing.as_bytes())?;
    let text = format!(
        "{table}\nthe same formulas: ours and published must agree\n\npicture {}\n",
        context.run.path("figure.svg").display()
    );
    Ok(Made { text, json: Value::Array(rows) })
}
