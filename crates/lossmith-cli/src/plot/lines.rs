//! Lines over an axis, each with a band if it has one, named at their ends where there is room and below where not.

use super::scale::Scale;
use super::{Anchor, Axis, COLOURS, Drawing, append, cut, escape, line, number, short, text, text_width};

const WIDTH: f64 = 400.0;
const PLOT_HEIGHT: f64 = 210.0;
/// Above the plot: the name of the y axis.
const TOP: f64 = 26.0;
/// Names up to this length stand at the ends of their lines.
const SHORT_NAME: usize = 15;
/// More points than this get no circle of their own to point at.
const MOST_TITLES: usize = 150;

/// One value, with the band around it if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Where on the x axis.
    pub x: f64,
    /// The value.
    pub y: f64,
    /// Lower and upper end of the band.
    pub band: Option<(f64, f64)>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the line is.
    pub name: String,
    /// Its points, in the order of x. A value that is not finite interrupts the line.
    pub points: Vec<Point>,
    /// Dashed, for what was not measured here: published values.
    pub dashed: bool,
    /// Which of the colours; that of its place in the chart unless given, so that one thing keeps its colour on a page.
    pub colour: Option<usize>,
}

impl Series {
    /// A line without a band.
    pub fn line(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().map(|(x, y)| Point { x, y, band: None }).collect();
        Self { name: name.into(), points, dashed: false, colour: None }
    }

    /// A line with a band: x, value, lower and upper end.
    pub fn banded(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64, f64, f64)>) -> Self {
        let points = points.into_iter().map(|(x, y, low, high)| Point { x, y, band: Some((low, high)) }).collect();
        Self { name: name.into(), points, dashed: false, colour: None }
    }

    /// The same line in another of the colours.
    #[must_use]
    pub fn coloured(mut self, colour: usize) -> Self {
        self.colour = Some(colour);
        self
    }

    /// The same line, dashed.
    #[must_use]
    pub fn dashed(mut self) -> Self {
        self.dashed = true;
        self
    }
}

impl Series {
    fn class(&self, at: usize) -> String {
        format!("s{}", self.colour.unwrap_or(at) % COLOURS)
    }
}

/// A chart of lines.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What is to be seen, for those who do not see it.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines, in the order of their colours.
    pub series: Vec<Series>,
}

impl Chart {
    /// Draws the chart.
    pub fn draw(&self) -> Drawing {
        let points = || self.series.iter().flat_map(|s| &s.points);
        let heights =
            points().flat_map(|p| [Some(p.y), p.band.map(|b| b.0), p.band.map(|b| b.1)].into_iter().flatten());
        let y = self.y.scale(heights, TOP + PLOT_HEIGHT, TOP);
        let longest = |texts: &[String]| texts.iter().map(|t| text_width(t)).fold(0.0, f64::max);
        let left = longest(&y.tick_texts()) + 12.0;
        let named_at_ends = self.series.len() > 1 && self.series.iter().all(|s| s.name.chars().count() <= SHORT_NAME);
        let names: Vec<String> = self.series.iter().map(|s| s.name.clone()).collect();
        let right = WIDTH - if named_at_ends { longest(&names) + 22.0 } else { 16.0 };
        let x = self.x.scale(points().map(|p| p.x), left, right);

        let mut body = String::new();
        axes(&mut body, self, &x, &y, left, right);
        // An inner svg cuts off what lies outside of the axes.
        let frame = format!(
            "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
            short(left),
            short(TOP),
            short(right - left),
            short(PLOT_HEIGHT)
        );
        let view = format!("viewBox=\"{} {} {} {}\"", short(left), short(TOP), short(right - left), short(PLOT_HEIGHT));
        append(&mut body, format_args!("<svg {frame} {view}>"));
        for (at, series) in self.series.iter().enumerate() {
            draw_series(&mut body, at, series, &x, &y);
        }
        body.push_str("</svg>");
        let mut bottom = TOP + PLOT_HEIGHT + 42.0;
        if named_at_ends {
            name_ends(&mut body, &self.series, &y, right);
        } else if self.series.len() > 1 {
            bottom += legend(&mut body, &self.series, bottom);
        }
        let names = names.join(", ");
        let label = format!("{}. {} against {}: {names}", self.title, self.y.label(), self.x.label());
        Drawing { width: WIDTH, height: bottom, label, body }
    }
}

