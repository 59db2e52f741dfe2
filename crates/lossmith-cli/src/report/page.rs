//! From the data of a report to its HTML.

use lossmith::expr::{CLASS_VARIABLES, Expr};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{BinaryCurves, Candidate, Comparison, Curve, Generation, Provenance, ReportData};
use crate::output::signed;
use crate::plot::{self, Axis, Bars, Chart, Drawing, Row, Series, number};

/// Formulas of the hall of fame that are drawn as trees; all are listed.
const DRAWN_TREES: usize = 6;
/// The binary losses are drawn up to this value above their lowest, so that a pole does not flatten everything else.
const BINARY_SPAN: f64 = 8.0;

/// The names of the losses of a page: a loss has the same colour wherever it is drawn.
struct Colours<'a>(Vec<&'a str>);

impl<'a> Colours<'a> {
    fn of(data: &'a ReportData) -> Self {
        let compared = data.comparisons.iter().flat_map(|c| &c.losses).map(|loss| loss.name.as_str());
        let curves = data.training.iter().chain(&data.training_size).map(|curve| curve.name.as_str());
        let binary = data.binary_curves.iter().flat_map(|b| &b.losses).map(|(name, _)| name.as_str());
        let mut names = Vec::new();
        for name in compared.chain(curves).chain(binary) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Self(names)
    }

    fn get(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|n| *n == name)
    }
}

/// The whole page.
pub fn page(data: &ReportData) -> String {
    let colours = &Colours::of(data);
    let metric = if data.metric.is_empty() { "accuracy".to_owned() } else { data.metric.clone() };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content={ "lossmith " (data.provenance.version) };
                @if data.running { meta http-equiv="refresh" content="15"; }
                title { (data.title) }
                style { (PreEscaped(plot::CSS)) (PreEscaped(include_str!("page.css"))) }
            }
            body {
                (header(data))
                main {
                    @for comparison in &data.comparisons { (compared(comparison, data.found.as_deref(), &metric, colours)) }
                    (searched(data, &metric))
                    @if let Some(curves) = &data.binary_curves { (binary(curves, colours)) }
                    (curves("Training curves", "step", false, &data.training, TRAINING, &metric, colours))
                    (curves("Accuracy against training-set size", "training images", true, &data.training_size, SIZES, &metric, colours))
                    (hall_of_fame(&data.hall_of_fame))
                    (origin(data))
                }
            }
        }
    };
    page.into_string()
}

const TRAINING: &str = "Mean on the images that it is judged on, as the training goes on; the band holds the seeds.";
const SIZES: &str = "Mean on the test images when fewer training images are given; the band holds the seeds.";

fn header(data: &ReportData) -> Markup {
    html! {
        header {
            h1 { (data.title) }
            @if !data.summary.is_empty() { p.summary { (data.summary) } }
            @if let Some(found) = &data.found { p.found { "Found: " code { (found) } } }
        }
    }
}

