//! A classifier run's page: the results in the form that [`crate::report`] shows.

use lossmith::expr::{CLASS_VARIABLES, Expr, Kernel};
use lossmith::loss::{ClassLoss, Spec};
use lossmith_search::comparison::Comparison;
use lossmith_search::discovery::{self, Discovery};
use lossmith_search::trial::Outcome;

use super::begun::Begun;
use super::compare::{Compared, Condition};
use super::{Evaluator, Recipe};
use crate::report::{self, BinaryCurves, Candidate, Curve, CurvePoint, Pair, Provenance, ReportData};
use crate::run::Run;

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
pub fn write(
    run: &Run,
    begun: &Begun,
    recipe: &Recipe,
    evaluator: &Evaluator,
    results: Results<'_>,
) -> anyhow::Result<()> {
    let data = report_data(begun, recipe, evaluator, results)?;
    run.write_json("report.json", &data)?;
    run.write("report.html", report::page(&data).as_bytes())?;
    Ok(())
}

fn report_data(
    begun: &Begun,
    recipe: &Recipe,
    evaluator: &Evaluator,
    results: Results<'_>,
) -> anyhow::Result<ReportData> {
    let Results { discovery, comparison, compared } = results;
    let found = discovery.and_then(Discovery::found);
    let names: Vec<String> = compared.losses.iter().map(|m| m.name.clone()).collect();
    let mut conditions = vec![shown("The same learning rate for all", &compared.same_rate, &compared.at_same_rate)];
    conditions.extend(compared.own_rate.iter().map(|own| shown("Each at its own best rate", own, &own.verdict)));
    Ok(ReportData {
        title: match found {
            Some(_) => "A discovered loss".to_owned(),
            None => "Losses compared".to_owned(),
        },
        summary: compared.verdict.clone(),
        found: found.map(|f| f.loss.clone()),
        provenance: Provenance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: begun.command.clone(),
            seed: recipe.seed,
            data: evaluator.data.clone(),
            machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            date: begun.date(),
            seconds: None,
        },
        recipe: crate::recipe::to_text(recipe)?,
        generations: discovery.map_or_else(Vec::new, generations),
        hall_of_fame: discovery.map_or_else(Vec::new, hall_of_fame),
        binary_curves: Some(binary_curves(&comparison.settings.losses, &names)?),
        training: curves(&names, &comparison.same_rate),
        training_size: Vec::new(),
        comparisons: conditions,
    })
}

fn generations(discovery: &Discovery) -> Vec<report::Generation> {
    let row = |(index, g): (usize, &lossmith_search::discovery::Generation)| report::Generation {
        index,
        best: g.best,
        mean: g.mean,
        evaluated: g.trained,
        rejected: g.rejected.iter().map(|(why, count)| (why.clone(), *count)).collect(),
    };
    discovery.log.iter().enumerate().map(row).collect()
}

fn hall_of_fame(discovery: &Discovery) -> Vec<Candidate> {
    let phase = |generation: u64| discovery.log.get(generation as usize).map_or("", |g| g.phase.as_str());
    let members = discovery.hall.members().iter();
    let row = |m: &lossmith_search::archive::Member| Candidate {
        formula: loss_text(&m.formula),
        fitness: m.fitness,
        size: m.size,
        origin: format!("{}, generation {}", phase(m.origin.generation), m.origin.generation),
    };
    members.map(row).collect()
}

/// The loss of a tree, as it was trained.
fn loss_text(tree: &str) -> String {
    let loss = |tree| discovery::loss_of(&tree).display(CLASS_VARIABLES).to_string();
    Expr::parse(tree, CLASS_VARIABLES).map_or_else(|_| tree.to_owned(), loss)
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
        rate: Some(m.rate),
        mean: m.mean,
        sd: Some(m.sd),
        n: m.values.len(),
    });
    let pairs = c.pairs.iter().map(|p| Pair {
        a: p.a.clone(),
        b: p.b.clone(),
        difference: p.difference,
        ci95: p.ci95.map(|[low, high]| (low, high)),
        p: Some(p.p),
        p_holm: Some(p.p_holm),
        verdict: String::new(),
    });
    report::Comparison {
        condition: condition.to_owned(),
        losses: losses.collect(),
        pairs: pairs.collect(),
        verdict: verdict.to_owned(),
    }
}