fn axes(out: &mut String, chart: &Chart, x: &Scale, y: &Scale, left: f64, right: f64) {
    let foot = TOP + PLOT_HEIGHT;
    text(out, (0.0, 13.0), Anchor::Start, "soft", chart.y.label());
    for (value, label) in y.ticks.iter().zip(y.tick_texts()) {
        let Some(at) = y.place(*value) else { continue };
        line(out, "rule", (left, at), (right, at));
        text(out, (left - 6.0, at + 4.0), Anchor::End, "soft", &label);
    }
    let mut free_from = f64::MIN;
    for (value, label) in x.ticks.iter().zip(x.tick_texts()) {
        let Some(at) = x.place(*value) else { continue };
        line(out, "rule", (at, foot), (at, foot + 4.0));
        let half = text_width(&label) / 2.0;
        // A mark whose number would run into the last one goes without.
        if at - half >= free_from {
            text(out, (at, foot + 17.0), Anchor::Middle, "soft", &label);
            free_from = at + half + 6.0;
        }
    }
    text(out, (f64::midpoint(left, right), foot + 34.0), Anchor::Middle, "soft", chart.x.label());
}

fn draw_series(out: &mut String, at: usize, series: &Series, x: &Scale, y: &Scale) {
    let dashed = if series.dashed { " dashed" } else { "" };
    append(out, format_args!("<g class=\"{}\">", series.class(at)));
    for run in runs(series, x, y) {
        let band: Vec<String> = run.iter().filter_map(|p| Some(pair(p.x, p.band?.0))).collect();
        let back = run.iter().rev().filter_map(|p| Some(pair(p.x, p.band?.1)));
        if !band.is_empty() {
            let outline: Vec<String> = band.into_iter().chain(back).collect();
            append(out, format_args!("<polygon class=\"band\" points=\"{}\"/>", outline.join(" ")));
        }
        let points: Vec<String> = run.iter().map(|p| pair(p.x, p.y)).collect();
        append(out, format_args!("<polyline class=\"line{dashed}\" points=\"{}\"/>", points.join(" ")));
        if let [only] = run.as_slice() {
            append(
                out,
                format_args!("<circle class=\"dot\" cx=\"{}\" cy=\"{}\" r=\"4\"/>", short(only.x), short(only.y)),
            );
        }
    }
    if series.points.len() <= MOST_TITLES {
        for point in &series.points {
            let (Some(px), Some(py)) = (x.place(point.x), y.place(point.y)) else { continue };
            let band = point.band.map(|(low, high)| format!(" ({} to {})", number(low), number(high)));
            let title =
                format!("{}: {} at {}{}", series.name, number(point.y), number(point.x), band.unwrap_or_default());
            append(
                out,
                format_args!(
                    "<circle class=\"hover\" cx=\"{}\" cy=\"{}\" r=\"5\"><title>{}</title></circle>",
                    short(px),
                    short(py),
                    escape(&title)
                ),
            );
        }
    }
    out.push_str("</g>");
}