fn compared(comparison: &Comparison, found: Option<&str>, metric: &str, colours: &Colours<'_>) -> Markup {
    let rows = comparison.losses.iter().map(|loss| Row {
        name: loss.name.clone(),
        value: loss.mean,
        spread: loss.sd.map(|sd| (loss.mean - sd, loss.mean + sd)),
        published: None,
        colour: colours.get(&loss.name),
    });
    let bars =
        Bars { title: comparison.condition.clone(), axis: Axis::new(format!("test {metric}")), rows: rows.collect() };
    // The found one stands above.
    let formulas = comparison.losses.iter().filter_map(|loss| Some((&loss.name, loss.formula.as_ref()?)));
    let formulas: Vec<_> = formulas.filter(|(_, formula)| Some(formula.as_str()) != found).collect();
    let with_rates = comparison.losses.iter().any(|loss| loss.rate.is_some());
    let with_diverged = comparison.losses.iter().any(|loss| loss.diverged > 0);
    let is_shown = |head: &&str| (*head != "rate" || with_rates) && (*head != "diverged, as 0" || with_diverged);
    html! {
        section.wide {
            h2 { (comparison.condition) }
            @if !comparison.verdict.is_empty() { p.verdict { (as_sentence(&comparison.verdict)) } }
            div.beside {
            @if !bars.rows.is_empty() {
                (figure(&bars.draw(), "Mean over the seeds, with one standard deviation to each side.", html! {}))
            }
            (table(
                &["loss", "rate", "mean", "sd", "seeds", "diverged, as 0"].into_iter().filter(is_shown).collect::<Vec<_>>(),
                comparison.losses.iter().map(|loss| {
                    let mut cells = vec![loss.name.clone()];
                    cells.extend(with_rates.then(|| optional(loss.rate)));
                    cells.extend([format!("{:.4}", loss.mean), loss.sd.map_or("–".to_owned(), |sd| format!("{sd:.4}")), loss.n.to_string()]);
                    cells.extend(with_diverged.then(|| loss.diverged.to_string()));
                    cells
                }),
            ))
            }
            @for (name, formula) in &formulas { p.found { (name) " = " code { (formula) } } }
            (table(
                &["pair", "difference", "95 % interval", "p", "p (Holm)", ""],
                comparison.pairs.iter().map(|pair| vec![
                    format!("{} − {}", pair.a, pair.b),
                    signed(pair.difference, 4),
                    pair.ci95.map_or("–".to_owned(), |(low, high)| format!("{} to {}", signed(low, 4), signed(high, 4))),
                    optional(pair.p),
                    optional(pair.p_holm),
                    pair.verdict.clone(),
                ]),
            ))
        }
    }
}

/// A verdict as a sentence of its own; the name of a loss at its beginning stays as it is.
fn as_sentence(verdict: &str) -> String {
    let begun = verdict.strip_prefix("nobody").map_or(verdict.to_owned(), |rest| format!("Nobody{rest}"));
    if begun.ends_with('.') { begun } else { begun + "." }
}

fn searched(data: &ReportData, metric: &str) -> Markup {
    let ReportData { generations, savings, .. } = data;
    if generations.is_empty() {
        return html! {};
    }
    let line = |name: &str, value: fn(&Generation) -> f64| {
        Series::line(name, generations.iter().map(|g| (g.index as f64, value(g))))
    };
    let chart = Chart {
        title: "Fitness by generation".to_owned(),
        x: Axis::new("generation"),
        y: Axis::new(format!("fitness (validation {metric})")),
        series: vec![line("best so far", |g| g.best), line("mean", |g| g.mean)],
    };
    let mut filters: Vec<&str> = Vec::new();
    for (name, _) in generations.iter().flat_map(|g| &g.rejected) {
        if !filters.contains(&name.as_str()) {
            filters.push(name);
        }
    }
    let heads: Vec<&str> =
        ["generation", "best", "mean", "trained"].into_iter().chain(filters.iter().copied()).collect();
    let rejected = |g: &Generation, filter: &str| -> usize {
        g.rejected.iter().filter(|(name, _)| name == filter).map(|(_, count)| count).sum()
    };
    let shortened: usize = generations.iter().map(|g| g.evaluated).sum();
    let trained = data.trainings.unwrap_or(shortened);
    let in_full = match trained.saturating_sub(shortened) {
        0 => String::new(),
        finalists => format!(", {finalists} of them of the finalists, in full"),
    };
    let total = |filter: &str| generations.iter().map(|g| rejected(g, filter)).sum::<usize>();
    let totals = filters.iter().map(|filter| vec![(*filter).to_owned(), total(filter).to_string()]);
    let numbers = table(
        &heads,
        generations.iter().map(|g| {
            let counts = filters.iter().map(|filter| rejected(g, filter).to_string());
            [g.index.to_string(), number(g.best), number(g.mean), g.evaluated.to_string()]
                .into_iter()
                .chain(counts)
                .collect()
        }),
    );
    html! {
        section {
            h2 { "The search" }
            p { (trained) " trainings" (in_full) ". " (savings) }
            (table(&["needed no training, or less", "candidates"], totals))
            (figure(&chart.draw(), "Fitness on the validation images after the shortened training.", numbers))
        }
    }
}

