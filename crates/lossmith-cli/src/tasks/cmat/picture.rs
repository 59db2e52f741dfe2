//! A scene graph as a picture: boxes with their classes, arrows for the relations that are sure enough.

use std::fmt::Write;

use lossmith::graph::{GraphScores, Vocabulary};

use super::predict::best;

/// Relations below this score are not drawn.
const LEAST: f64 = 0.1;

/// An SVG file of the scene with at most `top` relations.
pub fn picture(scores: &GraphScores, names: &Vocabulary, top: usize) -> String {
    let low = |axis: usize| scores.boxes.iter().map(|b| b[axis]).fold(f64::INFINITY, f64::min) - 20.0;
    let high = |axis: usize| scores.boxes.iter().map(|b| b[axis]).fold(f64::NEG_INFINITY, f64::max) + 20.0;
    let (x, y) = (low(0), low(1));
    let (width, height) = ((high(2) - x).max(1.0), (high(3) - y).max(1.0));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{x:.0} {y:.0} {width:.0} {height:.0}\" width=\"{:.0}\" \
         font-family=\"sans-serif\" font-size=\"{size:.1}\" role=\"img\" aria-label=\"scene graph\">\n\
         <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" orient=\"auto\">\
         <path d=\"M0 0 L8 4 L0 8 z\" fill=\"#0072b2\"/></marker></defs>\n\
         <rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#fff\"/>\n",
        width.clamp(600.0, 1200.0),
        size = width / 60.0,
    );
    let middle = |i: u32| {
        let b = scores.boxes[i as usize];
        ((b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0)
    };
    for (score, [s, o], p) in best(scores, top).into_iter().filter(|(score, ..)| *score >= LEAST) {
        let ((x1, y1), (x2, y2)) = (middle(s), middle(o));
        let title = escape(&format!("{s} {} {o}: {score:.3}", names.predicates[p - 1]));
        let _ = writeln!(
            svg,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#0072b2\" stroke-opacity=\"{score:.2}\" \
             stroke-width=\"1.5\" marker-end=\"url(#a)\"><title>{title}</title></line>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"75%\" fill=\"#0072b2\" text-anchor=\"middle\">{}</text>",
            (x1 + x2) / 2.0,
            (y1 + y2) / 2.0 - 1.0,
            escape(&names.predicates[p - 1])
        );
    }
    for (i, b) in scores.boxes.iter().enumerate() {
        let name = escape(&names.objects[scores.labels[i] as usize]);
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#e69f00\" fill-opacity=\"0.15\" stroke=\"#333\">\
             <title>{i}: {name}, {:.3}</title></rect><text x=\"{:.1}\" y=\"{:.1}\">{i} {name}</text>",
            b[0],
            b[1],
            b[2] - b[0],
            b[3] - b[1],
            scores.scores[i],
            b[0],
            b[1] - 2.0
        );
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
