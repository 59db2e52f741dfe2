//! A run's page: the results in the form that [`crate::report`] shows.

use std::collections::BTreeMap;

use lossmith::expr::{Expr, Kernel};
use lossmith::loss::{ClassLoss, Spec};
use lossmith_search::comparison::Comparison;
use lossmith_search::discovery::{self, Discovery};
use lossmith_search::space::Space;
use lossmith_search::trial::Outcome;

use super::Begun;
use crate::progress::{Pace, in_words};
use crate::report::{self, BinaryCurves, Candidate, Curve, CurvePoint, Pair, Provenance, ReportData};
use crate::run::Run;
use crate::tasks::Judge;
use crate::tasks::classifier::compare::{Compared, Condition};

/// Where the results of a page come from.
pub struct Origin<'a> {
    pub begun: &'a Begun,
    /// The complete recipe.
    pub recipe: String,
    pub seed: u64,
    pub judge: &'a dyn Judge,
    /// What is measured.
    pub metric: &'static str,
}

/// What there is to show.
#[derive(Clone, Copy)]
pub struct Results<'a> {
    /// The search, if there was one.
    pub discovery: Option<&'a Discovery>,
    /// The trainings of the comparison.
    pub comparison: &'a Comparison,
    /// Its statistics.
    pub compared: &'a Compared,
}

/// Writes `report.html` and the data it is made of.
pub fn write(run: &Run, origin: &Origin<'_>, results: Results<'_>) -> anyhow::Result<()> {
    let Results { discovery, comparison, compared } = results;
    let found = discovery.and_then(Discovery::found);
    let names: Vec<String> = compared.losses.iter().map(|m| m.name.clone()).collect();
    let mut conditions = vec![shown("The same learning rate for all", &compared.same_rate, &compared.at_same_rate)];
    conditions.extend(compared.own_rate.iter().map(|own| shown("Each at its own best rate", own, &own.verdict)));
    let of_classes = discovery.is_none_or(|d| matches!(d.settings.space, Space::Class { .. }));
    let data = ReportData {
        title: title(found.is_some(), compared),
        summary: compared.verdict.clone(),
        found: found.map(|f| f.loss.clone()),
        binary_curves: if of_classes { Some(binary_curves(&comparison.settings.losses, &names)?) } else { None },
        training: curves(&names, &comparison.same_rate),
        comparisons: conditions,
        ..common(origin, discovery)
    };
    report::write(run, &data)
}

/// What a page is about; a search has found a loss only if that beats the baseline, at its own rate where there is one.
fn title(searched: bool, compared: &Compared) -> String {
    let fair = compared.own_rate.as_ref().unwrap_or(&compared.same_rate);
    match (searched, &compared.losses[..]) {
        (true, [baseline, .., found]) if !fair.beats(&found.name, &baseline.name) => {
            format!("No loss was found that is shown to beat {}", baseline.name)
        }
        (true, _) => "A discovered loss".to_owned(),
        (false, _) => "Losses compared".to_owned(),
    }
}

/// Writes the page of a search that is under way.
pub fn write_on_the_way(run: &Run, origin: &Origin<'_>, discovery: &Discovery, pace: &Pace) -> anyhow::Result<()> {
    let left = pace.left.map_or_else(String::new, |left| format!(", about {} left in all", in_words(left)));
    let rate = pace.per_hour.map_or_else(String::new, |rate| format!(", {rate:.0} trainings an hour"));
    let data = ReportData {
        title: "A search under way".to_owned(),
        summary: format!(
            "{}: {} of {} trainings of this stage{rate}{left}. Best {} so far: {:.4}.",
            pace.stage,
            pace.done,
            pace.trials,
            origin.metric,
            discovery.best()
        ),
        running: true,
        ..common(origin, Some(discovery))
    };
    report::write(run, &data)
}

fn common(origin: &Origin<'_>, discovery: Option<&Discovery>) -> ReportData {
    ReportData {
        metric: origin.metric.to_owned(),
        provenance: Provenance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: origin.begun.command.clone(),
            seed: origin.seed,
            data: origin.judge.data().to_owned(),
            machine: machine(&origin.begun.arithmetic),
            date: origin.begun.date(),
            seconds: None,
        },
        recipe: origin.recipe.clone(),
        trainings: discovery.map(Discovery::trained),
        generations: discovery.map_or_else(Vec::new, generations),
        savings: discovery.map_or_else(String::new, savings),
        hall_of_fame: discovery.map_or_else(Vec::new, hall_of_fame),
        ..ReportData::default()
    }
}

/// What computed, with its arithmetic.
fn machine(arithmetic: &str) -> String {
    format!("{} {}, {arithmetic}", std::env::consts::OS, std::env::consts::ARCH)
}