fn hall_of_fame(candidates: &[Candidate]) -> Markup {
    if candidates.is_empty() {
        return html! {};
    }
    let rows = candidates.iter().enumerate().map(|(at, c)| {
        vec![(at + 1).to_string(), c.formula.clone(), number(c.fitness), c.size.to_string(), c.origin.clone()]
    });
    let of_classes = candidates.iter().all(|c| Expr::parse(&c.formula, CLASS_VARIABLES).is_ok());
    html! {
        section.wide {
            h2 { "Hall of fame" }
            @if of_classes { p { "A formula is summed over the classes: " code { "x" } " is 1 for the right class and 0 for the others, " code { "y" }
                " the predicted probability." } }
            (table(&["", "formula", "fitness", "nodes", "origin"], rows))
            div.trees {
                @for candidate in candidates.iter().take(DRAWN_TREES) {
                    @if let Ok(formula) = Expr::parse(&candidate.formula, CLASS_VARIABLES) {
                        @let drawing = plot::tree(&formula, CLASS_VARIABLES);
                        figure.tree {
                            // A tree keeps its size and is scrolled: scaled down it could not be read.
                            div.scroll tabindex="0" { div style={ "width:" (drawing.width().ceil()) "px" } { (PreEscaped(drawing.inline())) } }
                            figcaption { code { (candidate.formula) } }
                        }
                    }
                }
            }
        }
    }
}

fn binary(curves: &BinaryCurves, colours: &Colours<'_>) -> Markup {
    let series: Vec<Series> = curves
        .losses
        .iter()
        .map(|(name, values)| {
            let values = values.iter().map(|v| v.unwrap_or(f64::NAN));
            let line = Series::line(name.clone(), curves.probability.iter().copied().zip(values));
            Series { colour: colours.get(name), ..line }
        })
        .collect();
    let lows = series.iter().map(|s| s.points.iter().map(|p| p.y).filter(|y| y.is_finite()).fold(f64::MAX, f64::min));
    let (low, high) = lows.filter(|l| *l < f64::MAX).fold((0.0, 0.0), |(a, b): (f64, f64), l| (a.min(l), b.max(l)));
    let chart = Chart {
        title: "Losses of two classes".to_owned(),
        x: Axis::new("predicted probability of the right class").range(0.0, 1.0),
        y: Axis::new("loss").range(low, high + BINARY_SPAN),
        series,
    };
    let caption = "Two classes, as in Fig. 6 of GLO. A loss that rises again towards 1 holds back over-confidence. \
                   Only the form counts: a constant added to a loss changes nothing.";
    html! {
        section {
            h2 { "The losses in the binary case" }
            (figure(&chart.draw(), caption, html! {}))
        }
    }
}

fn curves(
    title: &str,
    x: &str,
    log: bool,
    curves: &[Curve],
    caption: &str,
    metric: &str,
    colours: &Colours<'_>,
) -> Markup {
    if curves.is_empty() {
        return html! {};
    }
    let series = curves.iter().map(|curve| {
        let points = curve.points.iter().map(|p| (p.at, p.mean, p.low, p.high));
        Series { colour: colours.get(&curve.name), ..Series::banded(curve.name.clone(), points) }
    });
    let axis = if log { Axis::new(x).log() } else { Axis::new(x) };
    let chart = Chart { title: title.to_owned(), x: axis, y: Axis::new(metric), series: series.collect() };
    let rows = curves.iter().flat_map(|curve| {
        curve.points.iter().map(|p| {
            vec![curve.name.clone(), number(p.at), format!("{:.4}", p.mean), format!("{:.4} to {:.4}", p.low, p.high)]
        })
    });
    html! {
        section {
            h2 { (title) }
            (figure(&chart.draw(), caption, table(&["loss", x, "mean", "band"], rows)))
        }
    }
}