/// The uninterrupted pieces of a line, in pixels.
fn runs(series: &Series, x: &Scale, y: &Scale) -> Vec<Vec<Point>> {
    let mut runs = vec![Vec::new()];
    for point in &series.points {
        match (x.place(point.x), y.place(point.y)) {
            (Some(px), Some(py)) => {
                let band = point.band.and_then(|(low, high)| Some((y.place(low)?, y.place(high)?)));
                if let Some(run) = runs.last_mut() {
                    run.push(Point { x: px, y: py, band });
                }
            }
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// Names at the right ends of the lines, moved apart where they would meet.
fn name_ends(out: &mut String, series: &[Series], y: &Scale, right: f64) {
    const GAP: f64 = 15.0;
    let end = |s: &Series| s.points.iter().rev().find_map(|p| y.place(p.y)).unwrap_or(TOP);
    let mut ends: Vec<(usize, f64)> = series.iter().map(|s| end(s).clamp(TOP, TOP + PLOT_HEIGHT)).enumerate().collect();
    ends.sort_by(|a, b| a.1.total_cmp(&b.1));
    for i in 1..ends.len() {
        ends[i].1 = ends[i].1.max(ends[i - 1].1 + GAP);
    }
    let over = ends.last().map_or(0.0, |last| (last.1 - TOP - PLOT_HEIGHT).max(0.0));
    // What hangs over below is pushed up again, from the last one on.
    let mut floor = TOP + PLOT_HEIGHT;
    for entry in ends.iter_mut().rev().filter(|_| over > 0.0) {
        entry.1 = entry.1.min(floor);
        floor = entry.1 - GAP;
    }
    for (at, height) in ends {
        swatch(out, at, &series[at], (right + 6.0, height));
        text(out, (right + 20.0, height + 4.0), Anchor::Start, "", &series[at].name);
    }
}

/// Names below the chart, as many in a row as fit; returns the height they take.
fn legend(out: &mut String, series: &[Series], top: f64) -> f64 {
    let (mut x, mut row) = (4.0, 0.0);
    for (at, one) in series.iter().enumerate() {
        let name = cut(&one.name, 60);
        let width = text_width(&name) + 34.0;
        if x > 4.0 && x + width > WIDTH {
            (x, row) = (4.0, row + 1.0);
        }
        let height = top + 12.0 + row * 18.0;
        swatch(out, at, one, (x, height));
        text(out, (x + 16.0, height + 4.0), Anchor::Start, "", &name);
        x += width;
    }
    (row + 1.0) * 18.0 + 8.0
}

fn swatch(out: &mut String, at: usize, series: &Series, (x, y): (f64, f64)) {
    let dashed = if series.dashed { " dashed" } else { "" };
    append(out, format_args!("<g class=\"{}\">", series.class(at)));
    line(out, &format!("line{dashed}"), (x, y), (x + 10.0, y));
    out.push_str("</g>");
}

fn pair(x: f64, y: f64) -> String {
    format!("{},{}", short(x), short(y))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>) -> Chart {
        Chart { title: "Test".to_owned(), x: Axis::new("step"), y: Axis::new("accuracy"), series }
    }

    #[test]
    fn a_line_is_interrupted_where_a_value_is_not_finite() {
        let broken = Series::line("a", [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 1.5)]);
        let svg = chart(vec![broken]).draw().inline();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<title>").count(), 4);
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn short_names_stand_at_the_ends_apart_from_each_other_and_long_ones_below() {
        let flat = |name: &str| Series::line(name, [(0.0, 1.0), (1.0, 1.0)]);
        let ends = chart((0..8).map(|i| flat(&format!("loss {i}"))).collect()).draw();
        let heights: Vec<f64> = ends
            .body
            .split("<text ")
            .filter_map(|t| t.split("</text>").next())
            .filter(|t| t.contains(">loss "))
            .map(|t| t.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(heights.len(), 8);
        assert!(heights.windows(2).all(|w| (w[1] - w[0]).abs() >= 14.9), "{heights:?}");
        assert!(heights.iter().all(|h| (TOP..=TOP + PLOT_HEIGHT + 5.0).contains(h)), "{heights:?}");
        let below = chart(vec![flat("a name that is rather long"), flat("b")]).draw();
        assert!(below.height > ends.height);
    }

    #[test]
    fn a_chart_without_any_value_is_still_a_chart() {
        for series in
            [vec![], vec![Series::line("a", [])], vec![Series::banded("a", [(1.0, f64::NAN, 0.0, f64::INFINITY)])]]
        {
            let svg = chart(series).draw().file();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
        }
    }
}
