//! Drawings as SVG: charts with lines and bands, rows with error bars, formula trees, panels of points, strips of pictures.
//!
//! Colours are CSS variables, so that one drawing suits a light and a dark page; a file of its own carries the rules with it.
//! Every mark says in a `<title>` what it stands for, and every drawing in words what it shows.

mod bars;
mod lines;
mod pictures;
mod scale;
mod scatter;
mod tree;

pub use bars::{Bars, Row};
pub use lines::{Chart, Point, Series};
pub use pictures::{Picture, Strip};
pub use scale::Axis;
pub use scatter::{Dot, Panel, Ring, Scatter};
pub use tree::tree;

use std::fmt::Write;

/// The rules that all drawings share: a page includes them once.
pub const CSS: &str = include_str!("plot.css");

/// How many series have a colour of their own; further ones begin again.
const COLOURS: usize = 8;

/// A drawing of a size in CSS pixels; on a page it is scaled to the room there is.
pub struct Drawing {
    width: f64,
    height: f64,
    /// What is to be seen, in words.
    label: String,
    body: String,
}

impl Drawing {
    /// The element for a page that includes [`CSS`].
    pub fn inline(&self) -> String {
        self.element("", "")
    }

    /// A file of its own.
    pub fn file(&self) -> String {
        let style = format!("<style>{CSS}\nsvg{{background:var(--page)}}</style>");
        let size = format!(" width=\"{}\" height=\"{}\"", short(self.width), short(self.height));
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", self.element(&size, &style))
    }

    /// The width at which its letters have the size they are meant to have.
    pub fn width(&self) -> f64 {
        self.width
    }

    fn element(&self, size: &str, head: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\"{size} viewBox=\"0 0 {} {}\" aria-label=\"{}\">{head}{}</svg>",
            short(self.width),
            short(self.height),
            escape(&self.label),
            self.body
        )
    }
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: Anchor, class: &str, content: &str) {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let content = escape(content);
    append(
        out,
        format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\" class=\"{class}\">{content}</text>",
            short(x),
            short(y)
        ),
    );
}

fn line(out: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(short);
    append(out, format_args!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"));
}

fn append(out: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(content);
}

/// The width of a text of 12 pixels, near enough to leave room for it.
fn text_width(text: &str) -> f64 {
    7.0 * text.chars().count() as f64
}

/// A name cut to so many letters.
fn cut(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A coordinate with no more digits than a screen shows.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A value with four significant digits.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return if value.is_nan() { "undefined".to_owned() } else { format!("{value}").replace("inf", "infinite") };
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..6.0).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let decimals = (3.0 - magnitude).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_true() {
        let cases = [
            (0.98991234, "0.9899"),
            (0.5, "0.5"),
            (12_000.0, "12000"),
            (2.4e-11, "2.40e-11"),
            (-1.5, "-1.5"),
            (0.0, "0"),
            (f64::INFINITY, "infinite"),
            (1234.567, "1235"),
            (100.0, "100"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_its_drawing() {
        let mut out = String::new();
        text(&mut out, (0.0, 0.0), Anchor::Start, "t", "<script>&\"");
        assert!(out.contains("&lt;script&gt;&amp;&quot;"));
        assert_eq!(cut("cross-entropy", 6), "cross…");
    }
}