fn origin(data: &ReportData) -> Markup {
    let Provenance { version, command, seed, data: set, machine, date, seconds } = &data.provenance;
    let rows = [
        ("program", format!("lossmith {version}")),
        ("command", command.clone()),
        ("data", set.clone()),
        ("seed", seed.to_string()),
        ("machine", machine.clone()),
        ("date", date.clone()),
        ("time", seconds.map_or(String::new(), |s| format!("{} s", number(s)))),
    ];
    html! {
        section.wide {
            h2 { "How to make it again" }
            dl {
                @for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
                    dt { (name) }
                    dd { (value) }
                }
            }
            @if !data.recipe.is_empty() {
                details { summary { "The recipe, as used" } pre tabindex="0" { (data.recipe) } }
            }
        }
    }
}

/// A drawing with what it shows, and its numbers to unfold where there are some.
fn figure(drawing: &Drawing, caption: &str, numbers: Markup) -> Markup {
    html! {
        figure {
            (PreEscaped(drawing.inline()))
            figcaption { (caption) }
            @if !numbers.0.is_empty() { details { summary { "The numbers" } (numbers) } }
        }
    }
}

/// A table, left out if it has no row; wider than the page it is scrolled.
fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Markup {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return html! {};
    }
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { @for row in &rows { tr { @for cell in row { td.whole[cell.chars().count() <= 26] { (cell) } } } } }
            }
        }
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::browser::sample;

    #[test]
    fn a_page_needs_nothing_else_and_says_everything() {
        let page = page(&sample());
        for needed in
            ["BaikalCMA wins", "-(log(y) - x/y)", "Hall of fame", "0.9947", "p (Holm)", "population = 80", "<polygon"]
        {
            assert!(page.contains(needed), "{needed}");
        }
        for foreign in ["<script", "<link", "url(", "@import", "NaN", " inf"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"));
    }

    #[test]
    fn names_that_are_no_formulas_are_explained_and_trainings_counted_in_all() {
        let page = page(&sample());
        assert_eq!(page.matches("baikal-cma = <code>-2.7279*log(1.5352*y)</code>").count(), 2, "in each condition");
        let shortened: usize = sample().generations.iter().map(|g| g.evaluated).sum();
        let said = format!("<p>2100 trainings, {} of them of the finalists, in full.", 2_100 - shortened);
        assert!(page.contains(&said), "{said}");
        // Differences of 0 have no sign, and an older page's data count by generation.
        let mut data = sample();
        (data.comparisons[0].pairs[0].difference, data.trainings) = (-0.0, None);
        let page = super::page(&data);
        assert!(!page.contains("-0.0000") && page.contains(&format!("<p>{shortened} trainings. ")));
    }

    #[test]
    fn a_loss_has_one_colour_on_the_whole_page() {
        let mut data = sample();
        data.training.reverse();
        let page = page(&data);
        let of_baikal = |class: &str| page.matches(&format!("<g class=\"{class}\"><title>baikal 0.9933")).count();
        assert_eq!((of_baikal("s0"), of_baikal("s1")), (0, 2));
        let curve = page.split("Training curves</h2>").nth(1).unwrap();
        let first = curve.split("<g class=\"").nth(1).unwrap();
        assert!(first.starts_with("s1") && first.contains("<title>baikal:"), "the first curve is that of baikal");
    }

    #[test]
    fn sections_without_data_are_left_out() {
        let page = page(&ReportData { title: "Nothing yet".to_owned(), ..ReportData::default() });
        assert_eq!(page.matches("<section").count(), 1, "only where it comes from");
        assert!(!page.contains("<svg") && !page.contains("<table"));
    }

    #[test]
    fn what_a_user_wrote_is_text_and_not_markup() {
        let mut data = sample();
        data.title = "<script>alert(1)</script>".to_owned();
        data.training[0].name = "\"><script>".to_owned();
        data.hall_of_fame[0].formula = "<b>".to_owned();
        assert!(!page(&data).contains("<script") && !page(&data).contains("<b>"));
    }

    #[test]
    fn the_data_comes_back_from_json() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(serde_json::from_str::<ReportData>(&text).unwrap(), sample());
        assert_eq!(serde_json::from_str::<ReportData>("{}").unwrap(), ReportData::default());
    }
}