fn generations(discovery: &Discovery) -> Vec<report::Generation> {
    let row = |(index, g): (usize, &discovery::Generation)| report::Generation {
        index,
        best: g.best,
        mean: g.mean,
        evaluated: g.trained,
        rejected: reasons(g).into_iter().map(|(why, count)| (why.clone(), count)).collect(),
    };
    discovery.log.iter().enumerate().map(row).collect()
}

/// What was saved in a generation, by reason: what needed no training, was drawn anew, or cut short.
fn reasons(g: &discovery::Generation) -> BTreeMap<&String, usize> {
    let mut counts = BTreeMap::new();
    for (why, count) in g.spared.iter().chain(&g.redrawn).chain(&g.cut_short) {
        *counts.entry(why).or_insert(0) += count;
    }
    counts
}

/// What was saved in all, by reason, most first.
pub fn totals(log: &[discovery::Generation]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for (why, count) in log.iter().flat_map(reasons) {
        *counts.entry(why).or_insert(0) += count;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().map(|(why, count)| (why.clone(), count)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    counts
}

/// What the savings came to, in a sentence or two.
fn savings(discovery: &Discovery) -> String {
    let sum = |of: fn(&discovery::Generation) -> u64| discovery.log.iter().map(of).sum::<u64>();
    let (steps, unsaved) = (sum(|g| g.steps), sum(|g| g.steps_unsaved));
    if steps == 0 {
        return String::new();
    }
    let ratio = unsaved as f64 / steps as f64;
    let correlation = discovery.rank_correlation.map_or_else(String::new, |r| {
        format!(
            " Rank correlation (Spearman) of short and full training over the {} finalists: {r:+.2}.",
            discovery.confirmed.len()
        )
    });
    format!(
        "{steps} training steps instead of {unsaved} for all candidates to the last step: {ratio:.1} times fewer.{correlation}"
    )
}

fn hall_of_fame(discovery: &Discovery) -> Vec<Candidate> {
    let phase = |generation: u64| discovery.log.get(generation as usize).map_or("", |g| g.phase.as_str());
    let members = discovery.hall.members().iter();
    let loss = |tree: &str| {
        let space = &discovery.settings.space;
        Expr::parse(tree, space.variables()).map_or_else(|_| tree.to_owned(), |tree| space.loss(&tree))
    };
    let row = |m: &lossmith_search::archive::Member| Candidate {
        formula: loss(&m.formula),
        fitness: m.fitness,
        size: m.size,
        origin: format!("{}, generation {}", phase(m.origin.generation), m.origin.generation),
    };
    members.map(row).collect()
}

/// GLO's Fig. 6: two classes, the label is the first, the loss against its probability, divided by the number of classes.
pub fn binary_curves(losses: &[String], names: &[String]) -> anyhow::Result<BinaryCurves> {
    let probability: Vec<f64> = (1..200).map(|i| f64::from(i) / 200.0).collect();
    let mut curves = Vec::new();
    for (loss, name) in losses.iter().zip(names) {
        let kernel = Kernel::new(ClassLoss::from_spec(&Spec::parse(loss)?)?.formula());
        let at = |y: f64| kernel.at(&[1.0, y, 2.0]).value + kernel.at(&[0.0, 1.0 - y, 2.0]).value;
        let values = probability.iter().map(|y| Some(at(*y)).filter(|v| v.is_finite())).collect();
        curves.push((name.clone(), values));
    }
    Ok(BinaryCurves { probability, losses: curves })
}

/// Mean accuracy with a band of one standard deviation, by step.
pub fn curves(losses: &[String], outcomes: &[Vec<Outcome>]) -> Vec<Curve> {
    let point = |replicates: &[Outcome], place: usize| {
        let values: Vec<f64> = replicates.iter().filter_map(|o| o.curve.get(place)).map(|(_, a)| *a).collect();
        let mean = lossmith::stats::mean(&values)?;
        let sd = lossmith::stats::sd(&values).unwrap_or(0.0);
        let step = replicates.iter().find_map(|o| o.curve.get(place))?.0;
        Some(CurvePoint { at: f64::from(step), mean, low: mean - sd, high: (mean + sd).min(1.0) })
    };
    let curve = |(loss, replicates): (&String, &Vec<Outcome>)| Curve {
        name: loss.clone(),
        points: (0..).map_while(|place| point(replicates, place)).collect(),
    };
    losses.iter().zip(outcomes).map(curve).collect()
}

fn shown(condition: &str, c: &Condition, verdict: &str) -> report::Comparison {
    let losses = c.losses.iter().map(|m| report::Measured {
        name: m.name.clone(),
        formula: (m.name != m.loss).then(|| m.loss.clone()),
        rate: Some(m.rate),
        mean: m.mean,
        sd: Some(m.sd),
        n: m.values.len(),
        diverged: m.diverged,
    });
    report::Comparison {
        condition: condition.to_owned(),
        losses: losses.collect(),
        pairs: c.pairs.iter().map(Pair::from).collect(),
        verdict: verdict.to_owned(),
    }
}
