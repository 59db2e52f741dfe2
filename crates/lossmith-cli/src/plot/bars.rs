//! Values with error bars, one row each: bars where the axis begins at zero, points where it does not (a bar cut off at its
//! foot would lie about its length). A published value stands as a diamond in the same row.

use super::{Anchor, Axis, COLOURS, Drawing, append, cut, escape, line, number, short, text, text_width};

const WIDTH: f64 = 400.0;
const ROW: f64 = 40.0;

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The value.
    pub value: f64,
    /// The ends of the error bar.
    pub spread: Option<(f64, f64)>,
    /// What was published for the same.
    pub published: Option<f64>,
    /// Which of the colours; that of its place in the chart unless given.
    pub colour: Option<usize>,
}

/// A chart of rows.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What is to be seen, for those who do not see it.
    pub title: String,
    /// The axis of the values; [`Axis::range`] from 0 makes bars.
    pub axis: Axis,
    /// The rows from top to bottom.
    pub rows: Vec<Row>,
}

impl Bars {
    /// Draws the chart.
    pub fn draw(&self) -> Drawing {
        let figures = self.rows.iter().map(|r| text_width(&number(r.value))).fold(0.0, f64::max);
        let (left, right, foot) = (20.0, WIDTH - 24.0 - figures, 6.0 + ROW * self.rows.len() as f64);
        let values = self.rows.iter().flat_map(|r| {
            [Some(r.value), r.spread.map(|s| s.0), r.spread.map(|s| s.1), r.published].into_iter().flatten()
        });
        let scale = self.axis.scale(values, left, right);
        let zero = scale.ticks.first().is_some_and(|t| *t == 0.0).then(|| scale.place(0.0)).flatten();
        let mut body = String::new();
        for (value, label) in scale.ticks.iter().zip(scale.tick_texts()) {
            let Some(at) = scale.place(*value) else { continue };
            line(&mut body, "rule", (at, 6.0), (at, foot));
            text(&mut body, (at, foot + 16.0), Anchor::Middle, "soft", &label);
        }
        text(&mut body, ((left + right) / 2.0, foot + 33.0), Anchor::Middle, "soft", self.axis.label());
        for (at, row) in self.rows.iter().enumerate() {
            let top = 6.0 + ROW * at as f64;
            append(
                &mut body,
                format_args!(
                    "<g class=\"s{}\"><title>{}</title>",
                    row.colour.unwrap_or(at) % COLOURS,
                    escape(&words(row))
                ),
            );
            let value = number(row.value);
            text(&mut body, (4.0, top + 13.0), Anchor::Start, "", &cut(&row.name, 48));
            text(&mut body, (WIDTH - 4.0, top + 13.0), Anchor::End, "soft", &value);
            let middle = top + 26.0;
            if let Some(end) = scale.place(row.value) {
                match zero {
                    Some(start) => append(
                        &mut body,
                        format_args!(
                            "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"12\" rx=\"2\"/>",
                            short(start.min(end)),
                            short(middle - 6.0),
                            short((end - start).abs())
                        ),
                    ),
                    None => append(
                        &mut body,
                        format_args!("<circle class=\"dot\" cx=\"{}\" cy=\"{}\" r=\"6\"/>", short(end), short(middle)),
                    ),
                }
            }
            if let Some((Some(low), Some(high))) = row.spread.map(|(l, h)| (scale.place(l), scale.place(h))) {
                line(&mut body, "spread", (low, middle), (high, middle));
                for end in [low, high] {
                    line(&mut body, "spread", (end, middle - 4.0), (end, middle + 4.0));
                }
            }
            if let Some(x) = row.published.and_then(|p| scale.place(p)) {
                let diamond = format!("M{} {}l6 6l-6 6l-6 -6z", short(x), short(middle - 6.0));
                append(&mut body, format_args!("<path class=\"published\" d=\"{diamond}\"/>"));
            }
            body.push_str("</g>");
        }
        let rows: Vec<String> = self.rows.iter().map(words).collect();
        let label = format!("{}. {}: {}", self.title, self.axis.label(), rows.join("; "));
        Drawing { width: WIDTH, height: foot + 42.0, label, body }
    }
}

fn words(row: &Row) -> String {
    let spread = row.spread.map(|(low, high)| format!(" ({} to {})", number(low), number(high)));
    let published = row.published.map(|p| format!(", published {}", number(p)));
    format!("{} {}{}{}", row.name, number(row.value), spread.unwrap_or_default(), published.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(axis: Axis) -> Bars {
        let row = |name: &str, value| Row {
            name: name.to_owned(),
            value,
            spread: Some((value - 0.01, value + 0.01)),
            published: Some(0.95),
            colour: None,
        };
        Bars { title: "Test".to_owned(), axis, rows: vec![row("a", 0.9), row("b", 0.92)] }
    }

    #[test]
    fn only_an_axis_from_zero_has_bars() {
        let cut = bars(Axis::new("accuracy")).draw().inline();
        assert_eq!((cut.matches("class=\"bar\"").count(), cut.matches("class=\"dot\"").count()), (0, 2));
        let whole = bars(Axis::new("accuracy").range(0.0, 1.0)).draw().inline();
        assert_eq!((whole.matches("class=\"bar\"").count(), whole.matches("class=\"dot\"").count()), (2, 0));
        assert_eq!(whole.matches("class=\"published\"").count(), 2);
        assert!(whole.contains("a 0.9 (0.89 to 0.91), published 0.95"));
    }
}
